"""Headers are read once per file, kept small, and shared without being changed."""

import ast
import copy
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.tag import Tag

import creps.io.dicom
from creps.errors import InputError
from creps.io.dicom.read.acquisition import Acquisition
from creps.io.dicom.read.elements import items, text, value, words
from creps.io.dicom.read.headers import GROUPS, FileHeader, read_header
from creps.io.dicom.read.series import find_series, one_series
from creps.io.dicom.read.volume import read_series
from creps.io.dicom.write.ct import write_ct
from creps.io.dicom.write.identity import SourceSeries
from creps.io.image import ImageSource
from tests.test_dicom import stored, write_series
from tests.written_dicom import DERIVATION, ct_volume, write_mr


@pytest.fixture
def parsed(monkeypatch):
    """How often each file is parsed."""
    calls = Counter()
    original = pydicom.dcmread

    def counting(file, *arguments, **options):
        calls[Path(getattr(file, "name", file)).name] += 1
        return original(file, *arguments, **options)

    monkeypatch.setattr(pydicom, "dcmread", counting)
    return calls


@pytest.mark.parametrize("multi_frame", [False, True])
def test_a_file_is_parsed_once_for_its_header_and_once_for_its_pixels(tmp_path, parsed, multi_frame):
    source = ImageSource.find(write_mr(tmp_path / "mr", multi_frame=multi_frame, slices=3), modality="mr")
    source.acquisition()
    SourceSeries.of(source.series)
    source.record()
    assert source.series.shape[0] == 3
    assert set(parsed.values()) == {1}
    assert len(parsed) == len(source.series.files)
    parsed.clear()
    classic = ImageSource.find(write_series(tmp_path / "s", stored(), modality="MR"))
    classic.read()
    classic.acquisition()
    classic.sha256()
    assert set(parsed.values()) == {2}


def test_headers_that_were_not_kept_are_read_again_and_say_the_same(tmp_path, parsed):
    series = one_series(write_series(tmp_path / "s", stored(), modality="MR"))
    again = series.without_headers()
    assert again == series
    assert Acquisition.of(again) == Acquisition.of(series)
    np.testing.assert_array_equal(read_series(again).array, read_series(series).array)


def test_every_attribute_that_is_asked_for_is_kept():
    """A group that is dropped would make its attributes look absent."""
    package = Path(creps.io.dicom.__file__).parent
    modules = [*(package / "read").glob("*.py"), package / "write" / "identity.py", package / "write" / "body_parts.py"]
    texts = {
        node.value
        for module in modules
        if module.name not in ("structures.py", "pixels.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value
    }
    names = {name: Tag(tag_for_keyword(name)) for name in texts if tag_for_keyword(name) is not None}
    assert len(names) > 80
    written = {"PurposeOfReferenceCodeSequence", "ContributionDateTime", "MediaStorageSOPClassUID", "TransferSyntaxUID"}
    assert {name for name, tag in names.items() if tag.group not in GROUPS} <= written


def test_pixels_and_large_private_groups_are_not_kept(tmp_path):
    def change(data, i):
        data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"x" * 10_000)
        data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", "800")

    path = write_series(tmp_path / "s", stored(), modality="MR", change=change) / "002.dcm"
    header = read_header(path)
    assert not {0x0029, 0x7FE0} & {tag.group for tag in header.dataset.keys()}  # noqa: SIM118 - elements, not tags
    assert Acquisition.of(one_series(path)).diffusion


def test_of_other_objects_only_the_kind_is_read(tmp_path):
    written = write_ct(tmp_path / "ct", ct_volume(), SourceSeries.of(one_series(write_mr(tmp_path / "mr"))), DERIVATION)
    data = pydicom.dcmread(written.files[0])
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
    data.save_as(tmp_path / "pet.dcm")
    assert set(read_header(tmp_path / "pet.dcm").dataset.dir()) == {"SOPClassUID", "SeriesInstanceUID", "Rows"}
    assert find_series(tmp_path / "pet.dcm") == []


def test_no_reader_changes_the_headers_that_others_share(tmp_path):
    series = one_series(write_mr(tmp_path / "mr"))
    before = copy.deepcopy([header.dataset for header in series.headers])
    SourceSeries.of(series).deidentified("Case 1")
    Acquisition.of(series)
    assert [header.dataset for header in series.headers] == before


def test_a_file_that_was_exchanged_after_its_header_was_read_is_refused(tmp_path):
    series = one_series(write_series(tmp_path / "s", stored()))
    data = pydicom.dcmread(series.files[2])
    data.RescaleSlope = 2
    data.SeriesDescription = "another"
    data.save_as(series.files[2])
    with pytest.raises(InputError, match="changed while it was read"):
        read_series(series)


@pytest.mark.parametrize("take", [value, text, words, items])
def test_a_mistake_of_ours_does_not_look_like_an_absent_value(take):
    with pytest.raises(AttributeError):
        take(None, "Rows")
    with pytest.raises(AttributeError):
        FileHeader.read("no path")
