"""A prepared cohort: arrays in network units on the grid of the model, and the manifest that lists them.

A cohort is a folder::

    manifest.json            what it contains, from which files, and how it was prepared
    mr/<case>.npy            (D, H, W) float32, network units [0, 2]
    ct/<case>.npy            (D, H, W) float32, network units [-1, 3]
    mr_body/<case>.npy       (D, H, W) bool, body mask
    ct_body/<case>.npy       (D, H, W) bool, body mask
    failures.json            images that could not be prepared, and why (only if there are any)

Plain ``.npy`` files are memory-mapped, so reading a patch does not read the whole volume.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from creps.errors import CohortError
from creps.io.atomic import write_json
from creps.io.versioned import read_versioned
from creps.settings import PreparationSettings, Settings, load_settings
from creps.settings.choices import RecipeName

__all__ = [
    "ARRAY_FOLDERS",
    "FAILURES",
    "INSPECTION",
    "MANIFEST",
    "Case",
    "Cohort",
    "Failure",
    "Failures",
    "Manifest",
    "Modality",
    "Split",
    "array_files",
    "load_cohort",
]

Modality = Literal["mr", "ct"]
Split = Literal["train", "validation"]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

MANIFEST = "manifest.json"
FAILURES = "failures.json"

INSPECTION = "inspection"
"""Folder of the pages of `creps.cohort.inspection` in a cohort's folder."""

ARRAY_FOLDERS = ("mr", "ct", "mr_body", "ct_body")


def array_files(modality: Modality, case: str) -> tuple[Path, Path]:
    """Where a case's array and its body mask lie in a cohort's folder."""
    return Path(modality, f"{case}.npy"), Path(f"{modality}_body", f"{case}.npy")


def _a_file_name(name: str) -> str:
    """Refuse what leads out of the cohort's folder: a manifest may come from others."""
    if name in ("", ".", "..") or "\0" in name or Path(name).name != name:
        raise ValueError(f"{name!r} cannot name a file")
    return name


class Case(BaseModel):
    """One volume of a cohort."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: Annotated[str, AfterValidator(_a_file_name)]
    """Name, unique within its modality; its files have it."""
    patient: str
    """Patient that the volume belongs to; a patient is in one split only."""
    patient_from: Literal["table", "file name", "folder name", "DICOM"] | None = None
    """What names the patient; names are compared as `patient_key` does. Null in cohorts of older versions."""
    centre: str | None = None
    """Centre (hospital or scanner) that it comes from, if known."""
    modality: Modality
    """``mr`` or ``ct``."""
    split: Split
    """``train`` or ``validation``."""
    shape: tuple[int, int, int]
    """(D, H, W) of the prepared array."""
    spacing_mm: tuple[float, float, float]
    """Voxel spacing along D, H, W in mm."""
    origin_mm: tuple[float, float, float]
    """Position of voxel (0, 0, 0) in patient coordinates (x, y, z), in mm."""
    direction: tuple[float, ...]
    """The 3x3 direction matrix, row by row; see `Volume`."""
    body: Box
    """Bounding box of the body in voxels, ((first, end), ...) along D, H, W."""
    mr_divisor: Annotated[float, Field(gt=0)] | None = None
    """Divisor of the MR; null for CT."""
    left_out_ml: Annotated[float, Field(ge=0)] | None = None
    """Volume in ml of bright signal outside the body of the MR; null for CT and in cohorts of older versions."""
    source: str
    """File that it was prepared from, relative to the given folder or table."""
    source_sha256: str
    """SHA-256 of that file; for a DICOM series, SHA-256 of the sorted hashes of its files."""
    mask_sha256: str | None = None
    """SHA-256 of the body mask that was given with it, or null."""
    intensity_p01: float | None = None
    """1st percentile of the original values (MR: scanner units, CT: HU) inside the body."""
    intensity_p50: float | None = None
    """Median of these values."""
    intensity_p99: float | None = None
    """99th percentile of these values."""
    notes: tuple[str, ...] = ()
    """What was changed in the image before it was prepared, such as padding that was set to air."""
    warnings: tuple[str, ...] = ()
    """Assumptions of the recipe that the image's own metadata contradict, such as that fat has signal."""
    prepared_sha256: str
    """SHA-256 of the prepared array and its body mask."""

    @property
    def body_extent_mm(self) -> tuple[float, float, float]:
        """Size of the body's bounding box along D, H, W in mm."""
        d, h, w = ((end - first) * s for (first, end), s in zip(self.body, self.spacing_mm, strict=True))
        return d, h, w


