"""Does memory grow: of a long run and its workers, and of the synthesis of many MRs in one process?"""

from __future__ import annotations

import csv
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.determinism.commands import PLAIN, process_of, started
from benchmarks.determinism.originals import train_words

__all__ = ["long_run", "many_syntheses"]

WARM = 0.2
"""The first part of a run, in which caches fill; the slope is of what follows."""

PARTS = 8
"""The slope of the rest is also told in parts, to see whether growth ends."""


def long_run(folder: Path, recipe: str, steps: int, workers: int) -> dict[str, Any]:
    """Train for long; memory of the process and of its workers, by step.

    Args:
        folder: With the originals.
        recipe: Which.
        steps: How many.
        workers: Processes that read patches.
    """
    run = folder / f"long_{recipe}"
    words = train_words(recipe, run.name, steps, every=250).replace("--training.log_every 1", "--training.log_every 10")
    process = started(folder, f"{words} --training.workers {workers}", PLAIN)
    parent, rows = psutil.Process(process.pid), []
    began = time.monotonic()
    while process.poll() is None:
        with suppress(psutil.Error, OSError, ValueError, IndexError):  # it starts, ends, or writes a row
            children = [one for one in parent.children(recursive=True) if "resource_tracker" not in str(one.cmdline())]
            rows.append((_last_step(run), _bytes(parent), sum(map(_bytes, children)), len(children)))
        time.sleep(1.0)
    if process.returncode:
        raise RuntimeError((folder / "log.txt").read_text()[-3000:])
    steady = [row for row in rows if row[0] >= WARM * steps and row[3] == workers]
    return {
        "recipe": recipe,
        "steps": steps,
        "workers": workers,
        "seconds": round(time.monotonic() - began),
        "samples": len(steady),
        "process": _growth([row[0] for row in steady], [row[1] for row in steady]),
        "readers": _growth([row[0] for row in steady], [row[2] for row in steady]),
    }


def many_syntheses(folder: Path, model: str, mr: str, count: int) -> dict[str, Any]:
    """Synthesize one MR many times in one process; its memory after each.

    Args:
        folder: With the model.
        model: Model folder or name.
        mr: A volume file.
        count: How often.
    """
    output = folder / "many.json"
    words = ["-m", "benchmarks.determinism.memory", model, mr, str(count), str(output)]
    if process_of(folder, words, PLAIN).wait(3600):
        raise RuntimeError((folder / "log.txt").read_text()[-3000:])
    used = json.loads(output.read_text())
    first = int(WARM * count)
    return {"count": count, "model": model, **_growth(range(first, count), used[first:])}


def _synthesize_many(model: str, mr: str, count: int, output: Path) -> None:
    import creps

    loaded, volume, used = creps.load(model), creps.read_volume(mr), []
    for _ in range(count):
        made = loaded.synthesize(volume, force=True)
        _ = made.qa
        used.append(_bytes(psutil.Process()))
    output.write_text(json.dumps(used))


def _bytes(process: psutil.Process) -> int:
    """Memory that the process has for itself: pages of mapped files do not count."""
    return int(process.memory_full_info().uss)


def _last_step(run: Path) -> int:
    rows = list(csv.DictReader((run / "curves.csv").read_text().splitlines()))
    return int(rows[-1]["step"])


def _growth(at: Any, used: Any) -> dict[str, Any]:
    """First and last level in MB (medians), and the slope per 1,000 in all and in parts."""
    x, y = np.asarray(at, dtype=float), np.asarray(used, dtype=float) / 1e6
    tenth = max(1, len(y) // 10)
    parts = [float(np.median(part)) for part in np.array_split(y, PARTS)]
    return {
        "first_mb": round(float(np.median(y[:tenth])), 1),
        "last_mb": round(float(np.median(y[-tenth:])), 1),
        "most_mb": round(float(y.max()), 1),
        "mb_per_1000": round(float(np.polyfit(x, y, 1)[0]) * 1000, 2),
        "levels_mb": [round(part, 1) for part in parts],
    }


if __name__ == "__main__":
    _synthesize_many(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
