"""A prepared cohort: arrays in network units on the model's grid, and the manifest that lists them.

A cohort is a folder::

    manifest.json            what is in it, from which files, prepared how
    mr/<case>.npy            (D, H, W) float32, network units [0, 2]
    ct/<case>.npy            (D, H, W) float32, network units [-1, 3]
    mr_body/<case>.npy       (D, H, W) bool, body mask
    ct_body/<case>.npy       (D, H, W) bool, body mask
    failures.json            images that could not be prepared, and why (only if there are any)

Plain ``.npy`` files are memory-mapped: a patch costs the pages it touches, not the volume.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from creps.errors import CohortError
from creps.io.atomic import write_json
from creps.io.versioned import read_versioned
from creps.settings import PreparationSettings, Settings

__all__ = [
    "FAILURES",
    "MANIFEST",
    "Case",
    "Cohort",
    "Failure",
    "Failures",
    "Manifest",
    "Modality",
    "Split",
    "load_cohort",
]

Modality = Literal["mr", "ct"]
Split = Literal["train", "validation"]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

MANIFEST = "manifest.json"
FAILURES = "failures.json"


class Case(BaseModel):
    """One volume of a cohort."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str
    """Name, unique within its modality."""
    patient: str
    """Patient the volume belongs to; a patient is in one split only."""
    centre: str | None = None
    """Centre (hospital, scanner) it comes from, where that is known."""
    modality: Modality
    split: Split
    shape: tuple[int, int, int]
    """(D, H, W) of the prepared array."""
    spacing_mm: tuple[float, float, float]
    """Along D, H, W."""
    origin_mm: tuple[float, float, float]
    """Patient (x, y, z) of voxel (0, 0, 0)."""
    direction: tuple[float, ...]
    """The 3x3 direction matrix, row by row; see `Volume`."""
    body: Box
    """Box around the body, ((first, end), ...) along D, H, W."""
    mr_divisor: Annotated[float, Field(gt=0)] | None = None
    """What the MR's values were divided by."""
    source: str
    """File it was prepared from, relative to the folder (or table) that was given."""
    source_sha256: str
    """Hash of that file; of a DICOM series, the hash of its files' sorted hashes."""
    mask_sha256: str | None = None
    """Hash of the body mask that was given with it, if one was."""
    intensity_p01: float | None = None
    """1st percentile of the source's own values (MR: scanner units, CT: HU) inside the body."""
    intensity_p50: float | None = None
    """Their median."""
    intensity_p99: float | None = None
    """Their 99th percentile."""
    prepared_sha256: str
    """Hash of the prepared array and of its body mask."""


class Failure(BaseModel):
    """An image that could not be prepared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: Modality
    case: str
    source: str
    """What `Case.source` would have been."""
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.modality.upper()} '{self.case}' was left out: {self.reason} {self.remedy}"


class Failures(BaseModel):
    """What a cohort lacks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    failures: tuple[Failure, ...]


class Manifest(BaseModel):
    """What a cohort holds and how it was prepared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    preset: str
    """Preset that the preparation started from."""
    preparation: PreparationSettings
    cases: tuple[Case, ...]
    provenance: dict[str, Any]


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
        """Default settings with this cohort's preset and preparation."""
        return Settings(preset=self.manifest.preset, preparation=self.manifest.preparation)

    def cases(self, modality: Modality, split: Split) -> tuple[Case, ...]:
        """The cases of a modality and split, in the manifest's order."""
        return tuple(c for c in self.manifest.cases if c.modality == modality and c.split == split)

    def array(self, case: Case) -> npt.NDArray[np.float32]:
        """(D, H, W) in network units, memory-mapped, read-only.

        Raises:
            CohortError: the file is missing, damaged or not what the manifest says.
        """
        return self._open(case, case.modality, np.float32)

    def body(self, case: Case) -> npt.NDArray[np.bool_]:
        """(D, H, W) body mask, memory-mapped, read-only."""
        return self._open(case, f"{case.modality}_body", np.bool_)

    def failures(self) -> tuple[Failure, ...]:
        """The images that could not be prepared; empty if all could."""
        path = self.folder / FAILURES
        if not path.is_file():
            return ()
        again = "Run 'creps prepare' again."
        return read_versioned(path, Failures, CohortError, other_version=again, damaged=again).failures

    def save_manifest(self) -> None:
        """Write the manifest; a folder without one is no cohort."""
        write_json(self.folder / MANIFEST, self.manifest.model_dump(mode="json"))

    def _open(self, case: Case, folder: str, kind: type[np.generic]) -> npt.NDArray[Any]:
        path = self.folder / folder / f"{case.case}.npy"
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
            "Run 'creps prepare' again with --resume.",
        )


def load_cohort(folder: Path | str) -> Cohort:
    """Open a prepared cohort.

    Raises:
        CohortError: not a cohort, or written by another schema version.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise CohortError(
            f"{folder} is not a prepared cohort (it has no {MANIFEST}).", "Make one with 'creps prepare'."
        )
    manifest = read_versioned(
        path,
        Manifest,
        CohortError,
        other_version="Prepare the cohort again with this version.",
        damaged="Run 'creps prepare' again.",
    )
    return Cohort(folder, manifest)
