"""Plan, density table, grid, DVH, gamma and range: closed forms, without the engine."""

import doctest
import importlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creps.dose.density import DEFAULT_TABLE, DensityTable, read_density_table
from creps.dose.document import DoseDocument, read_dose_document
from creps.dose.dvh import DvhValues, conformity, curve, dvh_values, synthrad_dvh
from creps.dose.gamma import gamma_index
from creps.dose.grid import averaged, box_grid, coverage
from creps.dose.plan import default_plan, read_plan
from creps.dose.proton_range import distal_r80_mm
from creps.dose.structures import choose_target
from creps.errors import InputError, SettingsError
from creps.volume import Volume


@pytest.mark.parametrize(
    ("hu", "density", "what"),
    [
        ((-1000, 0, 0), (0, 1, 1.1), "HU do not rise"),
        ((-1000, 0, 500, 1000), (0, 1, 1.3, 1.2), "falls at 1000 HU"),
        ((-1000, 0), (-0.1, 1), "densities from -0.1"),
        ((-1000, 0, 1000), (0, 1000, 1500), "densities from 0 to 1500"),
        ((-1000, 0, 1000), (0, 2, 3), "the density 2"),
        ((0,), (1,), "two rows"),
        ((-1000, 0, float("nan")), (0, 1, 2), "two rows"),
    ],
)
def test_a_table_that_is_no_table_is_refused(hu, density, what):
    with pytest.raises(SettingsError, match=what):
        DensityTable(hu, density)


def test_a_sites_table_is_read_with_its_hash(tmp_path):
    path = tmp_path / "site.csv"
    path.write_text("# CT 3, 120 kV\nhu,density\n-1000,0.0\n0,1.0\n1000,1.6\n")
    table = read_density_table(path)
    np.testing.assert_allclose(table.density_of([-2000, -500, 500, 4000]), [0, 0.5, 1.3, 1.6])
    assert len(str(table.record()["sha256"])) == 64
    path.write_text("hu;density\n-1000;0\n")
    with pytest.raises(SettingsError, match=r"site\.csv is not a table of numbers"):
        read_density_table(path)


@given(st.floats(-1024, 3000), st.floats(0, 500))
def test_more_hu_never_mean_less_density(hu, more):
    low, high = DEFAULT_TABLE.density_of([hu, hu + more])
    assert low <= high


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("radiation: protons\n", "names no region"),
        ("region: thorax\n", "region 'thorax'"),
        ("region: brain\nradiation: carbon\n", "radiation 'carbon'"),
        ("region: brain\ndose_grid_mm: 6\n", "too coarse"),
        ("region: brain\ngantry: [0]\n", "'gantry'"),
        ("region: brain\ngantry_degrees: [0, 360]\n", "less than 360"),
        ("region: brain\ngantry_degrees: 0\n", r"Write a list, such as \[0, 90\]"),
        ("region: brain\ncouch_degrees: [0, 90]\n", "one angle for each"),
        ("region: brain\nprescription_gy: 0\n", "'prescription_gy'"),
        ("region: brain\norgans: [brainstem]\n", "organs needs target"),
        ("- 1\n", "has no keys"),
        ("a: [\n", "cannot be read as YAML"),
    ],
)
def test_a_wrong_plan_file_is_refused_with_its_key(tmp_path, text, what):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=what) as error:
        read_plan(path)
    assert "plan.yaml" in str(error.value)


def test_prescriptions_are_those_of_synthrad():
    for radiation in ("photons", "protons"):
        assert default_plan("brain", radiation).prescription_gy == 2.0
        assert default_plan("pelvis", radiation).prescription_gy == 3.0


