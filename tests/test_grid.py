"""The model's grid and its patches are tied to the patient: where a volume ends hardly changes an sCT."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks.grid.grid import SEED, of_phantom
from benchmarks.grid.variants import VARIANTS, cut, padded
from hypothesis import given, settings
from hypothesis import strategies as st

import creps
from creps.inference.executor import Executor
from creps.inference.prediction import lay_out
from creps.inference.tiles import exact_tiles
from creps.patches import PatchLocation, covering_grid, read_patch
from creps.phantom import REGIONS
from creps.phantom.patient import grow_patient
from creps.preprocessing.imaged import imaged_box
from creps.preprocessing.preparation import crop_to_imaged, prepare_mr
from creps.preprocessing.resample import lattice_index, model_grid, resample
from creps.settings import InferenceSettings, PreparationSettings
from creps.volume import Volume

SPACINGS = st.tuples(*[st.floats(0.5, 4.5)] * 3)
COUNTS = st.tuples(*[st.integers(0, 4)] * 3)


def oblique(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[0, 0, 1.0], [-s, c, 0], [c, s, 0]])


@given(SPACINGS, SPACINGS, st.tuples(*[st.floats(-300, 300)] * 3), COUNTS, COUNTS, st.floats(0, 0.6), st.booleans())
@settings(max_examples=40, deadline=None)
def test_padding_and_cropping_move_no_point(own, wanted, origin, before, after, angle, more):
    volume = Volume(np.zeros((11, 12, 13), np.float32), own, origin, oblique(angle))
    other = (padded if more else cut)(volume, before, after)
    ours, theirs = model_grid(volume, wanted), model_grid(other, wanted)
    steps = np.subtract(lattice_index(other, wanted), lattice_index(volume, wanted))
    np.testing.assert_allclose(ours.to_patient_mm(steps), theirs.origin_mm, atol=1e-6)


@pytest.mark.parametrize("start", [0.0, -0.5, -89.5, 17.3, -120.0])
def test_a_volume_that_has_the_spacing_keeps_its_voxels(start):
    volume = Volume(np.random.default_rng(0).random((5, 6, 7), np.float32), (2.0, 1.0, 0.7), (start, start, start))
    np.testing.assert_array_equal(resample(volume, volume.spacing_mm).array, volume.array)
    assert model_grid(volume, volume.spacing_mm).same_grid_as(volume)


@pytest.mark.parametrize("start", [-89.5, -45.0, 0.0])
def test_the_last_digits_of_a_header_decide_nothing(start):
    """Symmetric fields of view have the patient's origin on a voxel or halfway between two."""
    origins = [[], []]
    for digit, found in zip((-1e-5, 1e-5), origins, strict=True):
        volume = Volume(np.zeros((90, 4, 4), np.float32), (1.0, 1.0, 1.0), (0, 0, start + digit))
        found.extend(model_grid(volume, (2.5, 1, 1)).origin_mm)
    np.testing.assert_allclose(*origins, atol=1e-4)


