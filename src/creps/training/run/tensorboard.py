"""TensorBoard beside the run's own curves and pictures: an extra, imported only where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from creps.errors import SettingsError
from creps.settings.choices import Tracker

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TensorBoard", "check_loggers", "open_loggers"]


def check_loggers(names: tuple[Tracker, ...]) -> None:
    """Refuse loggers that are not installed, before anything else is done.

    Raises:
        SettingsError: one is not.
    """
    if "tensorboard" in names and find_spec("tensorboard") is None:
        raise SettingsError(
            "training.loggers names 'tensorboard', which is not installed.",
            "Install it with pip install 'creps[tensorboard]', or leave it out: curves.csv and curves.png are always "
            "written.",
        )


def open_loggers(names: tuple[Tracker, ...], folder: Path, start: int) -> list[TensorBoard]:
    """The loggers of a run.

    Args:
        names: Which ones.
        folder: The run's folder.
        start: Steps done before; later points of an earlier session are removed.
    """
    return [TensorBoard(folder, start)] if "tensorboard" in names else []


class TensorBoard:
    """Event files in ``tensorboard/`` of the run's folder.

    Args:
        folder: The run's folder.
        start: Steps done before.
    """

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve, by names such as ``loss/style``."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, image: npt.NDArray[np.uint8], step: int) -> None:
        """An (H, W, 3) picture under the tag ``validation``."""
        self.writer.add_image("validation", image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush the event file."""
        self.writer.close()
