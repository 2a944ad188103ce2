"""MR simulated from CT: what it must and must not show, and how it is drawn."""

import csv
import json

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage

from creps.settings import load_settings
from creps.training.run.train import train
from creps.training.sampling import PatchPairs, PatchSampler
from creps.training.schedule import decay_rates
from creps.training.simulation import simulated_pairs
from creps.training.simulation.fields import smooth_field
from creps.training.simulation.from_ct import Contrast, signal_of_ct, simulate_mr, simulate_pair
from creps.training.simulation.scanner import scanned
from tests.conftest import TINY

SPACING_MM = (3.0, 2.0, 2.0)
seeds = st.integers(0, 2**32 - 1)


def head(shape=(20, 24, 26)):
    """Air, a fatty skin, a skull, a brain, an air cavity; network units, and the body."""
    places = np.indices(shape)
    distance = np.sqrt(sum(((p - n / 2) / (n / 2)) ** 2 for p, n in zip(places, shape, strict=True)))
    ct = np.select([distance < 0.2, distance < 0.6, distance < 0.75, distance < 0.92], [-1.0, 0.04, 1.2, -0.1], -1.0)
    return ct.astype(np.float32), distance < 0.92, distance


@given(seeds, st.booleans())
def test_it_is_an_mr_in_network_units_and_a_function_of_the_generator_alone(seed, outside):
    ct, body, _ = head()
    before = ct.copy()
    mr, again = (simulate_mr(ct, body, SPACING_MM, np.random.default_rng(seed), outside=outside) for _ in range(2))
    assert mr.shape == ct.shape
    assert mr.dtype == np.float32
    assert mr.min() >= 0
    assert mr.max() <= 2
    assert (mr[~body] == 0).all() != outside
    np.testing.assert_array_equal(mr, again)
    np.testing.assert_array_equal(ct, before)


@given(seeds)
def test_cortical_bone_and_air_are_darker_than_fat(seed):
    ct, body, distance = head()
    ct[ct > 1] = 2.0  # compact throughout; at 1200 HU a voxel has marrow or fat as well
    mr = signal_of_ct(ct, body, SPACING_MM, np.random.default_rng(seed))
    fat, bone, air = (np.median(mr[(distance > a) & (distance < b)]) for a, b in ((0.8, 0.87), (0.65, 0.7), (0, 0.1)))
    assert bone < 0.6 * fat
    assert air < 0.3 * fat


def test_contrasts_differ_and_soft_tissue_has_structure_that_the_ct_lacks():
    ct, body, distance = head((24, 40, 40))
    brain = (distance > 0.3) & (distance < 0.5)
    assert ct[brain].std() == 0
    mrs = [simulate_mr(ct, body, SPACING_MM, np.random.default_rng(seed), outside=False)[brain] for seed in range(30)]
    assert np.median([mr.std() / mr.mean() for mr in mrs]) > 0.15
    assert max(mr.mean() for mr in mrs) > 3 * min(mr.mean() for mr in mrs)


@given(seeds)
def test_the_signal_is_that_of_the_tissues_and_blind_to_noise_within_them(seed):
    contrast = Contrast.draw(np.random.default_rng(seed))
    hu = np.array([-1000, -120, -80, 10, 70, 350, 2000], dtype=np.float32) / 1000
    air, fat, also_fat, soft, also_soft, marrow, dense = contrast.signal(hu)
    assert air == 0
    assert fat == also_fat == pytest.approx(contrast.fat)
    assert soft == also_soft == pytest.approx(contrast.soft)
    assert marrow == pytest.approx(contrast.marrow)
    assert dense == pytest.approx(contrast.cortical / 2)


@given(seeds, st.booleans())
def test_a_scan_is_in_network_units_and_quiet_outside_only_if_asked_for(seed, outside):
    _, body, _ = head()
    mr = scanned(body.astype(np.float32), body, SPACING_MM, np.random.default_rng(seed), outside=outside)
    assert mr.dtype == np.float32
    assert mr.min() >= 0
    assert mr.max() <= 2
    assert (mr[~body] == 0).all() != outside


