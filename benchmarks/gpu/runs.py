"""What runs are made of and leave: settings files, curves, checkpoints. Loads no training engine."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path

from creps.model import checkpoints
from creps.settings import Settings, to_yaml
from creps.training.files import CURVES

__all__ = ["checkpoint_steps", "model_of", "rows_of", "write_settings"]


def write_settings(settings: Settings, file: Path) -> Path:
    """A settings file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(to_yaml(settings), encoding="utf-8")
    return file


def rows_of(run: Path) -> list[dict[str, float]]:
    """The rows of a run's curves, numbers only; a row that is just being written is left out."""
    rows = []
    with (run / CURVES).open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            numbers = {}
            for name, cell in row.items():
                with suppress(ValueError, TypeError):
                    numbers[name] = float(cell)
            rows.append(numbers)
    return [row for row in rows if {"step", "seconds_per_step"} <= row.keys()]


def checkpoint_steps(run: Path) -> dict[int, Path]:
    """Steps → checkpoint."""
    return {int(path.name.removeprefix("step_")): path for path in checkpoints(run / "checkpoints")}


def model_of(run: Path) -> Path | None:
    """The best that a run has so far: its model, its last checkpoint, or none."""
    found = checkpoint_steps(run)
    folders = [run / "model", *([found[max(found)]] if found else [])]
    return next((folder for folder in folders if (folder / "plan.json").is_file()), None)
