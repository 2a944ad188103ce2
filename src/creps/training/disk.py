"""Whether the disk of a run suffices: tried out and calculated before the first step."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch

from creps.errors import ModelError, TrainingError
from creps.io.atomic import atomic_folder, write_json
from creps.io.documents import read_json
from creps.model import TRAINING_STATE, save_tensors
from creps.provenance import sha256_file
from creps.training.files import CHECKPOINTS
from creps.training.networks import Networks
from creps.training.state import TENSORS, checkpoint_bytes, model_bytes

__all__ = ["check_room", "try_checkpoint"]

MODELS = 4
"""Models beside the checkpoints of a run: ``last``, ``ema``, ``best`` and ``model``."""


def try_checkpoint(folder: Path) -> None:
    """Write a small checkpoint into a run's checkpoints folder, write it again over the first, and read it.

    Raises:
        TrainingError: the disk does not allow what a checkpoint needs. Nothing of the trial is left.
    """
    path, content = folder / "trial", {"trial": torch.arange(4.0)}
    try:
        for _ in range(2):
            with atomic_folder(path) as temporary:
                save_tensors(temporary / TENSORS, content)
                write_json(temporary / TRAINING_STATE, {"sha256": sha256_file(temporary / TENSORS)})
        state = read_json(path / TRAINING_STATE)
        if sha256_file(path / TENSORS) != state["sha256"]:
            raise OSError(0, "what was written reads otherwise")
    except (OSError, ValueError, ModelError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise TrainingError(
            f"A checkpoint cannot be written to {folder} ({reason}).",
            "Check the rights and the free space of this disk, or give a folder on another one with -o.",
        ) from error
    finally:
        shutil.rmtree(path, ignore_errors=True)


def check_room(folder: Path, networks: Networks, keep: int) -> None:
    """Refuse a run whose checkpoints and models do not fit on the disk, as far as the disk says how full it is.

    Args:
        folder: Of the run; what its checkpoints take already counts as free.
        networks: What is trained.
        keep: How many checkpoints stay; another one is written before the oldest goes.

    Raises:
        TrainingError: too little is free.
    """
    needed = (keep + 1) * checkpoint_bytes(networks) + MODELS * model_bytes(networks)
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return
    free += sum(path.stat().st_size for path in (folder / CHECKPOINTS).glob("step_*/*"))
    if needed > free:
        raise TrainingError(
            f"The run needs {math.ceil(needed / 1e6)} MB in {folder}, whose disk has {math.floor(free / 1e6)} MB free.",
            "Free some, give a folder on another disk with -o, or lower training.keep_checkpoints.",
        )
