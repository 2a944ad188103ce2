"""A checkout of creps, run by its command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

ROOT = "1.2.826.0.1.3680043.8.498"
STUDY = {
    "PatientName": "Phantom^One", "PatientID": "P1", "PatientBirthDate": "19601224", "PatientSex": "F",
    "StudyInstanceUID": f"{ROOT}.1", "FrameOfReferenceUID": f"{ROOT}.2", "SeriesInstanceUID": f"{ROOT}.3",
    "StudyDate": "20260101", "StudyTime": "101500", "AccessionNumber": "A77", "StudyID": "S5",
    "ReferringPhysicianName": "Referrer^Rita", "PatientPosition": "HFS", "PositionReferenceIndicator": "",
    "Modality": "MR", "Manufacturer": "SIEMENS", "BodyPartExamined": "HEAD", "SeriesDescription": "t1 head",
    "SeriesNumber": "3", "ScanningSequence": "GR", "SequenceVariant": "SP", "ScanOptions": "",
    "MRAcquisitionType": "3D", "EchoTime": "3.1", "RepetitionTime": "20", "ImageType": ["ORIGINAL", "PRIMARY", "M"],
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
    "HighBit": 15, "PixelRepresentation": 0,
}  # fmt: skip


class Version:
    """Runs command lines with the source of one checkout."""

    def __init__(self, project: Path) -> None:
        """`project` is the folder that holds ``src``."""
        self.source = project.resolve() / "src"
        environment = {"PYTHONPATH": str(self.source), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        self.environment = {**os.environ, **environment}
        found = self._python("import creps; print(creps.__file__)").stdout.strip()
        if not Path(found).is_relative_to(self.source):
            raise SystemExit(f"{project}: Python imports {found} instead. Name a checkout that has src/creps.")

    def shipped_model(self) -> Path:
        """The folder of the shipped model of heads; older versions have it with the demo."""
        found = sorted((self.source / "creps").glob("shipped/head/plan.json"))
        return (found or sorted((self.source / "creps").glob("demo*/**/plan.json")))[0].parent

    def run(self, *arguments: object, writes: Path, options: Mapping[str, str] | None = None) -> None:
        """One command line, unless what it writes is there."""
        if writes.exists():
            return
        given = [part for name, value in (options or {}).items() for part in (f"--{name}", value)]
        done = self._call(["-m", "creps", *map(str, arguments), *given])
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()[-3:]
            raise SystemExit(f"{self.source.parent}: creps {arguments[0]} failed: {' '.join(said)}")

    def cpu_seconds(self, *arguments: object) -> float:
        """CPU time of Python with these arguments; the clock of a shared machine says little."""
        before = os.times()
        done = self._call([str(argument) for argument in arguments])
        after = os.times()
        if done.returncode != 0:
            raise SystemExit(f"{self.source.parent}: {arguments} failed: {done.stderr[-300:]}")
        return after.children_user + after.children_system - before.children_user - before.children_system

    def write_dicom(self, mr: Path, folder: Path) -> None:
        """The MR as a classic DICOM series, written here so that both versions get the same."""
        if folder.exists():
            return
        folder.mkdir()
        image = sitk.ReadImage(str(mr))
        values = np.clip(np.rint(sitk.GetArrayFromImage(image)), 0, 65535).astype(np.uint16)
        direction = np.array(image.GetDirection()).reshape(3, 3)
        for i, plane in enumerate(values):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
            meta.MediaStorageSOPInstanceUID = UID(f"{ROOT}.4.{i + 1}")
            data = FileDataset(str(folder), {}, file_meta=meta, preamble=b"\0" * 128)
            for name, value in STUDY.items():
                setattr(data, name, value)
            data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
            data.InstanceNumber, (data.Rows, data.Columns) = i + 1, plane.shape
            data.ImageOrientationPatient = [float(x) for x in (*direction[:, 0], *direction[:, 1])]
            data.ImagePositionPatient = list(image.TransformIndexToPhysicalPoint((0, 0, i)))
            width, height, depth = image.GetSpacing()
            data.PixelSpacing, data.SliceThickness = [height, width], depth
            data.PixelData = plane.tobytes()
            data.save_as(folder / f"{i + 1:04d}.dcm")

    def _call(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )

    def _python(self, code: str) -> subprocess.CompletedProcess[str]:
        return self._call(["-c", code])
