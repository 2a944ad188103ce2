"""The folder beside a cohort in which it grows: a killed run goes on from there, a finished one becomes the cohort."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import psutil

from creps.cohort.case import RECORDS, Record, fingerprint
from creps.cohort.cohort import FAILURES, MANIFEST, Cohort, Failure, Failures, Manifest
from creps.errors import InputError
from creps.io.atomic import replace_folder, write_json

__all__ = ["Staging"]

ARRAYS = ("mr", "ct", "mr_body", "ct_body")
LOCK = "lock"
INSPECTION = "inspection"


class Staging:
    """``COHORT.preparing/``, held by one process at a time.

    Args:
        target: The cohort that is to appear.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.with_name(f"{target.name}.preparing")

    def __enter__(self) -> Staging:
        for name in (*ARRAYS, RECORDS):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it; it stays for the next run, unless nothing was achieved."""
        if not self.folder.exists():
            return
        (self.folder / LOCK).unlink(missing_ok=True)
        if not any((self.folder / RECORDS).iterdir()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def take_over(self, cohort: Cohort) -> None:
        """Bring in the cases of a finished cohort, as hard links where the disk can."""
        version = str(cohort.manifest.provenance.get("versions", {}).get("creps", ""))
        for case in cohort.manifest.cases:
            if (self.folder / RECORDS / f"{case.modality}_{case.case}.json").exists():
                continue
            kinds = (case.modality, f"{case.modality}_body")
            if not all((cohort.folder / kind / f"{case.case}.npy").is_file() for kind in kinds):
                continue  # damaged: it is prepared again
            for kind in kinds:
                path = self.folder / kind / f"{case.case}.npy"
                path.unlink(missing_ok=True)
                _link(cohort.folder / kind / path.name, path)
            preparation = fingerprint(cohort.manifest.preparation, case.modality)
            Record(creps=version, preparation=preparation, case=case).save(self.folder)

    def publish(self, manifest: Manifest, failures: Sequence[Failure]) -> Cohort:
        """Turn it into the cohort, in the place of an older one."""
        Cohort(self.folder, manifest).save_manifest()
        (self.folder / FAILURES).unlink(missing_ok=True)
        if failures:
            write_json(self.folder / FAILURES, Failures(failures=tuple(failures)).model_dump(mode="json"))
        wanted = {(kind, f"{c.case}.npy") for c in manifest.cases for kind in (c.modality, f"{c.modality}_body")}
        for kind in ARRAYS:
            for path in (self.folder / kind).iterdir():
                if (kind, path.name) not in wanted:
                    path.unlink()
        shutil.rmtree(self.folder / RECORDS)
        (self.folder / LOCK).unlink()
        self._keep_others()
        replace_folder(self.folder, self.target)
        return Cohort(self.target, manifest)

    def _keep_others(self) -> None:
        """Move what else lies in the older cohort; pages of an inspection no longer show what is in the new one."""
        if not self.target.is_dir():
            return
        for entry in self.target.iterdir():
            if entry.name not in (*ARRAYS, MANIFEST, FAILURES, INSPECTION) and not (self.folder / entry.name).exists():
                entry.replace(self.folder / entry.name)

    def _lock(self) -> None:
        path = self.folder / LOCK
        own = {"host": socket.gethostname(), "process": os.getpid(), "started": psutil.Process().create_time()}
        try:
            with path.open("x", encoding="utf-8") as stream:
                json.dump(own, stream)
        except FileExistsError:
            if _runs(path):
                raise InputError(
                    f"{self.target} is being prepared by another process.",
                    f"Wait for it; if there is none, delete {path}.",
                ) from None
            path.write_text(json.dumps(own), encoding="utf-8")


def _runs(lock: Path) -> bool:
    """Whether the process that wrote a lock still runs, as far as can be known."""
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))
        if content.get("host", socket.gethostname()) != socket.gethostname():
            return True  # another computer's processes cannot be seen from here
        return abs(psutil.Process(content["process"]).create_time() - content["started"]) < 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, psutil.Error):
        return False


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)
