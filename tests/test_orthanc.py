"""Store into a real archive and retrieve from it: Orthanc on the loopback, started and stopped here."""

import numpy as np
import pytest
from pydicom import dcmread

from tests.archive import asked, orthanc, retrieved, stored
from tests.dicom_cases import mr_series, synthesized
from tests.written_dicom import read_image

pytestmark = [pytest.mark.needs("Orthanc"), pytest.mark.process]


def test_an_archive_takes_the_series_into_the_mrs_study_and_gives_it_back(tmp_path, demo_model):
    mr = mr_series(tmp_path / "mr")
    sct = synthesized(demo_model, mr, tmp_path / "sct")
    sources, slices = sorted(mr.glob("*.dcm")), sorted(sct.glob("CT.*.dcm"))
    (tmp_path / "server").mkdir()
    with orthanc(tmp_path / "server") as (address, port):
        assert set(stored(port, [*sources, *slices, sct / "RS.dcm"])) == {0}
        assert len(asked(f"{address}/patients")) == 1
        (study,) = asked(f"{address}/studies?expand")
        assert len(study["Series"]) == 3
        (structures,) = [s for s in asked(f"{address}/series?expand") if s["MainDicomTags"]["Modality"] == "RTSTRUCT"]
        first = dcmread(slices[0])
        back = retrieved(port, first.StudyInstanceUID, first.SeriesInstanceUID)
        (contours,) = retrieved(port, first.StudyInstanceUID, structures["MainDicomTags"]["SeriesInstanceUID"])
    (tmp_path / "back").mkdir()
    for dataset in back:
        dataset.save_as(tmp_path / "back" / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
    here, there = read_image(sct), read_image(tmp_path / "back")
    assert here.same_grid_as(there)
    np.testing.assert_array_equal(here.array, there.array)
    by_uid = {dataset.SOPInstanceUID: dataset for dataset in back}
    for path in slices:
        sent = dcmread(path)
        assert by_uid[sent.SOPInstanceUID] == sent
    assert contours == dcmread(sct / "RS.dcm")
