"""Where curves and pictures go beside the run's folder: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from creps.errors import SettingsError
from creps.settings.choices import Tracker as TrackerName

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Tracker", "check_installed", "open_trackers"]

PROJECT = "creps"

PRIVATE: dict[str, Any] = {
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
    "host": "",
    "username": "",
}
"""Weights & Biases: curves, pictures and settings; nothing of the machine, its user or the command line."""


class Tracker(Protocol):
    """What a run tells a tracking tool."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Values by name, such as ``loss/style``."""

    def picture(self, image: npt.NDArray[np.uint8], step: int) -> None:
        """An (H, W, 3) picture of the validation."""

    def close(self) -> None:
        """Flush what is buffered."""


def open_trackers(
    names: tuple[TrackerName, ...], folder: Path, run_id: str, start: int, config: dict[str, Any]
) -> list[Tracker]:
    """The trackers of a run.

    Args:
        names: Which.
        folder: The run's folder.
        run_id: The same for a run and its continuation.
        start: Steps done before; a resumed run goes on in the same place.
        config: The run's settings.

    Raises:
        SettingsError: one cannot be started.
    """
    kinds: dict[TrackerName, type[TensorBoard | MLflow | WeightsAndBiases]] = {
        "tensorboard": TensorBoard,
        "mlflow": MLflow,
        "wandb": WeightsAndBiases,
    }
    opened: list[Tracker] = []
    for name in dict.fromkeys(names):
        try:
            opened.append(kinds[name](folder, run_id, start, config))
        except Exception as error:
            raise SettingsError(
                f"{name} cannot be started: {' '.join(str(error).split())[:200]}.",
                "Log in or start its server (WANDB_MODE=offline needs none), or leave it out of training.loggers.",
            ) from error
    return opened


def check_installed(names: tuple[TrackerName, ...]) -> None:
    """Refuse trackers that are not installed, before anything else is done.

    Raises:
        SettingsError: one is not.
    """
    missing = next((name for name in names if find_spec(name) is None), None)
    if missing is not None:
        raise SettingsError(
            f"training.loggers names '{missing}', which is not installed.",
            f"Install it: pip install 'creps[{missing}]'.",
        )


class TensorBoard:
    """Event files in ``tensorboard/``."""

    def __init__(self, folder: Path, run_id: str, start: int, config: dict[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        del run_id, config
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, image: npt.NDArray[np.uint8], step: int) -> None:
        """Under the tag ``validation``."""
        self.writer.add_image("validation", image, step, dataformats="HWC")

    def close(self) -> None:
        """Flush the event file."""
        self.writer.close()


class MLflow:
    """A run of the experiment ``creps`` at MLFLOW_TRACKING_URI, or in ``mlflow.db`` of the run's folder."""

    def __init__(self, folder: Path, run_id: str, start: int, config: dict[str, Any]) -> None:
        import mlflow

        server = os.environ.get("MLFLOW_TRACKING_URI")
        self.client = mlflow.MlflowClient(tracking_uri=server or f"sqlite:///{(folder / 'mlflow.db').absolute()}")
        artifacts = None if server else (folder / "mlflow").absolute().as_uri()
        self.run_id = self._run(folder.name, run_id, start, artifacts)
        if not start:
            for section, values in config.items():
                for name, value in values.items() if isinstance(values, dict) else ():
                    self.client.log_param(self.run_id, f"{section}.{name}", str(value)[:500])

    def _run(self, name: str, key: str, start: int, artifacts: str | None) -> str:
        experiment = self.client.get_experiment_by_name(PROJECT)
        identity = experiment.experiment_id if experiment else self.client.create_experiment(PROJECT, artifacts)
        found = self.client.search_runs([identity], f"tags.creps_run = '{key}'") if start else []
        if found:
            return str(found[0].info.run_id)
        run = self.client.create_run(identity, tags={"creps_run": key}, run_name=name)
        return str(run.info.run_id)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve."""
        for name, value in values.items():
            self.client.log_metric(self.run_id, name, value, step=step)

    def picture(self, image: npt.NDArray[np.uint8], step: int) -> None:
        """As an artifact."""
        self.client.log_image(self.run_id, image, f"validation/step_{step:08d}.png")

    def close(self) -> None:
        """Mark the run as ended."""
        self.client.set_terminated(self.run_id)


class WeightsAndBiases:
    """A run of the project ``creps``; goes over the network unless WANDB_MODE says offline."""

    def __init__(self, folder: Path, run_id: str, start: int, config: dict[str, Any]) -> None:
        import wandb

        self.wandb = wandb
        self.run = self.wandb.init(
            project=PROJECT,
            name=folder.name,
            dir=str(folder),
            id=run_id,
            resume="allow" if start else None,
            config=config,
            settings=self.wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True, **PRIVATE),
        )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve."""
        self.run.log(dict(values), step=step)

    def picture(self, image: npt.NDArray[np.uint8], step: int) -> None:
        """Under the name ``validation``."""
        self.run.log({"validation": self.wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Send what is left."""
        self.run.finish()
