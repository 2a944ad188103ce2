"""The process of a part: load everything, wait for the word to go, run, write the result.

    python -m benchmarks.gpu.run_part NAME WORK

The conductor starts it while the part before still runs, so that no GPU waits for imports.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks.gpu.compiled import measure_compiled
from benchmarks.gpu.job import Job, PartError, open_job
from benchmarks.gpu.limits import measure_limits
from benchmarks.gpu.paper import train_paper
from benchmarks.gpu.peak import measure_peak
from benchmarks.gpu.phantoms import grow_phantoms
from benchmarks.gpu.scoring import score_models
from benchmarks.gpu.side_by_side import train_side_by_side
from benchmarks.gpu.synthesis import compare_with_monai, synthesize_head

from creps.errors import CrepsError

FUNCTIONS: dict[str, Callable[[Job], None]] = {
    "phantoms": grow_phantoms,
    "peak": measure_peak,
    "paper-brain": lambda job: train_paper(job, "brain"),
    "paper-pelvis": lambda job: train_paper(job, "pelvis"),
    "sct": synthesize_head,
    "train": train_side_by_side,
    "score": score_models,
    "limits": measure_limits,
    "compile": measure_compiled,
    "monai": compare_with_monai,
}


def main() -> None:
    name, work = sys.argv[1], Path(sys.argv[2])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    word = sys.stdin.readline()
    if not word.strip():
        return  # the conductor has gone
    job = open_job(name, work, float(word))
    job.note()
    try:
        FUNCTIONS[name](job)
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
