"""How a run reports: console lines, curves as CSV, pictures, and TensorBoard if it is asked for."""

from __future__ import annotations

import csv
import gc
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from creps.io.atomic import atomic_file
from creps.io.picture import write_picture
from creps.training.files import CURVES, CURVES_PICTURE, PICTURES
from creps.training.report import TERM_NAMES
from creps.training.run.tensorboard import TensorBoard

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Monitor"]

log = logging.getLogger(__name__)

REPORT_SECONDS = 60
"""After which a report is written again even if there was no validation."""

VALIDATION = (
    *("validation_score", "place_distance_hu", "disagreement_hu", "bone_ratio", "spread_ratio"),
    *("train_eval_difference_hu", "simulated_error_hu"),
)
"""Values of a validation."""


class Monitor:
    """Reports a run from its first step.

    The curves of a resumed run continue from its checkpoint: later rows of the interrupted session are dropped.

    Args:
        folder: The run's folder.
        start: Steps done before.
        steps: Steps of the whole run.
        loggers: Get the same values and pictures.
        draw_curves: Draws the curves' file as a picture (rows, columns, 3).
        report: Writes the report of the run.

    Attributes:
        history: The rows of the curves, including those before a resumed run's start.
    """

    def __init__(
        self,
        folder: Path,
        start: int,
        steps: int,
        loggers: Sequence[TensorBoard] = (),
        draw_curves: Callable[[Path], npt.NDArray[np.uint8]] | None = None,
        report: Callable[[], None] | None = None,
    ) -> None:
        self.folder, self.steps = folder, steps
        self.columns = [
            "step",
            "seconds_per_step",
            *TERM_NAMES,
            *(f"{name}_weight" for name in TERM_NAMES),
            *VALIDATION,
        ]
        self.history, self.curves = _open_curves(folder / CURVES, self.columns, start)
        self.loggers, self.draw_curves, self.report = loggers, draw_curves, report
        self.reported = time.perf_counter()
        self.first_step = self.last_step = start
        self.started = self.last_time = time.perf_counter()

    def show(
        self, step: int, terms: dict[str, float], weights: dict[str, float], validation: dict[str, float] | None = None
    ) -> None:
        """One line on the console and one row in the curves; a second line for a validation."""
        now = time.perf_counter()
        seconds = (now - self.last_time) / max(1, step - self.last_step)
        mean_seconds = (now - self.started) / max(1, step - self.first_step)
        self.last_time, self.last_step = now, step
        left = timedelta(seconds=round(mean_seconds * (self.steps - step)))
        parts = [f"{name} {value:.4g} (x{weights[name]:.4g})" for name, value in terms.items()]
        log.info("step %d/%d  %s  %.2f s/step, %s left", step, self.steps, "  ".join(parts), seconds, left)
        scalars = {f"loss/{name}": value for name, value in terms.items()}
        scalars |= {f"weight/{name}": weights[name] for name in terms} | {"seconds_per_step": seconds}
        row = {"seconds_per_step": seconds, **terms, **{f"{name}_weight": weights[name] for name in terms}}
        if validation:
            log.info(
                "step %d/%d  validation: %s", step, self.steps, "  ".join(f"{k} {v:.4g}" for k, v in validation.items())
            )
            scalars |= {f"validation/{name}": value for name, value in validation.items()}
            row |= validation
        self.history.append({"step": float(step), **row})
        for logger in self.loggers:
            logger.scalars(scalars, step)
        writer = csv.DictWriter(self.curves, self.columns, restval="", lineterminator="\n")
        writer.writerow({"step": step} | {name: f"{value:.8g}" for name, value in row.items()})
        self.curves.flush()
        if self.draw_curves is not None and (validation or step == self.steps):
            write_picture(self.draw_curves(self.folder / CURVES), self.folder / CURVES_PICTURE)
            gc.collect()  # figures refer to themselves: they stay in memory until such a collection
        if self.report is not None and (validation or time.perf_counter() - self.reported > REPORT_SECONDS):
            self.report()
            gc.collect()
            self.reported = time.perf_counter()

    def picture(self, step: int, image: npt.NDArray[np.uint8]) -> None:
        """Write an (H, W, 3) picture as PNG, and pass it to the loggers."""
        write_picture(image, self.folder / PICTURES / f"step_{step:08d}.png")
        for logger in self.loggers:
            logger.picture(image, step)

    def close(self) -> None:
        """Flush what is buffered."""
        self.curves.close()
        for logger in self.loggers:
            logger.close()


def _open_curves(path: Path, columns: list[str], start: int) -> tuple[list[dict[str, float]], TextIO]:
    """Open the curves for appending, keeping whole rows up to step `start`. Returns these rows as well."""
    kept = []
    if start and path.is_file():
        with path.open(encoding="utf-8", errors="replace", newline="") as stream:
            rows = csv.DictReader(stream)
            kept = [row for row in rows if (row.get("step") or "").isdecimal() and int(row["step"]) <= start]
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    return [_numbers(row) for row in kept], path.open("a", encoding="utf-8", newline="")


def _numbers(row: dict[str, str]) -> dict[str, float]:
    """The cells of a row that hold a number."""
    numbers = {}
    for name, cell in row.items():
        with suppress(ValueError, TypeError):
            numbers[name] = float(cell)
    return numbers
