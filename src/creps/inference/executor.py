"""A generator made ready to predict patches: on its device, in its precision, in its fastest form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from creps.errors import ModelError
from creps.machine import resolve_precision
from creps.networks.folded import FoldedGenerator
from creps.networks.generator import Generator
from creps.settings.choices import Precision
from creps.volume import Array

__all__ = ["Executor", "Pending"]


@dataclass(frozen=True)
class Pending:
    """Predictions under way: a GPU computes and copies them while the caller goes on.

    Attributes:
        values: (B, D, H, W) on the CPU, not to be read before `result`.
        copied: When the copy is done; None if it is.
    """

    values: torch.Tensor
    copied: torch.cuda.Event | None

    def result(self) -> Array:
        """(B, D, H, W) in network units.

        Raises:
            ModelError: a prediction is not finite.
        """
        if self.copied is not None:
            self.copied.synchronize()
        if not _finite(self.values):
            raise ModelError(
                "The model returns values that are not finite.", "Train it again, or use an older checkpoint."
            )
        return np.asarray(self.values.numpy())


def _finite(values: torch.Tensor) -> bool:
    """Whether all are; their sum tells in one pass, unless it overflows."""
    return math.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())


LARGEST_IN_HEAP = 32 << 20
"""Bytes below which glibc takes memory from its heap, where what is freed leaves gaps."""


class Executor:
    """Runs a generator in evaluation mode: a patch's prediction does not depend on what else is in its batch.

    Args:
        generator: Maps (B, 1, D, H, W) to the same shape; creps' own runs as `FoldedGenerator`, from copies of its
            weights; any other, and one with instance norm, runs as it is under autocast, and is moved and put in
            evaluation mode.
        device: Where to run; default: where the generator is.
        precision: bf16, float32, or what the device computes in.

    Attributes:
        device: Where it runs.
        precision: The one chosen.
        network: What runs.
        halo: How far a voxel of the generator sees, in voxels; None if that is not known or not bounded.
    """

    def __init__(self, generator: nn.Module, device: torch.device | None = None, precision: Precision = "auto") -> None:
        self.device = device or next((p.device for p in generator.parameters()), torch.device("cpu"))
        self.precision = resolve_precision(precision, self.device)
        self.halo: int | None = None
        self._width = generator.width if isinstance(generator, Generator) else 0
        if isinstance(generator, Generator) and not any(isinstance(m, nn.InstanceNorm3d) for m in generator.modules()):
            self.halo = generator.halo
            generator = FoldedGenerator(generator, torch.bfloat16 if self.precision == "bf16" else torch.float32)
        self.network = generator.to(self.device).to(memory_format=torch.channels_last_3d).eval()

    @torch.inference_mode()
    def start(self, patches: Array) -> Pending:
        """Predict patches (B, D, H, W) in network units.

        Raises:
            torch.OutOfMemoryError: the device's memory does not hold them.
            RuntimeError: nor does the CPU's.
        """
        batch = torch.from_numpy(patches)[:, None]
        cuda = self.device.type == "cuda"
        if cuda:
            batch = batch.pin_memory()
        batch = batch.to(self.device, memory_format=torch.channels_last_3d, non_blocking=cuda)
        bf16 = self.precision == "bf16" and not isinstance(self.network, FoldedGenerator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            values = self.network(batch)[:, 0].float().contiguous().to("cpu", non_blocking=cuda)
        copied = None
        if cuda:
            copied = torch.cuda.Event()
            copied.record(torch.cuda.current_stream(self.device))  # the current device may be another
        return Pending(values, copied)

    def bytes_at_peak(self, voxels: int) -> int:
        """Memory of a forward pass over so many voxels; of a foreign network only its input and output are known."""
        if isinstance(self.network, FoldedGenerator):
            return self.network.bytes_at_peak(voxels)
        return voxels * (4 * self._width * (2 if self.precision == "bf16" else 4) + 8)

    def bytes_in_gaps(self, voxels: int) -> int:
        """Memory that the C library's heap holds without use beside a pass over so many voxels: as measured, a map."""
        if self.device.type != "cpu":
            return 0
        return min(voxels * self._width * (2 if self.precision == "bf16" else 4), LARGEST_IN_HEAP)
