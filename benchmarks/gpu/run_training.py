"""`train()` as it is, with a clock on what it waits for, and an end on time.

    python -m benchmarks.gpu.run_training COHORT RUN SETTINGS_FILE RESULT_FILE [--ends EPOCH] [--most STEPS]
        [--reuse N] [--people FOLDER] [--resume]

Writes the seconds spent waiting for patches, the steps and the peak memory of the device, also when a signal ends the
run. Exit code 0 for a run that ended or was interrupted, 1 for one that failed. With `--ends`, the number of steps
follows from the pace, and the run's record names it, as if it had been asked for; see `benchmarks.gpu.feed`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.feed import Clock, Pool
from benchmarks.gpu.teachers import grown_before
from creps.cohort.cohort import load_cohort
from creps.errors import CrepsError, RunInterruptedError
from creps.io.atomic import write_json
from creps.settings import Settings, load_settings, to_yaml
from creps.training.files import SETTINGS
from creps.training.loop import TrainingLoop
from creps.training.run.folder import RunFolder
from creps.training.run.train import train

__all__ = ["Watch", "train_watched"]


class Watch:
    """How long a training waits for its patches, step by step; it may also end it on time, and let pairs serve again.

    Args:
        clock: Plans the steps; None leaves them to the settings.
        reuse: Steps that a simulated pair may serve.

    Attributes:
        waits: Seconds before each step.
        times: `time.time()` at the start of each step.
        pool: Pairs that serve again, if any do.
    """

    def __init__(self, clock: Clock | None = None, reuse: int = 1) -> None:
        self.clock, self.reuse = clock, reuse
        self.waits: list[float] = []
        self.times: list[float] = []
        self.pool: Pool | None = None
        self.original, self.original_record = TrainingLoop._batches, RunFolder.training_record

    def __enter__(self) -> Watch:
        """Put the clock on."""
        watch = self

        def batches(loop: TrainingLoop) -> Iterator[Any]:
            source = iter(watch.original(loop))
            if watch.reuse > 1:
                watch.pool = Pool(source, loop.processes.device, watch.reuse, loop.settings.seed)
                source = iter(watch.pool)  # nothing else holds the readers now
            number = loop.start
            while watch.clock is None or number < loop.patches.steps:
                started = time.perf_counter()
                try:
                    batch = next(source)
                except StopIteration:
                    return
                number += 1
                if watch.clock is not None:
                    loop.patches.steps = watch.clock.plan(number)
                watch.waits.append(time.perf_counter() - started)
                watch.times.append(time.time())
                yield batch

        def training_record(folder: RunFolder, steps: int, *rest: Any) -> dict[str, Any]:
            if watch.clock is not None:
                folder.settings = with_steps(folder.settings, watch.clock.planned)
            return watch.original_record(folder, steps, *rest)

        TrainingLoop._batches = batches  # type: ignore[method-assign,assignment]
        RunFolder.training_record = training_record  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        """Take it off."""
        if self.pool is not None:
            self.pool.stop()
        TrainingLoop._batches = self.original  # type: ignore[method-assign]
        RunFolder.training_record = self.original_record  # type: ignore[method-assign]

    def summary(self) -> dict[str, Any]:
        """Without the first step, which waits for the readers to start."""
        waits, seconds = self.waits[1:], (self.times[-1] - self.times[0]) if len(self.times) > 1 else 0.0
        found: dict[str, Any] = {
            "steps": len(self.waits),
            "first_wait_seconds": round(self.waits[0], 3) if self.waits else None,
            "wait_seconds": round(sum(waits), 3),
            "wait_share": round(sum(waits) / seconds, 4) if seconds else None,
        }
        if self.pool is not None:
            found |= {"new_batches": self.pool.fresh, "batches_that_served_again": self.pool.again}
        if self.clock is not None:
            found["plans"] = self.clock.plans
        return found


def with_steps(settings: Settings, steps: int) -> Settings:
    """Settings of a run of so many steps."""
    return settings.model_copy(update={"training": settings.training.model_copy(update={"steps": steps})})


def train_watched(
    cohort: Path,
    run: Path,
    settings_file: Path,
    *,
    resume: bool,
    clock: Clock | None = None,
    reuse: int = 1,
    people: Path | None = None,
) -> dict[str, Any]:
    """Train; returns what was measured, with `error` if the run failed."""
    prepared = load_cohort(cohort)
    settings = load_settings(file=settings_file, prepared=prepared.settings())
    found: dict[str, Any] = {}
    with Watch(clock, reuse) as watch, grown_before(people) if people else nullcontext():
        try:
            train(prepared, run, settings, resume=resume)
        except RunInterruptedError as error:
            found["stopped"] = error.reason
        except CrepsError as error:
            found["error"] = str(error)
    if clock is not None and (run / SETTINGS).is_file():
        (run / SETTINGS).write_text(to_yaml(with_steps(settings, clock.planned)), encoding="utf-8")
    on_gpu = torch.cuda.is_available() and settings.training.device != "cpu"
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None
    reserved = torch.cuda.max_memory_reserved() / 1e9 if on_gpu else None
    memory = {"peak_memory_gb": peak and round(peak, 2), "reserved_memory_gb": reserved and round(reserved, 2)}
    return {**found, **watch.summary(), **memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cohort", "run", "settings", "result"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--ends", type=float, help="time.time() by which the last step is done")
    parser.add_argument("--most", type=int, help="steps at most")
    parser.add_argument("--reuse", type=int, default=1, help="steps that a simulated pair may serve")
    parser.add_argument("--people", type=Path, help="phantoms that have been grown before")
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    clock = None if chosen.ends is None and chosen.most is None else Clock(chosen.ends, chosen.most or 1_000_000)
    found = train_watched(
        chosen.cohort,
        chosen.run,
        chosen.settings,
        resume=chosen.resume,
        clock=clock,
        reuse=chosen.reuse,
        people=chosen.people,
    )
    write_json(chosen.result, found)
    print(json.dumps(found))
    sys.exit(1 if "error" in found else 0)


if __name__ == "__main__":
    main()
