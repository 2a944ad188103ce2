"""Several processes train as one: they share out a batch and keep their networks equal.

Gradients are averaged once per update, flat, instead of by a wrapper around each network: with two optimizers, a
penalty on gradients and several passes per update a wrapper waits for gradients that never come, and networks of
this size take no time to send.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from creps.training.processes import Processes

__all__ = ["BatchShare", "average_gradients", "synchronise_batch_norm"]


class BatchShare:
    """The samples of a run that one process reads: its part of every step's batch, in order.

    Two processes that share batches of four, from the second step on:

    >>> list(BatchShare(4, start=1, steps=3, rank=0, processes=2))
    [4, 5, 8, 9]
    >>> list(BatchShare(4, start=1, steps=3, rank=1, processes=2))
    [6, 7, 10, 11]

    Args:
        batch_size: Samples of a step over all processes.
        start: Steps done before.
        steps: Steps of the whole run.
        rank: Number of the process.
        processes: How many there are.
    """

    def __init__(self, batch_size: int, start: int, steps: int, rank: int = 0, processes: int = 1) -> None:
        self.batch_size, self.start, self.steps = batch_size, start, steps
        self.share = batch_size // processes
        self.first = rank * self.share

    def __len__(self) -> int:
        return max(0, self.steps - self.start) * self.share

    def __iter__(self) -> Iterator[int]:
        for step in range(self.start, self.steps):
            first = step * self.batch_size + self.first
            yield from range(first, first + self.share)


@torch.no_grad()
def average_gradients(processes: Processes, network: nn.Module) -> None:
    """Replace each process's gradients by their mean over the processes."""
    if processes.count == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = processes.mean(torch.cat([g.flatten() for g in gradients]))
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def synchronise_batch_norm(processes: Processes, network: nn.Module) -> None:
    """Let batch norm see the batches of all processes, in place; weights and state keep their names."""
    if processes.count > 1:
        for module in network.modules():
            if type(module) is nn.BatchNorm3d:
                module.__class__ = SharedBatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """Each process gets the sum, and each one's gradient is the sum of all gradients."""

    @staticmethod
    def forward(_: Any, values: torch.Tensor) -> torch.Tensor:
        summed = values.clone()
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _SumOverProcesses.apply(gradient)
        return result


class SharedBatchNorm(nn.BatchNorm3d):
    """Batch norm over equal parts of a batch in several processes.

    PyTorch's own `SyncBatchNorm` refuses the CPU, and cannot be differentiated twice, which the gradient penalty
    needs.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, D, H, W) → the same shape, normalised over every process's batch."""
        if not self.training:
            return super().forward(x)
        exact, axes, shape = x.float(), (0, 2, 3, 4), (1, -1, 1, 1, 1)
        processes = torch.distributed.get_world_size()
        mean = _SumOverProcesses.apply(exact.mean(dim=axes)) / processes
        centred = exact - mean.view(shape)
        variance = _SumOverProcesses.apply(centred.square().mean(dim=axes)) / processes
        self._track(mean.detach(), variance.detach(), processes * x.numel() // x.shape[1])
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        """Move the running statistics, as `nn.BatchNorm3d` does: towards the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum or 0.0)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum or 0.0)
