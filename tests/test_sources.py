"""Finding images: folders as people have them, both SynthRAD layouts, CSV tables, DICOM."""

import codecs
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creps.cohort.prepare import find_all_sources
from creps.cohort.sources import find_sources, synthrad_centre
from creps.cohort.splits import assign_splits, split_patients
from creps.cohort.table import read_table
from creps.errors import CohortError, InputError
from creps.io.itk import write_volume
from creps.settings import PreparationSettings
from creps.volume import Volume
from tests.test_dicom import stored, write_series

SMALL = Volume(np.ones((2, 2, 2)))


def touch(*paths):
    for path in paths:
        write_volume(SMALL, path, integer=True)


def synthrad_2023(root):
    for region, letter in (("brain", "B"), ("pelvis", "P")):
        for centre in "ABC":
            case = root / "Task1" / region / f"1{letter}{centre}001"
            touch(*(case / f"{name}.nii.gz" for name in ("mr", "ct", "mask")))
        (root / "Task1" / region / "overview").mkdir()
        (root / "Task1" / region / "overview" / "1BA001_train.png").write_bytes(b"png")


def synthrad_2025(root):
    for region in ("AB", "HN", "TH"):
        for centre in "AB":
            case = root / "Task1" / region / f"1{region}{centre}001"
            touch(*(case / f"{name}.mha" for name in ("mr", "ct", "mask")))


@pytest.mark.parametrize(
    ("layout", "region"),
    [(synthrad_2023, "brain"), (synthrad_2023, "pelvis")] + [(synthrad_2025, name) for name in ("AB", "HN", "TH")],
)
def test_synthrad_with_its_centres(tmp_path, layout, region):
    layout(tmp_path)
    found = find_all_sources(tmp_path / "Task1" / region)
    assert Counter(source.modality for source in found) == {"mr": len(found) // 2, "ct": len(found) // 2}
    assert {s.centre for s in found} == ({"A", "B", "C"} if layout is synthrad_2023 else {"A", "B"})
    assert all(s.mask is not None and s.mask.name.startswith("mask.") for s in found)
    assert found[0].shown == f"{found[0].case}/{found[0].path.name}"
    assert {s.patient for s in found} == {s.case for s in found}


@pytest.mark.parametrize(("layout", "names"), [(synthrad_2023, "brain, pelvis"), (synthrad_2025, "AB, HN, TH")])
def test_several_regions_are_refused_by_name(tmp_path, layout, names):
    layout(tmp_path)
    with pytest.raises(InputError, match=rf"folders of cases: {names}\. Each region needs its own model"):
        find_all_sources(tmp_path / "Task1")
    with pytest.raises(InputError, match=names):
        find_all_sources((tmp_path / "Task1", tmp_path / "Task1" / "brain"))


def test_centres_come_from_synthrad_folders_only():
    assert synthrad_centre("1BA001", "brain") == "A"
    assert synthrad_centre("1PC012", "pelvis") == "C"
    assert synthrad_centre("1THD100", "TH") == "D"
    for case, folder in [("1HM001", "train"), ("1PC001", "train"), ("1BA001", "pelvis"), ("1ABA001", "brain"),
                         ("1BA01", "brain"), ("x1BA001", "brain"), ("1HNA001", "head")]:  # fmt: skip
        assert synthrad_centre(case, folder) is None


def test_two_folders_one_folder_and_what_is_missing(tmp_path):
    touch(tmp_path / "mr" / "a.nii.gz", tmp_path / "ct" / "b.mha", tmp_path / "both" / "p" / "mr.nii.gz")
    assert [(s.modality, s.case) for s in find_all_sources((tmp_path / "mr", tmp_path / "ct"))] == [
        ("mr", "a"), ("ct", "b"),
    ]  # fmt: skip
    with pytest.raises(CohortError, match="holds no CT"):
        find_all_sources(tmp_path / "both")
    touch(tmp_path / "both" / "q" / "ct.mha")
    assert len(find_all_sources(tmp_path / "both")) == len(find_sources(tmp_path / "both")) == 2
    with pytest.raises(InputError, match="contains volume files that could be MR or CT"):
        find_all_sources(tmp_path / "mr")
    with pytest.raises(InputError, match="is not a folder"):
        find_all_sources(tmp_path / "none")


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "p" / "mr.nii.gz")

    def closed(path):
        raise PermissionError(13, "Permission denied", str(path / "p"))

    monkeypatch.setattr("pathlib.Path.iterdir", closed)
    with pytest.raises(InputError, match=r"p cannot be opened \(Permission denied\)\. Check its permissions"):
        find_sources(tmp_path, "mr")


