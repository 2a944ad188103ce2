"""One spoilt patient or row leaves the others alone; what is passed over is told."""

from pathlib import Path

import pytest

from creps.cohort.sources import find_sources
from creps.cohort.table import read_table
from creps.errors import InputError
from tests.test_dicom import stored, write_series
from tests.test_sources import table, touch


def test_tables_with_something_before_the_header(tmp_path):
    touch(tmp_path / "real" / "a.nii")
    (tmp_path / "b.nii").symlink_to("real/a.nii")
    for start in ("\n\n", "sep=,\n", "sep=,\r\n\n"):
        (source,) = read_table(table(tmp_path, f"{start}modality,path\nmr,b.nii"))
        assert (source.case, source.shown) == ("b", "b.nii")  # as it is written, not where the link leads
        with pytest.raises(InputError, match=rf"row {2 + start.count(chr(10))}, column 'modality'"):
            read_table(table(tmp_path, f"{start}modality,path\nxx,b.nii"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modality,path\nmr,a\0.nii", "row 2, contains a NUL"),
        ("modality\tpath\nmr\ta.nii", "comma or semicolon"),
        (f"modality,path,case\nmr,a.nii,{'x' * 101}", r"row 2, column 'case': the name has 101 characters"),
        ("modality,path,split,patient\nmr,a.nii,train,P\nct,b.nii,validation,p", "row 3, column 'split'"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, message):
    touch(tmp_path / "a.nii", tmp_path / "b.nii")
    with pytest.raises(InputError, match=message):
        read_table(table(tmp_path, text))


def test_a_spoilt_series_of_a_table_is_that_cases_problem(tmp_path):
    for name in ("p1", "p2"):
        write_series(tmp_path / name, stored(), modality="MR", slope=None)
    (tmp_path / "p1" / "005.dcm").write_bytes(b"")
    first, second = read_table(table(tmp_path, "modality,path\nmr,p1\nmr,p2"))
    assert "row 2" in str(first.problem)
    assert "'p1' is empty" in str(first.problem)
    assert second.problem is None


def test_swapped_folders_of_series(tmp_path):
    write_series(tmp_path / "p1", stored())
    with pytest.raises(InputError, match=r"DICOM series of CT, none of MR\. Swap the folders"):
        find_sources(tmp_path, "mr")


def test_folders_passed_over_and_patients_found_twice_are_told(tmp_path, caplog, monkeypatch):
    touch(tmp_path / "brain" / "1BA001" / "MR.nii.gz", tmp_path / "brain" / "x" / "t1.nii.gz")
    (tmp_path / "brain" / "void").mkdir()
    monkeypatch.chdir(tmp_path / "brain")
    (source,) = find_sources(Path(), "mr")
    assert source.centre == "A"
    assert "'x' holds neither mr.* nor ct.*" in caplog.text
    assert "'void' is empty" in caplog.text
    for i, name in enumerate(("DOE_a", "DOE_b", "linked/series")):
        write_series(tmp_path / ("elsewhere" if i == 2 else "d") / name, stored(seed=i), modality="MR", slope=None,
                     patient="one" if i < 2 else "two")  # fmt: skip
    (tmp_path / "d" / "p").mkdir()
    (tmp_path / "d" / "p" / "s").symlink_to(tmp_path / "elsewhere" / "linked" / "series")
    first, second, third = find_sources(tmp_path / "d", "mr")
    assert second.case == f"{first.case}-2"
    assert second.name == f"MR '{second.case}'"
    assert third.case == "p"
    assert f"have the same patient ID: {first.case}, {second.case}" in caplog.text


def closed_to_us(monkeypatch, name):
    import pathlib

    original = pathlib.Path.open

    def refuse(path, *rest, **options):
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *rest, **options)

    monkeypatch.setattr(pathlib.Path, "open", refuse)


@pytest.mark.parametrize("kind", ["empty", "cut", "closed", "doubled", "two masks", "named"])
def test_a_spoilt_patient_is_that_patients_problem(tmp_path, monkeypatch, kind):
    for i in range(3):
        write_series(tmp_path / f"p{i}" / "study", stored(seed=i), modality="MR", slope=None, patient=f"N-{i}77")
    spoilt = tmp_path / "p1" / "study" / "005.dcm"
    if kind == "empty":
        spoilt.write_bytes(b"")
    elif kind == "cut":
        spoilt.write_bytes(spoilt.read_bytes()[:400])
    elif kind == "closed":
        spoilt.rename(spoilt.with_name("locked"))
        closed_to_us(monkeypatch, "locked")
    elif kind == "named":
        spoilt.rename(spoilt.with_name("DOE_5.dcm")).write_bytes(b"")
    else:
        touch(tmp_path / "p1" / "mr.nii.gz", tmp_path / "p1" / ("mr.nii" if kind == "doubled" else "mask.mha"))
        touch(tmp_path / "p1" / "MASK.nii")
    found = find_sources(tmp_path, "mr")
    assert [source.case for source in found] == ["p0", "p1", "p2"]
    assert [source.problem is None for source in found] == [True, False, True]
    message = str(found[1].problem)
    assert "'p1'" in message
    assert str(tmp_path) not in message
    assert "DOE" not in message
