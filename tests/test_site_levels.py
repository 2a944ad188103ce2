"""Tissue levels fitted to the site's MRs: phantoms that look like them, from unpaired statistics alone."""

import logging

import numpy as np
import pytest

from creps.intake.features import features_of
from creps.intake.profile import profile_from
from creps.phantom import REGIONS
from creps.phantom.painting.tissues import TISSUES
from creps.phantom.scanners.mr import MR_CENTRES, signal
from creps.phantom.tissue_map import grow_tissue_map
from creps.preprocessing.preparation import prepare_mr
from creps.settings import PreparationSettings
from creps.training.run.train import train
from creps.training.simulation.people import Person
from creps.training.simulation.phantoms import PhantomTeacher
from creps.training.simulation.sequences import draw_levels
from creps.training.simulation.site_levels import KEPT, fit_levels, relative_levels
from tests.once import head_phantom

SMALL = {
    "recipe": "anatomy", "generator.width": 4, "generator.levels": 2, "generator.fine": 4, "training.batch_size": 1,
    "sampling.patch_size": [16, 16, 16], "training.device": "cpu", "training.steps": 1, "training.validation_cases": 1,
    "simulation.phantoms": 2, "training.loggers": [],
}  # fmt: skip
HEAD = PreparationSettings(region="head", spacing_mm=(3, 3, 3), mr_scale="auto")
MAIN = ("muscle", "grey matter", "white matter", "csf")
"""Tissues that fill most of the layers that are compared; fat lies above them."""


@pytest.fixture(scope="module")
def people():
    grown = [grow_tissue_map(REGIONS["head"], [5, number], (3.0, 3.0, 3.0), wide=True) for number in range(2)]
    return [Person.of(tissues) for tissues in grown]


def profile_for(*centres):
    measured = []
    for centre in centres:
        prepared = prepare_mr(head_phantom([31, centre], 3.0, ct=False, centre=centre).mr, HEAD, "an MR")
        features = features_of(prepared.array, prepared.body, prepared.grid.spacing_mm)
        measured.append((features, str(centre)))
    return profile_from(measured)


def error(levels, truth):
    """Between two sets of levels, over the main tissues, whatever their units: mean of the absolute logarithms."""
    logs = np.log([levels[name] / truth[name] for name in MAIN])
    return np.abs(logs - np.median(logs)).mean()


@pytest.mark.parametrize("centre", [0, 1, 2])
def test_the_fit_finds_the_levels_of_another_patients_scanner(people, centre):
    truth = {tissue.name: signal(tissue, MR_CENTRES[centre]) for tissue in TISSUES}
    fitted = fit_levels(profile_for(centre), people, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    drawn = [draw_levels(rng) for _ in range(100)]
    ours, any_sequence = (np.mean([error(levels, truth) for levels in sets]) for sets in (fitted, drawn))
    assert ours < 0.6 * any_sequence


def test_it_is_the_same_again_and_every_mr_has_its_share(people):
    profile = profile_for(0, 1)
    first, again = (fit_levels(profile, people, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert 0.5 * KEPT <= len(first) <= KEPT
    near = {centre: fit_levels(profile_for(centre), people, np.random.default_rng(3)) for centre in (0, 1)}
    sums = {centre: np.mean([levels["csf"] / levels["white matter"] for levels in near[centre]]) for centre in near}
    both = [levels["csf"] / levels["white matter"] for levels in first]
    assert min(both) < 1.5 * min(sums.values())
    assert max(both) > max(sums.values()) / 1.5


def test_a_teacher_images_with_them_as_often_as_it_is_asked_to(people):
    flat = {tissue.name: 0.0 if tissue.name == "air" else 1.0 for tissue in TISSUES}

    def spread(share, number):
        teacher = PhantomTeacher(people, (16, 20, 20), outside=False, site=[flat], site_share=share)
        mr, ct = teacher.draw(np.random.default_rng(number))
        bone = (ct > 0.3) & (mr > 0)
        return np.median(mr[bone]) / max(np.median(mr[ct > -0.2]), 1e-3) if bone.sum() > 50 else np.nan

    ratios = {share: np.array([spread(share, number) for number in range(120)]) for share in (0.0, 0.5, 1.0)}
    shares = {share: np.nanmean(found > 0.85) for share, found in ratios.items()}  # bone as bright as all else
    assert shares[0.0] < 0.35 < shares[0.5] < 0.85 < shares[1.0]


def test_levels_have_the_range_of_a_scaled_mr(people):
    levels = draw_levels(np.random.default_rng(4))
    relative = relative_levels(levels, people[0].volumes)
    signal_of = people[0].tissues.mix(relative)[people[0].tissues.body]
    assert np.mean(signal_of > 1.7) < 0.006
    assert signal_of.max() > 1.5


def test_a_run_fits_them_before_its_first_step_if_asked_to(tmp_path, cohort, caplog):
    def trained(share):
        caplog.clear()
        train(cohort, tmp_path / str(share), overrides=SMALL | {"simulation.site_levels": share})
        return caplog.text

    with caplog.at_level(logging.INFO):
        assert "tissue levels fitted to" in trained(0.5)
        assert "tissue levels" not in trained(0)
