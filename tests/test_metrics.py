import numpy as np
import pytest

from creps.metrics.image import mean_absolute_error_hu, mean_error_hu
from creps.metrics.segmentation import bone_dice, dice


def golden(shape):
    """The closed-form volume whose MAE the challenge's own code gives."""
    k, j, i = np.meshgrid(*map(np.arange, shape), indexing="ij")
    ct = 1000 * np.sin(0.1 * i) * np.cos(0.15 * j) + 20 * k - 500
    sct = ct + 50 * np.sin(0.3 * (i + j + k)) + 10
    (nz, ny, nx), (ck, cj, ci) = shape, [(n - 1) / 2 for n in shape]
    mask = ((k - ck) / (0.45 * nz)) ** 2 + ((j - cj) / (0.40 * ny)) ** 2 + ((i - ci) / (0.42 * nx)) ** 2 <= 1
    return ct, sct, mask


@pytest.mark.parametrize(
    ("shape", "factor", "voxels", "mae"),
    [
        ((40, 64, 56), 1, 45376, 32.55742353),
        ((40, 64, 56), 4, 45376, 130.22969411),
        ((100, 104, 110), 1, 362200, 32.42397280),
    ],
)
def test_mae_equals_the_official_code(shape, factor, voxels, mae):
    ct, sct, mask = golden(shape)
    assert mask.sum() == voxels
    assert mean_absolute_error_hu(factor * ct, factor * sct, mask) == pytest.approx(mae, abs=1e-6)


def test_bias_is_signed():
    ct, mask = np.zeros((3, 3, 3)), np.ones((3, 3, 3), bool)
    assert mean_error_hu(ct, ct + 5, mask) == 5
    assert mean_error_hu(ct + 5, ct, mask) == -5


def test_dice():
    a, b = np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)
    a[0], b[:, 0] = True, True
    assert dice(a, b) == 0.5
    assert dice(a, a) == 1
    with pytest.raises(ValueError, match="empty"):
        dice(~a & a, a & ~a)
    ct = np.where(a, 1000.0, 0.0)
    assert bone_dice(ct, ct + 200, np.ones_like(a)) == 1
    assert bone_dice(ct, ct, b) == 1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        mean_error_hu(np.zeros((2, 2, 2)), np.zeros((2, 2, 3)), np.ones((2, 2, 2), bool))
    with pytest.raises(ValueError, match="empty"):
        mean_error_hu(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), np.zeros((2, 2, 2), bool))
    with pytest.raises(ValueError, match="shapes differ"):
        dice(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool))
