"""Synthesize one MR several times in one process, and keep the values before any rounding to whole HU.

python -m benchmarks.determinism.scts OUT '[["head", "mr.nii.gz", {"precision": "fp32"}]]'
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.determinism.commands import PLAIN, Way, process_of

__all__ = ["made", "values_apart"]

Order = tuple[str, str, dict[str, Any]]
"""Model, MR, and settings of the synthesis."""


def made(folder: Path, name: str, orders: dict[str, Order], way: Way = PLAIN) -> dict[str, Path]:
    """Synthesize in a process of its own; what is there stays.

    Args:
        folder: Models and MRs are named from here.
        name: Of the folder for the results.
        orders: Name → what to synthesize.
        way: How the process runs.

    Returns:
        Name → file of an sCT (see `values_apart`).
    """
    files = {one: folder / name / f"{number}.npz" for number, one in enumerate(orders)}
    words = ["-m", "benchmarks.determinism.scts", name, json.dumps(list(orders.values()))]
    there = all(file.with_suffix(".json").is_file() for file in files.values())
    if not there and process_of(folder, words, way).wait(3600):
        raise RuntimeError(f"{way.name}: {(folder / 'log.txt').read_text()[-3000:]}")
    return files


def values_apart(file: Path, other: Path) -> dict[str, Any]:
    """Largest and mean absolute difference in HU of two results; likewise of their uncertainty; and of their QA."""
    a, b = np.load(file), np.load(other)
    found: dict[str, Any] = {}
    for key in sorted({*a.files} & {*b.files}):  # the uncertainty of some alone
        difference = np.abs(a[key].astype(np.float64) - b[key])
        found[key] = {"most": _short(difference.max()), "mean": _short(difference.mean())}
    found["equal"] = all(one["most"] == 0 for one in found.values())
    checks = [json.loads(one.with_suffix(".json").read_text()) for one in (file, other)]
    found["qa_results_equal"] = [one[:2] for one in checks[0]] == [one[:2] for one in checks[1]]
    found["qa_equal"] = checks[0] == checks[1]
    return found


def _short(value: Any) -> float:
    return float(f"{float(value):.3g}")


def _synthesize(output: Path, orders: Sequence[Order]) -> None:
    import creps

    output.mkdir(exist_ok=True)
    for number, (model, mr, settings) in enumerate(orders):
        synthesis = creps.load(model).synthesize(mr, force=True, **settings)
        arrays = {"hu": synthesis.sct.array}
        if synthesis.uncertainty is not None:
            arrays["uncertainty_hu"] = synthesis.uncertainty.array
        np.savez(output / f"{number}.npz", **arrays)
        checks = [(one.name, one.result, one.value, one.message) for one in synthesis.qa.checks]
        (output / f"{number}.json").write_text(json.dumps(checks))


if __name__ == "__main__":
    _synthesize(Path(sys.argv[1]), json.loads(sys.argv[2]))
