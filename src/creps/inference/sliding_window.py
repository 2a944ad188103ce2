"""Run a generator over places in a volume, in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from creps.errors import ModelError, is_out_of_memory
from creps.inference.executor import Executor, Pending
from creps.patches import PatchLocation, read_patch
from creps.volume import Array

__all__ = ["predict_patches"]

log = logging.getLogger(__name__)


def predict_patches(
    executor: Executor,
    mr: Array,
    places: Sequence[PatchLocation],
    *,
    batch_size: int = 1,
    fill: float | None = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Array]:
    """Predict the patches at the given places.

    One batch is always in progress while the caller uses the one before. A batch that does not fit into memory is
    halved, and so are all that follow.

    Args:
        executor: The generator, ready to run.
        mr: (D, H, W) in network units.
        places: In voxels of `mr`; those of one batch have one size.
        batch_size: Patches per forward pass.
        fill: Beyond the edge of `mr`: 0, the background of an MR; None: the outermost value is repeated.
        progress: Called with (patches done, patches in all).

    Raises:
        ModelError: a prediction is not finite, or not even one patch fits into memory.

    Yields:
        The prediction of each place in network units, in their order: (D, H, W), or (2, D, H, W) with the spread.
    """
    in_progress: Pending | None = None
    started = done = 0
    while started < len(places) or in_progress is not None:
        following: Pending | None = None
        if started < len(places):
            batch = places[started : started + batch_size]
            try:
                following = executor.start(_cut_out(mr, batch, fill))
            except (RuntimeError, MemoryError) as error:
                batch_size = _halved(len(batch), error)
                continue
            started += len(batch)
        if in_progress is not None:
            for prediction in in_progress.result():
                yield prediction
                done += 1
                if progress is not None:
                    progress(done, len(places))
        in_progress = following


def _cut_out(mr: Array, places: Sequence[PatchLocation], fill: float | None) -> Array:
    patches = np.empty((len(places), *places[0].size), dtype=np.float32)
    for patch, place in zip(patches, places, strict=True):
        read_patch(mr, place, fill, out=patch)
    return patches


def _halved(batch_size: int, error: RuntimeError | MemoryError) -> int:
    """Half the batch, if it failed for lack of memory; any other error is raised again."""
    if not is_out_of_memory(error):
        raise error
    if batch_size == 1:
        raise ModelError(
            "A single forward pass of the generator does not fit into the device's memory.",
            "Lower inference.memory_gb (fusion single), close other programs, or use inference.device: cpu.",
        ) from error
    log.warning("%d patches at once do not fit into memory: continuing with %d.", batch_size, batch_size // 2)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return batch_size // 2
