"""The unseen phantom family is frozen: what is measured with it stays comparable."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.unseen import cohort
from benchmarks.unseen.body import Body
from benchmarks.unseen.signal import Sequence, level
from benchmarks.unseen.tissues import LABEL, TISSUES, Tissue

FOLDER = Path(cohort.__file__).parent
FROZEN = json.loads((FOLDER / "frozen.json").read_text())


def test_the_code_is_the_frozen_one():
    assert cohort.code_sha256() == FROZEN["code_sha256"], "a changed family needs a new name, see its README"


def test_it_shares_no_code_with_the_phantoms_that_teach():
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith(("creps.phantom", "creps.training")) for name in names), path


@pytest.mark.parametrize("region", ["head", "pelvis"])
@pytest.mark.parametrize("seed", [3, 4, 5, 6])
def test_a_person_has_what_a_body_has(region, seed):
    body = cohort.GROW[region](np.random.default_rng(seed), 5.0)
    assert isinstance(body, Body)
    voxels = np.bincount(body.labels.ravel(), minlength=len(TISSUES)) * 0.125  # ml
    expected = {"head": ("grey matter", "white matter", "compact bone", "eye", "cerebrospinal fluid", "fat", "muscle")}
    expected["pelvis"] = ("compact bone", "spongy bone", "urine", "fat", "muscle", "bowel content", "cartilage")
    for tissue in expected[region]:
        assert voxels[LABEL[tissue]] > 5, tissue
    edge = [body.labels.take(at, axis) for axis in (1, 2) for at in (0, -1)]
    assert not any(np.any(face) for face in edge), "the patient reaches the sides"
    again = cohort.GROW[region](np.random.default_rng(seed), 5.0)
    assert np.array_equal(again.labels, body.labels)


def test_stepped_magnetisation_reaches_the_known_steady_states():
    t1, t2 = 800.0, 80.0
    tissue = Tissue("water", 0, 0, 1.0, (t1, t1), (t2, t2))
    echo = level(tissue, Sequence("spin_echo", 1.5, 600, 20, 90, 0, 1, 20, 180))
    recovered = 1 - 2 * np.exp(-(600 - 10) / t1) + np.exp(-600 / t1)  # Bernstein et al. 2004, eq. 14.57
    assert echo == pytest.approx(recovered * np.exp(-20 / t2), rel=1e-6)
    decay, angle = np.exp(-20 / t1), np.deg2rad(20)
    ernst = np.sin(angle) * (1 - decay) / (1 - np.cos(angle) * decay) * np.exp(-5 / t2)
    assert level(tissue, Sequence("flash", 1.5, 20, 5, 20)) == pytest.approx(ernst, rel=1e-6)
