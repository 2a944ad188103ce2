"""A command of creps in a process of its own, in one of several ways to run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import creps
from creps.parallel import THREADS

__all__ = ["AVX2", "ONE_CORE", "OTHER_SEED", "PLAIN", "TWO_THREADS", "Way", "creps_run", "process_of", "started"]


@dataclass(frozen=True)
class Way:
    """How a command runs.

    Attributes:
        name: For the table.
        threads: Threads of every numerical library; None: as the machine has cores.
        cores: How many cores the process may use; None: all.
        words: Words that are added to the command.
        environment: Further environment variables.
    """

    name: str
    threads: int | None = 1
    cores: int | None = None
    words: str = ""
    environment: dict[str, str] = field(default_factory=dict)


PLAIN = Way("again")
TWO_THREADS = Way("2 threads", threads=2)
ONE_CORE = Way("1 core, threads not set", threads=None, cores=1)
OTHER_SEED = Way("another seed", words="--training.seed 1")
AVX2 = Way(
    "AVX2 instructions only",
    environment={
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
    },
)
"""As on a processor without AVX-512. NumPy warns of features that it was built without."""


def creps_run(folder: Path, words: str, way: Way = PLAIN) -> None:
    """Run a command in a folder, and wait for it.

    Raises:
        RuntimeError: it failed.
    """
    process = started(folder, words, way)
    if process.wait(3600):
        raise RuntimeError(f"creps {words} ({way.name}): {(folder / 'log.txt').read_text()[-3000:]}")


def started(folder: Path, words: str, way: Way = PLAIN) -> subprocess.Popen[bytes]:
    """Start a command in a folder; what it prints goes into ``log.txt`` there."""
    return process_of(folder, ["-m", "creps", "-q", *words.split()], way)


def process_of(folder: Path, words: list[str], way: Way) -> subprocess.Popen[bytes]:
    """Start Python with some words, in a folder and a way."""
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    sources = (Path(creps.__file__).parents[1], Path(__file__).parents[2])
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # on a busy machine, threads that spin wait for each other
    environment["PYTHONPATH"] = os.pathsep.join(map(str, sources))
    if way.threads is not None:
        environment |= dict.fromkeys(THREADS, str(way.threads))
    with (folder / "log.txt").open("a") as log, _on(way.cores):
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", *words],
            cwd=folder,
            stdout=log,
            stderr=log,
            env=environment | way.environment,
            start_new_session=True,
        )


@contextmanager
def _on(cores: int | None) -> Iterator[None]:
    """Processes that are started inside use so many cores, where the system can limit them."""
    if cores is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    limit = partial(os.sched_setaffinity, 0)
    limit(sorted(before)[:cores])
    try:
        yield
    finally:
        limit(before)
