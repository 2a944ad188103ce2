"""Bad input: one sentence on what is wrong, one on what to do, and the others go on."""

import numpy as np
import pytest

from creps.cohort.prepare import prepare
from creps.errors import CohortError, InputError
from creps.io.image import ImageSource
from creps.io.itk import write_volume
from creps.preprocessing.plausibility import check_extent
from creps.volume import Volume
from tests.conftest import ball_head
from tests.test_dicom import write_series
from tests.test_prepare import settings


@pytest.fixture
def folders(tmp_path):
    for i in range(4):
        write_volume(ball_head(i)[0], tmp_path / "mr" / f"m{i}.nii.gz")
        write_volume(ball_head(10 + i)[1], tmp_path / "ct" / f"c{i}.nii.gz")
    return tmp_path / "mr", tmp_path / "ct"


def only_failure(folders, tmp_path, **changes):
    cohort = prepare(folders, tmp_path / "c", settings=settings(**changes))
    (failure,) = cohort.failures()
    assert len(cohort.manifest.cases) >= 7
    assert (failure.modality, failure.case) not in {(c.modality, c.case) for c in cohort.manifest.cases}
    assert str(tmp_path) not in str(failure)
    return f"{failure.reason} {failure.remedy}"


def spaced(volume, factor):
    return Volume(volume.array, tuple(factor * s for s in volume.spacing_mm))


def test_spacing_in_cm_or_m(folders, tmp_path):
    mr = ball_head(20)[0]
    write_volume(spaced(mr, 0.1), folders[0] / "cm.nii.gz")
    assert "which is impossible for a patient. Check the spacing in its header: it must be in mm" in only_failure(
        folders, tmp_path
    )
    write_volume(spaced(Volume(np.pad(mr.array, ((0, 20), (0, 20), (0, 20))), mr.spacing_mm), 0.13), tmp_path / "x.nii")
    large = Volume(np.zeros((256, 256, 64)), (0.1, 0.1, 0.5))
    with pytest.raises(InputError, match="which is impossible for a patient"):
        check_extent(large.shape, large.extent_mm, "x")  # 25 cm written as 25.6 "mm"
    check_extent((25, 256, 256), (100.0, 180.0, 180.0), "x")


def test_an_extent_unlike_the_others(folders, tmp_path):
    write_volume(spaced(ball_head(20)[0], 6.0), folders[0] / "odd.nii.gz")
    text = only_failure(folders, tmp_path)
    assert "odd.nii.gz measures 816 mm along its longest axis, the cohort's median MR 136 mm" in text
    assert "in mm, not cm or m" in text


def test_one_case_a_hundred_times_larger_is_refused_before_it_is_read(folders, tmp_path, monkeypatch):
    write_volume(Volume(np.zeros((140, 160, 130), np.int16), (1, 1, 1)), folders[1] / "huge.nii.gz", integer=True)
    seen = []
    original = ImageSource.read
    monkeypatch.setattr(ImageSource, "read", lambda source: seen.append(source.path.name) or original(source))
    text = only_failure(folders, tmp_path)
    assert "huge.nii.gz has 2.91 million voxels, 102 times as many as the cohort's median CT" in text
    assert "resample or crop" in text
    assert "huge.nii.gz" not in seen


def test_one_mr_with_values_a_hundred_times_larger(folders, tmp_path):
    mr = ball_head(20)[0]
    write_volume(mr.with_array(mr.array * 100), folders[0] / "bright.nii.gz")
    text = only_failure(folders, tmp_path, **{"preparation.mr_scale": 1000})
    assert "bright.nii.gz has other units than the other MRs of the cohort" in text
    assert "preparation.mr_scale auto" in text
    cohort = prepare(folders, tmp_path / "auto", settings=settings())
    assert not cohort.failures()


