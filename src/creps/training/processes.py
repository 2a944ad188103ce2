"""The processes of a run: start or find them, connect them, and let them agree.

One process needs none of this. Several on one machine are started here: the first one is the user's own, the others
run the same command again. On a cluster, srun or torchrun has started them all, and the environment says which one
this is. ``torch.distributed`` connects them (NCCL on GPUs, gloo on CPUs).
"""

from __future__ import annotations

import atexit
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import distributed

from creps.errors import CrepsError, SettingsError
from creps.machine import cores, resolve_device
from creps.settings import TrainingSettings

__all__ = ["Processes", "process_number", "start_processes"]

Result = TypeVar("Result")

SLURM_REMEDY = "With SLURM: --ntasks-per-node as training.devices, --nodes as training.nodes, and start it with srun."

GRACE_SECONDS = 15.0
"""What the first process gets to report its own error after another one has failed."""

_started: list[subprocess.Popen[bytes]] = []
"""Processes that this one has started."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        device: The device of this process.
        rank: Its number; process 0 writes files and logs.
        count: How many there are, on all nodes.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def on_first(self, action: Callable[[], Result]) -> Result:
        """Call `action` in the first process only; every process gets its result.

        Raises:
            BaseException: in the first process, what `action` raised.
            SystemExit: in the others, if `action` raised.
        """
        if self.count == 1:
            return action()
        result: Result | None = None
        failure: BaseException | None = None
        if self.is_first:
            try:
                result = action()
            except BaseException as error:  # noqa: BLE001 - the others wait, whatever it is
                failure = error
        message = [result, failure is not None]
        distributed.broadcast_object_list(message, src=0)
        if failure is not None:
            raise failure
        if message[1]:
            raise SystemExit(1)
        return message[0]  # type: ignore[return-value]

    def first_only(self, action: Callable[[], object]) -> None:
        """Call `action` in the first process while the others wait; its result stays there."""

        def without_result() -> None:
            action()

        self.on_first(without_result)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of each value over the processes, of the same shape."""
        if self.count == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.count

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes pass."""
        if self.count == 1:
            return number
        value = torch.tensor(number, device=self.device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return int(value)

    def error_of_all(self, error: CrepsError) -> BaseException:
        """What to raise for an error that every process has: itself in the first, a silent exit in the others."""
        return error if self.is_first else SystemExit(getattr(error, "exit_code", 1))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """End the run if a process that this one has started fails: NCCL would wait for it for minutes."""
        if not _started:
            yield
            return
        done = threading.Event()
        threading.Thread(target=_end_with_the_first_failure, args=(done,), daemon=True).start()
        try:
            yield
        finally:
            done.set()


def start_processes(settings: TrainingSettings) -> Processes:
    """Start the processes of a run, or find those that a cluster has started, and connect them.

    Raises:
        SettingsError: the device is missing, there are fewer than asked for, the batch cannot be split evenly, or
            the cluster started another number of processes.
    """
    device = resolve_device(settings.device)
    local = _processes_per_node(settings, device)
    count = local * settings.nodes
    parts = count * settings.accumulate
    if settings.batch_size % parts:
        raise SettingsError(
            f"training.batch_size {settings.batch_size} cannot be split evenly over {count} processes in "
            f"{settings.accumulate} parts each.",
            f"Use a multiple of {parts}, or fewer devices or parts (training.accumulate).",
        )
    place = _place()
    _check_launcher(place, count, settings.nodes)
    if count == 1:
        _use(device)
        return Processes(device)
    place = place or Place(0, 0, count, "127.0.0.1", _free_port())
    if device.type == "cuda":
        device = torch.device("cuda", place.local_rank)
    _use(device)
    try:
        _connect(place, device, start=place.launcher is None)
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise SettingsError(f"{count} processes cannot be started: {reason}.", SLURM_REMEDY) from error
    if place.rank:
        logging.getLogger("creps").setLevel(logging.ERROR)
    return Processes(device, place.rank, count)


def process_number() -> int:
    """Which of a run's processes this is; process 0 speaks for all of them."""
    place = _place()
    return place.rank if place is not None else 0


