"""Pairs from phantoms: what a tissue map keeps, and what is drawn from it."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creps.errors import SettingsError
from creps.phantom import REGIONS, TISSUES, head_patient
from creps.phantom.tissue_map import TissueMap, grow_tissue_map
from creps.settings import load_settings
from creps.training.run.train import train
from creps.training.simulation import held_out_pairs, simulated_pairs
from creps.training.simulation.growth import Crowd
from creps.training.simulation.masses import SOFT, add_mass
from creps.training.simulation.people import Person
from creps.training.simulation.phantoms import PhantomPairs
from creps.training.simulation.postures import draw_places
from creps.training.simulation.sequences import SEQUENCES, draw_levels, draw_sequence, relative_levels
from creps.training.step import TrainingStep
from tests.conftest import TINY

SIZE = (12, 20, 16)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def people():
    return [grow_tissue_map(REGIONS["head"], [1, number], (5.0, 4.0, 4.0)) for number in range(2)]


@pytest.fixture(scope="module")
def teacher(people):
    return teacher_of(people, SIZE, outside=False)


def teacher_of(people, size, **settings):
    return PhantomPairs([Person.of(person) for person in people], size, **settings)


def test_a_tissue_map_mixes_as_the_layers_do():
    body = head_patient(3, 5.0, mr=False, ct=False).body
    tissues = TissueMap.of(body, (5.0, 5.0, 5.0))
    values = {tissue.name: tissue.hu for tissue in TISSUES}
    difference = np.abs(tissues.mix(values) - body.canvas.mix(values))
    assert np.median(difference) < 0.5
    assert np.percentile(difference, 98) < 20  # a fourth tissue in a voxel
    window = (slice(3, 9), slice(10, 30), slice(5, 25))
    np.testing.assert_array_equal(tissues.mix(values, window), tissues.mix(values)[window])
    assert sum(tissues.volumes().values()) == pytest.approx(tissues.body.sum(), rel=1e-3)


def test_turned_bone_stays_as_dense_as_it_is(people):
    """At 5×4×4 mm, .53 of the bone is above 700 HU; turned, .40 with splines and .29 with linear interpolation."""
    values = {tissue.name: tissue.hu for tissue in TISSUES}

    def dense(ct_hu):
        bone = ct_hu[ct_hu > 250]
        return (bone > 700).mean()

    teacher = teacher_of(people, (24, 40, 36), outside=False)
    drawn = np.concatenate([1000 * teacher.draw(np.random.default_rng(number))[1].ravel() for number in range(120)])
    itself = np.concatenate([person.mix(values).ravel() for person in people])
    assert 0.7 * dense(itself) < dense(drawn) < dense(itself)


def test_people_are_the_same_for_the_same_seed_and_have_the_spacing(people):
    again = grow_tissue_map(REGIONS["head"], [1, 0], (5.0, 4.0, 4.0))
    np.testing.assert_array_equal(again.tissues, people[0].tissues)
    assert people[0].tissues.shape != people[1].tissues.shape or (people[0].tissues != people[1].tissues).any()
    finer = grow_tissue_map(REGIONS["head"], [1, 0], (5.0, 2.0, 4.0))
    assert finer.shape[1] == pytest.approx(2 * again.shape[1], abs=1)
    with pytest.raises(SettingsError, match="up to 5 mm"):
        grow_tissue_map(REGIONS["head"], 0, (6.0, 1.0, 1.0))


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_a_pair_is_in_network_units_and_a_function_of_the_generator_alone(teacher, seed):
    mr, ct = teacher.draw(np.random.default_rng(seed))
    again, _ = teacher.draw(np.random.default_rng(seed))
    np.testing.assert_array_equal(mr, again)
    assert mr.shape == ct.shape == SIZE
    assert mr.dtype == ct.dtype == np.float32
    assert (mr.min(), mr.max()) >= (0, 0)
    assert mr.max() <= 2
    assert ct.min() >= -1
    assert ct.max() <= 3


def test_both_images_show_the_same_place(teacher):
    """Where the CT has air there is little signal, in every sequence; soft tissue has some."""
    air, soft = [], []
    for seed in range(60):
        mr, ct = teacher.draw(np.random.default_rng(seed))
        air += list(mr[ct < -0.97])
        soft += list(mr[(ct > 0) & (ct < 0.1)])
    assert np.percentile(air, 95) < 0.25
    assert np.median(soft) > 0.3


def test_patches_are_turned_scaled_and_mirrored():
    matrices = []
    for seed in range(200):
        places = draw_places(SIZE, np.array([9.0, 8.0, 7.0]), (5.0, 4.0, 4.0), np.random.default_rng(seed))
        assert np.abs(places.mean(axis=(1, 2, 3)) - [9, 8, 7]).max() < 1.5  # bent by up to 3 mm
        steps = [np.diff(places, axis=axis + 1).mean(axis=(1, 2, 3)) for axis in range(3)]
        matrices.append(np.stack(steps, axis=1) * np.array([5.0, 4.0, 4.0])[:, None] / np.array([5.0, 4.0, 4.0]))
    sizes = np.abs(np.linalg.det(matrices)) ** (1 / 3)
    assert 0.7 < sizes.min() < 0.9
    assert 1.1 < sizes.max() < 1.45
    mirrored = np.mean(np.linalg.det(matrices) < 0)
    assert 0.35 < mirrored < 0.65


def test_bone_is_met_more_often_than_by_chance(people):
    teacher = teacher_of(people, SIZE, outside=False)
    shares = [(teacher.draw(np.random.default_rng(seed))[1] > 0.25).mean() for seed in range(80)]
    by_chance = np.mean([(person.mix({t.name: t.hu for t in TISSUES}) > 250).mean() for person in people])
    assert np.mean(shares) > by_chance


def test_some_patches_show_noise_alone(people):
    teacher = teacher_of(people, SIZE, outside=True)
    empty = 0
    for seed in range(150):
        mr, ct = teacher.draw(np.random.default_rng(seed))
        empty += bool((ct < -0.9).all() and mr.std() > 0)
    assert 1 <= empty <= 15


def test_the_background_is_as_the_preparation_says(people, monkeypatch):
    monkeypatch.setattr("creps.training.simulation.phantoms.CUT_SHARE", 0.0)  # beyond a cut is nothing in either
    for outside in (True, False):
        teacher = teacher_of(people, (30, 40, 40), outside=outside)
        quiet = [
            (mr[ct <= -0.999] == 0).mean() for mr, ct in (teacher.draw(np.random.default_rng(k)) for k in range(6))
        ]
        assert (np.mean(quiet) < 0.2) == outside


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_sequences_give_every_tissue_a_signal_and_bone_little(seed):
    rng = np.random.default_rng(seed)
    assert draw_sequence(rng).name in SEQUENCES
    levels = draw_levels(rng)
    assert levels.keys() == {tissue.name for tissue in TISSUES}
    assert levels["air"] == 0
    assert all(np.isfinite(level) and level >= 0 for level in levels.values())
    assert levels["cortical bone"] < 0.35 * max(levels.values())


def test_fat_is_weak_in_some_images_and_nothing_else_is():
    drawn = [draw_levels(np.random.default_rng(seed)) for seed in range(400)]
    ratios = np.log([levels["fat"] / levels["muscle"] for levels in drawn])
    weak = ratios < np.median(ratios) - 1
    assert 0.02 < weak.mean() < 0.25


def test_a_region_without_phantoms_learns_from_the_cohorts_cts_and_says_so(caplog):
    changes = {"recipe": "anatomy", "preparation.region": "thorax", "simulation.phantom_share": 0.6}
    with caplog.at_level(logging.WARNING):
        pairs = simulated_pairs(load_settings(overrides=TINY | changes))
    assert pairs.phantoms is None
    assert "no phantom of the region 'thorax'" in caplog.text


def test_all_pairs_can_come_from_phantoms_and_a_seed_has_its_own_people():
    changes = {"recipe": "anatomy", "preparation.region": "pelvis", "simulation.phantom_share": 1}
    pairs = simulated_pairs(load_settings(overrides=TINY | changes))
    ct = np.full((36, 36, 36), 0.5, dtype=np.float32)
    assert all((pairs.draw(lambda: (ct, ct > 0), np.random.default_rng(k))[1] != 0.5).any() for k in range(20))
    one, other = (Crowd.of("pelvis", (5.0, 5.0, 5.0), seed).grow(0) for seed in (0, 1))
    assert one.shape != other.shape or (one.tissues != other.tissues).any()


@pytest.mark.parametrize("rises", [1, 2])
def test_the_rate_rises_and_falls_to_0_along_a_cosine(cohort, tmp_path, monkeypatch, rises):
    monkeypatch.setattr("creps.training.schedule.WARM_UP_SHARE", 4 // rises)
    rates, original = [], TrainingStep.__call__

    def step(self, *arguments):
        rates.append(self.networks.generator_optimizer.param_groups[0]["lr"])
        return original(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", step)
    changes = {"recipe": "anatomy", "training.schedule": "cosine", "training.learning_rate": 1e-3, "training.steps": 4}
    chosen = load_settings(prepared=cohort.settings(), overrides=TINY | changes)
    train(cohort, tmp_path / "run", chosen)
    rise = np.minimum(1, np.arange(1, 5) / rises)
    np.testing.assert_allclose(rates, rise * 0.5e-3 * (1 + np.cos(np.pi * np.arange(4) / 4)))


def test_bone_counts_more_at_first_and_like_the_rest_at_the_end(cohort, tmp_path, monkeypatch):
    weights, original = [], TrainingStep.__call__

    def step(self, *arguments):
        weights.append(self.networks.generator.bone_weight)
        return original(self, *arguments)

    monkeypatch.setattr(TrainingStep, "__call__", step)
    changes = {"recipe": "anatomy", "training.bone_weight": 8, "training.steps": 10}
    train(cohort, tmp_path / "run", load_settings(prepared=cohort.settings(), overrides=TINY | changes))
    np.testing.assert_allclose(weights, [8, 7, 6, 5, 4, 3, 2, 1, 1, 1])


@pytest.mark.parametrize(("region", "name"), [("head", "scalp_mm"), ("pelvis", "fat_mm")])
def test_wide_people_have_rarer_proportions_and_grow(region, name):
    def drawn(wide):
        people = []
        for seed in range(40):
            one, other = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
            subject = REGIONS[region].draw(one, other, False)
            people.append(getattr((subject.widened(one) if wide else subject).person, name))
        return np.std(people)

    assert drawn(True) > 1.5 * drawn(False)
    plain, wide = (grow_tissue_map(REGIONS[region], [4, 2], (5.0, 5.0, 5.0), wide=wide) for wide in (False, True))
    assert plain.shape == wide.shape
    assert (plain.tissues != wide.tissues).any()
    assert wide.body.mean() > 0.1


def test_patches_finer_than_the_people_show_the_same_size(people):
    """Half the spacing, twice the voxels: as much body."""
    coarse = teacher_of(people, (24, 30, 30), outside=False)
    fine = teacher_of(people, (48, 60, 60), outside=False, spacing_mm=(2.5, 2.0, 2.0))
    shares = [
        np.mean([(teacher.draw(np.random.default_rng(seed))[1] > -0.5).mean() for seed in range(30)])
        for teacher in (coarse, fine)
    ]
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


def test_people_are_not_grown_finer_than_needed():
    assert Crowd.of("head", (3.0, 1.0, 1.0), 0).spacing_mm == (3.0, 1.5, 1.5)
    changes = {"recipe": "anatomy", "preparation.spacing_mm": [3.0, 1.5, 1.0], "simulation.phantoms": 1}
    teacher = simulated_pairs(load_settings(overrides=TINY | changes)).phantoms
    assert teacher.people[0].tissues.spacing_mm == (3.0, 1.5, 1.5)
    assert teacher.spacing_mm == (3.0, 1.5, 1.0)


def test_slices_thicker_than_a_phantom_can_have_are_imaged_all_the_same():
    crowd = Crowd.of("head", (6.0, 4.0, 4.0), 0)
    assert crowd.spacing_mm == (5.0, 4.0, 4.0)
    teacher = teacher_of([crowd.grow(0)], SIZE, outside=False, spacing_mm=(6.0, 4.0, 4.0))
    assert teacher.draw(np.random.default_rng(0))[0].shape == SIZE


def test_held_out_pairs_are_the_same_again_and_of_other_people(cohort):
    changes = {"recipe": "anatomy", "simulation.phantom_share": 0.5, "simulation.phantoms": 1}
    chosen = load_settings(prepared=cohort.settings(), overrides=TINY | changes)
    first, second = held_out_pairs(cohort, chosen), held_out_pairs(cohort, chosen)
    assert len(first) == 8
    for (mr, ct), (again, _) in zip(first, second, strict=True):
        assert mr.shape == ct.shape == chosen.sampling.patch_size
        np.testing.assert_array_equal(mr, again)
    learnt = simulated_pairs(chosen).phantoms.people
    apart = simulated_pairs(chosen, held_out=True).phantoms.people
    assert all(
        (a.tissues.tissues.shape != b.tissues.tissues.shape) or (a.tissues.tissues != b.tissues.tissues).any()
        for a in learnt
        for b in apart
    )
    assert held_out_pairs(cohort, load_settings(overrides=TINY)) == []


def test_a_mass_replaces_soft_tissue_alone(people):
    tissues, whole = people[0], (slice(None),) * 3
    levels = {tissue.name: 1.0 for tissue in TISSUES} | {"air": 0.0}
    soft, found = tissues.mix(SOFT), 0
    for seed in range(8):
        signal, ct = tissues.mix(levels), tissues.mix({tissue.name: 3000.0 for tissue in TISSUES})
        before = signal.copy(), ct.copy()
        add_mass(signal, ct, tissues, whole, levels, np.random.default_rng(seed))
        for image, was in zip((signal, ct), before, strict=True):
            np.testing.assert_array_equal(image[soft == 0], was[soft == 0])
        full = (soft == 1) & (ct < 66)  # 3000 HU before: nothing but a mass at full weight comes so low
        if full.any():
            found += 1
            assert ct[full].min() >= 9.9
            np.testing.assert_allclose(signal[full], np.median(signal[full]), rtol=0.03)  # nearly full at the rim
    assert found >= 6


def test_images_of_phantoms_show_masses(people, monkeypatch):
    shown = []
    monkeypatch.setattr("creps.training.simulation.phantoms.add_mass", lambda *_: shown.append(1))
    teacher = teacher_of(people, SIZE, outside=False)
    for seed in range(60):
        teacher.draw(np.random.default_rng(seed))
    assert 6 <= len(shown) <= 36


def test_no_mass_where_there_is_no_soft_tissue(people):
    corner = (slice(0, 3),) * 3
    signal, ct = np.zeros((3, 3, 3), np.float32), np.full((3, 3, 3), -1000, np.float32)
    add_mass(signal, ct, people[0], corner, {}, np.random.default_rng(0))
    assert (signal.max(), ct.max()) == (0, -1000)


def test_levels_have_the_range_of_a_scaled_mr(people):
    person = Person.of(people[0])
    relative = relative_levels(draw_levels(np.random.default_rng(4)), person.volumes)
    signal_of = person.tissues.mix(relative)[person.tissues.body]
    assert np.mean(signal_of > 1.7) < 0.006
    assert signal_of.max() > 1.5
