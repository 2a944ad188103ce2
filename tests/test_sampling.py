import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from creps.cohort.cohort import Case, load_cohort
from creps.errors import CohortError
from creps.settings import SamplingSettings
from creps.training.sampling import PatchPairs, PatchSampler


def case(name, modality, shape, body=None, patient=None, origin=(0, 0, 0), centre=None):
    body = body or tuple((2, n - 3) for n in shape)
    return Case(
        case=name, patient=patient or name, centre=centre, modality=modality, split="train", shape=shape, body=body,
        source="x", source_sha256="x", prepared_sha256="x", spacing_mm=(1, 1, 1), origin_mm=origin,
        direction=(0, 0, 1, 0, 1, 0, 1, 0, 0),
    )  # fmt: skip


MR = [case(f"m{i}", "mr", (40 + i, 44, 48)) for i in range(4)]
CT = [case(f"c{i}", "ct", (60, 50 + i, 42)) for i in range(7)]


def sampler(seed=0, batch_size=4, mr=MR, ct=CT, **settings):
    return PatchSampler(mr, ct, SamplingSettings(patch_size=(24, 24, 24), **settings), seed, batch_size)


@pytest.mark.parametrize("mr_positions", ["grid", "random"])
@pytest.mark.parametrize("ct_positions", ["independent", "matched"])
def test_a_draw_is_a_pure_function_of_seed_step_and_index(mr_positions, ct_positions):
    settings = {"mr_positions": mr_positions, "ct_positions": ct_positions}
    places = [(step, index) for step in (0, 3, 500) for index in range(4)]
    one = [sampler(**settings).draw(*place) for place in places]
    fresh = sampler(**settings)
    other_order = {place: fresh.draw(*place) for place in reversed(places)}
    assert one == [other_order[place] for place in places]
    assert one != [sampler(seed=1, **settings).draw(*place) for place in places]
    assert len({(d.mr.case, d.mr_location, d.ct.case, d.ct_location) for d in one}) > 6


def test_an_epoch_visits_every_mr_patch_of_the_half_stride_grid_once():
    s = sampler(batch_size=5)
    count = s.samples_per_epoch
    for epoch in range(2):
        drawn = [s.draw(*divmod(k, 5)) for k in range(epoch * count, (epoch + 1) * count)]
        assert len({(d.mr.case, d.mr_location) for d in drawn}) == count
    first = [s.draw(*divmod(k, 5)).mr_location for k in range(count)]
    second = [s.draw(*divmod(k, 5)).mr_location for k in range(count, 2 * count)]
    assert first != second  # in another order


@pytest.mark.parametrize("mr_positions", ["grid", "random"])
def test_mr_and_ct_of_a_step_are_independent_in_case_and_position(mr_positions):
    """Contingency tables of what is drawn together show nothing beyond chance."""
    s = sampler(mr_positions=mr_positions)
    draws = [s.draw(k // 4, k % 4) for k in range(6000)]

    def chi2_z(a, b):
        table = np.zeros((max(a) + 1, max(b) + 1))
        np.add.at(table, (a, b), 1)
        table = table[table.sum(1) > 0][:, table.sum(0) > 0]
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
        return (((table - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)

    mr_case, ct_case = [int(d.mr.case[1:]) for d in draws], [int(d.ct.case[1:]) for d in draws]
    assert chi2_z(mr_case, ct_case) < 4
    for axis in range(3):
        mr_place = [d.mr_location.index[axis] // 6 for d in draws]
        ct_place = [d.ct_location.index[axis] // 6 for d in draws]
        assert chi2_z(mr_place, ct_place) < 4
        assert abs(np.corrcoef(mr_place, ct_place)[0, 1]) < 0.05
    assert chi2_z(mr_case, mr_case) > 100  # the statistic does see dependence


def test_matched_positions_correspond_but_cases_do_not():
    s = sampler(mr_positions="random", ct_positions="matched")
    draws = [s.draw(k, 0) for k in range(800)]
    for axis in range(3):
        mr = [d.mr_location.index[axis] for d in draws]
        ct = [d.ct_location.index[axis] for d in draws]
        assert np.corrcoef(mr, ct)[0, 1] > 0.95
    pairs = {(d.mr.case, d.ct.case) for d in draws}
    assert len(pairs) == len(MR) * len(CT)


def test_colocated_sampling_needs_pairs():
    paired = [case(m.case, "ct", m.shape) for m in MR]
    for k in range(20):
        d = sampler(ct=paired, ct_positions="colocated").draw(k, 1)
        assert d.mr.case == d.ct.case
        assert d.mr_location == d.ct_location
    moved = [case(m.case, "ct", m.shape, origin=(0, 5, 0)) for m in MR]
    for others in (CT, moved):
        with pytest.raises(CohortError, match="no CT of the same name and grid"):
            sampler(ct=others, ct_positions="colocated")


def test_matched_sampling_never_meets_the_same_patient():
    paired = [case(f"ct_of_{m.case}", "ct", m.shape, patient=m.patient) for m in MR]
    s = sampler(ct=paired, ct_positions="matched")
    assert all(d.mr.patient != d.ct.patient for d in (s.draw(k, 0) for k in range(200)))
    with pytest.raises(CohortError, match="no CT of another patient"):
        sampler(mr=MR[:1], ct=paired[:1], ct_positions="matched")


def test_positions_stay_inside_and_short_axes_are_centred():
    small = [case("m0", "mr", (10, 44, 48))]
    s = sampler(mr=small, mr_positions="random")
    for k in range(50):
        d = s.draw(k, 0)
        assert d.mr_location.index[0] == -7
        assert all(0 <= i <= n - 24 for i, n in zip(d.mr_location.index[1:], (44, 48), strict=True))
        assert all(0 <= i <= n - 24 for i, n in zip(d.ct_location.index, d.ct.shape, strict=True))


def test_a_cohort_without_mr_is_refused():
    with pytest.raises(CohortError, match="no MR case"):
        sampler(mr=[])


def test_a_cohort_without_ct_gives_mr_patches_alone():
    drawn = sampler(ct=[]).draw(0, 0)
    assert drawn.ct is None
    assert drawn.mr in MR


@pytest.fixture(scope="module")
def cohort(head_folders, tmp_path_factory):
    from creps.cohort.prepare import prepare
    from creps.settings import load_settings
    from tests.conftest import TINY

    folder = tmp_path_factory.mktemp("cohort") / "c"
    prepare(head_folders, folder, settings=load_settings(overrides=TINY))
    return load_cohort(folder)


def test_workers_change_nothing(cohort):
    s = PatchSampler(
        cohort.cases("mr", "train"), cohort.cases("ct", "train"), SamplingSettings(patch_size=(24, 24, 24)), 0, 2
    )
    patches = PatchPairs(cohort, s, steps=3)
    alone, several = (list(DataLoader(patches, 2, num_workers=workers)) for workers in (0, 2))
    assert len(alone) == 3
    for a, b in zip(alone, several, strict=True):
        assert torch.equal(a["mr"], b["mr"])
        assert torch.equal(a["ct"], b["ct"])
    assert alone[0]["mr"].shape == (2, 1, 24, 24, 24)
    assert 0 <= float(alone[0]["mr"].min()) <= float(alone[0]["mr"].max()) <= 2
    assert -1 <= float(alone[0]["ct"].min()) <= float(alone[0]["ct"].max()) <= 3