def test_what_the_caller_says_wins_over_the_file(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("region: brain\nspot_mm: 4\n")
    plan = read_plan(path, region="pelvis", radiation="protons")
    assert (plan.region, plan.radiation, plan.prescription_gy, plan.spot_mm) == ("pelvis", "protons", 3.0, 4.0)


@given(st.integers(1, 5), st.floats(0.7, 5.0), st.floats(-3, 3))
def test_averages_keep_the_mass(seed, spacing, offset):
    """The water-equivalent thickness of a body inside the grid does not depend on the grid."""
    array = np.zeros((9, 8, 7), np.float32)
    array[3:6, 3:5, 2:5] = np.random.default_rng(seed).random((3, 2, 3))
    fine = Volume(array, (1.5, 1.0, 2.0), (offset, 0.3, -0.2))
    corners = fine.corners_mm(edges=True)
    grid = box_grid(corners.min(axis=0) - 1, corners.max(axis=0) + 1, spacing)
    mass = averaged(fine, grid, 0.0).sum(dtype=np.float64) * spacing**3
    assert mass == pytest.approx(array.sum(dtype=np.float64) * 3.0, rel=1e-4)


def test_beyond_the_volume_lies_what_is_outside():
    fine = Volume(np.full((2, 2, 2), 5.0), (1.0, 1.0, 1.0))
    grid = Volume(np.zeros((4, 2, 2)), (1.0, 1.0, 1.0))
    assert averaged(fine, grid, -7.0)[:, 0, 0].tolist() == [5, 5, -7, -7]
    assert coverage(fine, grid)[:, 0, 0].tolist() == [True, True, False, False]


def test_dvh_of_a_ramp_has_its_closed_form():
    """Doses from 0 to 10 Gy in equal shares: D_p = 10 (1 - p)."""
    dose = np.linspace(0, 10, 100001).reshape(1, 1, -1)
    values = dvh_values(dose, np.ones_like(dose))
    for name, expected in {"d98_gy": 0.2, "d95_gy": 0.5, "d5_gy": 9.5, "d2_gy": 9.8, "mean_gy": 5.0}.items():
        assert getattr(values, name) == pytest.approx(expected, abs=1e-3)
    assert curve(dose, np.ones_like(dose), np.array([0.0, 2.5, 10.1])) == pytest.approx([1, 0.75, 0], abs=1e-4)


def test_half_a_voxel_counts_half():
    dose, share = np.array([[[1.0, 4.0]]]), np.array([[[1.0, 0.5]]])
    assert dvh_values(dose, share).mean_gy == 2.0
    assert curve(dose, share, np.array([2.0]))[0] == pytest.approx(1 / 3)


def test_conformity_is_one_for_the_target_itself_and_zero_beside_it():
    target = np.array([[[1.0, 0.0]]])
    assert conformity(np.array([[[2.0, 0.0]]]), target, 2.0) == 1.0
    assert conformity(np.array([[[0.0, 2.0]]]), target, 2.0) == 0.0
    assert conformity(np.zeros((1, 1, 2)), target, 2.0) == 0.0


def test_synthrad_takes_the_three_organs_with_most_dose():
    def same(dose):
        return DvhValues(dose, dose, dose, dose, dose)

    values = {"PTV": (same(2.0), same(1.8))}
    values |= {f"organ {n}": (same(1.0 + n), same(1.1 * (1.0 + n))) for n in range(3)}
    values["far away"] = (same(0.1), same(99.0))
    assert synthrad_dvh(values, "PTV", (0.9, 0.9)) == pytest.approx(0.1 + 0.1 + 0.1)


def test_gamma_of_a_shift_is_its_share_of_the_distance():
    """A steep ramp moved by 1 mm: gamma 0.5 at 2 %/2 mm; equal doses: 0."""
    pytest.importorskip("pymedphys")
    z = np.arange(40.0)
    ramp = np.broadcast_to(np.clip((z - 15) * 20.0, 0, 200)[:, None, None], (40, 5, 5)).astype(np.float32)
    grid = Volume(ramp, (1.0, 1.0, 1.0))
    assert np.nanmax(gamma_index(ramp, ramp, grid, 2, 2).map) == 0
    moved = np.broadcast_to(np.clip((z - 16) * 20.0, 0, 200)[:, None, None], (40, 5, 5)).astype(np.float32)
    gamma = gamma_index(ramp, moved, grid, 2, 2)
    assert gamma.map[20, 2, 2] == pytest.approx(0.49, abs=0.03)
    assert gamma.share_within_one == 1.0
    assert gamma_index(ramp, (2 * ramp).astype(np.float32), grid, 2, 2).share_within_one < 0.6


def test_gamma_leaves_the_root_logger_alone():
    pytest.importorskip("pymedphys")
    import logging

    before = list(logging.getLogger().handlers)
    cube = np.ones((4, 4, 4), np.float32)
    gamma_index(cube, cube, Volume(cube, (2.0, 2.0, 2.0)), 3, 3)
    assert logging.getLogger().handlers == before


def test_r80_lies_behind_the_peak():
    depth = np.linspace(0, 100, 1001)
    bragg = np.where(depth < 60, 0.3 + 0.7 * depth / 60, np.clip(1 - (depth - 60) / 10, 0, 1))
    assert distal_r80_mm(depth, bragg) == pytest.approx(62.0, abs=0.05)
    assert distal_r80_mm(depth, np.zeros_like(depth)) is None
    assert distal_r80_mm(depth, depth) is None


def test_the_target_is_named_or_looks_like_one():
    names = ("Rectum", "GTV", "ptv boost", "CTV")
    assert choose_target(names, None) == "ptv boost"
    assert choose_target(names, "gtv") == "GTV"
    with pytest.raises(SettingsError, match="Rectum, GTV"):
        choose_target(names, "PTV")
    with pytest.raises(SettingsError, match="looks like a target"):
        choose_target(("Rectum",), None)


@pytest.mark.parametrize("name", ["density", "dvh", "grid", "plan", "proton_range", "published", "structures"])
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(f"creps.dose.{name}"))
    assert (failed, tried > 0) == (0, True)


def test_a_document_of_another_version_is_refused(tmp_path):
    path = tmp_path / "dose.json"
    path.write_text(json.dumps({"schema_version": DoseDocument.model_fields["schema_version"].default + 1}))
    with pytest.raises(InputError, match="schema version 2"):
        read_dose_document(path)