def test_scanners_differ_in_scale_slices_and_receive_field():
    ct, body, distance = head((24, 40, 40))
    signal = np.where(body, np.float32(1), np.float32(0))
    mrs = [scanned(signal, body, SPACING_MM, np.random.default_rng(seed), outside=True) for seed in range(60)]
    inner = distance < 0.6
    assert 0.1 < np.log([np.median(mr[inner]) for mr in mrs]).std() < 0.6
    shading = [mr[inner & (np.indices(ct.shape)[1] < 20)].mean() / mr[inner].mean() for mr in mrs]
    assert np.std(shading) > 0.02


def test_the_air_has_white_noise_smooth_noise_and_ghosts():
    signal = np.zeros((24, 24, 24), dtype=np.float32)
    signal[:12] = 1
    correlations, ghosts = [], 0
    for seed in range(60):
        mr = scanned(signal, signal > 0, SPACING_MM, np.random.default_rng(seed), outside=True)
        air = mr[16:] - mr[16:].mean()
        correlations.append(float((air[:, 1:] * air[:, :-1]).mean() / air.var()))
        profile = mr[16:].mean(axis=(1, 2))
        ghosts += float(profile.max() - profile.min()) > 0.02
    assert 0.2 < np.mean(np.array(correlations) < 0.1) < 0.8
    assert max(correlations) > 0.4
    assert 0 < ghosts < 30


@given(seeds)
@example(363)
def test_a_pair_from_a_ct_shows_the_same_posture_in_both_images(seed):
    ct, body, _ = head((30, 36, 40))
    size = (20, 24, 26)
    mr, moved = simulate_pair(ct, body, size, SPACING_MM, np.random.default_rng(seed), outside=False)
    again, _ = simulate_pair(ct, body, size, SPACING_MM, np.random.default_rng(seed), outside=False)
    np.testing.assert_array_equal(mr, again)
    assert mr.shape == moved.shape == size
    deep = ndimage.binary_erosion(moved <= -0.999, iterations=3, border_value=1)
    assert not deep.any() or np.median(mr[deep]) < 0.3  # air gives little signal where the CT has it
    soft = mr[(moved > -0.2) & (moved < 0.2)]
    assert not len(soft) or np.percentile(soft, 90) > 0.05  # a dark compartment may fill more than half of it
    assert moved.min() >= -1
    assert moved.max() <= ct.max() + 1e-6


def test_soft_tissue_is_rarely_black():
    """In more than half of its voxels, unlike seed 363 above: a dark compartment, and a steep contrast curve."""
    ct, body, _ = head((30, 36, 40))
    medians = []
    for seed in range(40):
        mr, moved = simulate_pair(ct, body, (20, 24, 26), SPACING_MM, np.random.default_rng(seed), outside=False)
        medians.append(np.median(mr[(moved > -0.2) & (moved < 0.2)]))
    assert np.mean(np.array(medians) > 0.05) >= 0.97


def test_a_pair_from_a_ct_is_never_the_ct_itself():
    ct, body, _ = head((30, 36, 40))
    drawn = [
        simulate_pair(ct, body, (20, 24, 26), SPACING_MM, np.random.default_rng(k), outside=False)[1] for k in (1, 2)
    ]
    assert np.abs(drawn[0] - drawn[1]).max() > 0.5
    assert np.abs(drawn[0] - ct[5:25, 6:30, 7:33]).max() > 0.5


def test_the_couch_gives_no_signal():
    ct, body, _ = head()
    with_couch = ct.copy()
    with_couch[:, -2:, :][~body[:, -2:, :]] = 0.1
    a, b = (simulate_mr(x, body, SPACING_MM, np.random.default_rng(1), outside=True) for x in (ct, with_couch))
    away = ~body
    away[:, -7:] = False
    np.testing.assert_allclose(a[away], b[away], atol=1e-6)  # noise, the same
    assert np.abs(a - b)[:, :-7].max() < 0.05  # blur of CT and of thick slices reaches some voxels


