"""The QA benchmark on a small seeded sample, and its results against the page that shows them."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from benchmarks.qa import tables
from benchmarks.qa.cases import CORRUPTED, CUT, GOOD, LIMITS
from benchmarks.qa.mr_failures import MR_FAILURES, noise_level
from benchmarks.qa.sct_failures import SCT_FAILURES

from creps.phantom import head_patient
from creps.preprocessing.mask import body_mask_mr
from creps.qa.examine import check_sct
from creps.qa.limits import read_limits

HERE = Path(tables.__file__).parent
FAILURES = yaml.safe_load((HERE / "failures.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def heads():
    return [head_patient([601, number], 4.0, centre=number) for number in (0, 2)]


def test_the_issues_kinds_are_all_seeded_with_the_issues_sizes():
    sizes = {kind: about["size"] for kind, about in FAILURES.items()}
    assert len(sizes) == 16
    named = {"shift": 6, "bone deleted": 15, "bone hallucinated": 10, "seam": 80, "noise x5": 5, "bias field x5": 5}
    assert named.items() <= sizes.items()
    on = {kind: about["acts_on"] for kind, about in FAILURES.items()}
    assert {kind for kind, what in on.items() if what == "mr"} == set(MR_FAILURES)
    assert {kind for kind, what in on.items() if what == "sct"} == set(SCT_FAILURES)
    assert all(about["size"] in about["ladder"] for about in FAILURES.values())


def test_nobody_sets_limits_and_is_tested():
    def who(cases):
        return {(one.region, one.family, one.file or one.number) for one in cases}

    assert not who(LIMITS) & who((*GOOD, *CUT))
    assert set(CORRUPTED) <= set(GOOD)
    assert len(CORRUPTED) == 20
    assert sum(one.family == "real" for one in CORRUPTED) >= 3
    assert len(GOOD) >= 60
    assert set(read_limits().provenance["cases"]) <= {one.name for one in LIMITS}


def test_a_small_sample_is_caught_and_good_cases_pass(heads):
    """Failures that QA is to catch at their gross size, on true CTs in the place of sCTs."""
    caught = []
    for number, head in enumerate(heads):
        assert check_sct(head.mr, head.ct_noise_free, head.mask, "head").result != "fail"
        other = heads[1 - number].ct_noise_free
        for kind in ("shift", "mirror", "collapsed model", "swapped patient", "seam"):
            rng = np.random.default_rng([602, number])
            broken = SCT_FAILURES[kind](head.ct_noise_free, FAILURES[kind]["size"], rng, other)
            caught.append(check_sct(head.mr, broken, head.mask, "head").result == "fail")
    assert np.mean(caught) >= 0.9


@pytest.mark.parametrize("kind", sorted(SCT_FAILURES))
def test_failures_of_the_sct_have_the_size_that_they_state(heads, kind):
    sct = heads[0].ct_noise_free
    size = float(FAILURES[kind]["size"])
    broken = SCT_FAILURES[kind](sct, size, np.random.default_rng(0), heads[1].ct_noise_free)
    assert broken.same_grid_as(sct)
    changed = broken.array != sct.array
    ml = changed.sum() * np.prod(sct.spacing_mm) / 1000
    if kind.startswith("bone"):
        assert ml == pytest.approx(size, rel=0.1)
        assert set(broken.array[changed]) == {40.0 if kind == "bone deleted" else 500.0}
    elif kind == "seam":
        assert np.median((broken.array - sct.array)[changed]) == size
    else:
        assert ml > 100


def test_failures_of_the_mr_have_the_size_that_they_state(heads):
    mr = heads[0].mr
    body = body_mask_mr(mr)

    def broken(kind, size):
        return MR_FAILURES[kind](mr, size, np.random.default_rng(1), 0)

    assert noise_level(broken("noise x5", 5), body) == pytest.approx(5 * noise_level(mr, body), rel=0.25)
    void = broken("metal void", 20).array < 0.05 * mr.array
    assert (void & (mr.array > 0)).sum() * 0.064 == pytest.approx(4 / 3 * np.pi * 2**3, rel=0.15)
    field = np.log(broken("bias field x5", 5).array[body] / np.maximum(mr.array[body], 1e-6))
    assert field[mr.array[body] > 1].std() == pytest.approx(0.55, rel=0.1)
    assert broken("field of view cut by a third", 33).extent_mm[2] < 0.75 * mr.extent_mm[2]
    np.testing.assert_array_equal(broken("wrong orientation", 1).array, mr.array[::-1])
    assert np.corrcoef(broken("inverted contrast", 100).array[body], mr.array[body])[0, 1] < -0.8
    assert broken("motion", 6).array[~body].mean() > 1.2 * mr.array[~body].mean()
    assert broken("wrong sequence", 95).array[body].max() < mr.array[body].max()


def test_the_page_shows_the_results_that_were_kept():
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    page = tables.PAGE.read_text(encoding="utf-8")
    for name, lines in tables.tables(results).items():
        assert f"<!-- {name} -->\n" + "\n".join(lines) + f"\n<!-- {name} -->" in page
    assert {row["kind"] for row in results["failures"]} == set(FAILURES)
