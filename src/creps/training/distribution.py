"""One process or many: start them, share out a batch, keep their networks equal.

Lightning Fabric starts the processes (or finds those that SLURM or torchrun started) and runs the
collectives. Gradients are averaged once per update, flat, instead of by a wrapper around each network:
with two optimizers, a penalty on gradients and several passes per update a wrapper waits for gradients
that never come, and networks of this size take no time to send.
"""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import nn

from creps.errors import CrepsError, SettingsError
from creps.machine import resolve_device
from creps.settings import TrainingSettings

__all__ = [
    "BatchShare",
    "average_gradients",
    "first_process_only",
    "mean_over_processes",
    "on_first_process",
    "process_number",
    "shared_error",
    "start_processes",
    "synchronise_batch_norm",
]

Result = TypeVar("Result")

SLURM_REMEDY = "With SLURM: --ntasks-per-node as training.devices, --nodes as training.nodes, and start it with srun."

LAUNCHERS = ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE")
"""One of these is in the environment of a process that something else than creps started."""


def start_processes(settings: TrainingSettings) -> Fabric:
    """The engine, with all processes of the run started and connected.

    Raises:
        SettingsError: no such device, not so many of them, a batch that cannot be shared out evenly, or a
            cluster's job that does not fit the settings.
    """
    device = resolve_device(settings.device)
    count = _count(settings, device)
    parts = count * settings.nodes * settings.accumulate
    if settings.batch_size % parts:
        raise SettingsError(
            f"training.batch_size {settings.batch_size} cannot be shared out evenly over {count * settings.nodes} "
            f"processes in {settings.accumulate} parts each.",
            f"Use a multiple of {parts}, or fewer devices or parts (training.accumulate).",
        )
    processes = count * settings.nodes
    _check_launcher(processes, settings.nodes)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    try:
        if processes == 1:
            return _fabric(accelerator=device.type, devices=[device.index or 0] if device.type == "cuda" else 1)
        fabric = _fabric(accelerator=device.type, devices=count, num_nodes=settings.nodes, strategy="ddp")
        fabric.launch()
        atexit.register(_close_connections)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise SettingsError(f"{processes} processes cannot be started: {reason}.", SLURM_REMEDY) from error
    if not fabric.is_global_zero:
        logging.getLogger("creps").setLevel(logging.ERROR)
    return fabric


def _close_connections() -> None:
    """At the end of a process: gloo's threads must not outlive the interpreter, which would abort it now and then.

    Lightning does the same for NCCL only.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_backend() == "gloo":
        distributed.destroy_process_group()


def _check_launcher(processes: int, nodes: int) -> None:
    """Refuse what would wait for ever, or train the same run several times over."""
    if nodes > 1 and not any(name in os.environ for name in LAUNCHERS):
        raise SettingsError(
            f"training.nodes is {nodes}, but nothing started this process on the others.",
            "Start it with srun or torchrun, or set training.nodes to 1.",
        )
    started = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    if started.isdecimal() and int(started) > 1 and int(started) != processes:
        raise SettingsError(f"srun started {started} tasks, the settings ask for {processes}.", SLURM_REMEDY)


def _fabric(**options: Any) -> Fabric:
    with warnings.catch_warnings():  # a login node has srun, and running without it is what was asked for
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        return Fabric(**options)


def _count(settings: TrainingSettings, device: torch.device) -> int:
    there = torch.cuda.device_count() if device.type == "cuda" else None
    if settings.devices == "auto":
        return there or 1
    if there is not None and settings.devices > there:
        raise SettingsError(f"This machine has {there} GPUs, not {settings.devices}.", "Lower training.devices.")
    if device.type == "mps" and settings.devices > 1:
        raise SettingsError("Apple's mps is one device.", "Set training.devices to 1.")
    return settings.devices


def on_first_process(fabric: Fabric, action: Callable[[], Result]) -> Result:
    """Do something in the first process only and give every process its result, or its end.

    Raises:
        BaseException: in the first process, what `action` raised.
        SystemExit: in the others, if `action` raised.
    """
    if fabric.world_size == 1:
        return action()
    result: Result | None = None
    failure: BaseException | None = None
    if fabric.is_global_zero:
        try:
            result = action()
        except BaseException as error:  # noqa: BLE001 - the others wait, whatever it is
            failure = error
    result, failed = fabric.broadcast((result, failure is not None))
    if failure is not None:
        raise failure
    if failed:
        raise SystemExit(1)
    return result  # type: ignore[return-value]


def first_process_only(fabric: Fabric, action: Callable[[], None]) -> None:
    """Do something in the first process while the others wait; they do not get its result."""

    def without_result() -> None:
        action()

    on_first_process(fabric, without_result)


def process_number() -> int:
    """Which of a run's processes this is; the first one, 0, speaks for all of them."""
    return getattr(rank_zero_only, "rank", None) or 0


def shared_error(fabric: Fabric, error: CrepsError) -> BaseException:
    """What to raise for an error that every process has: itself in the first, a silent end in the others."""
    return error if fabric.is_global_zero else SystemExit(getattr(error, "exit_code", 1))


class BatchShare:
    """The samples of a run that one process reads: its part of every step's batch, in order.

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
def average_gradients(fabric: Fabric, network: nn.Module) -> None:
    """Replace each process's gradients by their mean over the processes."""
    if fabric.world_size == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = mean_over_processes(fabric, torch.cat([g.flatten() for g in gradients]))
    first = 0
    for gradient in gradients:
        gradient.copy_(flat[first : first + gradient.numel()].view_as(gradient))
        first += gradient.numel()


def mean_over_processes(fabric: Fabric, values: torch.Tensor) -> torch.Tensor:
    """The mean of each value over the processes."""
    if fabric.world_size == 1:
        return values
    mean: torch.Tensor = fabric.all_reduce(values, reduce_op="mean")  # type: ignore[assignment]
    return mean


def synchronise_batch_norm(fabric: Fabric, network: nn.Module) -> nn.Module:
    """Let batch norm see the batches of all processes; weights and state keep their names."""
    if fabric.world_size > 1:
        for module in network.modules():
            if type(module) is nn.BatchNorm3d:
                module.__class__ = SharedBatchNorm
    return network


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

    PyTorch's own `SyncBatchNorm` refuses the CPU, and cannot be differentiated twice, as the gradient
    penalty needs it.
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
        self._follow(mean.detach(), variance.detach(), processes * x.numel() // x.shape[1])
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        """Move the running statistics, as `nn.BatchNorm3d` does: towards the unbiased variance."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum or 0.0)
        self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum or 0.0)
