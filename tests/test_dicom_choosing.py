"""Which series of a folder is meant, and how several are shown."""

import pytest

from creps.errors import InputError
from creps.io.dicom.read.series import one_series
from tests.test_dicom import stored, write_series
from tests.written_dicom import read_image


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    for i, (text, uid) in enumerate([("t1", "1.2.3.45671"), ("t1 Gd", "1.2.3.145671"), ("T2 tra", "1.2.3.9.8765")]):

        def change(data, _, text=text, uid=uid):
            data.SeriesDescription, data.SeriesInstanceUID = text, uid

        write_series(folder / str(i), stored((3 + i, 5, 4)), modality="MR", slope=None, change=change)
    return folder


@pytest.mark.parametrize(
    ("selector", "slices"),
    [("1", 3), ("2", 4), ("3", 5), ("1.2.3.145671", 4), ("45671", 3), (".145671", 4), ("9.8765", 5), ("8765", 5),
     ("145671", 4),
     ("t1", 3), ("gd", 4), ("TRA", 5), (" t1 gd ", 4)],
)  # fmt: skip
def test_a_series_is_chosen_by_number_uid_or_text(study, selector, slices):
    assert one_series(study, "mr", selector=selector).shape[0] == slices
    assert read_image(study, selector=selector).shape[0] == slices


@pytest.mark.parametrize(
    ("selector", "count"),
    [("0", "no MR"), ("4", "no MR"), ("t", "3 MR"), ("671", "no MR"), ("5671", "no MR"), ("flair", "no MR"),
     ("", "no MR"), ("²", "no MR")],
)  # fmt: skip
def test_what_chooses_none_or_several_lists_them(study, selector, count):
    listed = (
        r"\[1\] 't1' \(MR, 3 slices, 3 x 0\.9 x 0\.7 mm, UID \.{3}45671\), \[2\] 't1 Gd' \(MR, 4 .*UID \.{3}145671\),"
        r" \[3\] 'T2 tra' .*series=…"
    )
    with pytest.raises(InputError, match=rf"holds {count} series '{selector}'; there are {listed}"):
        one_series(study, "mr", selector=selector)
    with pytest.raises(InputError, match=rf"holds 3 MR series: {listed}"):
        one_series(study, "mr", selectable=True)


def test_a_choice_needs_a_folder(tmp_path, study):
    (tmp_path / "x.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="not a folder of DICOM series"):
        read_image(tmp_path / "x.nii.gz", selector="2")
    with pytest.raises(InputError, match="contains no DICOM series of CT"):
        read_image(study, selector="2", modality="ct")


def test_a_description_is_shown_without_the_patient(tmp_path):
    def change(data, i):
        data.SeriesDescription = "T1 Doe_SECRET42 jane-tra"

    series = one_series(write_series(tmp_path / "a", stored(), change=change))
    assert series.title == "T1 ..._... ...-tra"
    assert series.description == "T1 Doe_SECRET42 jane-tra"
