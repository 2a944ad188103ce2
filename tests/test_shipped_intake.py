"""What the intake of the shipped models makes of real scans, of children, and of exchanged contrast."""

import dataclasses

import numpy as np
import pytest
from benchmarks.gate.mistakes import inverted

from creps import load
from creps.intake.gate import examine
from creps.intake.rim import RIM_WARNING, rim_ratio
from creps.io.itk import read_volume
from creps.phantom import head_patient
from creps.preprocessing.preparation import prepare_mr

GADOLINIUM = "tcia_vs_T1Gd_ds2"
HEADS = ("fnndsc_adi_T1", "mne_ecog_T1", "seg3d_T1", "studyforrest_T1_1mm")
HIPS = ("STS_007_mr_T1", "STS_014_mr_T1", "STS_044_mr_T1")


@pytest.fixture(scope="module")
def plans():
    return {name: load(name).plan for name in ("head", "pelvis")}


def smaller(mr, factor):
    """The same patient, so many times as large."""
    return dataclasses.replace(mr, spacing_mm=tuple(factor * s for s in mr.spacing_mm))


def intake(mr, plan):
    prepared = prepare_mr(mr, plan.preparation, "mr")
    return examine(mr, prepared, plan.preparation, plan.intake, recipe=plan.recipe)


@pytest.mark.parametrize("name", HEADS)
def test_a_t1_head_passes_and_the_same_as_a_child_or_inverted_does_not(shared, plans, name):
    mr = read_volume(shared / "data" / "head" / "mr" / f"{name}.nii.gz")
    assert intake(mr, plans["head"]).verdict == "passed"
    assert intake(inverted(mr), plans["head"]).verdict != "passed"
    child = intake(smaller(mr, 0.8), plans["head"])
    assert {finding.check for finding in (*child.refusals, *child.warnings)} & {"build", "size"}
    assert intake(mr, plans["pelvis"]).verdict == "refused"


def test_gadolinium_is_warned_of(shared, plans):
    mr = read_volume(shared / "data" / "head" / "mr" / f"{GADOLINIUM}.nii.gz")
    assert "bright spots" in {finding.check for finding in intake(mr, plans["head"]).warnings}
    assert not intake(mr, plans["head"]).refusals


@pytest.mark.parametrize("name", HIPS)
def test_a_t1_hip_is_not_refused_and_inverted_it_is_told(shared, plans, name):
    mr = read_volume(shared / "data" / "pelvis" / "mr" / f"{name}.nii.gz")
    assert not intake(mr, plans["pelvis"]).refusals
    told = intake(inverted(mr), plans["pelvis"])
    assert {finding.check for finding in (*told.refusals, *told.warnings)} & {"bright rim", "contrast", "pattern"}
    assert intake(mr, plans["head"]).verdict == "refused"


def test_the_profiles_are_of_bodies_that_were_found(plans):
    """A body mask that failed on one image of the profile would widen the limits of build and size for all."""
    for plan in plans.values():
        girths = np.array([case.girth_mm for case in plan.intake.cases if case.girth_mm is not None])
        assert len(girths) > 20
        assert girths.min() / np.median(girths) > 0.6
        assert girths.max() / np.median(girths) < 1.6


def test_a_bright_rim_is_warned_of_where_fat_should_be_bright(plans):
    mr = head_patient(3, 2.0, ct=False).mr
    plan = plans["head"]
    prepared = prepare_mr(mr, plan.preparation, "mr")
    assert rim_ratio(prepared) < RIM_WARNING
    exchanged = inverted(mr)
    prepared = prepare_mr(exchanged, plan.preparation, "mr")
    assert rim_ratio(prepared) >= RIM_WARNING

    def told(recipe, *, masked=False):
        found = examine(exchanged, prepared, plan.preparation, plan.intake, recipe=recipe, masked=masked)
        return "bright rim" in {finding.check for finding in found.warnings}

    assert told("anatomy")
    assert not told("cut")
    assert not told("anatomy", masked=True)


def test_coarse_voxels_say_nothing_of_the_rim(plans):
    mr = head_patient(3, 4.0, ct=False).mr
    preparation = plans["head"].preparation.model_copy(update={"spacing_mm": (4.0, 4.0, 4.0)})
    assert rim_ratio(prepare_mr(mr, preparation, "mr")) is None
