import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from creps.inference.aggregation import NO_PREDICTION, fuse, fused_slabs, slab_bytes
from creps.patches import PatchLocation, covering_grid, half_overlap, read_patch

FUSIONS = ["upper_median", "median", "mean", "gaussian"]


def counted_coverage(grid):
    """Brute force: how often each voxel of the original volume is in a patch."""
    counts = np.zeros(grid.padded_shape, int)
    for location in grid.locations:
        counts[location.slices] += 1
    return counts[grid.original.slices]


@st.composite
def grids(draw):
    shape = draw(st.tuples(*[st.integers(1, 13)] * 3))
    patch = draw(st.tuples(*[st.integers(1, 6)] * 3))
    overlap = tuple(draw(st.integers(0, p - 1)) for p in patch)
    most = int(np.prod([p // (p - o) for p, o in zip(patch, overlap, strict=True)]))
    return covering_grid(shape, patch, overlap, draw(st.integers(1, min(3, most))))


@given(st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.integers(2, 12)] * 3))
@settings(max_examples=150)
def test_half_stride_sees_every_voxel_two_to_eight_times(shape, patch):
    grid = covering_grid(shape, patch)
    counts = counted_coverage(grid)
    assert np.array_equal(grid.coverage_map, counts)
    assert counts.min() >= 2
    if all(p % 2 == 0 for p in patch):
        assert counts.max() <= 8
    # centred padding
    for total, before, n in zip(grid.padded_shape, grid.pad_before, shape, strict=True):
        assert 0 <= total - n - 2 * before <= 1


@given(st.tuples(*[st.integers(1, 12)] * 3), st.tuples(*[st.integers(2, 6)] * 3))
@settings(max_examples=60)
def test_the_grid_is_the_smallest_one(shape, patch):
    grid = covering_grid(shape, patch)
    for axis in range(3):
        if grid.counts[axis] > 1:
            fewer = tuple(c - (a == axis) for a, c in enumerate(grid.counts))
            padded = [p + (c - 1) * s for p, c, s in zip(patch, fewer, grid.stride, strict=True)]
            if padded[axis] < shape[axis]:
                continue
            before = tuple((t - n) // 2 for t, n in zip(padded, shape, strict=True))
            assert type(grid)(shape, patch, grid.stride, fewer, before).coverage_map.min() < 2


@pytest.mark.parametrize("shape", [(168, 256, 256), (181, 217, 181), (66, 168, 168), (40, 100, 90)])
def test_coverage_of_the_brain_preset(shape):
    grid = covering_grid(shape, (66, 168, 168))
    assert grid.coverage_map.min() >= 2
    assert grid.coverage_map.max() <= 8
    assert grid.stride == (33, 84, 84)


@given(grids(), st.sampled_from(FUSIONS), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_an_identity_network_returns_its_input(grid, fusion, seed):
    array = np.random.default_rng(seed).normal(size=grid.shape).astype(np.float32)
    predictions = [read_patch(array, place, fill=7.0) for place in grid.locations_in_volume]
    slabs = list(fused_slabs(grid, zip(grid.locations, predictions, strict=True), fusion))
    fused = np.concatenate([slab.values for slab in slabs])
    np.testing.assert_allclose(fused, array, rtol=1e-5, atol=1e-6)
    starts = np.cumsum([0, *[len(slab.values) for slab in slabs]])[:-1]
    assert [slab.first for slab in slabs] == list(starts)  # consecutive


@given(grids(), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_slabs_equal_a_brute_force_upper_median(grid, seed):
    rng = np.random.default_rng(seed)
    predictions = [(where, rng.normal(size=where.size).astype(np.float32)) for where in grid.locations]
    fused = np.concatenate([slab.values for slab in fused_slabs(grid, predictions, "upper_median")])
    series = [[] for _ in range(int(np.prod(grid.padded_shape)))]
    index = np.arange(len(series)).reshape(grid.padded_shape)
    for where, values in predictions:
        for i, value in zip(index[where.slices].ravel(), values.ravel(), strict=True):
            series[i].append(value)
    # the paper's words: a series of even length gets 3000 appended, then the median is taken
    expected = np.array([np.median([*s, 3000.0]) if len(s) % 2 == 0 else np.median(s) for s in series])
    np.testing.assert_allclose(fused, expected.reshape(grid.padded_shape)[grid.original.slices], rtol=1e-6)


@given(st.integers(1, 9), st.integers(0, 99))
def test_fusions_against_numpy(count, seed):
    values = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    for fusion, expected in {
        "median": np.median(values, axis=0),
        "mean": values.mean(axis=0),
        "upper_median": np.sort(values, axis=0)[count // 2],
    }.items():
        np.testing.assert_allclose(fuse(values.copy(), fusion), expected, rtol=1e-4, atol=1e-6)


@given(st.integers(1, 30), st.integers(0, 99), st.sampled_from(FUSIONS[:3]))
def test_each_voxel_is_fused_from_the_predictions_that_it_has(count, seed, fusion):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, 3, 5)).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = NO_PREDICTION
    fused = fuse(values.copy(), fusion, partial=True)
    for voxel in np.ndindex(3, 5):
        series = values[(slice(None), *voxel)]
        series = np.sort(series[series < NO_PREDICTION])
        if not len(series):
            assert np.isnan(fused[voxel])
            continue
        expected = {"median": np.median, "mean": np.mean, "upper_median": lambda s: s[len(s) // 2]}[fusion](series)
        np.testing.assert_allclose(fused[voxel], expected, rtol=1e-4, atol=1e-6)


def test_gaussian_weights_favour_the_middle_of_a_patch():
    grid = covering_grid((12, 4, 4), (8, 4, 4), (4, 0, 0), 1)
    predictions = [(where, np.full(where.size, float(i), np.float32)) for i, where in enumerate(grid.locations)]
    fused = np.concatenate([slab.values for slab in fused_slabs(grid, predictions, "gaussian")])[:, 0, 0]
    assert (fused[:4] == 0).all()
    assert (fused[8:] == 1).all()
    assert (np.diff(fused[4:8]) > 0).all()
    assert fused[4] < 0.5 < fused[7]


def test_an_uncovered_voxel_is_an_error_never_water():
    with pytest.raises(ValueError, match="no prediction"):
        fuse(np.full((2, 3), NO_PREDICTION, np.float32), "upper_median")


def test_missing_and_disordered_predictions_are_errors():
    grid = covering_grid((8, 8, 8), (4, 4, 4))
    zeros = [(where, np.zeros(where.size, np.float32)) for where in grid.locations]
    with pytest.raises(ValueError, match="missing"):
        list(fused_slabs(grid, zeros[:-1], "mean"))
    with pytest.raises(ValueError, match="order"):
        list(fused_slabs(grid, zeros[::-1], "mean"))


def test_memory_of_the_slabs_does_not_grow_with_the_depth():
    few, many = (covering_grid((depth, 40, 40), (8, 16, 16), min_coverage=1) for depth in (16, 160))
    assert len(many.locations) > 9 * len(few.locations)
    assert slab_bytes(few) == slab_bytes(many)


def test_an_overlap_that_cannot_cover_twice_is_refused():
    with pytest.raises(ValueError, match="cannot cover"):
        covering_grid((8, 8, 8), (4, 4, 4), (0, 0, 0))
    with pytest.raises(ValueError, match="must lie in"):
        covering_grid((8, 8, 8), (4, 4, 4), (4, 0, 0))


@given(st.tuples(*[st.integers(-6, 8)] * 3), st.tuples(*[st.integers(1, 5)] * 3))
def test_a_patch_beyond_the_edge_is_filled(index, size):
    array = np.random.default_rng(0).normal(size=(5, 4, 6)).astype(np.float32)
    patch = read_patch(array, PatchLocation(index, size), fill=-1)
    big = np.pad(array, 20, constant_values=-1)
    np.testing.assert_array_equal(
        patch, big[tuple(slice(i + 20, i + 20 + n) for i, n in zip(index, size, strict=True))]
    )


@given(st.integers(1, 300))
def test_half_overlap(size):
    assume(size > 1)
    overlap = half_overlap((size, size, size))[0]
    assert overlap in (size // 2, size // 2 + size % 2)
