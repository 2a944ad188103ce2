"""Privacy audit: sentinels in the headers, folders and file names of a cohort; in what creps writes there is none.

    python -m benchmarks.privacy.audit -o results.json

MR and CT series of six made patients get a sentinel of their own in each of 52 header fields, in private elements, and
in the names of their folders and files. Then they go all the way: prepare, train, export, synthesize (with and
without `--deidentify`), report, a refusal, watch. Every file that was written, its name, and all that was
printed is searched for each sentinel, in UTF-8, UTF-16 and Latin-1, within archives and compressed streams too. The
DICOM files of an sCT carry the patient's identity, as a planning system needs it; they are searched with
`--deidentify` only.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from benchmarks.dicom.campaign import command_line
from creps.io.atomic import write_json
from creps.provenance import provenance

__all__ = ["Audit", "audit", "main"]

HERE = Path(__file__).parent

TEXTS = (
    "PatientName", "PatientID", "OtherPatientNames", "PatientAddress", "PatientMotherBirthName",
    "PatientTelephoneNumbers", "PatientComments", "AdditionalPatientHistory", "EthnicGroup", "Occupation",
    "MedicalRecordLocator", "MilitaryRank", "BranchOfService", "CountryOfResidence", "RegionOfResidence",
    "PatientReligiousPreference", "InsurancePlanIdentification", "IssuerOfPatientID", "PatientBirthName",
    "ResponsiblePerson", "ResponsibleOrganization", "ReferringPhysicianName", "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers", "PerformingPhysicianName", "OperatorsName", "NameOfPhysiciansReadingStudy",
    "PhysiciansOfRecord", "RequestingPhysician", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber", "AccessionNumber", "StudyID",
    "StudyDescription", "ImageComments", "StudyComments", "RequestedProcedureDescription", "RequestedProcedureID",
    "PerformedProcedureStepID", "PerformedProcedureStepDescription", "ScheduledProcedureStepDescription",
    "AdmissionID", "AdmittingDiagnosesDescription", "Allergies", "MedicalAlerts", "SpecialNeeds",
    "CurrentPatientLocation", "DerivationDescription", "AcquisitionComments",
)  # fmt: skip
"""Fields of text. SeriesDescription is kept but for the patient's name, and is tested with the name in it."""

OF_DICOM = ("CT.*.dcm", "RS.dcm", "UN.*.dcm", "BD.*.dcm", "report.dcm")

STATED = ("finished/service.sqlite",)
"""The state of a watch has the paths of the MRs, as they are named in the folder: it must find them again."""

TINY = {
    "preparation.spacing_mm": "4,4,4", "preparation.mr_scale": "auto", "sampling.patch_size": "24,24,24",
    "generator.kind": "residual", "generator.width": "4", "generator.residual_blocks": "1", "training.batch_size": "1",
    "training.steps": "2", "training.precision": "fp32", "training.device": "cpu", "training.workers": "0",
    "simulation.phantoms": "2", "training.validate_every": "2", "training.checkpoint_every": "1",
}  # fmt: skip


@dataclass
class Audit:
    """What was searched and found.

    Attributes:
        sentinels: Sentinel → where it was put.
        searched: Files that were searched.
        bytes: Bytes of them, with what was within compressed streams.
        found: Where one turned up: the step, the file, and where it was put.
        stated: Likewise, where the docs say that it does.
    """

    sentinels: dict[str, str] = field(default_factory=dict)
    searched: int = 0
    bytes: int = 0
    found: list[str] = field(default_factory=list)
    stated: list[str] = field(default_factory=list)

    def sentinel(self, number: int, where: str) -> str:
        """A new one: letters that occur nowhere else."""
        text = f"ZQX{number}{''.join(chr(ord('A') + int(d)) for d in f'{len(self.sentinels):05d}')}"
        self.sentinels[text] = where
        return text

    def search(self, step: str, folder: Path, before: set[Path], printed: str, *, dicom: bool) -> None:
        """Search what a step wrote and printed."""
        self._look(step, "printed", printed.encode("utf-8", "replace"))
        for path in sorted(set(folder.rglob("*")) - before):
            name = str(path.relative_to(folder))
            self._look(step, f"the name {name}", name.encode("utf-8", "surrogateescape"))
            if path.is_file() and (dicom or not any(path.match(pattern) for pattern in OF_DICOM)):
                self.searched += 1
                for content in _contents(path.read_bytes()):
                    self._look(step, name, content)

    def _look(self, step: str, where: str, content: bytes) -> None:
        self.bytes += len(content)
        upper = content.upper()
        if b"ZQX" not in upper and "ZQX".encode("utf-16-le") not in upper:
            return
        for text, put in self.sentinels.items():
            if text.encode() in upper or text.encode("utf-16-le") in upper:
                found = f"{step}: {where} has what was in {put}"
                (self.stated if where in STATED else self.found).append(found)