@dataclass(frozen=True)
class Place:
    """Where a process stands among those of its run.

    Attributes:
        rank: Number among all processes.
        local_rank: Number among those of its node.
        count: How many there are.
        address: Host of process 0.
        port: Port on which process 0 listens.
        launcher: What started the process; None for the user's own, which starts the others.
    """

    rank: int
    local_rank: int
    count: int
    address: str
    port: int
    launcher: str | None = None


def _place() -> Place | None:
    """What the environment says of this process: torchrun's variables, which creps uses as well, or srun's."""
    env = os.environ
    if {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= env.keys():
        rank, local_rank, count, port = (int(env[n]) for n in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"))
        return Place(rank, local_rank, count, env["MASTER_ADDR"], port, "torchrun")
    count = int(env.get("SLURM_STEP_NUM_TASKS", "1"))
    if count == 1 or "SLURM_PROCID" not in env:
        return None
    hosts = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST") or "127.0.0.1"
    port = int(env.get("MASTER_PORT") or 15000 + int(env.get("SLURM_JOB_ID", "0")) % 10000)
    address = env.get("MASTER_ADDR") or first_host(hosts)
    return Place(int(env["SLURM_PROCID"]), int(env.get("SLURM_LOCALID", "0")), count, address, port, "srun")


def first_host(hosts: str) -> str:
    """The first of SLURM's list of hosts.

    >>> first_host("gpu[07-09,12],login1")
    'gpu07'
    >>> first_host("node3")
    'node3'
    """
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", hosts).split(",")[0]


def _check_launcher(place: Place | None, count: int, nodes: int) -> None:
    """Refuse what would wait for ever, or train the same run several times over."""
    if nodes > 1 and place is None:
        raise SettingsError(
            f"training.nodes is {nodes}, but nothing started this process on the other nodes.",
            "Start it with srun or torchrun, or set training.nodes to 1.",
        )
    if place is not None and place.count != count:
        raise SettingsError(
            f"{place.launcher} started {place.count} tasks, but the settings require {count}.", SLURM_REMEDY
        )


def _processes_per_node(settings: TrainingSettings, device: torch.device) -> int:
    there = torch.cuda.device_count() if device.type == "cuda" else None
    if settings.devices == "auto":
        return there or 1
    if there is not None and settings.devices > there:
        raise SettingsError(f"This machine has {there} GPUs, not {settings.devices}.", "Lower training.devices.")
    if device.type == "mps" and settings.devices > 1:
        raise SettingsError("Apple's mps is one device.", "Set training.devices to 1.")
    return settings.devices


def _use(device: torch.device) -> None:
    """Make a GPU with a number the current one; `cuda` alone is the current one already."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def _connect(place: Place, device: torch.device, *, start: bool) -> None:
    """Join the process group, after starting the other processes if nobody else has; once per process."""
    if distributed.is_initialized():
        return
    if "OMP_NUM_THREADS" not in os.environ and place.launcher is None:
        os.environ["OMP_NUM_THREADS"] = str(max(1, cores() // place.count))  # the others inherit it
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if start:
        environments = [os.environ | _environment(place, rank) for rank in range(1, place.count)]
        _started.extend(subprocess.Popen(_own_command(), env=environment) for environment in environments)
        atexit.register(_end_others)
    address = f"tcp://{place.address}:{place.port}"
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, init_method=address, rank=place.rank, world_size=place.count)
    atexit.register(_disconnect)


def _own_command() -> list[str]:
    """The command that started this process."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = [str(Path(sys.argv[0]).absolute())] if spec is None else ["-m", spec.name]
    return [sys.executable, *program, *sys.argv[1:]]


def _environment(place: Place, rank: int) -> dict[str, str]:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": place.count, "MASTER_PORT": place.port}
    return {"MASTER_ADDR": place.address} | {name: str(number) for name, number in numbers.items()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _disconnect() -> None:
    """At exit: gloo's threads must not outlive the interpreter, which would abort it now and then."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _end_others() -> None:
    """At exit: no process that this one has started stays behind."""
    for process in _started:
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _end_with_the_first_failure(done: threading.Event) -> None:
    while not done.wait(1.0):
        if any(process.poll() for process in _started):
            if done.wait(GRACE_SECONDS):  # a collective failed here too: this process ends by itself
                return
            for process in _started:
                process.kill()
            sys.stderr.write("Error: Another process of the run failed. Its own message says why.\n")
            os._exit(1)
