"""What a run shows: console lines, curves as CSV and TensorBoard, pictures."""

from __future__ import annotations

import csv
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from creps.io.atomic import atomic_file
from creps.training.step import TERMS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Monitor"]

log = logging.getLogger(__name__)

CURVES = "curves.csv"

VALIDATION = ("train_eval_difference_hu",)
"""What a validation measures."""


class Monitor:
    """Follows a run from its first step.

    Curves of a resumed run go on where its checkpoint stands: later rows of the cut-off run are dropped.

    Args:
        folder: The run's folder.
        start: Steps done before.
        steps: Steps of the whole run.
        log_every: Steps between lines; the first and the last are always shown.
    """

    def __init__(self, folder: Path, start: int, steps: int, log_every: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder, self.steps, self.log_every = folder, steps, log_every
        self.columns = ["step", "seconds_per_step", *TERMS, *(f"{name}_weight" for name in TERMS), *VALIDATION]
        self.curves = _open_curves(folder / CURVES, self.columns, start)
        self.tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)
        self.first_step = self.last_step = start
        self.started = self.last_time = time.perf_counter()

    def due(self, step: int) -> bool:
        """Whether `step` (counted from 1) is to be shown."""
        return step == self.first_step + 1 or step % self.log_every == 0 or step == self.steps

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
        for name, value in scalars.items():
            self.tensorboard.add_scalar(name, value, step)
        writer = csv.DictWriter(self.curves, self.columns, restval="", lineterminator="\n")
        writer.writerow({"step": step} | {name: f"{value:.8g}" for name, value in row.items()})
        self.curves.flush()

    def picture(self, step: int, image: npt.NDArray[np.uint8]) -> None:
        """An (H, W, 3) picture as PNG and for TensorBoard."""
        import matplotlib.image

        with atomic_file(self.folder / "pictures" / f"step_{step:08d}.png") as path:
            matplotlib.image.imsave(path, image)
        self.tensorboard.add_image("validation", image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush what is buffered."""
        self.curves.close()
        self.tensorboard.close()


def _open_curves(path: Path, columns: list[str], start: int) -> TextIO:
    """Open the curves for appending; only whole rows up to step `start` stay."""
    kept = []
    if start and path.is_file():
        with path.open(encoding="utf-8", newline="") as stream:
            rows = csv.DictReader(stream)
            kept = [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) <= start]
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    return path.open("a", encoding="utf-8", newline="")
