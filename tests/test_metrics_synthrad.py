"""The challenges' metrics equal their own code, whose figures on a closed-form volume are known."""

import numpy as np
import pytest

from creps.metrics.synthrad import (
    RANGE_4024_HU,
    RANGE_4095_HU,
    synthrad2023_mae_hu,
    synthrad2023_psnr_db,
    synthrad2023_ssim,
    synthrad2025_mae_hu,
    synthrad2025_ms_ssim,
    synthrad2025_psnr_db,
)
from tests.test_metrics import golden

ROWS = [
    ((40, 64, 56), 1, (32.55742353, 40.94522136, 41.09714004, 0.98949297, 0.99809645, 0.99810497)),
    ((40, 64, 56), 4, (130.22969411, 31.40054743, 31.50904918, 0.97352732, 0.99437352, 0.99440252)),
    ((100, 104, 110), 1, (32.42397280, 40.80721200, 40.95913068, 0.98933489, 0.99798439, 0.99799290)),
]


@pytest.mark.parametrize(("shape", "factor", "expected"), ROWS)
def test_every_figure_equals_the_official_code(shape, factor, expected):
    ct, sct, mask = golden(shape)
    images = (factor * ct, factor * sct, mask)
    found = (
        synthrad2023_mae_hu(*images),
        synthrad2023_psnr_db(*images),
        synthrad2025_psnr_db(*images),
        synthrad2023_ssim(*images),
        synthrad2025_ms_ssim(*images, RANGE_4024_HU),
        synthrad2025_ms_ssim(*images, RANGE_4095_HU),
    )
    assert found == pytest.approx(expected, abs=1e-6)
    assert synthrad2025_mae_hu(*images) == found[0]
    assert synthrad2025_psnr_db(*images, RANGE_4024_HU) == found[1]
    assert synthrad2025_ms_ssim(*images) == found[5]


def test_what_lies_outside_the_mask_does_not_count():
    ct, sct, mask = golden((40, 64, 56))
    rng = np.random.default_rng(0)
    noisy = np.where(mask, sct, rng.uniform(-3000, 3000, mask.shape))
    for figure in (synthrad2023_psnr_db, synthrad2023_ssim, synthrad2025_psnr_db, synthrad2025_ms_ssim):
        assert figure(ct, noisy, mask) == figure(ct, sct, mask)


def test_a_mask_off_the_middle_has_the_ssim_of_the_whole_map():
    """Only the box around the mask is computed; that must not be seen."""
    from skimage.metrics import structural_similarity

    ct, sct, _ = golden((24, 30, 28))
    mask = np.zeros(ct.shape, bool)
    mask[0:9, 12:25, 20:28] = True  # reaches two faces of the image
    x, y = (np.where(mask, np.clip(array, -1024, 3000), -1024) + 1024 for array in (ct, sct))
    _, whole = structural_similarity(x, y, win_size=7, data_range=4024, full=True)
    inner = (slice(3, -3),) * 3
    assert synthrad2023_ssim(ct, sct, mask) == pytest.approx(whole[inner][mask[inner]].mean(), abs=1e-12)


def test_equal_images():
    ct, _, mask = golden((40, 64, 56))
    assert synthrad2023_ssim(ct, ct, mask) == pytest.approx(1)
    assert synthrad2025_ms_ssim(ct, ct, mask) == pytest.approx(1)
    with pytest.raises(ValueError, match="infinite"):
        synthrad2023_psnr_db(ct, ct, mask)


def test_what_cannot_be_computed_says_why():
    ct, sct, mask = golden((40, 64, 56))
    corner = np.zeros_like(mask)
    corner[:3, :3, :3] = True
    with pytest.raises(ValueError, match="level 5"):
        synthrad2025_ms_ssim(ct, sct, mask & (np.indices(mask.shape)[2] < 20))
    with pytest.raises(ValueError, match="no voxel of the mask is more than 3 voxels"):
        synthrad2023_ssim(ct, sct, corner)
    with pytest.raises(ValueError, match="needs 7 voxels along every axis; the images have 6 x 64 x 56"):
        synthrad2023_ssim(ct[:6], sct[:6], mask[15:21])
    for figure in (synthrad2023_mae_hu, synthrad2023_psnr_db, synthrad2023_ssim, synthrad2025_ms_ssim):
        with pytest.raises(ValueError, match="the mask is empty"):
            figure(ct, sct, mask & ~mask)
        with pytest.raises(ValueError, match="shapes differ"):
            figure(ct, sct[1:], mask)
