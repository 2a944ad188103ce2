"""Run the generator over the patches of a grid, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import nn

from creps.data.patches import CoveringGrid, PatchLocation
from creps.errors import ModelError
from creps.settings.choices import Precision
from creps.volume import Array

__all__ = ["predict_patches"]


@torch.inference_mode()
def predict_patches(
    generator: nn.Module,
    mr: Array,
    grid: CoveringGrid,
    *,
    batch_size: int = 1,
    precision: Precision = "bf16",
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

    Raises:
        ModelError: a prediction is not finite.

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
        values = predictions[:, 0].float().cpu()
        if not torch.isfinite(values).all():
            raise ModelError(
                "The model returns values that are not finite.", "Train it again, or use an older checkpoint."
            )
        for location, prediction in zip(batch, values.numpy(), strict=True):
            yield location, np.ascontiguousarray(prediction)
        done += len(batch)
        if progress is not None:
            progress(done, len(grid.locations))
