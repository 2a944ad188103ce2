"""Surfaces, tissues, edges and histograms, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import wasserstein_distance

from creps.metrics.image import edge_sharpness, histogram_distance_hu
from creps.metrics.segmentation import surface_distance
from creps.metrics.tissues import TISSUE_WINDOWS_HU, error_by_class, tissue_classes

SEGMENTS = arrays(bool, (4, 5, 3)).filter(lambda a: bool(a.any()))
SPACINGS = st.tuples(*[st.floats(0.3, 5)] * 3)


def surface_points(segment, spacing_mm):
    padded = np.pad(segment, 1)
    inner = padded.copy()
    for axis in range(3):
        inner &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return np.argwhere((padded & ~inner)[1:-1, 1:-1, 1:-1]) * np.asarray(spacing_mm)


@given(SEGMENTS, SEGMENTS, SPACINGS)
def test_surface_distances_equal_brute_force(a, b, spacing_mm):
    points_a, points_b = surface_points(a, spacing_mm), surface_points(b, spacing_mm)
    every = np.linalg.norm(points_a[:, None] - points_b[None], axis=-1)
    from_a, from_b = every.min(axis=1), every.min(axis=0)
    found = surface_distance(a, b, spacing_mm)
    assert found.average_mm == pytest.approx(np.concatenate([from_a, from_b]).mean(), abs=1e-9)
    assert found.hd95_mm == pytest.approx(max(np.percentile(from_a, 95), np.percentile(from_b, 95)), abs=1e-9)


@given(SEGMENTS, SEGMENTS, SPACINGS)
def test_surface_distances_are_symmetric_and_0_for_equal_shapes(a, b, spacing_mm):
    there, back = surface_distance(a, b, spacing_mm), surface_distance(b, a, spacing_mm)
    assert there.average_mm == pytest.approx(back.average_mm)
    assert there.hd95_mm == back.hd95_mm
    assert surface_distance(a, a, spacing_mm).hd95_mm == 0


def test_a_shift_along_the_coarse_axis_is_as_far_as_its_spacing():
    a = np.zeros((20, 20, 20), bool)
    a[5:10, 5:15, 5:15] = True
    found = surface_distance(a, np.roll(a, 2, axis=0), (3.0, 1.0, 1.0))
    assert found.hd95_mm == 6
    assert 0 < found.average_mm < 6


def test_the_larger_directed_percentile_counts():
    """A far speck is seen from its own side only: pooled with the many it would vanish."""
    a = np.zeros((30, 30, 30), bool)
    a[2:5, 2:5, 2:5] = True
    b = a.copy()
    b[2:5, 2:5, 25:28] = True
    assert surface_distance(a, b, (1, 1, 1)).hd95_mm == pytest.approx(23)


def test_an_empty_segmentation_has_no_surface():
    a = np.ones((3, 3, 3), bool)
    with pytest.raises(ValueError, match="empty"):
        surface_distance(a, ~a, (1, 1, 1))
    with pytest.raises(ValueError, match="shapes differ"):
        surface_distance(a, a[1:], (1, 1, 1))


@given(arrays(np.float32, (3, 4, 2), elements=st.floats(-1100, 3000, width=32)))
def test_the_windows_hold_every_voxel_once(ct):
    classes, names = tissue_classes(ct)
    for number, name in names.items():
        low, high = TISSUE_WINDOWS_HU[name]
        assert np.array_equal(classes == number, (ct >= low) & (ct < high))
    errors = error_by_class(ct, ct + 1, np.ones(ct.shape, bool), classes, names)
    assert sum(error.voxels for error in errors.values()) == ct.size


def test_error_by_class_and_classes_that_are_not_there():
    ct = np.array([[[-1000.0, -100.0, 30.0, 40.0]]])
    sct = ct + np.array([[[10, -20, 30, -50]]])
    errors = error_by_class(ct, sct, np.ones(ct.shape, bool), *tissue_classes(ct))
    assert (errors["air"].mae_hu, errors["air"].bias_hu, errors["air"].voxels) == (10, 10, 1)
    assert (errors["fat"].mae_hu, errors["fat"].bias_hu) == (20, -20)
    assert (errors["soft"].mae_hu, errors["soft"].bias_hu, errors["soft"].voxels) == (40, -10, 2)
    assert errors["cortical_bone"].voxels == 0
    assert errors["cortical_bone"].mae_hu is errors["spongy_bone"].bias_hu is None


def test_labels_with_one_name_are_one_class():
    ct, sct = np.zeros((1, 2, 2)), np.array([[[1.0, 2.0], [6.0, 100.0]]])
    labels = np.array([[[1, 2], [4, 9]]])
    errors = error_by_class(ct, sct, np.ones(ct.shape, bool), labels, {1: "a", 2: "b", 4: "a", 12: "c"})
    assert {name: (error.voxels, error.mae_hu) for name, error in errors.items()} == {
        "a": (2, 3.5),
        "b": (1, 2),
        "c": (0, None),
    }
    with pytest.raises(ValueError, match="negative"):
        error_by_class(ct, sct, np.ones(ct.shape, bool), labels - 2, {1: "a"})
    with pytest.raises(ValueError, match="shapes differ"):
        error_by_class(ct, sct, np.ones(ct.shape, bool), labels[:, 1:], {1: "a"})


def block(shape=(12, 14, 10)):
    ct = np.full(shape, 40.0)
    ct[4:8, 4:10, 3:7] = 1000.0
    return ct


def test_sharpness_is_the_share_of_contrast_that_is_left():
    ct, mask = block(), np.ones(block().shape, bool)
    assert edge_sharpness(ct, ct, mask, (1, 2, 3)) == 1
    assert edge_sharpness(ct, 40 + (ct - 40) / 4, mask, (1, 2, 3)) == pytest.approx(0.25)
    assert edge_sharpness(ct, np.zeros_like(ct), mask, (1, 2, 3)) == 0
    from scipy.ndimage import gaussian_filter

    values = [edge_sharpness(ct, gaussian_filter(ct, sigma), mask, (1, 1, 1)) for sigma in (0.5, 1, 2)]
    assert 1 > values[0] > values[1] > values[2] > 0


def test_a_mask_deep_in_the_image_has_the_sharpness_of_the_whole():
    """Only the box around the mask is computed; the gradient at its faces must not be one-sided."""
    ct = block()
    rng = np.random.default_rng(0)
    sct = ct + rng.normal(0, 50, ct.shape)
    mask = np.zeros(ct.shape, bool)
    mask[4:6, 4:7, 3:5] = True
    steepness = [np.sqrt(sum(slope**2 for slope in np.gradient(a.astype(np.float32), 1, 2, 3))) for a in (ct, sct)]
    at = mask & np.isin(np.arange(ct.size).reshape(ct.shape), np.flatnonzero(edges_by_hand(ct)))
    expected = steepness[1][at].mean() / steepness[0][at].mean()
    assert edge_sharpness(ct, sct, mask, (1, 2, 3)) == pytest.approx(expected, rel=1e-5)


def edges_by_hand(ct):
    bone, edge = ct > 250, np.zeros(ct.shape, bool)
    for index in np.ndindex(ct.shape):
        for axis in range(3):
            for step in (-1, 1):
                other = list(index)
                other[axis] += step
                if 0 <= other[axis] < ct.shape[axis]:
                    edge[index] |= bone[index] != bone[tuple(other)]
    return edge


def test_a_ct_without_edges_has_no_sharpness():
    with pytest.raises(ValueError, match="no edge"):
        edge_sharpness(np.zeros((3, 3, 3)), np.zeros((3, 3, 3)), np.ones((3, 3, 3), bool), (1, 1, 1))
    with pytest.raises(ValueError, match="two voxels"):
        edge_sharpness(np.zeros((1, 3, 3)), np.zeros((1, 3, 3)), np.ones((1, 3, 3), bool), (1, 1, 1))


@given(*[arrays(np.float64, (2, 3, 4), elements=st.floats(-1000, 1000))] * 2)
def test_the_histogram_distance_is_scipys(ct, sct):
    mask = np.ones(ct.shape, bool)
    mask[0, 0, 0] = False
    found = histogram_distance_hu(ct, sct, mask)
    assert found == pytest.approx(wasserstein_distance(ct[mask], sct[mask]), abs=1e-9)
    assert histogram_distance_hu(ct, ct[::-1, ::-1, ::-1], np.ones_like(mask)) == 0  # places do not matter


def test_large_class_numbers_need_no_memory_of_their_size():
    """Counting by the number itself would ask for 200 GB."""
    ct, sct = np.zeros((1, 2, 2)), np.array([[[1.0, 2.0], [6.0, 100.0]]])
    labels = np.array([[[30_000_000_000, 2], [0, 9]]])
    errors = error_by_class(ct, sct, np.ones(ct.shape, bool), labels, {20_000_000_000: "b", 30_000_000_000: "a"})
    assert (errors["a"].voxels, errors["a"].mae_hu) == (1, 1)
    assert errors["b"].voxels == 0


@given(
    arrays(np.int64, (3, 4, 2), elements=st.integers(0, 9)), st.dictionaries(st.integers(0, 12), st.sampled_from("abc"))
)
def test_classes_are_counted_as_by_hand(labels, names):
    ct = np.zeros(labels.shape)
    sct = np.random.default_rng(0).normal(0, 50, labels.shape)
    errors = error_by_class(ct, sct, np.ones(ct.shape, bool), labels, names)
    assert set(errors) == set(names.values())
    for name, error in errors.items():
        there = np.isin(labels, [number for number, other in names.items() if other == name])
        assert error.voxels == there.sum()
        if error.voxels:
            assert error.bias_hu == pytest.approx(sct[there].mean())
