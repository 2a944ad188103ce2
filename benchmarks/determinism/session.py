"""Several commands of creps in one process, one after the other: ``python -m benchmarks.determinism.session JSON``.

JSON is a list of commands, each as its words and, for one that is to be interrupted, the path that must exist before
it gets SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.determinism.commands import PLAIN, Way, process_of
from benchmarks.dicom.campaign import command_line

__all__ = ["INTERRUPTED", "run_session"]

INTERRUPTED = 128 + signal.SIGTERM
"""Exit code of a command that a signal ended."""


def run_session(folder: Path, commands: Sequence[str | tuple[str, str]], way: Way = PLAIN) -> None:
    """Run commands in a process of their own.

    Args:
        folder: Where.
        commands: The words of each; with a path, it gets SIGTERM once that exists.
        way: How the process runs.

    Raises:
        RuntimeError: a command failed.
    """
    process = process_of(folder, ["-m", "benchmarks.determinism.session", json.dumps(commands)], way)
    if process.wait(3600):
        raise RuntimeError(f"{way.name}: {(folder / 'log.txt').read_text()[-3000:]}")


def _all(commands: Sequence[str | Sequence[str]]) -> None:
    for command in commands:
        words, until = (command, None) if isinstance(command, str) else command
        if until is not None:
            threading.Thread(target=_interrupt, args=(Path(until),), daemon=True).start()
        code, said = command_line(*words.split())
        if code != (0 if until is None else INTERRUPTED):
            raise SystemExit(f"creps {words} ended with code {code}: {said}")


def _interrupt(until: Path) -> None:
    while not until.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _all(json.loads(sys.argv[1]))