def table(folder, text, *, name="cases.csv", bom=False):
    path = folder / name
    path.write_bytes((codecs.BOM_UTF8 if bom else b"") + text.encode())
    return path


@pytest.mark.parametrize(("delimiter", "bom"), [(",", False), (";", True)])
def test_a_table(tmp_path, delimiter, bom):
    touch(tmp_path / "x" / "one.nii.gz", tmp_path / "x" / "m.nii.gz", tmp_path / "p7" / "mr.mha", tmp_path / "two.nrrd")
    lines = [
        ["Modality", "path", "mask", "centre", "split", "patient", "case"],
        ["MR", "x/one.nii.gz", "x/m.nii.gz", "Genf", "train", "k1", ""],
        ["", "", "", "", "", "", ""],
        ["mr", "p7/mr.mha", "", "Zürich", "validation", "", ""],
        ["ct", str(tmp_path / "two.nrrd"), "", "", "train", "k1", "second"],
    ]
    found = read_table(table(tmp_path, "\n".join(delimiter.join(line) for line in lines), bom=bom))
    assert [(s.case, s.patient, s.modality, s.centre, s.split, s.shown) for s in found] == [
        ("one", "k1", "mr", "Genf", "train", "x/one.nii.gz"),
        ("p7", "p7", "mr", "Zürich", "validation", "p7/mr.mha"),
        ("second", "k1", "ct", None, "train", "two.nrrd"),
    ]
    assert found[0].mask.name == "m.nii.gz"
    assert assign_splits(found, PreparationSettings()) == {"k1": "train", "p7": "validation"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modality,path\nmr,none.nii", r"row 2, column 'path': none.nii does not exist"),
        ("modality,path\nmr,a.nii\nmri,b.nii", r"row 3, column 'modality': 'mri' is no modality\. Write mr or ct"),
        ("modality,path,mask\nmr,a.nii,gone.nii", r"row 2, column 'mask': gone.nii does not exist"),
        ("modality,path\nmr,", r"row 2, column 'path': is empty"),
        ("modality,path\nmr,notes.txt", r"row 2, column 'path': notes.txt has an unknown file extension"),
        ("modality,path,split\nmr,a.nii,test", r"row 2, column 'split': 'test' is no split"),
        ("modality,path,split\nmr,a.nii,train\nct,b.nii,", r"row 3, column 'split': is empty, while other rows"),
        ("modality,path,split,patient\nmr,a.nii,train,p\nct,b.nii,validation,p",
         r"row 3, column 'split': patient 'p' is in validation here and in train in row 2"),
        ("modality,path\nmr,a.nii\nmr,a.nii", r"row 3, column 'case': 'a' is the name of another MR already \(row 2\)"),
        ("modality,path,case\nmr,a.nii,x\nct,a.nii,y", r"row 3, column 'path': is the same image as in row 2"),
        ("modality,path,case\nmr,a.nii,../x", r"row 2, column 'case': '../x' cannot be a file's name"),
        ("modality,pfad\nmr,a.nii", r"row 1: unknown column 'pfad'\. Did you mean 'path'\? Known columns: case"),
        ("modality,path,center\nmr,a.nii,x", r"row 1: unknown column 'center'\. Did you mean 'centre'\?"),
        ("modality,path,path\nmr,a.nii,x", r"row 1: column 'path' appears twice"),
        ("path\na.nii", r"row 1: column 'modality' is missing"),
        ("modality,path\nmr,a.nii,oops", r"row 2, has 3 cells for 2 columns: 'oops'"),
        ("modality,path\n", "lists no image"),
        ("", "column 'modality' is missing"),
        ("modality,path\nct,folder", r"row 2, column 'path': The folder 'folder' contains no DICOM series of CT"),
    ],
)  # fmt: skip
def test_every_error_of_a_table_names_row_and_column(tmp_path, text, message):
    touch(tmp_path / "a.nii", tmp_path / "b.nii")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        read_table(table(tmp_path, text))
    assert "cases.csv" in str(caught.value)


