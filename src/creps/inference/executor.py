"""A generator made ready to predict patches: on its device, in its precision, in its fastest form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from creps.errors import ModelError
from creps.machine import resolve_precision
from creps.networks.generator import Generator, InferenceForm
from creps.settings.choices import Precision
from creps.volume import Array

__all__ = ["Executor", "Pending"]


@dataclass(frozen=True)
class Pending:
    """Predictions in progress: a GPU computes and copies them while the caller continues.

    Attributes:
        values: (B, D, H, W), or (B, 2, D, H, W) with the spread, on the CPU, not to be read before `result`.
        copied: Event that marks the end of the copy; None if it has ended.
    """

    values: torch.Tensor
    copied: torch.cuda.Event | None

    def result(self) -> Array:
        """(B, D, H, W), or (B, 2, D, H, W) with the spread, in network units.

        Raises:
            ModelError: a prediction is not finite.
        """
        if self.copied is not None:
            self.copied.synchronize()
        if not _finite(self.values):
            raise ModelError("The model returns NaN or infinite values.", "Train it again, or use an older checkpoint.")
        return np.asarray(self.values.numpy())


def _finite(values: torch.Tensor) -> bool:
    """Whether all values are finite. Their sum answers in one pass, unless it overflows."""
    return math.isfinite(values.sum().item()) or bool(torch.isfinite(values).all())


def _averaged(one: torch.Tensor, other: torch.Tensor, *, spread: bool) -> torch.Tensor:
    """The mean of two predictions; of spreads, with half the difference of the values as in overlapping patches."""
    mean = (one.float() + other.float()) / 2
    if spread:
        mean[:, 1] = torch.hypot(mean[:, 1], (one[:, 0].float() - other[:, 0].float()).abs() / 2)
    return mean


LARGEST_IN_HEAP = 32 << 20
"""Bytes below which glibc allocates from its heap, where freed blocks leave gaps."""

BFLOAT16_BUFFERS = 16 << 20
"""Bytes that oneDNN's bfloat16 convolutions hold on a CPU."""


class Executor:
    """Runs a generator in evaluation mode: a patch's prediction does not depend on what else is in its batch.

    Args:
        generator: The generator. It runs in its folded form, from copies of its weights, if it has one; otherwise as it
            is under autocast, after it has been moved to `device` and put into evaluation mode.
        device: Where to run; default: where the generator is.
        precision: bf16, fp32, or auto for what the device computes in.
        spread: Predict the spread too, if the generator knows it.
        flips: Average with the prediction of the mirror image along W; half their difference joins the spread.

    Attributes:
        device: Where it runs.
        precision: The precision chosen, bf16 or fp32.
        network: The module that runs.
        halo: The generator's: how far a voxel sees, in voxels; None if unknown or unbounded.
        stride: The generator's: tiles begin at multiples of it.
        yields_spread: Whether predictions have the spread as a second channel.
        flips: As given.
    """

    def __init__(
        self,
        generator: Generator,
        device: torch.device | None = None,
        precision: Precision = "auto",
        *,
        spread: bool = False,
        flips: bool = False,
    ) -> None:
        self.device = device or next((p.device for p in generator.parameters()), torch.device("cpu"))
        self.precision = resolve_precision(precision, self.device)
        self.halo, self.stride = generator.halo, generator.stride
        self.yields_spread = spread and generator.yields_spread
        self.flips = flips
        self._generator, self._itemsize = generator, 2 if self.precision == "bf16" else 4
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        folded = generator.folded(dtype)
        self._folded = folded if folded is None or folded.yields_spread >= self.yields_spread else None
        network = generator if self._folded is None else self._folded
        self.network: Generator | InferenceForm = (
            network.to(self.device).to(memory_format=torch.channels_last_3d).eval()
        )

    @torch.inference_mode()
    def start(self, patches: Array) -> Pending:
        """Start to predict patches (B, D, H, W) in network units.

        Raises:
            torch.OutOfMemoryError: the GPU runs out of memory.
            RuntimeError: the CPU does.
        """
        batch = torch.from_numpy(patches)[:, None]
        cuda = self.device.type == "cuda"
        if cuda:
            batch = batch.pin_memory()
        batch = batch.to(self.device, memory_format=torch.channels_last_3d, non_blocking=cuda)
        bf16 = self.precision == "bf16" and self._folded is None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            predicted = self._predicted(batch)
            if self.flips:
                mirrored = self._predicted(batch.flip(-1)).flip(-1)
                predicted = _averaged(predicted, mirrored, spread=self.yields_spread)
            values = predicted.float().contiguous().to("cpu", non_blocking=cuda)
        copied = None
        if cuda:
            copied = torch.cuda.Event()
            copied.record(torch.cuda.current_stream(self.device))  # the current device may be another
        return Pending(values, copied)

    def _predicted(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, 1, D, H, W) → (B, D, H, W), or (B, 2, D, H, W) with the spread."""
        return self.network.with_spread(batch) if self.yields_spread else self.network(batch)[:, 0]

    def bytes_at_peak(self, voxels: int) -> int:
        """Memory in bytes of a forward pass over that many voxels."""
        if self._folded is not None:
            return self._folded.bytes_at_peak(voxels)
        return self._generator.bytes_at_peak(voxels, self._itemsize)

    def bytes_in_gaps(self, voxels: int) -> int:
        """Unused memory in bytes that the C library's heap holds after such a pass, as measured.

        In float32 that is one feature map; in bfloat16 two, beside the buffers of its convolutions.
        """
        if self.device.type != "cpu":
            return 0
        one = voxels * self._generator.width * self._itemsize
        if self._itemsize == 4:
            return min(one, LARGEST_IN_HEAP)
        return min(2 * one, LARGEST_IN_HEAP) + BFLOAT16_BUFFERS
