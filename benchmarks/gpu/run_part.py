"""The process of a part: load everything, wait for the word to go, run, write the result.

    python -m benchmarks.gpu.run_part NAME WORK

The conductor starts it while the part before still runs, so that no GPU waits for imports.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.gpu.job import Job, PartError, open_job
from creps.errors import CrepsError

Work = Callable[[Job], None]


def _phantoms() -> Work:
    from benchmarks.gpu.phantoms import grow_phantoms

    return grow_phantoms


def _peak() -> Work:
    from benchmarks.gpu.peak import measure_peak

    return measure_peak


def _sct() -> Work:
    from benchmarks.gpu.synthesis import synthesize_head

    return synthesize_head


def _models() -> Work:
    from benchmarks.gpu.models import train_models

    return train_models


def _table() -> Work:
    from benchmarks.gpu.tables import train_wave

    return train_wave


def _scoring() -> Work:
    from benchmarks.gpu.scoring import score_models

    return score_models


def _limits() -> Work:
    from benchmarks.gpu.limits import measure_limits

    return measure_limits


def _compiled() -> Work:
    from benchmarks.gpu.compiled import measure_compiled

    return measure_compiled


def _monai() -> Work:
    from benchmarks.gpu.synthesis import compare_with_monai

    return compare_with_monai


def _paper(preset: str) -> Work:
    from benchmarks.gpu.paper import train_paper

    return partial(train_paper, preset=preset)


LOADERS: dict[str, Callable[[], Work]] = {
    "paper-brain": lambda: _paper("brain"),
    "paper-pelvis": lambda: _paper("pelvis"),
    "phantoms": _phantoms,
    "peak": _peak,
    "sct": _sct,
    "models": _models,
    "score": _scoring,
    "table": _table,
    "limits": _limits,
    "compile": _compiled,
    "monai": _monai,
}
"""Part, or what its name begins with → loads what it needs, and nothing more, and returns what does it."""


def main() -> None:
    name, work = sys.argv[1], Path(sys.argv[2])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    work_of_part = LOADERS[name if name in LOADERS else name.partition("-")[0]]()
    word = sys.stdin.readline()
    if not word.strip():
        return  # the conductor has gone
    job = open_job(name, work, float(word))
    job.note()
    try:
        work_of_part(job)
    except Exception as error:  # noqa: BLE001 - whatever it is, the result says so and the other parts go on
        traceback.print_exc()
        job.note(error=sentence(error))
        sys.exit(1)


def sentence(error: Exception) -> str:
    """What went wrong, in a line."""
    said = " ".join(str(error).split())[:400]
    return said if isinstance(error, (CrepsError, PartError)) else f"{type(error).__name__}: {said}"


if __name__ == "__main__":
    main()
