"""Run the generator over the patches of a grid, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import nn

from creps.data.patches import CoveringGrid, PatchLocation
from creps.errors import SettingsError
from creps.volume import Array

__all__ = ["predict_patches", "resolve_device"]


def resolve_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` → a device that is there.

    Raises:
        SettingsError: an unknown name, or a device that this machine lacks.
    """
    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"There is no device '{name}'.", "Use auto, cpu, cuda, cuda:N or mps.") from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise SettingsError(f"This machine has no device '{name}'.", "Use auto or cpu.")
    return device


@torch.inference_mode()
def predict_patches(
    generator: nn.Module,
    mr: Array,
    grid: CoveringGrid,
    *,
    batch_size: int = 1,
    precision: Literal["bf16", "fp32"] = "bf16",
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[PatchLocation, Array]]:
    """Predict every patch of a grid.

    The generator runs in evaluation mode: with running statistics a patch's output does not depend
    on what else is in its batch.

    Args:
        generator: Maps (B, 1, D, H, W) to the same shape.
        mr: (D, H, W) of the grid's original volume in network units.
        grid: The patches.
        batch_size: Patches per forward pass.
        precision: bf16 autocast or float32.
        device: Where to run; default: where the generator is.
        progress: Called with (patches done, patches in all).

    Yields:
        (location, prediction (D, H, W) in network units), in the grid's order.
    """
    device = device or next((p.device for p in generator.parameters()), torch.device("cpu"))
    generator = generator.to(device).to(memory_format=torch.channels_last_3d).eval()
    padded = torch.from_numpy(grid.padded(mr))
    locations = iter(grid.locations)
    done = 0
    while batch := list(islice(locations, batch_size)):
        patches = torch.stack([padded[location.slices] for location in batch])[:, None]
        patches = patches.to(device, memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            predictions = generator(patches)
        for location, prediction in zip(batch, predictions[:, 0].float().cpu().numpy(), strict=True):
            yield location, np.ascontiguousarray(prediction)
        done += len(batch)
        if progress is not None:
            progress(done, len(grid.locations))