def test_mrs_of_two_units_under_a_fixed_scale(folders, tmp_path):
    for i in range(2):
        path = folders[0] / f"m{i}.nii.gz"
        mr = ball_head(i)[0]
        write_volume(mr.with_array(mr.array * 40), path)
    with pytest.raises(CohortError, match=r"different units.*m[23]\.nii\.gz reaches 9.*m[01]\.nii\.gz reaches.*auto"):
        prepare(folders, tmp_path / "c", settings=settings(**{"preparation.mr_scale": 1000}))
    assert not (tmp_path / "c").exists()
    assert not prepare(folders, tmp_path / "c", settings=settings()).failures()


def test_mr_and_ct_swapped(folders, tmp_path):
    with pytest.raises(CohortError, match=r"MR and CT are swapped: .*Give MR first and CT second"):
        prepare((folders[1], folders[0]), tmp_path / "c", settings=settings())
    assert not (tmp_path / "c").exists()
    assert not (tmp_path / "c.preparing").exists()  # nothing was prepared


def test_some_cts_are_raw(folders, tmp_path):
    ct = ball_head(30)[1]
    write_volume(ct.with_array(ct.array + 1024), folders[1] / "raw.nii.gz")
    assert "1024 subtracted" in only_failure(folders, tmp_path)


@pytest.mark.parametrize(
    ("modality", "value", "largest"),
    [("ct", 2e6, "1e+06"), ("ct", 3e38, "1e+06"), ("mr", 2e10, "1e+10"), ("mr", 3e38, "1e+10")],
)
def test_values_that_no_scanner_writes(folders, tmp_path, modality, value, largest):
    volume = ball_head(30)[modality == "ct"]
    array = volume.array.copy()
    array[10, 10, 10] = value
    write_volume(volume.with_array(array), folders[modality == "ct"] / "huge.nii.gz")
    assert f"no scanner produces values beyond {largest}" in only_failure(folders, tmp_path)


def test_a_prepared_array_that_is_not_finite_is_not_stored(folders, tmp_path, monkeypatch):
    from dataclasses import replace

    from creps.cohort import case as preparing

    original = preparing.prepare_mr

    def spoil(mr, settings, name, mask):
        prepared = original(mr, settings, name, mask)
        return replace(prepared, array=prepared.array * np.nan) if "m1" in name else prepared

    monkeypatch.setattr(preparing, "prepare_mr", spoil)
    assert "m1.nii.gz has values that are NaN or infinite after preparation" in only_failure(folders, tmp_path)


def test_one_image_under_two_names(folders, tmp_path):
    write_volume(ball_head(0)[0], folders[0] / "z_again.mha")  # another format of the same image
    text = only_failure(folders, tmp_path)
    assert "z_again.mha is the same image as m0.nii.gz, under another patient's name ('z_again' and 'm0')" in text
    assert "Delete one of them" in text


def test_a_truncated_file_and_one_without_permission(folders, tmp_path, monkeypatch):
    path = folders[1] / "c1.nii.gz"
    path.write_bytes(path.read_bytes()[:3000])
    assert "c1.nii.gz is truncated or damaged" in only_failure(folders, tmp_path)
    write_volume(ball_head(11)[1], path)
    allowed = __import__("os").access
    monkeypatch.setattr("os.access", lambda p, mode: "c1" not in str(p) and allowed(p, mode))
    cohort = prepare(folders, tmp_path / "d", settings=settings())
    (failure,) = cohort.failures()
    assert str(failure).endswith("c1.nii.gz cannot be opened (permission denied). Check its permissions.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            None,
            "(no NIfTI header: its first 4 bytes are not a header size). It may be truncated or damaged",
        ),
        ("cut", "mask.nii.gz cannot be read as an image (no NIfTI header: only 100 of its 348 bytes are there)"),
        (0.0, r"No body was found in the mask of p4/mr.nii.gz"),
        ("shifted", r"mask of p4/mr.nii.gz is on a different grid from its image"),
    ],
)
def test_masks_that_cannot_be_used(tmp_path, content, message):
    for i in range(4):
        write_volume(ball_head(i)[0], tmp_path / "data" / f"p{i}" / "mr.nii.gz")
        write_volume(ball_head(10 + i)[1], tmp_path / "data" / f"q{i}" / "ct.nii.gz")
    mr = ball_head(20)[0]
    write_volume(mr, tmp_path / "data" / "p4" / "mr.nii.gz")
    path = tmp_path / "data" / "p4" / "mask.nii.gz"
    if content is None:
        path.write_bytes(b"no mask")
    elif content == "cut":
        write_volume(mr, tmp_path / "m.nii")
        path.write_bytes((tmp_path / "m.nii").read_bytes()[:100])
    elif content == "shifted":
        write_volume(Volume(np.ones(mr.shape), mr.spacing_mm, (99, 0, 0)), path)
    else:
        write_volume(mr.with_array(np.full(mr.shape, content)), path)
    assert message in only_failure(tmp_path / "data", tmp_path)


