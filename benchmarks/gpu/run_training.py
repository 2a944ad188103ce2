"""`train()` as it is, with a clock on what it waits for: the patches of each step.

    python -m benchmarks.gpu.run_training COHORT RUN SETTINGS_FILE RESULT_FILE [--resume]

Writes the seconds spent waiting for patches, the steps and the peak memory of the device, also when a signal ends the
run. Exit code 0 for a run that ended or was interrupted, 1 for one that failed.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from creps.cohort.cohort import load_cohort
from creps.errors import CrepsError, RunInterruptedError
from creps.io.atomic import write_json
from creps.settings import load_settings
from creps.training.loop import TrainingLoop
from creps.training.run.train import train

__all__ = ["Watch", "train_watched"]


class Watch:
    """How long a training waits for its patches, step by step.

    Attributes:
        waits: Seconds before each step.
        times: `time.time()` at the start of each step.
    """

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.times: list[float] = []
        self.original = TrainingLoop._batches

    def __enter__(self) -> Watch:
        """Put the clock on."""
        watch = self

        def batches(loop: TrainingLoop) -> Iterator[Any]:
            source = iter(watch.original(loop))
            while True:
                started = time.perf_counter()
                try:
                    batch = next(source)
                except StopIteration:
                    return
                watch.waits.append(time.perf_counter() - started)
                watch.times.append(time.time())
                yield batch

        TrainingLoop._batches = batches  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *_: object) -> None:
        """Take it off."""
        TrainingLoop._batches = self.original  # type: ignore[method-assign]

    def summary(self) -> dict[str, Any]:
        """Without the first step, which waits for the readers to start."""
        waits, seconds = self.waits[1:], (self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0
        return {
            "steps": len(self.waits),
            "first_wait_seconds": round(self.waits[0], 3) if self.waits else None,
            "wait_seconds": round(sum(waits), 3),
            "wait_share": round(sum(waits) / seconds, 4) if seconds else None,
        }


def train_watched(cohort: Path, run: Path, settings_file: Path, *, resume: bool) -> dict[str, Any]:
    """Train; returns what was measured, with `error` if the run failed."""
    prepared = load_cohort(cohort)
    settings = load_settings(file=settings_file, prepared=prepared.settings())
    found: dict[str, Any] = {}
    with Watch() as watch:
        try:
            train(prepared, run, settings, resume=resume)
        except RunInterruptedError as error:
            found["stopped"] = error.reason
        except CrepsError as error:
            found["error"] = str(error)
    on_gpu = torch.cuda.is_available() and settings.training.device != "cpu"
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None
    reserved = torch.cuda.max_memory_reserved() / 1e9 if on_gpu else None
    memory = {"peak_memory_gb": peak and round(peak, 2), "reserved_memory_gb": reserved and round(reserved, 2)}
    return {**found, **watch.summary(), **memory}


def main() -> None:
    cohort, run, settings_file, result = (Path(text) for text in sys.argv[1:5])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    found = train_watched(cohort, run, settings_file, resume="--resume" in sys.argv)
    write_json(result, found)
    print(json.dumps(found))
    sys.exit(1 if "error" in found else 0)


if __name__ == "__main__":
    main()
