"""Looking up images at turned places, against SciPy's splines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from creps.training.simulation.lookup import AT_ONCE, looked_up


def blobs(seed, shape=(18, 22, 16), rim=5):
    """Noise in the middle of an image that is 0 elsewhere."""
    image = np.zeros(shape, dtype=np.float32)
    inner = tuple(slice(rim, n - rim) for n in shape)
    image[inner] = np.random.default_rng(seed).standard_normal(image[inner].shape)
    return image


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_images_are_looked_up_as_scipys_quadratic_splines_are(seed):
    image = blobs(seed)
    places = np.random.default_rng(seed).uniform(2, 13, (3, 7, 11, 9)).astype(np.float32)
    found = looked_up([image], places, (0.0,))[0]
    expected = ndimage.map_coordinates(image, places, order=2, mode="constant")
    expected = np.clip(expected, image.min(), image.max())
    assert np.abs(found - expected).max() < 0.03 * np.abs(image).max()
    assert found.dtype == np.float32


def test_every_image_is_looked_up_as_if_it_were_alone():
    images = [blobs(seed) for seed in range(3)]
    inside = images[2] > 0
    places = np.random.default_rng(0).uniform(-3, 24, (3, 30, 30, 1 + AT_ONCE // 900)).astype(np.float32)
    beyond = (0.5, -1.0, 0.0)
    together = looked_up([*images[:2], inside], places, beyond)
    for found, image, value in zip(together, [*images[:2], inside], beyond, strict=True):
        np.testing.assert_allclose(found, looked_up([image], places, (value,))[0], atol=1e-6)
        assert found.min() >= min(image.min(), value)
        assert found.max() <= max(image.max(), value)


def test_voxels_themselves_and_what_lies_beyond():
    image = blobs(1)
    grid = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in image.shape], indexing="ij"))
    np.testing.assert_allclose(looked_up([image], grid, (0.0,))[0], image, atol=0.03)
    far = looked_up([image, image + 7], grid + 100, (-1.0, 3.5))
    np.testing.assert_allclose(far, np.broadcast_to(np.array([-1.0, 3.5])[:, None, None, None], far.shape), atol=0.02)


def test_a_ramp_is_met_exactly_between_voxels():
    ramp = np.arange(20, dtype=np.float32)[:, None, None] + np.zeros((20, 20, 20), dtype=np.float32)
    places = np.random.default_rng(2).uniform(6, 13, (3, 5, 5, 5)).astype(np.float32)
    assert looked_up([ramp], places, (0.0,))[0] == pytest.approx(places[0], abs=1e-2)


def test_a_read_only_image_is_looked_up_without_a_warning():
    image = blobs(3)
    image.flags.writeable = False
    assert looked_up([image], np.full((3, 1, 1, 1), 8, dtype=np.float32), (0.0,)).shape == (1, 1, 1, 1)
