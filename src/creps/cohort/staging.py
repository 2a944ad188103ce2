"""The folder in which a cohort is built: an interrupted run continues there, and a finished one becomes the cohort."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from creps.cohort.case import RECORDS, Record, fingerprint, record_path
from creps.cohort.cohort import (
    ARRAY_FOLDERS,
    FAILURES,
    INSPECTION,
    MANIFEST,
    Cohort,
    Failure,
    Failures,
    Manifest,
    array_files,
)
from creps.errors import InputError
from creps.io.atomic import copy_file, move, replace_folder, write_json
from creps.io.lock import FolderLock
from creps.io.unfinished import PREFIX

__all__ = ["Staging"]


class Staging:
    """``COHORT.preparing/``, used by one process at a time.

    Args:
        target: Folder of the finished cohort.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.with_name(f"{target.name}.preparing")
        held = InputError(f"{target} is being prepared by another process.", "Wait for it, or name another folder.")
        self._lock = FolderLock(self.folder, held)

    def __enter__(self) -> Staging:
        self._lock.acquire()
        try:
            for name in (*ARRAY_FOLDERS, RECORDS):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the folder. It is kept for the next run, unless no case is finished.

        With a manifest, publishing had begun, which may have moved the user's own files here.
        """
        begun = (self.folder / MANIFEST).exists()
        if self.folder.exists() and not begun and not any((self.folder / RECORDS).iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()

    def take_over(self, cohort: Cohort) -> None:
        """Add the cases of a finished cohort, as hard links where the file system allows."""
        version = str(cohort.manifest.provenance.get("versions", {}).get("creps", ""))
        for case in cohort.manifest.cases:
            if record_path(self.folder, case.modality, case.case).exists():
                continue
            files = array_files(case.modality, case.case)
            if not all((cohort.folder / file).is_file() for file in files):
                continue  # damaged, so it is prepared again
            for file in files:
                (self.folder / file).unlink(missing_ok=True)
                _link(cohort.folder / file, self.folder / file)
            preparation = fingerprint(cohort.manifest.preparation, case.modality)
            Record(creps=version, preparation=preparation, case=case).save(self.folder)

    def publish(self, manifest: Manifest, failures: Sequence[Failure]) -> Cohort:
        """Turn the folder into the cohort; an older cohort there is replaced."""
        self._drop_unfinished()
        Cohort(self.folder, manifest).save_manifest()
        (self.folder / FAILURES).unlink(missing_ok=True)
        if failures:
            write_json(self.folder / FAILURES, Failures(failures=tuple(failures)).model_dump(mode="json"))
        listed = {self.folder / file for case in manifest.cases for file in array_files(case.modality, case.case)}
        for folder in ARRAY_FOLDERS:
            for path in (self.folder / folder).iterdir():
                if path not in listed:
                    path.unlink()
        shutil.rmtree(self.folder / RECORDS)
        self._keep_other_files()
        replace_folder(self.folder, self.target)
        return Cohort(self.target, manifest)

    def _drop_unfinished(self) -> None:
        """Delete what killed processes left half-written here; this one has the folder for itself."""
        for folder in (self.folder, *(self.folder / name for name in (*ARRAY_FOLDERS, RECORDS))):
            for left in folder.glob(f"{PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)

    def _keep_other_files(self) -> None:
        """Move the user's own files from the older cohort; inspection pages are dropped, since they are outdated."""
        if not self.target.is_dir():
            return
        for entry in self.target.iterdir():
            if (
                entry.name not in (*ARRAY_FOLDERS, MANIFEST, FAILURES, INSPECTION)
                and not (self.folder / entry.name).exists()
            ):
                move(entry, self.folder / entry.name)


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except (OSError, NotImplementedError):
        copy_file(old, new)
