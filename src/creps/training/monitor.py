"""What a run shows: console lines, curves as CSV and TensorBoard, pictures."""

from __future__ import annotations

import csv
import io
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from creps.io.atomic import atomic_file

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Monitor"]

log = logging.getLogger(__name__)

CURVES = "curves.csv"


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
        self.rows = [row for row in _read_rows(folder / CURVES) if int(row["step"]) <= start]
        self.tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)
        self.first_step = start
        self.started = self.last_time = time.perf_counter()
        self.last_step = start

    def due(self, step: int) -> bool:
        """Whether `step` (counted from 1) is to be shown."""
        return step == self.first_step + 1 or step % self.log_every == 0 or step == self.steps

    def show(self, step: int, terms: dict[str, float], weights: dict[str, float]) -> None:
        """One line on the console, one row in the curves."""
        now = time.perf_counter()
        seconds = (now - self.last_time) / max(1, step - self.last_step)
        mean_seconds = (now - self.started) / max(1, step - self.first_step)
        self.last_time, self.last_step = now, step
        left = timedelta(seconds=round(mean_seconds * (self.steps - step)))
        parts = [f"{name} {value:.4g} (x{weights[name]:.4g})" for name, value in terms.items()]
        log.info("step %d/%d  %s  %.2f s/step, %s left", step, self.steps, "  ".join(parts), seconds, left)
        row = {"step": str(step), "seconds_per_step": f"{seconds:.4f}"}
        for name, value in terms.items():
            row |= {name: f"{value:.8g}", f"{name}_weight": f"{weights[name]:.8g}"}
            self.tensorboard.add_scalar(f"loss/{name}", value, step)
            self.tensorboard.add_scalar(f"weight/{name}", weights[name], step)
        self.tensorboard.add_scalar("seconds_per_step", seconds, step)
        self._write(row)

    def note(self, step: int, values: dict[str, float]) -> None:
        """Values of a validation: one line, and columns of their own in the curves."""
        log.info("step %d/%d  validation: %s", step, self.steps, "  ".join(f"{k} {v:.4g}" for k, v in values.items()))
        for name, value in values.items():
            self.tensorboard.add_scalar(f"validation/{name}", value, step)
        self._write({"step": str(step)} | {name: f"{value:.8g}" for name, value in values.items()})

    def picture(self, step: int, image: npt.NDArray[np.uint8]) -> None:
        """An (H, W, 3) picture as PNG and for TensorBoard."""
        import matplotlib.image

        with atomic_file(self.folder / "pictures" / f"step_{step:08d}.png") as path:
            matplotlib.image.imsave(path, image)
        self.tensorboard.add_image("validation", image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush what is buffered."""
        self.tensorboard.close()

    def _write(self, row: dict[str, str]) -> None:
        if self.rows and self.rows[-1]["step"] == row["step"]:
            self.rows[-1] |= row
        else:
            self.rows.append(row)
        columns = list(dict.fromkeys(name for entry in self.rows for name in entry))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        with atomic_file(self.folder / CURVES) as path:
            path.write_text(text.getvalue(), encoding="utf-8")


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(stream)]