class Failure(BaseModel):
    """An image that could not be prepared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: Modality
    """``mr`` or ``ct``."""
    case: str
    """Name of the case."""
    source: str
    """File, relative to the given folder or table."""
    reason: str
    """What is wrong with it."""
    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        return f"{self.modality.upper()} '{self.case}' was left out: {self.reason} {self.remedy}"


class Failures(BaseModel):
    """The images that a cohort lacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    failures: tuple[Failure, ...]
    """The images that could not be prepared."""


class Manifest(BaseModel):
    """What a cohort contains and how it was prepared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    preset: str
    """Preset that the preparation started from."""
    recipe: RecipeName
    """Recipe that the cohort was prepared for; the default of its trainings."""
    preparation: PreparationSettings
    """How the cases were prepared."""
    cases: tuple[Case, ...]
    """The prepared volumes."""
    provenance: dict[str, Any]
    """Versions, date and machine of the preparation."""


class Cohort:
    """A prepared cohort on disk.

    Args:
        folder: The cohort's folder.
        manifest: Its manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def settings(self) -> Settings:
        """Default settings for this cohort: its preset, its recipe and its preparation."""
        manifest = self.manifest
        preparation = manifest.preparation.model_dump()
        return load_settings(manifest.preset, recipe=manifest.recipe, overrides={"preparation": preparation})

    def cases(self, modality: Modality, split: Split) -> tuple[Case, ...]:
        """The cases of a modality and split, in the order of the manifest."""
        return tuple(c for c in self.manifest.cases if c.modality == modality and c.split == split)

    def array(self, case: Case) -> npt.NDArray[np.float32]:
        """(D, H, W) in network units, memory-mapped, read-only.

        Raises:
            CohortError: the file is missing, damaged or does not match the manifest.
        """
        return self._open(case, array_files(case.modality, case.case)[0], np.float32)

    def body(self, case: Case) -> npt.NDArray[np.bool_]:
        """(D, H, W) body mask, memory-mapped, read-only."""
        return self._open(case, array_files(case.modality, case.case)[1], np.bool_)

    def failures(self) -> tuple[Failure, ...]:
        """The images that could not be prepared; empty if all could."""
        path = self.folder / FAILURES
        if not path.is_file():
            return ()
        again = "Run 'creps prepare' again."
        return read_versioned(path, Failures, CohortError, other_version=again, damaged=again).failures

    def save_manifest(self) -> None:
        """Write the manifest, which makes a folder a cohort."""
        write_json(self.folder / MANIFEST, self.manifest.model_dump(mode="json"))

    def _open(self, case: Case, file: Path, kind: type[np.generic]) -> npt.NDArray[Any]:
        path = self.folder / file
        try:
            array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise self._broken(case, f"cannot be opened at {path}") from error
        if array.shape != case.shape:
            raise self._broken(case, f"has shape {array.shape}, the manifest says {case.shape}")
        if array.dtype != kind:
            raise self._broken(case, f"holds {array.dtype}")
        return array

    def _broken(self, case: Case, what: str) -> CohortError:
        return CohortError(
            f"{case.modality.upper()} case '{case.case}' of cohort {self.folder} {what}.",
            "Run 'creps prepare' again with --resume (resume=True).",
        )


def load_cohort(folder: Path | str) -> Cohort:
    """Open a prepared cohort.

    Raises:
        CohortError: the folder is not a cohort, or was written by another version of creps.
    """
    if not isinstance(folder, Path | str):
        raise CohortError(f"{folder!r} is not a cohort.", "Give the folder of a prepared cohort.")
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise CohortError(
            f"{folder} is not a prepared cohort (it has no {MANIFEST}).", "Prepare one with 'creps prepare'."
        )
    manifest = read_versioned(
        path,
        Manifest,
        CohortError,
        other_version="Prepare the cohort again with this version.",
        damaged="Run 'creps prepare' again.",
    )
    return Cohort(folder, manifest)
