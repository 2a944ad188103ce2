"""Metrics and pages of the same sCTs: again, with two threads and in two processes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.determinism.commands import TWO_THREADS, Way
from benchmarks.determinism.compare import documents_apart
from benchmarks.determinism.session import run_session
from benchmarks.determinism.synthesis import InProcesses, small_model

__all__ = ["calibrations", "scores"]

DATES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z|\+00:00)?")


def scores(folder: Path) -> dict[str, Any]:
    """Evaluate sCTs of pairs, with and without registration, and report them, in every way.

    Args:
        folder: With the originals and the small model.
    """
    small_model(folder)
    run_session(folder, ["synthesize patches " + " ".join(_mrs(folder)) + " -o scts --force"])
    told: dict[str, Any] = {}
    for way in (Way("first"), TWO_THREADS):
        name = "".join(letter for letter in way.name if letter.isalnum())
        sct, patient = f"scts/{_names(folder)[0]}_sct.nii.gz", f"paired/{_names(folder)[0]}"
        commands = [
            f"evaluate scts paired --json scores_{name}.json",
            f"evaluate {sct} {patient}/ct.nii.gz --register rigid --json registered_{name}.json",
            f"report {sct} --mr {patient}/mr.nii.gz --ct {patient}/ct.nii.gz -o page_{name}.html",
        ]
        run_session(folder, commands, way)
        if way.name != "first":
            told[way.name] = {
                kind: documents_apart(folder / f"{kind}_first.json", folder / f"{kind}_{name}.json")
                for kind in ("scores", "registered", "page")
            }
            told[way.name]["registered_apart"] = _values_apart(folder, "registered", name)
            told[way.name]["page_equal"] = _page(folder / "page_first.html") == _page(folder / f"page_{name}.html")
            print(way.name, json.dumps(told[way.name]), flush=True)
    told["2 processes"] = _in_processes(folder)
    return told


def calibrations(folder: Path) -> dict[str, Any]:
    """Calibrate the small model on a phantom, again with two threads.

    Args:
        folder: Where.
    """
    small_model(folder)
    for way in (Way("first"), TWO_THREADS):
        name = "".join(letter for letter in way.name if letter.isalnum())
        run_session(folder, [f"calibrate patches -o calibrated_{name} --phantoms 1"], way)
    return {
        way.name: documents_apart(
            folder / "calibrated_first" / "calibration.json",
            folder / f"calibrated_{''.join(c for c in way.name if c.isalnum())}" / "calibration.json",
        )
        for way in (TWO_THREADS,)
    }


def _names(folder: Path) -> list[str]:
    return sorted(one.name for one in (folder / "paired").iterdir())


def _mrs(folder: Path) -> list[str]:
    """MRs of the pairs, each under the name of its patient."""
    (folder / "paired_mr").mkdir(exist_ok=True)
    for name in _names(folder):
        (folder / "paired_mr" / f"{name}.nii.gz").write_bytes((folder / "paired" / name / "mr.nii.gz").read_bytes())
    return [f"paired_mr/{name}.nii.gz" for name in _names(folder)]


def _page(file: Path) -> str:
    return DATES.sub("DATE", file.read_text())


def _values_apart(folder: Path, kind: str, name: str) -> dict[str, float]:
    """The largest relative difference of a metric."""
    first, other = (
        json.loads((folder / f"{kind}_{one}.json").read_text())["cases"][0]["values"] for one in ("first", name)
    )
    apart = {
        key: abs(value - other[key]) / max(abs(value), 1e-9)
        for key, value in first.items()
        if isinstance(value, int | float) and isinstance(other.get(key), int | float)
    }
    worst = max(apart, key=lambda key: apart[key])
    return {worst: float(f"{apart[worst]:.3g}")}


def _in_processes(folder: Path) -> dict[str, bool]:
    from creps.evaluation.batch import evaluate_folder

    here, there = (
        evaluate_folder(folder / "scts", folder / "paired", runner=runner) for runner in (None, InProcesses())
    )
    return {
        "equal": {name: one.values for name, one in here.cases.items()}
        == {name: one.values for name, one in there.cases.items()}
    }
