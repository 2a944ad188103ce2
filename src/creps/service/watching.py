"""Find finished MRs in a folder that others fill.

The folder is listed every few seconds rather than watched by the system's events, which network shares do not send.
Each entry of the folder (a volume file, or a subfolder with all below it) is left alone until nothing of it has
changed for a while.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from creps.errors import CrepsError, InputError
from creps.io.dicom.read.headers import DamagedFileError
from creps.io.dicom.read.series import Series, find_series
from creps.io.itk import is_volume_file, stem
from creps.preprocessing.label_maps import named_as_labels
from creps.service.audit import Audit
from creps.service.mr_files import fingerprint_of_file, fingerprint_of_series, loose_files, with_data
from creps.service.rules import Facts, facts_of_series, first_rule
from creps.service.settings import ServiceSettings
from creps.service.state import Job, JobState, State

__all__ = ["Found", "Watched", "WatchedFolder", "Watcher"]

log = logging.getLogger(__name__)

LOOSE = "."
"""Stands for the DICOM files that lie in the watched folder itself."""

UNFINISHED = (".part", ".partial", ".tmp", ".filepart", ".crdownload")
"""Endings of files that another program is still writing."""


@dataclass(frozen=True)
class Found:
    """One MR in a finished entry.

    Attributes:
        source: The file or folder, relative to the watched folder.
        series: Hash of the SeriesInstanceUID, or of the place of a volume file.
        fingerprint: What it consists of.
        rule: Name of the rule that matches it; empty if none does.
        problem: Why it cannot be used; empty if it can.
    """

    source: str
    series: str
    fingerprint: str
    rule: str = ""
    problem: str = ""


@dataclass
class Watched:
    """The signature of an entry when it was last listed, and since when."""

    signature: str
    since: float


class Watcher:
    """Looks at a folder again and again.

    Args:
        folder: The folder; nothing in it is changed.
        settings: Rules, and how long an entry must have been still.
        state: Remembers which entries were handled.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self, folder: Path, settings: ServiceSettings, state: State, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.settings, self.state, self.clock = folder, settings, state, clock
        self._watched: dict[str, Watched] = {}

    def check(self) -> None:
        """Refuse a folder that cannot be listed.

        Raises:
            InputError: says why.
        """
        self._entries()

    def finished(self) -> Iterator[tuple[str, str]]:
        """Entries that are new or changed, and have been unchanged long enough: name and signature.

        Raises:
            InputError: the folder cannot be listed.
        """
        now, there = self.clock(), set()
        for name, signature, unfinished in self._listed():
            there.add(name)
            before = self._watched.get(name)
            if before is None or before.signature != signature:
                self._watched[name] = Watched(signature, now)
            still = now - self._watched[name].since >= self.settings.settle_seconds
            if still and not unfinished and self._handled(name) != signature:
                yield name, signature
        self._watched = {name: one for name, one in self._watched.items() if name in there}

    def is_waiting(self) -> bool:
        """Whether an entry may still change, or was not handled."""
        return any(self._handled(name) != one.signature for name, one in self._watched.items())

    def handled(self, name: str, signature: str) -> None:
        """Record that an entry with this signature was handled."""
        self.state.handled(self.state.hasher.of(name), signature)

    def _handled(self, name: str) -> str:
        return self.state.signature(self.state.hasher.of(name))

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as found:
                return sorted(found, key=lambda one: one.name)
        except OSError as error:
            raise InputError(
                f"The folder {self.folder} cannot be listed: {error.strerror}.",
                "Check that it is mounted and may be read.",
            ) from error

    def _listed(self) -> Iterator[tuple[str, str, bool]]:
        """Name of each entry, its signature, and whether it is unfinished; loose DICOM files are one entry."""
        names = [entry.name for entry in self._entries() if not entry.name.startswith(".")]
        try:
            loose = {path.name for path in loose_files(self.folder)}
        except OSError:
            loose = set()
        for name in [*(one for one in names if one not in loose), *([LOOSE] if loose else [])]:
            try:
                entry = self.folder / name
                if name != LOOSE and not (entry.is_dir() or entry.is_file()):  # opening a pipe can wait for ever
                    continue
                listing, unfinished = _listing(self._files(name))
                yield name, self.state.hasher.of(listing), unfinished
            except OSError:  # it vanished, or is not ours to read yet: it is looked at again
                continue

    def _files(self, name: str) -> list[Path]:
        """The files of an entry."""
        entry = self.folder / name
        if name == LOOSE:
            return loose_files(self.folder)
        return sorted(path for path in entry.rglob("*") if path.is_file()) if entry.is_dir() else with_data(entry)

    def look_into(self, name: str) -> list[Found]:
        """The MRs in an entry: volume files and DICOM series; what is neither is passed over."""
        entry = self.folder / name
        if not _is_text(name):
            hashed = self.state.hasher.of(name)
            return [Found(_shown(name), hashed, hashed, "", "Its name is not UTF-8. Rename it.")]
        try:
            return self._looked_into(entry)
        except Exception as error:  # whatever is in a file: it must not end the service, again and again
            log.debug("%s", error, exc_info=True)
            hashed = self.state.hasher.of(name)
            return [Found(name, hashed, hashed, "", f"It cannot be read ({type(error).__name__}). Export it anew.")]

    def _looked_into(self, entry: Path) -> list[Found]:
        loose = entry == self.folder
        name = LOOSE if loose else entry.name
        damaged: list[DamagedFileError] = []
        found = [] if loose else [self._of_file(path) for path in _volumes(entry)]
        try:
            place = loose_files(entry) if loose else entry
            series = [] if is_volume_file(entry) else find_series(place, damaged)
            found += [self._of_series(one, entry, whole=not damaged) for one in series if one.modality == "mr"]
        except CrepsError as error:
            damaged = damaged or [DamagedFileError(entry, f"cannot be used: {error.args[0]}", "Export it again.")]
        if damaged and not found:
            reason = f"{damaged[0].path.name} {damaged[0].fault}. {damaged[0].remedy}"
            found.append(Found(name, self.state.hasher.of(name), self.state.hasher.of(f"damaged {reason}"), "", reason))
        return found

    def _of_file(self, path: Path) -> Found:
        place = str(path.relative_to(self.folder))
        hashed = self.state.hasher.of(place)
        if not _is_text(place):
            return Found(_shown(place), hashed, hashed, "", "The name of a file in it is not UTF-8. Rename it.")
        rule = first_rule(self.settings.rules, Facts(file=path.name))
        try:
            fingerprint = fingerprint_of_file(path, self.state.hasher)
        except OSError as error:
            return Found(place, hashed, hashed, "", f"{path.name}: {error.strerror}.")
        return Found(place, hashed, fingerprint, "" if rule is None else rule.name)

    def _of_series(self, series: Series, entry: Path, *, whole: bool) -> Found:
        hasher = self.state.hasher
        source, hashed = str(entry.relative_to(self.folder)), hasher.of(series.uid)
        try:
            fingerprint = fingerprint_of_series(series.files, hasher)
            rule = first_rule(self.settings.rules, facts_of_series(series))
        except CrepsError as error:
            return Found(source, hashed, hasher.of(str(error)), "", str(error))
        problem = "" if whole else "The folder has damaged DICOM files. Copy or export them again."
        return Found(source, hashed, fingerprint, "" if rule is None else rule.name, problem)


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8 throughout; others cannot be recorded in the state."""
    return "".join(one for one in name if not "\ud800" <= one <= "\udfff") == name


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _volumes(entry: Path) -> list[Path]:
    """The volume files in an entry that are no label maps by name."""
    if entry.is_dir():
        found = [path for path in sorted(entry.rglob("*")) if is_volume_file(path) and path.is_file()]
    else:
        found = [entry] if is_volume_file(entry) else []
    return [path for path in found if not named_as_labels(stem(path)) and not path.name.startswith(".")]


def _listing(files: Sequence[Path]) -> tuple[str, bool]:
    """Names, sizes and times of files as text; and whether one of them is unfinished by its name."""
    shown = [path for path in files if not path.name.startswith(".")]
    stats = [path.stat() for path in shown]
    lines = [f"{path} {one.st_size} {one.st_mtime_ns}" for path, one in zip(shown, stats, strict=True)]
    return "\n".join(lines), any(path.name.lower().endswith(UNFINISHED) for path in files)


SHARE = 10.0
"""Times of a listing until the next one."""


class WatchedFolder:
    """Adds a job for each MR in the watched folder that is finished and that a rule matches.

    Args:
        watcher: Looks at the folder.
        audit: The audit log.
    """

    def __init__(self, watcher: Watcher, audit: Audit) -> None:
        self.watcher, self.audit = watcher, audit
        self._listed = True
        self._next = float("-inf")

    def collect(self) -> None:
        """Add a job for every MR in an entry that is finished; the entry is recorded as handled after its jobs.

        A folder that takes long to list is listed more rarely: a tenth of the time at most.
        """
        began = self.watcher.clock()
        if began < self._next:
            return
        try:
            finished = list(self.watcher.finished())
        except InputError as error:
            if self._listed:
                log.warning("%s", error)
            self._listed = False
            return
        finally:
            self._next = began + SHARE * (self.watcher.clock() - began)
        self._listed = True
        for name, signature in finished:
            for found in self.watcher.look_into(name):
                self._add_job(found)
            self.watcher.handled(name, signature)

    def is_waiting(self) -> bool:
        """Whether an entry is not finished yet."""
        return self._listed and self.watcher.is_waiting()

    def revisit(self, job: Job) -> None:
        """Treat the entry of a job that is about to be deleted as if it had just arrived."""
        state = self.watcher.state
        state.forget_seen(state.hasher.of((*Path(job.source).parts, LOOSE)[0]))

    def source_of(self, job: Job) -> tuple[Path, str | None]:
        """The volume file of a job, or its folder and the hash of its series."""
        path = self.watcher.folder / job.source
        return path, None if is_volume_file(path) else job.series

    def _add_job(self, found: Found) -> None:
        state = self.watcher.state
        if not found.rule and not found.problem:
            self.audit.record("not wanted", series=found.series)
            return
        kind: JobState = "parked" if found.problem else "ready"
        job = state.add_job(found.series, found.fingerprint, found.source, found.rule, state=kind, reason=found.problem)
        if job is None:
            return
        self.audit.record("found", job=job.id, series=found.series, rule=found.rule or None)
        if found.problem:
            log.warning("Job %d: parked. %s", job.id, found.problem)
        else:
            log.info("Job %d: rule '%s'.", job.id, found.rule)
