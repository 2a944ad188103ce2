"""What the campaign spoils: the MR of a simple head as DICOM series, and a model that is quick."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless, generate_uid

from creps.model import Plan, save_model
from creps.networks.build import build_generator
from creps.settings import InferenceSettings, PreparationSettings, ResidualSettings

PATIENT = "SECRET-42"
SECRETS = ("SECRET", "Doe", "Jane", "19601224", "SOMEBODY", "Somebody")
SPACING_MM = 6.0
SHAPE = (24, 28, 26)


def write_model(folder: Path) -> None:
    """A generator with random weights: what it makes is no matter here."""
    plan = Plan(
        preparation=PreparationSettings(spacing_mm=(SPACING_MM,) * 3, region="head", mr_scale="auto"),
        generator=ResidualSettings(width=2, residual_blocks=1),
        patch_size=(24, 24, 24),
        inference=InferenceSettings(precision="fp32", device="cpu"),
    )
    folder.mkdir(parents=True)
    save_model(folder, build_generator(plan.generator).state_dict(), plan)


def write_mr(folder: Path, *, compressed: bool = False) -> None:
    """One file per slice, RLE compressed or not, in a folder that is named after the patient."""
    folder = folder / "Doe^Jane_SECRET-42"
    folder.mkdir(parents=True)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for i, plane in enumerate(head()):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = series, study, frame
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = PATIENT, "Doe^Jane", "19601224", "F"
        data.Modality, data.SeriesDescription, data.BodyPartExamined, data.PatientPosition = "MR", "t1", "HEAD", "HFS"
        data.ImageType, data.InstanceNumber = ["ORIGINAL", "PRIMARY", "M", "DIS3D"], i + 1
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelSpacing, data.SliceThickness = [SPACING_MM, SPACING_MM], SPACING_MM
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-70.0, -80.0, i * SPACING_MM]
        data.PixelData = plane.astype("<u2").tobytes()
        if compressed:
            data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(folder / f"{i:03d}.dcm", enforce_file_format=True)


def head() -> np.ndarray:
    """(D, H, W): brain, dark skull, bright scalp."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    r = np.linalg.norm((index - (np.array(SHAPE) - 1) / 2) / (0.4 * np.array(SHAPE)), axis=-1)
    noise = np.random.default_rng(0).uniform(0, 20, SHAPE)
    return np.rint(np.select([r < 0.75, r < 0.9, r < 1.0], [600.0, 60.0, 900.0], 0.0) + noise)
