"""DICOM files that are cut short, malformed or named after a patient."""

import pytest

from creps.errors import InputError
from creps.io.dicom.series import find_series, one_series
from creps.io.read import read_image
from tests.test_dicom import stored, write_series


@pytest.mark.parametrize(
    ("length", "message"),
    [(0, "is empty"), (1, "no DICOM header"), (100, "no DICOM header"), (131, "no DICOM header"),
     (132, "header ends early"), (500, "header ends early"), (-30, "truncated slice"), ("zeros", "no DICOM header")],
)  # fmt: skip
@pytest.mark.parametrize("name", ["005.dcm", "IM5", "1.2.5"])
def test_a_file_cut_anywhere_is_never_passed_over(tmp_path, length, message, name):
    """The last slice: without it the stack would still be regular."""
    path = write_series(tmp_path / "s", stored()) / "005.dcm"
    content = path.read_bytes()
    path.rename(path.with_name(name))
    path = path.with_name(name)
    path.write_bytes(bytes(len(content)) if length == "zeros" else content[:length])
    if length == 0 and name != "005.dcm":
        return  # an empty file of any other name is no image
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "s")


@pytest.mark.parametrize(
    ("tag", "kind", "content"),
    [("PixelSpacing", "DS", b"4,0\\4,0"), ("PixelSpacing", "DS", b"4.0 "), ("PixelSpacing", "DS", b"abc "),
     ("ImagePositionPatient", "DS", b"a\\b\\c "), ("RescaleSlope", "DS", b"1,0 "), ("Rows", "US", b"\1\0\1\0"),
     ("NumberOfFrames", "IS", b"many")],
)  # fmt: skip
@pytest.mark.parametrize("index", [0, 3])
def test_malformed_values_are_refused_with_a_sentence(tmp_path, tag, kind, content, index):
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    def spoil(data, i):
        if i == index:
            number = Tag(tag_for_keyword(tag))
            data._dict[number] = RawDataElement(number, kind, len(content), content, 0, False, True)

    folder = write_series(tmp_path / "s", stored(), change=spoil)
    find_series(folder)  # a first look goes on
    if tag == "NumberOfFrames":
        return
    with pytest.raises(InputError, match=rf"without a valid {tag}|size that is not positive|size \("):
        read_image(folder)


def test_names_in_folder_names_are_found_however_they_are_written(tmp_path):
    def called(name, patient="AB_12345"):
        def change(data, i):
            data.PatientName = name

        return one_series(write_series(tmp_path / name.replace("=", "x"), stored(), change=change, patient=patient))

    series = called("Müller-Li,Xu_Anna")
    for folder in ("mueller", "scan3", "alixb", "ab12", "12"):
        assert not series.names_patient(folder)
    for folder in ("MÜLLER", "mu\u0308ller", "scan_Li_2", "xu", "xx-anna", "12345", "ab_12345", "AB 1"):
        assert series.names_patient(folder)
    assert called("Doe=Roe").names_patient("roe_2")