def test_tables_that_are_no_text_or_not_alone(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_bytes("modality,path\nmr,Zürich.nii".encode("latin-1"))
    with pytest.raises(InputError, match=r"row 2, is not UTF-8"):
        read_table(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="Give the CSV file alone"):
        find_all_sources((path, tmp_path))


def test_dicom_folders_of_patients(tmp_path):
    """One patient under two folder names is one patient; names that tell who it is go nowhere."""
    write_series(tmp_path / "p1" / "study" / "mr", stored(), modality="MR", slope=None, patient="A-1")
    write_series(tmp_path / "p1" / "study" / "ct", stored(), patient="A-1")
    write_series(tmp_path / "again" / "ct", stored((5, 5, 4)), patient="A-1")
    write_series(tmp_path / "Jane_DOE" / "x", stored(), patient="B-2")
    found = find_all_sources(tmp_path)
    keys = {source.case: source.patient for source in found}
    assert keys["p1"] == keys["again"]
    (hidden,) = set(keys) - {"p1", "again"}
    assert hidden.startswith("patient-")
    assert hidden.removeprefix("patient-") == keys[hidden][:8]
    assert not any("DOE" in text or "A-1" in text for s in found for text in (s.case, s.patient, s.shown, s.name))
    assert len([s for s in found if s.modality == "ct"]) == 3


def test_several_series_of_a_patient_are_that_patients_problem(tmp_path):
    write_series(tmp_path / "p1" / "a", stored(), modality="MR", slope=None)
    write_series(tmp_path / "p1" / "b", stored((4, 5, 4)), modality="MR", slope=None)
    write_series(tmp_path / "p2", stored(), modality="MR", slope=None)
    first, second = find_sources(tmp_path, "mr")
    assert second.problem is None
    assert "holds 2 MR series" in str(first.problem)
    assert "4 slices, 3 x 0.9 x 0.7 mm" in str(first.problem)
    assert "CSV" in str(first.problem)
    rows = f"modality,path,case\nmr,p1/b,chosen\nmr,p2,other\nct,{tmp_path / 'p2'},x"
    with pytest.raises(
        InputError, match=r"row 4, column 'path': .*contains no DICOM series of CT; it holds 'head' \(MR"
    ):
        read_table(table(tmp_path, rows))
    chosen = read_table(table(tmp_path, rows.rpartition("\n")[0]))
    assert [(s.case, s.series.shape[0]) for s in chosen] == [("chosen", 4), ("other", 6)]
    assert chosen[0].patient == chosen[1].patient
    (tmp_path / "empty").mkdir()
    write_series(tmp_path / "loose", stored())
    with pytest.raises(InputError, match="Put the series of each patient into a separate folder"):
        find_sources(tmp_path / "loose", "ct")


@given(
    st.lists(st.sampled_from([None, "A", "B", "C"]), min_size=2, max_size=40), st.floats(0.05, 0.9), st.integers(0, 5)
)
def test_validation_takes_every_centre_in_turn(centres, fraction, seed):
    names = [f"p{i}" for i in range(len(centres))]
    known = {name: centre for name, centre in zip(names, centres, strict=True) if centre}
    splits = split_patients([names, []], fraction, seed, known)
    plain = split_patients([names, []], fraction, seed)
    chosen = Counter(centre for name, centre in zip(names, centres, strict=True) if splits[name] == "validation")
    assert sum(chosen.values()) == sum(split == "validation" for split in plain.values())
    there = Counter(centres)
    for a in there:
        for b in there:  # no centre is more than one ahead of another that has patients left
            assert chosen[a] <= chosen[b] + 1 or chosen[b] == there[b]


def test_a_masked_image_is_an_image_and_its_mask_is_none(tmp_path, caplog):
    touch(*(tmp_path / f"{name}.nii.gz" for name in ("p1_masked", "p2", "p2_mask")))
    assert [source.case for source in find_sources(tmp_path, "mr")] == ["p1_masked", "p2"]
    assert not caplog.messages
