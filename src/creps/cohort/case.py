"""Prepare one case: read it, prepare it, store it, and write a record that lets a later run skip it."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from creps.cohort.cohort import Case, Failure, Modality, array_files
from creps.cohort.sources import Source
from creps.errors import CohortError, CrepsError, InputError
from creps.io.atomic import write_json
from creps.io.image import ImageSource
from creps.io.versioned import read_versioned
from creps.preprocessing.morphology import body_box
from creps.preprocessing.preparation import Prepared, prepare_ct, prepare_mr
from creps.provenance import installed_version
from creps.settings import PreparationSettings
from creps.volume import Volume

__all__ = ["RECORDS", "Outcome", "Record", "Task", "facts_of", "failure_of", "fingerprint", "prepare_case"]

RECORDS = "cases"
"""Folder of these records in a staging folder."""

ONLY_SPLITTING = {"validation_fraction", "seed"}
"""Preparation settings that do not affect the arrays."""

OTHERS = {"mr": {"remove_couch"}, "ct": {"mr_scale", "mr_bias_correction"}}
"""Modality → preparation settings that affect only the arrays of the other modality."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the output disk rather than of the case."""


@dataclass(frozen=True)
class Task:
    """A case to prepare.

    Attributes:
        source: Its image.
        folder: The staging folder.
        preparation: How to prepare it.
    """

    source: Source
    folder: Path
    preparation: PreparationSettings


@dataclass(frozen=True)
class Outcome:
    """The result for one case: either `case` or `failure`.

    Attributes:
        case: The prepared case; its split is not decided yet.
        failure: Why the image could not be prepared.
        reused: Whether an earlier run had prepared it.
    """

    case: Case | None = None
    failure: Failure | None = None
    reused: bool = False


class Record(BaseModel):
    """A finished case in a staging folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    creps: str
    preparation: dict[str, Any]
    case: Case

    def save(self, folder: Path) -> None:
        """Write the record into a staging folder; the arrays of the case must be there."""
        write_json(record_path(folder, self.case.modality, self.case.case), self.model_dump(mode="json"))


def record_path(folder: Path, modality: str, case: str) -> Path:
    """Path of the record of a case in a staging folder."""
    return folder / RECORDS / f"{modality}_{case}.json"


def fingerprint(preparation: PreparationSettings, modality: Modality | None = None) -> dict[str, Any]:
    """The settings that determine the arrays (of one modality)."""
    without = ONLY_SPLITTING | (OTHERS[modality] if modality else set())
    return preparation.model_dump(mode="json", exclude=without)


def prepare_case(task: Task) -> Outcome:
    """Prepare a case, or reuse the result of an earlier run for the same file, mask and settings.

    Problems of the case itself are returned as a failure.

    Raises:
        OSError: the output disk is full or not writable.
    """
    source = task.source
    try:
        if source.problem is not None:
            raise source.problem
        hashes = _hashes(source)
        done = _done(task, hashes)
        if done is not None:
            return Outcome(case=done, reused=True)
        mask = ImageSource.find(source.mask).read() if source.mask is not None else None
        case = _store(task, _prepared(task, mask), hashes)
        Record(creps=_version(), preparation=fingerprint(task.preparation, source.modality), case=case).save(
            task.folder
        )
        return Outcome(case=case)
    except CrepsError as error:
        return Outcome(failure=failure_of(source, error))
    except MemoryError:
        memory = InputError(
            f"{source.name} needs more memory than is available.", "Use fewer jobs, or a coarser spacing."
        )
        return Outcome(failure=failure_of(source, memory))
    except OSError as error:
        if error.errno in FULL or str(task.folder) in str(error.filename):
            raise
        reason = InputError(f"{source.name} cannot be read ({error.strerror or error}).", "Check its permissions.")
        return Outcome(failure=failure_of(source, reason))


def failure_of(source: Source, error: CrepsError) -> Failure:
    """Describe a failure without the absolute paths of this machine."""
    reason = error.what
    for path in (source.mask, source.path):
        if path is not None:
            reason = reason.replace(str(path), source.shown if path == source.path else path.name)
    return Failure(modality=source.modality, case=source.case, source=source.shown, reason=reason, remedy=error.remedy)


def _version() -> str:
    return installed_version("creps") or "not installed"


def _hashes(source: Source) -> tuple[str, str | None]:
    return source.image.sha256(), None if source.mask is None else ImageSource.find(source.mask).sha256()


def _done(task: Task, hashes: tuple[str, str | None]) -> Case | None:
    """The case from an earlier run, if file, mask, settings, version and arrays are unchanged."""
    source = task.source
    path = record_path(task.folder, source.modality, source.case)
    try:
        record = read_versioned(path, Record, CohortError, other_version="", damaged="")
        digest = hashlib.sha256()
        for file, dtype in zip(array_files(source.modality, source.case), (np.float32, np.bool_), strict=True):
            array = np.load(task.folder / file, allow_pickle=False)
            if array.shape != record.case.shape or array.dtype != dtype:
                return None
            digest.update(array.tobytes())
    except (CohortError, OSError, ValueError, EOFError):
        return None
    if digest.hexdigest() != record.case.prepared_sha256:
        return None
    same = (record.case.source_sha256, record.case.mask_sha256) == hashes
    if not same or record.creps != _version() or record.preparation != fingerprint(task.preparation, source.modality):
        return None
    return record.case


def _prepared(task: Task, mask: Volume | None) -> Prepared:
    source = task.source
    step = prepare_mr if source.modality == "mr" else prepare_ct
    prepared = step(source.image.read(), task.preparation, source.name, mask)
    if not np.isfinite(prepared.array).all():
        raise InputError(
            f"{source.name} has values that are NaN or infinite after preparation.", "Check the range of its values."
        )
    return prepared


def _store(task: Task, prepared: Prepared, hashes: tuple[str, str | None]) -> Case:
    """Write the arrays. Existing files are unlinked first, since they may be shared with a finished cohort."""
    source = task.source
    record_path(task.folder, source.modality, source.case).unlink(missing_ok=True)
    files = array_files(source.modality, source.case)
    for file, array in zip(files, (prepared.array, prepared.body), strict=True):
        path = task.folder / file
        path.unlink(missing_ok=True)
        try:
            np.save(path, array)
        except OSError as error:  # a full disk does not name the file
            raise OSError(error.errno or errno.ENOSPC, error.strerror or str(error), str(path)) from error
    return Case(
        case=source.case,
        patient=source.patient,
        patient_from=source.patient_from,
        centre=source.centre,
        modality=source.modality,
        split="train",
        left_out_ml=prepared.left_out_ml if source.modality == "mr" else None,
        source=source.shown,
        source_sha256=hashes[0],
        mask_sha256=hashes[1],
        notes=prepared.notes,
        **facts_of(prepared),
    )


def facts_of(prepared: Prepared) -> dict[str, Any]:
    """What the arrays decide of a `Case`: its geometry, body, divisor, intensities and hash."""
    grid, (p01, p50, p99) = prepared.grid, prepared.intensity
    return {
        "shape": grid.shape,
        "spacing_mm": grid.spacing_mm,
        "origin_mm": grid.origin_mm,
        "direction": tuple(grid.direction.ravel().tolist()),
        "body": body_box(prepared.body),
        "mr_divisor": prepared.mr_divisor,
        "intensity_p01": p01,
        "intensity_p50": p50,
        "intensity_p99": p99,
        "prepared_sha256": hashlib.sha256(prepared.array.tobytes() + prepared.body.tobytes()).hexdigest(),
    }
