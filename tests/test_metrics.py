import numpy as np
import pytest

from creps.metrics.image import edge_sharpness, histogram_distance_hu, mean_absolute_error_hu, mean_error_hu, psnr_db
from creps.metrics.segmentation import bone_dice, dice, surface_distance
from creps.metrics.synthrad import synthrad2023_ssim, synthrad2025_ms_ssim
from creps.metrics.tissues import error_by_class, tissue_classes


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


FIGURES = {
    "mae": mean_absolute_error_hu,
    "bias": mean_error_hu,
    "histogram": histogram_distance_hu,
    "psnr": lambda *images: psnr_db(*images, (-1024, 3000)),
    "edges": lambda *images: edge_sharpness(*images, (1, 1, 1)),
    "ssim": synthrad2023_ssim,
    "ms-ssim": synthrad2025_ms_ssim,
    "classes": lambda ct, sct, mask: error_by_class(ct, sct, mask, *tissue_classes(ct)),
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32])
def test_a_mask_of_numbers_is_refused(figure, kind):
    """As an index, 0 and 1 would be the first two slices."""
    ct, sct, mask = golden((12, 12, 12))
    with pytest.raises(ValueError, match="must be boolean: use mask > 0"):
        figure(ct, sct, mask.astype(kind))


def test_segmentations_of_numbers_are_refused():
    a = np.ones((3, 3, 3), bool)
    for first, second in ((255 * a.astype(np.uint8), a), (a, a.astype(np.uint8))):
        for figure in (dice, lambda a, b: surface_distance(a, b, (1, 1, 1))):
            with pytest.raises(ValueError, match="must be boolean: use mask > 0"):
                figure(first, second)
    with pytest.raises(ValueError, match="must be boolean"):
        bone_dice(1000.0 * a, 1000.0 * a, a.astype(np.uint8))


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_values_that_are_not_finite_count_only_inside_the_mask(figure, value, which):
    images = golden((24, 24, 24))
    mask, array = images[2], images[which]
    before = figure(*images) if figure is not FIGURES["ms-ssim"] else None
    array[0, 0, 0] = value
    if before is not None:
        assert figure(*images) == before
    array[tuple(np.argwhere(mask)[7])] = value
    with pytest.raises(ValueError, match=f"^{('ct', 'sct')[which]} has NaN or infinite values inside the mask"):
        figure(*images)


def test_edges_without_a_gradient_have_no_sharpness():
    """Central differences at a plate that is one voxel thin are 0; beside a NaN they are NaN."""
    ct = np.zeros((9, 9, 9))
    ct[4] = 1000
    plate = ct > 0
    with pytest.raises(ValueError, match="no gradient at its edges"):
        edge_sharpness(ct, ct, plate, (1, 1, 1))
    sct = ct.copy()
    sct[3, 4, 4] = np.nan
    ct[5] = 1000
    with pytest.raises(ValueError, match="beside the mask is not finite"):
        edge_sharpness(ct, sct, plate, (1, 1, 1))