def _contents(content: bytes) -> Iterator[bytes]:
    """The bytes, and those within: gzip, zip members, zlib streams of PDF and PNG."""
    yield content
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    if content[:4] == b"PK\x03\x04":
        import io
        import zipfile

        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield archive.read(name)
    if content[:4] in (b"%PDF", b"\x89PNG"):
        for start in _starts(content):
            with suppress(zlib.error):
                yield zlib.decompressobj().decompress(content[start:], 50_000_000)


def _starts(content: bytes) -> Iterator[int]:
    for mark in (b"\x78\x9c", b"\x78\x01", b"\x78\xda", b"\x78\x5e"):
        at = content.find(mark)
        while at >= 0:
            yield at
            at = content.find(mark, at + 1)


def write_patient(folder: Path, kind: str, number: int, audit: Audit) -> Path:
    """A series of a made head, with sentinels in its header, its folder and its files."""
    from tests.conftest import ball_head

    image = ball_head(number)[0 if kind == "mr" else 1]
    named = {name: audit.sentinel(number, f"{name} of {kind} {number}") for name in TEXTS}
    where = folder / f"{named['PatientName']}_{named['PatientID']}"
    where.mkdir(parents=True)
    study, series, frame = (generate_uid(entropy_srcs=[kind, str(number), one]) for one in ("a", "b", "c"))
    for i, plane in enumerate(image.array):
        data = _slice(kind, plane, i)
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        for name, text in named.items():
            setattr(data, name, text)
        data.SeriesDescription = f"t1 of {named['PatientName']}"
        data.PatientBirthDate, data.PatientSex = "19601224", "F"
        data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x99, "LO", named["PatientName"])
        data.save_as(where / f"{named['PatientName']}_{i:03d}.dcm", enforce_file_format=True)
    return where


def _slice(kind: str, plane: np.ndarray[Any, Any], i: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MRImageStorage if kind == "mr" else CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.BodyPartExamined, data.PatientPosition, data.InstanceNumber = kind.upper(), "HEAD", "HFS", i + 1
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "DIS3D"] if kind == "mr" else ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Rows, data.Columns = plane.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 1
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelSpacing, data.SliceThickness = [4, 4], 4
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-60, -70, 4 * i]
    if kind == "ct":
        data.RescaleSlope, data.RescaleIntercept = 1, 0
    data.PixelData = np.rint(plane).astype("<i2").tobytes()
    return data


def audit(folder: Path) -> Audit:
    """Take made patients all the way, and search after every step.

    Args:
        folder: An empty folder.
    """
    found = Audit()
    mrs = [write_patient(folder / "mr", "mr", number, found) for number in range(3)]
    cts = [write_patient(folder / "ct", "ct", 10 + number, found) for number in range(3)]
    (folder / "arriving").mkdir()
    mrs[0].rename(folder / "arriving" / mrs[0].name)
    mrs[0].parent.joinpath(mrs[0].name).symlink_to(folder / "arriving" / mrs[0].name)
    preparation = " ".join(f"--{key} {value}" for key, value in TINY.items() if key.startswith("prep"))
    training = " ".join(f"--{key} {value}" for key, value in TINY.items() if not key.startswith("prep"))
    mr = mrs[1].relative_to(folder)
    (folder / "ct_to_refuse").symlink_to(cts[0])  # a message may repeat the path that it was given
    steps: list[tuple[str, str, bool]] = [
        ("prepare", f"prepare mr ct -o cohort --jobs 1 --inspect {preparation}", True),
        ("train", f"train cohort -o run {training}", True),
        ("export", "export run/model -o model.onnx", True),
        ("synthesize", f"synthesize run/model {mr} -o sct --force --report", False),
        ("deidentify", f"synthesize run/model {mr} -o anonymous --force --deidentify A1", True),
        ("synthesize to a file", f"synthesize run/model {mr} -o sct.nii.gz --force --report", True),
        ("refuse", "synthesize run/model ct_to_refuse -o refused", True),
        ("watch", "watch arriving finished -m run/model --settle 0 --once", False),
    ]
    before_all = Path.cwd()
    os.chdir(folder)
    try:
        for step, words, dicom in steps:
            before = set(folder.rglob("*"))
            code, said = command_line(*words.split())
            if (code != 0) != (step == "refuse"):
                raise RuntimeError(f"creps {words}: {said}")
            found.search(step, folder, before, said, dicom=dicom)
    finally:
        os.chdir(before_all)
    return found


def main() -> None:
    """Run it and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results.json")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        done = audit(Path(name))
    told = {
        "sentinels": len(done.sentinels),
        "files": done.searched,
        "bytes": done.bytes,
        "found": done.found,
        "stated": done.stated,
    }
    write_json(chosen.output, {**provenance(), **told})
    print(json.dumps(told, indent=1))
    raise SystemExit(bool(done.found))


if __name__ == "__main__":
    main()
