"""Morphology of body masks, against distance maps and scipy's own ways."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from creps.preprocessing.mask import depth_mm
from creps.preprocessing.morphology import body_box, filled, grow, largest, shrink

shapes = st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 140))  # up to three words of 64 voxels
spacings = st.tuples(*[st.sampled_from([0.7, 0.98, 1.0, 1.2, 2.5, 3.0])] * 3)
shares = st.sampled_from([0.0, 0.01, 0.1, 0.4, 0.6, 0.9, 0.99, 1.0])


def blobs(shape, share, seed):
    return np.random.default_rng(seed).random(shape) < share


@given(shapes, spacings, shares, st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 16.0]), st.integers(0, 99))
@settings(max_examples=150)
def test_a_ball_is_a_distance_map_with_a_threshold(shape, spacing, share, radius, seed):
    mask = blobs(shape, share, seed)
    away = ndimage.distance_transform_edt(~mask, spacing) if mask.any() else np.full(shape, np.inf)
    np.testing.assert_array_equal(grow(mask, spacing, radius), away <= radius * (1 + 1e-6))
    inside = ndimage.distance_transform_edt(mask, spacing) if not mask.all() else np.full(shape, np.inf)
    np.testing.assert_array_equal(shrink(mask, spacing, radius), inside > radius * (1 + 1e-6))


def test_a_distance_that_is_the_radius_but_for_rounding_is_within():
    mask = np.zeros((21, 21, 21), bool)
    mask[10, 10, 10] = True
    grown = grow(mask, (0.1, 0.1, 0.1), 1.0)  # 3-4-5: .6 and .8 mm away are 1 mm
    assert grown[10, 16, 18]
    assert grown[18, 10, 16]
    assert grown[20, 10, 10]
    assert grown.sum() == sum(
        a * a + b * b + c * c <= 100 for a in range(-10, 11) for b in range(-10, 11) for c in range(-10, 11)
    )


@given(shapes, st.sampled_from([0.3, 0.5, 0.6, 0.7, 0.9]), st.integers(0, 99))
@settings(max_examples=150)
def test_holes_are_filled_slice_by_slice(shape, share, seed):
    mask = blobs(shape, share, seed)
    expected = mask.copy()
    for axis in range(3):
        for plane in np.moveaxis(expected, axis, 0):
            plane[:] = ndimage.binary_fill_holes(plane)
    np.testing.assert_array_equal(filled(mask), expected)


@given(shapes, st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]), st.integers(0, 99))
def test_the_largest_piece(shape, share, seed):
    mask = blobs(shape, share, seed)
    labels, count = ndimage.label(mask)
    expected = mask if count < 2 else labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    np.testing.assert_array_equal(largest(mask), expected)


@given(shapes, st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.integers(0, 99))
def test_the_box_around_a_mask(shape, share, seed):
    mask = blobs(shape, share, seed)
    found = ndimage.find_objects(mask.astype(np.uint8))
    expected = [(part.start, part.stop) for part in found[0]] if found else [(0, n) for n in shape]
    assert list(body_box(mask)) == expected


@pytest.mark.parametrize("share", [0.0, 0.01, 0.9, 1.0])
def test_the_depth_below_the_surface(share):
    mask, spacing = np.pad(blobs((9, 12, 15), share, 1), ((0, 3), (2, 0), (1, 1))), (3.0, 1.0, 0.5)
    expected = ndimage.distance_transform_edt(mask, spacing) if not mask.all() else np.zeros(mask.shape)
    np.testing.assert_allclose(depth_mm(mask, spacing), expected, rtol=1e-6)