@given(st.integers(1, 60), st.integers(2, 9), st.integers(0, 99), st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_patches_start_at_multiples_of_their_stride(length, half, first, least):
    size = 2 * half
    grid = covering_grid((length, 9, 9), (size, 6, 6), min_coverage=least, first=(first, 1, 2))
    assert all((place.index[0] + first) % half == 0 for place in grid.locations_in_volume)
    assert grid.coverage_map.min() >= least
    counts = np.zeros(grid.shape, int)
    for place in grid.locations_in_volume:
        counts[place.inside(grid.shape)] += 1
    np.testing.assert_array_equal(counts, grid.coverage_map)


def test_tiles_of_a_padded_volume_are_the_same():
    ours = exact_tiles(PatchLocation((5, 6, 7), (20, 21, 22)), 12, 1e9, (3, 0, 1))
    theirs = exact_tiles(PatchLocation((10, 7, 7), (20, 21, 22)), 12, 1e9, (-2, -1, 1))
    assert [tile.view.moved((5, 1, 0)) for tile in ours] == [tile.view for tile in theirs]


def neck():
    """A cylinder, cut at its lower end and rounded at its upper one, with air at the sides."""
    z, y, x = np.indices((29, 30, 30))
    radius = np.where(z < 16, 10.0, np.sqrt(np.maximum(0, 100 - (z - 16) ** 2 * 2.5)))
    inside = (y - 15) ** 2 + (x - 15) ** 2 < radius**2
    array = np.where(inside, 300.0 + 10 * np.sin(x) * np.cos(y), 0.0)
    return Volume(array.astype(np.float32), (4.0, 4.0, 4.0), (-58.0, -58.0, -41.0))


@pytest.mark.parametrize("noise", [False, True])
def test_padding_beyond_a_cut_is_told_from_air(noise):
    mr = neck()
    assert imaged_box(mr) is None
    assert imaged_box(padded(mr, (2, 3, 0), (3, 0, 1), noise=noise)) == (slice(2, 34), slice(0, 33), slice(0, 31))


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"moved in the header"}))
def test_the_prepared_mr_is_the_same(variant):
    chosen = PreparationSettings(spacing_mm=(3.0, 3.0, 3.0), mr_scale="auto", remove_outside=True)
    mr = neck()
    plain = prepare_mr(mr, chosen, "MR")
    other = prepare_mr(VARIANTS[variant](mr, mr.array > 0), chosen, "MR")
    steps = np.subtract(plain.lattice_index, other.lattice_index)
    ours, theirs = [], []
    for step, n, m in zip(steps, plain.array.shape, other.array.shape, strict=True):
        ours.append(slice(max(0, -step), min(n, m - step)))
        theirs.append(slice(max(0, step), min(m, n + step)))
    body = plain.body[tuple(ours)]
    change = np.abs(plain.array[tuple(ours)] - other.array[tuple(theirs)])[body]
    lost = 2 if "less below" in variant else 0  # slices at the new end are extrapolated there
    assert body.sum() > 0.85 * plain.body.sum()
    assert np.mean(change > 0.02) < 0.005 + lost * 0.03
    if variant in ("empty slice above", "empty slice below", "stored otherwise"):
        assert change.max() < 1e-3


def former():
    """A small residual model with overlapping patches, which the grid has to keep in place."""
    return creps.load(Path(__file__).parent / "data" / "former")


def test_the_sct_of_a_phantom_hardly_changes():
    phantom = grow_patient(REGIONS["head"], [SEED, 0], 5.0)
    rows = list(of_phantom(former(), phantom, "median", ["padded, noise", "one slice less below"]))
    for row in rows[1:]:
        assert row["change_hu"] <= 2, row
        assert row["change_p95_hu"] <= 10, row


def places(mr, chosen):
    """Where patches start along H and W, and at which points along D, in patient mm."""
    prepared = crop_to_imaged(prepare_mr(mr, PreparationSettings(spacing_mm=(3.0, 3.0, 3.0), mr_scale="auto"), "MR"))
    executor = Executor(former().generator, precision="fp32")
    layout = lay_out(
        prepared.grid.shape, (3.0, 3.0, 3.0), prepared.body, (8, 16, 16), executor, chosen,
        lattice_index=prepared.lattice_index, signal=prepared.array,
    )  # fmt: skip
    starts = prepared.grid.to_patient_mm([piece.index for piece in layout.pieces])
    x, y, z = (np.round(axis, 3) for axis in starts.T)
    return set(x % 24), set(y % 24), set(z % 12)  # strides of 8, 8 and 4 voxels


@pytest.mark.parametrize("extent", ["body", "volume"])
@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"moved in the header"}))
def test_patches_do_not_move_against_the_patient(variant, extent):
    mr, chosen = neck(), InferenceSettings(extent=extent, device="cpu")
    assert places(VARIANTS[variant](mr, mr.array > 0), chosen) == places(mr, chosen)


def test_the_patient_goes_on_beyond_the_edge():
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    patch = read_patch(array, PatchLocation((-1, 1, 2), (4, 3, 4)), fill=None)
    np.testing.assert_array_equal(patch, np.pad(array, ((1, 1), (0, 1), (0, 2)), mode="edge")[:, 1:, 2:])
