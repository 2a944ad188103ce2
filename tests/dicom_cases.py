"""DICOM series of a made head, and what another reader makes of what is written from them."""

import numpy as np
import SimpleITK as sitk

from creps import load
from creps.volume import AXIAL
from tests.conftest import ball_head
from tests.test_dicom import write_series

STUDY = {
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1", "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2",
    "StudyDate": "20260101", "StudyTime": "101500", "AccessionNumber": "A77", "StudyID": "S5",
    "ReferringPhysicianName": "Referrer^Rita", "PatientBirthDate": "19601224", "PatientSex": "F",
    "PatientPosition": "HFS", "PositionReferenceIndicator": "", "Manufacturer": "SIEMENS",
    "InstitutionName": "Sankt Nirgendwo", "BodyPartExamined": "HEAD", "ScanningSequence": "GR",
    "SequenceVariant": "SP", "ScanOptions": "", "MRAcquisitionType": "3D", "EchoTime": "3.1",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "DIS3D"],
}  # fmt: skip


def mr_series(folder, seed=0, *, direction=AXIAL, patient="SECRET-42", change=None, compress=None, **attributes):
    """The MR of a made head as classic DICOM, 4 mm, along the columns of `direction` (D, H, W)."""
    mr = ball_head(seed)[0].reoriented(direction) if np.allclose(abs(direction).sum(0), 1) else ball_head(seed)[0]

    def dress(data, i):
        data.InstanceNumber = i + 1
        for name, value in {**STUDY, **attributes}.items():
            setattr(data, name, value)
        return change(data, i) if change is not None else None

    normal, rows, columns = direction.T
    assert np.dot(np.cross(columns, rows), normal) > 0
    return write_series(
        folder, np.rint(mr.array).astype(int), spacing=(4.0, 4.0, 4.0), origin=(-60.0, -70.0, 20.0),
        orientation=(*columns, *rows), modality="MR", slope=None, patient=patient, change=dress,
    )  # fmt: skip


def synthesized(model, source, target, **wishes):
    """The folder of an sCT."""
    saving = ("overwrite", "structures", "stable_uids", "pseudonym")
    written = {name: wishes.pop(name) for name in saving if name in wishes}
    return load(model).synthesize(source, **wishes).save(target, **written)


def read_by_itk(folder):
    """(values, function from (d, h, w) to patient mm) by another reader."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    return sitk.GetArrayFromImage(image), lambda index: np.array(
        image.TransformContinuousIndexToPhysicalPoint([float(i) for i in index[::-1]])
    )
