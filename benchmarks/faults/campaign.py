"""Let commands meet faults of the machine they run on, and see what they say and leave.

    python -m benchmarks.faults.campaign [--fault NAME ...] [--verb NAME ...]

Every command runs while something is wrong: the disk is full, a folder is read-only, a file vanishes, memory runs out.
`synthesize`, `dose`, `evaluate` and `report` write over an earlier result meanwhile. Whatever happens, the command must
end in time and without a traceback; a failure is one sentence; the earlier result or the new one is there, whole, and
nothing hidden. Once the fault has passed, the command, or its --resume, must end well, with the result of an
undisturbed run. Faults of
disks are real file systems where this process may mount them (root on Linux), and are skipped elsewhere; what a disk
refuses (modes, renaming) and the clock are changed within the command's own processes. Kept in `faults.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

import creps
from benchmarks.common.machine import machine
from benchmarks.faults.commands import VERBS, Verb, is_litter, started, write_originals

__all__ = ["FAULTS", "Place", "Skipped", "campaign", "main", "tried"]

RESULTS = Path(__file__).with_name("faults.json")

SECONDS = 300
"""After which a command counts as hung."""

PARTLY = 3
"""Exit code of a command that had to leave out some of its inputs."""

PATCHES = Path(__file__).with_name("patches")
"""Folders with a sitecustomize.py each, which Python runs in every process of a command."""


class Skipped(Exception):  # noqa: N818 - no error
    """The fault cannot be made here."""


INPUTS = ("mr", "ct", "cohort", "model", "ct0.nii.gz", "sct0.nii.gz", "masks")
"""Of all commands."""


@dataclass
class Place:
    """Where a command runs while something is wrong.

    Attributes:
        folder: With the originals of all commands; a copy that may be spoilt.
        verb: The command.
        output: What it writes; an earlier result is there.
        environment: Variables of the command.
        meanwhile: Called with the command after its start.
        mend: Puts right what was wrong.
    """

    folder: Path
    verb: Verb
    output: Path
    environment: dict[str, str] = field(default_factory=dict)
    meanwhile: Callable[[subprocess.Popen[bytes]], None] | None = None
    mend: Callable[[], None] = lambda: None

    @property
    def words(self) -> list[str]:
        """The command, which replaces what is there or goes on with it."""
        words = [str(self.output) if word == "OUT" else word for word in self.verb.words.split()]
        begun = (self.output, self.output.with_name(f"{self.output.name}.preparing"))
        return words + self.verb.again.split() * any(os.path.lexists(one) for one in begun)


@dataclass(frozen=True)
class Fault:
    """One thing that may be wrong.

    Attributes:
        title: What is wrong, for the table.
        made: Makes it so for as long as it is entered.
        verbs: The commands that it concerns.
    """

    title: str
    made: Callable[[Place], AbstractContextManager[None]]
    verbs: tuple[str, ...] = ("train", "prepare", "synthesize", "dose", "evaluate", "report")


@contextmanager
def _disk(place: Place, kilobytes: int | None = None, *, read_only: bool = False) -> Iterator[None]:
    """Put the output, and the earlier result, onto a disk of its own."""
    disk = place.folder / "disk"
    disk.mkdir()
    size = max(4, kilobytes + _kilobytes(place.output)) if kilobytes is not None else 1 << 20  # 0: no limit
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", disk], capture_output=True).returncode:
        raise Skipped("file systems cannot be mounted here")
    try:
        _move_result(place, disk)
        if read_only:
            _remount(disk, "ro")
        place.mend = lambda: _remount(disk, "rw,size=1g")
        yield
    finally:
        subprocess.run(["umount", disk], check=True, capture_output=True)


def _remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True, capture_output=True)


def _kilobytes(path: Path) -> int:
    """Of a result and what lies beside it, in pages."""
    files = list(path.rglob("*")) if path.is_dir() else _beside(path)  # none: 0
    return sum(4 * (file.stat().st_size // 4096 + 1) for file in files)


def _move_result(place: Place, folder: Path) -> None:
    for one in [place.output] if place.output.is_dir() else _beside(place.output):
        shutil.move(one, folder / one.name)
    place.output = folder / place.output.name


def _beside(file: Path) -> list[Path]:
    """A file and its record, picture and checks."""
    stem = file.name.split(".")[0]
    return [one for one in file.parent.iterdir() if re.fullmatch(rf"{re.escape(stem)}(_qa)?\..*", one.name)]


def _full(kilobytes: int) -> Callable[[Place], AbstractContextManager[None]]:
    return lambda place: _disk(place, kilobytes)


def _read_only(place: Place) -> AbstractContextManager[None]:
    return _disk(place, read_only=True)


def _patched(name: str) -> Callable[[Place], AbstractContextManager[None]]:
    """Change what the system answers, in every process of the command."""

    @contextmanager
    def made(place: Place) -> Iterator[None]:
        place.environment["PYTHONPATH"] = f"{PATCHES / name}{os.pathsep}{Path(creps.__file__).parents[1]}"
        yield

    return made


def _limited(share: float) -> Callable[[Place], AbstractContextManager[None]]:
    """Let memory run out after a share of the command's usual time."""

    @contextmanager
    def made(place: Place) -> Iterator[None]:
        if not Path("/proc/self/status").exists():
            raise Skipped("memory is not limited here")
        place.environment["FAULT_SECONDS"] = str(share * place.verb.seconds)
        with _patched("memory")(place):
            yield

    return made