def test_samples_bring_it_along_whatever_the_order_of_reading(cohort):
    chosen = load_settings(prepared=cohort.settings(), overrides=TINY | {"recipe": "anatomy"})
    sampler = PatchSampler(cohort.cases("mr", "train"), cohort.cases("ct", "train"), chosen.sampling, 0, 2)
    patches = PatchPairs(cohort, sampler, 2, simulated_pairs(chosen))
    forth = [patches[k] for k in range(4)]
    back = [patches[k] for k in reversed(range(4))][::-1]
    for name in ("simulated_mr", "simulated_ct"):
        assert all(torch.equal(a[name], b[name]) for a, b in zip(forth, back, strict=True))
        assert forth[0][name].shape == forth[0]["ct"].shape
    assert not torch.equal(forth[0]["simulated_mr"], forth[1]["simulated_mr"])
    assert simulated_pairs(load_settings(overrides=TINY)) is None


@pytest.mark.parametrize("cut_out", [True, False])
def test_noise_outside_the_body_is_as_the_preparation_says(cut_out):
    chosen = load_settings(
        overrides=TINY | {"recipe": "anatomy", "preparation.remove_outside": cut_out, "simulation.phantom_share": 0}
    )
    ct, body, _ = head((36, 36, 36))
    mr, target = simulated_pairs(chosen).draw(lambda: (ct, body), np.random.default_rng(0))
    assert mr.shape == target.shape == chosen.sampling.patch_size
    assert ((mr[target <= -0.999] == 0).mean() > 0.1) == cut_out  # the rest lies in the cavity


def test_fields_have_their_length_in_mm_and_unit_variance():
    rng = np.random.default_rng(0)
    steps = {}
    for spacing in (1.0, 4.0):
        fields = [smooth_field((40, 40, 40), (spacing,) * 3, 24.0, rng) for _ in range(5)]
        assert np.mean([f.std() for f in fields]) == pytest.approx(1, abs=0.01)
        steps[spacing] = np.mean([np.abs(np.diff(f, axis=0)).mean() for f in fields])
    assert steps[4.0] > 2 * steps[1.0]


def test_a_run_of_the_recipe_learns_to_find_the_ct_again(cohort, tmp_path):
    changes = {"recipe": "anatomy", "training.steps": 60, "training.learning_rate": 3e-3, "training.validate_every": 60}
    chosen = load_settings(prepared=cohort.settings(), overrides=TINY | changes)
    train(cohort, tmp_path / "run", chosen)
    rows = (tmp_path / "run" / "curves.csv").read_text().splitlines()
    column = rows[0].split(",").index("simulated")
    values = [float(row.split(",")[column]) for row in rows[1:]]
    assert np.mean(values[-5:]) < 0.6 * values[0]


def test_a_run_spoilt_in_its_last_fifth_is_not_answered_with_its_last_model(cohort, tmp_path, monkeypatch):
    steps = 40

    def spoils(networks, settings, done, total):
        decay_rates(networks, settings, done, total)
        if done > 0.8 * steps:
            for group in networks.generator_optimizer.param_groups:
                group["lr"] = 20 * settings.learning_rate

    monkeypatch.setattr("creps.training.loop.decay_rates", spoils)
    changes = {
        "recipe": "anatomy",
        "training.steps": steps,
        "training.learning_rate": 3e-3,
        "training.validate_every": 4,
        "training.ema_decay": 0.0,
    }
    chosen = load_settings(prepared=cohort.settings(), overrides=TINY | changes)
    train(cohort, tmp_path / "run", chosen)
    rows = list(csv.DictReader((tmp_path / "run" / "curves.csv").read_text().splitlines()))
    scores = {int(row["step"]): float(row["validation_score"]) for row in rows if row["validation_score"]}
    errors = {int(row["step"]): float(row["simulated_error_hu"]) for row in rows if row["simulated_error_hu"]}
    assert scores == errors
    assert min(scores, key=scores.get) <= 0.8 * steps
    assert scores[steps] > min(scores.values())
    plan = json.loads((tmp_path / "run" / "model" / "plan.json").read_text())
    assert plan["training"]["steps"] == min(scores, key=scores.get)