def test_all_in_validation(folders, tmp_path, caplog):
    lines = [f"{p.parent.name},{p},{{}}" for folder in folders for p in sorted(folder.iterdir())]
    table = tmp_path / "cases.csv"
    for split in ("validation", "train"):
        table.write_text("\n".join(["modality,path,split", *lines]).replace("{}", split))
        if split == "validation":
            with pytest.raises(CohortError, match="All cases are in validation"):
                prepare(str(table), str(tmp_path / "c"), settings=settings())
    prepare(str(table), str(tmp_path / "c"), settings=settings())
    assert "No MR is in validation" in caplog.text


def test_no_ct_at_all(tmp_path):
    (tmp_path / "cases.csv").write_text("modality,path\nmr,a.nii\n")
    write_volume(ball_head(0)[0], tmp_path / "a.nii")
    with pytest.raises(CohortError, match=r"cases\.csv holds no CT\. A cohort needs MR and CT"):
        prepare(tmp_path / "cases.csv", tmp_path / "c", settings=settings())


def test_a_full_disk_stops_at_once(folders, tmp_path, monkeypatch):
    def full(path, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("creps.cohort.case.np.save", full)
    with pytest.raises(OSError, match=r"No space left.*m0\.npy"):
        prepare(folders, tmp_path / "c", settings=settings())
    assert not (tmp_path / "c").exists()


def test_dicom_patients_become_a_cohort_without_their_names(tmp_path):
    """MR in DICOM, one series with a missing slice; CT in DICOM; the same patient in both."""
    for i in range(3):
        mr, ct = ball_head(i)
        spoil = (lambda _, k: "leave out" if k == 7 else None) if i == 2 else None
        write_series(tmp_path / "mr" / f"DOE_{i}", np.rint(mr.array), spacing=mr.spacing_mm, modality="MR", slope=None,
                     patient=f"SECRET-{i}", change=spoil)  # fmt: skip
        write_series(tmp_path / "ct" / f"x{i}", np.rint(ct.array + 1024).clip(0), spacing=ct.spacing_mm,
                     patient=f"SECRET-{i + 1}")  # fmt: skip
    cohort = prepare((tmp_path / "mr", tmp_path / "ct"), tmp_path / "c", settings=settings(), jobs=1)
    (failure,) = cohort.failures()
    assert "misses 1 slice between" in failure.reason
    patients = {case.modality: {c.patient for c in cohort.manifest.cases if c.modality == case.modality}
                for case in cohort.manifest.cases}  # fmt: skip
    assert len(patients["mr"] & patients["ct"]) == 1
    written = "".join(path.read_text() for path in (tmp_path / "c").glob("*.json"))
    names = " ".join(str(path.relative_to(tmp_path)) for path in (tmp_path / "c").rglob("*"))
    for secret in ("SECRET", "DOE", "Jane"):
        assert secret not in written
        assert secret not in names
    again = prepare((tmp_path / "mr", tmp_path / "ct"), tmp_path / "c", settings=settings(), resume=True)
    assert again.manifest.cases == cohort.manifest.cases