def _vanishing(share: float) -> Callable[[Place], AbstractContextManager[None]]:
    """Delete what the command reads, after a share of its usual time."""

    @contextmanager
    def made(place: Place) -> Iterator[None]:
        def delete(_: subprocess.Popen[bytes]) -> None:
            time.sleep(share * place.verb.seconds)
            for name in INPUTS:
                (place.folder / name).rename(place.folder / f"vanished {name}")

        def restore() -> None:
            for name in INPUTS:
                if (place.folder / f"vanished {name}").exists():
                    (place.folder / f"vanished {name}").rename(place.folder / name)

        place.meanwhile, place.mend = delete, restore
        yield

    return made


@contextmanager
def _dying_worker(place: Place) -> Iterator[None]:
    """Kill one of the processes that the command has started, as the system does when memory runs out."""

    def kill(process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            for child in psutil.Process(process.pid).children():
                if time.time() - child.create_time() > 0.5 and "resource_tracker" not in " ".join(child.cmdline()):
                    child.send_signal(signal.SIGKILL)
                    return
            time.sleep(0.05)

    place.meanwhile = kill
    yield


@contextmanager
def _second(place: Place) -> Iterator[None]:
    """Start the same command once more at the same time."""

    def start(_: subprocess.Popen[bytes]) -> None:
        other = started(place.folder, place.words, log="other.txt")
        try:
            other.wait(SECONDS)
        finally:
            _stop(other)

    place.meanwhile = start
    yield


def _named(name: str) -> Callable[[Place], AbstractContextManager[None]]:
    """Work in a folder of that name, with inputs and outputs there."""

    @contextmanager
    def made(place: Place) -> Iterator[None]:
        folder = Path(os.fsdecode(os.fsencode(place.folder) + b"/" + os.fsencode(name)))
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise Skipped(f"this disk has no such names ({error.strerror})") from error
        for one in place.folder.iterdir():
            if folder.parts[len(place.folder.parts)] != one.name:
                shutil.move(one, folder / one.name)
        place.output, place.folder = folder / place.output.name, folder
        yield

    return made


@contextmanager
def _too_long(place: Place) -> Iterator[None]:
    """Ask for a name that no disk has."""
    usual = place.output
    place.output = usual.with_name("x" * 300 + "".join(usual.suffixes))

    def shorten() -> None:
        place.output = usual

    place.mend = shorten
    yield


DEEP = "/".join(["a folder with a long name, as exports of archives make them"] * 16)

FAULTS = {
    "full": Fault("disk full at once", _full(0)),
    "filling": Fault("disk full after 40 kB", _full(40)),
    "nearly-full": Fault("disk full after 200 kB", _full(200)),
    "read-only": Fault("folder read-only", _read_only),
    "no-modes": Fault("disk refuses chmod, links and times", _patched("no_modes")),
    "no-rename": Fault("disk refuses to rename", _patched("no_rename")),
    "memory": Fault("memory runs out, early", _limited(0.5)),
    "late-memory": Fault("memory runs out, late", _limited(0.8)),
    "vanishing": Fault("inputs vanish, early", _vanishing(0.4)),
    "vanished": Fault("inputs vanish, late", _vanishing(0.7)),
    "worker": Fault("a worker process is killed", _dying_worker, ("train", "prepare")),
    "second": Fault("two processes, one output", _second),
    "clock": Fault("clock jumps back a day", _patched("clock")),
    "bytes": Fault("names that are not UTF-8", _named(os.fsdecode(b"caf\xe9 \xff"))),
    "deep": Fault("paths of 1,000 characters", _named(DEEP)),
    "too-long": Fault("a name of 300 characters", _too_long),
}


def tried(originals: Path, name: str, verb: str, folder: Path) -> dict[str, Any]:
    """One command with one fault.

    Args:
        originals: What all commands take, with an earlier result of each.
        name: The fault.
        verb: The command.
        folder: Empty; the command works here.

    Returns:
        `code`, what it said, and `problems`: empty if all is well.
    """
    shutil.copytree(originals, folder, dirs_exist_ok=True)
    place = Place(folder, VERBS[verb], folder / VERBS[verb].output)
    expected = place.verb.digest(place.output)
    if not place.verb.replaces:
        shutil.rmtree(place.output)
    try:
        with FAULTS[name].made(place):
            process, hung = _run(place, place.environment)
            said = (place.folder / "log.txt").read_text(errors="replace")
            problems = ["it hangs"] * hung + _problems(place, process.returncode, said, expected)
            if process.returncode:
                place.mend()
                problems += _problems_afterwards(place, expected)
    except Skipped as skipped:
        return {"skipped": str(skipped)}
    return {
        "code": process.returncode,
        "said": _sentence(said, place) if process.returncode else "",
        "problems": problems,
    }


def _run(place: Place, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], bool]:
    """Run the command to its end; and whether it hangs."""
    process = started(place.folder, place.words, environment=environment)
    try:
        if place.meanwhile is not None:
            place.meanwhile(process)
        process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        return process, True
    finally:
        _stop(process)
    return process, False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _problems(place: Place, code: int, said: str, expected: str) -> list[str]:
    found = []
    if "Traceback" in said or "Internal error" in said or code not in (0, 1, 2, 3, 4):
        found.append(f"it ended with code {code}: {said[-600:]}")
    sentence = r"^Error: .*[.!]$" if code != PARTLY else r" left out \("
    if code and not re.search(sentence, said, re.MULTILINE):
        found.append(f"no sentence says why: {said[-300:]}")
    try:
        after = place.verb.digest(place.output) if len(place.output.name) < 255 else ""
    except Exception as error:  # noqa: BLE001 - that is the finding
        return [*found, f"what lies there is not whole: {type(error).__name__}: {error}"]
    partly = code == PARTLY and not place.verb.replaces
    if after != expected and (after or not code) and not partly:
        found.append("another result lies there")
    if place.verb.replaces and not after and len(place.output.name) < 255:
        found.append("the earlier result is lost")
    return found + [f"left: {one.name}" for one in place.output.parent.rglob(".writing-*")]


