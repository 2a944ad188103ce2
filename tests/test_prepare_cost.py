"""What preparing does, counted rather than timed: files read, arrays resampled, distances mapped, slices filled."""

import weakref
from collections import Counter

import pytest
import SimpleITK as sitk
from scipy import ndimage

from creps.cohort import case as preparing
from creps.cohort.prepare import prepare
from creps.io.image import ImageSource
from creps.preprocessing import preparation, resample
from creps.preprocessing.mask import body_mask_ct, body_mask_mr
from creps.settings import load_settings
from tests.conftest import TINY, ball_head


@pytest.fixture
def counted(monkeypatch):
    """Counts calls by the function's name."""
    calls = Counter()

    def count(owner, name):
        original = getattr(owner, name)

        def counting(*arguments, **options):
            calls[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    for owner, name in (
        (ImageSource, "read"),
        (ImageSource, "sha256"),
        (preparation, "resample_imaged"),
        (preparation, "body_mask_mr"),
        (preparation, "body_mask_ct"),
        (ndimage, "spline_filter"),
        (ndimage, "affine_transform"),
        (ndimage, "binary_fill_holes"),
        (ndimage, "label"),
        (resample, "_along"),
        (sitk, "SignedMaurerDistanceMap"),
    ):
        count(owner, name)
    return calls


def test_each_image_is_read_resampled_and_masked_once(head_folders, tmp_path, counted):
    mr, ct = head_folders
    cohort = prepare(
        (mr, ct), tmp_path / "c", settings=load_settings(overrides=TINY | {"preparation.spacing_mm": [5.0, 4.5, 4.5]})
    )
    cases = len(cohort.manifest.cases)
    mrs = sum(case.modality == "mr" for case in cohort.manifest.cases)
    for name in ("read", "sha256", "resample_imaged", "spline_filter"):
        assert counted[name] == cases, name
    assert counted["_along"] == 3 * cases
    assert (counted["body_mask_mr"], counted["body_mask_ct"]) == (2 * mrs, cases - mrs)  # an MR with little air again
    assert counted["affine_transform"] == 0


def test_a_second_run_reads_hashes_alone(head_folders, tmp_path, counted):
    mr, ct = head_folders
    settings = load_settings(overrides=TINY)
    cases = len(prepare((mr, ct), tmp_path / "c", settings=settings).manifest.cases)
    counted.clear()
    prepare((mr, ct), tmp_path / "c", settings=settings, resume=True)
    assert counted == {"sha256": cases}


@pytest.mark.parametrize("find", [body_mask_mr, body_mask_ct])
def test_a_mask_maps_no_distance_and_searches_six_times(find, counted):
    mr, ct = ball_head(0)
    assert find(mr if find is body_mask_mr else ct).any()
    assert counted["SignedMaurerDistanceMap"] == counted["binary_fill_holes"] == 0
    assert counted["label"] <= 6  # two or three for pieces, one for the holes of each axis


def test_what_is_prepared_is_not_kept(head_folders, tmp_path, monkeypatch):
    """Of all the cases only one is in memory at a time."""
    alive, most = [], []
    original = preparing._prepared

    def watched(task, mask):
        prepared = original(task, mask)
        alive[:] = [one for one in alive if one() is not None] + [weakref.ref(prepared.array)]
        most.append(len(alive))
        return prepared

    monkeypatch.setattr(preparing, "_prepared", watched)
    prepare(head_folders, tmp_path / "c", settings=load_settings(overrides=TINY))
    assert len(most) == 7
    assert max(most) == 1
