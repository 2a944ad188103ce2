"""Batches of patches: read by worker processes, put together, moved to the device."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from creps.errors import CrepsError
from creps.settings import TrainingSettings
from creps.training.distribution import BatchShare
from creps.training.interruption import ignore_signals
from creps.training.passes import SimulatedBatch
from creps.training.processes import Processes
from creps.training.sampling import PatchPairs

__all__ = ["batches", "on_device"]


def batches(patches: PatchPairs, settings: TrainingSettings, processes: Processes, start: int) -> DataLoader[Any]:
    """This process's share of every step's batch, from the step after `start` on; or the error of a worker process.

    Args:
        patches: The samples of the whole run.
        settings: Batch size and workers.
        processes: The processes of the run.
        start: Steps done before.
    """
    share = BatchShare(settings.batch_size, start, patches.steps, processes.rank, processes.count)
    return DataLoader(
        patches,
        share.share,
        sampler=share,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        worker_init_fn=ignore_signals,
        collate_fn=_collated,
    )


def on_device(
    batch: dict[str, torch.Tensor], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, SimulatedBatch | None]:
    """MR, CT and simulated pairs of a batch, as a training step takes them."""
    there = {name: patches.to(device, non_blocking=device.type == "cuda") for name, patches in batch.items()}
    simulated = (there["simulated_mr"], there["simulated_ct"]) if "simulated_mr" in there else None
    return _real(there, "mr"), _real(there, "ct"), simulated


def _real(batch: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """Real patches of a batch; without voxels, which no network takes, where none were read."""
    if name in batch:
        return batch[name].contiguous(memory_format=torch.channels_last_3d)
    other = next(iter(batch.values()))
    return other.new_empty(len(other), 0)


def _collated(samples: list[Any]) -> Any:
    """A batch, or the error of a worker process, which torch would replace by its own."""
    error = next((sample for sample in samples if isinstance(sample, CrepsError)), None)
    return default_collate(samples) if error is None else error
