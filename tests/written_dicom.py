"""For tests of written DICOM: an MR to start from, what the checkers say, and a comparison point by point."""

import re
import subprocess
import warnings
from datetime import datetime

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from creps.io.dicom.read.series import one_series
from creps.io.dicom.write.derivation import Derivation
from creps.io.dicom.write.identity import SourceSeries
from creps.io.image import ImageSource
from creps.volume import Volume
from tests.components import need

DERIVATION = Derivation(
    version="1.2.3",
    weights_sha256="0123456789abcdef" * 4,
    region="pelvis",
    recipe="anatomy",
    grid="mr",
    forced=(),
    created=datetime(2024, 2, 29, 13, 14, 15, 123456),  # noqa: DTZ001  (local time, as users see it)
    uid_entropy=None,
)

PATIENT = {
    "PatientName": "Doe^Jane^^Dr.",
    "PatientID": "SECRET-42",
    "IssuerOfPatientID": "St. Elsewhere",
    "PatientBirthDate": "19510731",
    "PatientSex": "F",
    "PatientAge": "072Y",
    "PatientSize": "1.71",
    "PatientWeight": "65.5",
    "OtherPatientIDs": ["OLD-7", "OLD-8"],
    "StudyDate": "20240228",
    "StudyTime": "081500.12",
    "AccessionNumber": "ACC-99",
    "ReferringPhysicianName": "Who^Doctor",
    "StudyID": "S-17",
    "StudyDescription": "MR pelvis planning",
    "PositionReferenceIndicator": "XY",
    "PatientPosition": "HFS",
    "SeriesNumber": 4,
    "BodyPartExamined": "PELVIS",
    "AcquisitionDate": "20240228",
    "AcquisitionTime": "082233",
    "Manufacturer": "Scanner Works",
    "ManufacturerModelName": "Field 3000",
    "InstitutionName": "Elsewhere Hospital",
    "StationName": "MRROOM3",
    "DeviceSerialNumber": "SN-4711",
    "SoftwareVersions": ["A1", "B2"],
}
"""What an MR of the tests says, all of it made up."""


def write_mr(folder, *, slices=3, multi_frame=False, change=None, **attributes):
    """Write a small MR series; `change(dataset, index)` spoils slices. Attributes that are None are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    said = {**PATIENT, **attributes}
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for i in range(1 if multi_frame else slices):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = EnhancedMRImageStorage if multi_frame else MRImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.Modality, data.SeriesDescription, data.InstanceNumber = "MR", "t2", i + 1
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 4, 4, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        if multi_frame:
            data.NumberOfFrames = slices
        else:
            data.PixelSpacing, data.ImagePositionPatient = ["1", "1"], ["0", "0", str(2 * i)]
            data.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        data.PixelData = b"\1\0" * (16 * (slices if multi_frame else 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, value in said.items():
                if value is not None:
                    setattr(data, name, value)
            if change is not None:
                change(data, i)
            data.save_as(folder / f"{i:03d}.dcm", enforce_file_format=True)
    return folder


def source_of(folder, **options):
    return SourceSeries.of(one_series(write_mr(folder, **options), "mr"))


def rotation(a, b, c):
    (ca, sa), (cb, sb), (cc, sc) = ((np.cos(t), np.sin(t)) for t in (a, b, c))
    x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return x @ y @ z


def read_image(path, **which):
    """The volume in a file, or of the DICOM series in a folder."""
    return ImageSource.find(path, **which).read()


def ct_volume(shape=(4, 5, 6), seed=0, **geometry):
    values = np.random.default_rng(seed).uniform(-1024, 3071, shape)
    return Volume(values.astype(np.float32), **geometry)


def check_same_image(volume, array, to_patient):
    """Check that another grid's voxels are the volume's, each at its place in the patient within 0.01 mm."""
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.array([to_patient(i) for i in index])
    scaled = (points - np.asarray(volume.origin_mm)) @ np.linalg.inv(volume.direction).T
    own = np.rint(scaled / np.asarray(volume.spacing_mm)).astype(int)
    assert np.linalg.norm(volume.to_patient_mm(own) - points, axis=1).max() <= 0.01
    assert len({tuple(i) for i in own.tolist()}) == volume.array.size == array.size
    expected = np.rint(volume.array).clip(-1024, 3071)
    np.testing.assert_array_equal(array.reshape(-1), expected[tuple(own.T)])


SYNTHETIC_DATA = re.compile(r"(Error|Warning) - </\(0008,001c\)> - ")
"""SyntheticData came into the standard after the checkers' data dictionary."""

NO_DICOMDIR = re.compile(r"Warning - </(StudyID|StudyDate|StudyTime)\([0-9a-f,]+\)> - Missing attribute or value that")
"""Said of attributes that may be empty: a DICOMDIR would want them."""

SAYS = re.compile(r"(Error|Warning|Abort)")


def complaints(*files, sources=(), allowed=()):
    """What dciodvfy says of each file, and dcentvfy of all, but for SyntheticData and patterns that are allowed.

    Args:
        files: What was written.
        sources: What dcentvfy compares it with.
        allowed: Regular expressions of messages that the source's own values cause.
    """
    need("dciodvfy")
    lines = []
    for path in files:
        lines += _said("dciodvfy", "-new", path)
    lines += _said("dcentvfy", *files, *sources)
    ignored = [SYNTHETIC_DATA, *(re.compile(pattern) for pattern in allowed)]
    return [line for line in lines if SAYS.match(line) and not any(pattern.match(line) for pattern in ignored)]


def _said(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, errors="replace", check=False)
    text = done.stdout + done.stderr
    assert text or command[0] == "dcentvfy", "dciodvfy names at least the kind of object"
    return text.splitlines()