def _problems_afterwards(place: Place, expected: str) -> list[str]:
    """Once all is well, the command has to end with the result of an undisturbed run."""
    place.meanwhile = None
    process, hung = _run(place, {})
    if hung or process.returncode:
        return [f"afterwards, it ends with code {process.returncode}: {(place.folder / 'log.txt').read_text()[-300:]}"]
    if place.verb.digest(place.output) != expected:
        return ["afterwards, its result differs"]
    return [f"afterwards: {one.name}" for one in place.output.parent.rglob("*") if is_litter(one)]


def _sentence(said: str, place: Place) -> str:
    """The last message, without the folder."""
    last = [line for line in said.splitlines() if line.startswith("Error: ")]
    text = last[-1] if last else said[-200:]
    for path in (place.output.parent, place.folder):
        text = text.replace(f"{path}/", "").replace(str(path), "FOLDER")
    return text


def campaign(names: list[str], verbs: list[str], told: dict[str, Any]) -> dict[str, Any]:
    """Try faults with commands; `told` is what is known of others.

    Returns:
        Fault → command → what `tried` returns.
    """
    with tempfile.TemporaryDirectory() as directory:
        originals = Path(directory) / "originals"
        write_originals(originals)
        _write_earlier(originals, verbs)
        for name in names:
            for verb in [verb for verb in verbs if verb in FAULTS[name].verbs]:
                folder = Path(directory) / "work"
                folder.mkdir()
                result = tried(originals, name, verb, folder)
                shutil.rmtree(folder)
                told.setdefault(name, {"title": FAULTS[name].title})[verb] = result
                print(name, verb, json.dumps(result), flush=True)
    return told


def _write_earlier(folder: Path, verbs: list[str]) -> None:
    """A result of each command, and how long it takes."""
    for verb in verbs:
        began = time.monotonic()
        if started(folder, VERBS[verb].words.replace("OUT", VERBS[verb].output)).wait(SECONDS):
            raise RuntimeError(f"creps {verb} does not work: {(folder / 'log.txt').read_text()}")
        VERBS[verb].seconds = time.monotonic() - began
    (folder / "log.txt").unlink()


def main() -> None:
    """Run it and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fault", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--verb", nargs="+", choices=list(VERBS), default=list(VERBS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    told = json.loads(options.out.read_text())["faults"] if options.out.is_file() else {}
    told = campaign(options.fault, options.verb, told)
    options.out.write_text(json.dumps({"faults": told, "machine": machine()}, indent=1, ensure_ascii=False) + "\n")
    bad = [name for name in options.fault for verb in options.verb if told[name].get(verb, {}).get("problems")]
    raise SystemExit(f"Problems: {', '.join(sorted(set(bad)))}" if bad else 0)


if __name__ == "__main__":
    main()
