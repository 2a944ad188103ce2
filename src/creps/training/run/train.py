"""``creps train``: a prepared cohort → a run's folder with a model in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.fabric import Fabric

from creps.cohort.cohort import Cohort, load_cohort
from creps.errors import InputError, TrainingError
from creps.figures import curves_figure
from creps.label_free.validation import PatchValidation
from creps.losses.creps import CrepsLoss
from creps.machine import emulated_bf16, free_bytes, resolve_precision
from creps.provenance import NOTICE
from creps.settings import Settings
from creps.training.build import build_networks, build_style, total_steps
from creps.training.distribution import first_process_only, on_first_process, shared_error, start_processes
from creps.training.interruption import Interruption
from creps.training.loop import TrainingLoop
from creps.training.memory import MemoryEstimate, estimate_memory, settings_that_fit
from creps.training.run.folder import SETTINGS_FILE, RunFolder
from creps.training.run.monitor import Monitor
from creps.training.run.settings import run_settings, warn_of_other_preparation
from creps.training.run.starting_point import load_starting_point
from creps.training.run.trackers import check_installed, open_trackers
from creps.training.sampling import UnpairedPatches, UnpairedSampler
from creps.training.simulation import simulator
from creps.training.state import load_checkpoint
from creps.training.step import TrainingStep

__all__ = ["SETTINGS_FILE", "train"]

log = logging.getLogger(__name__)

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
PROCESS_ENDED = ("connection closed by peer", "connection reset by peer", "nccl")
"""What allocators, and collectives whose other end is gone, say."""


def train(
    cohort: Cohort | str | Path,
    output: str | Path,
    settings: Settings | str | Path | None = None,
    *,
    recipe: str | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    model: str | Path | None = None,
    resume: bool = False,
) -> Path:
    """Train a model on a prepared cohort; pairs are needed only by recipes that say so.

    Args:
        cohort: A prepared cohort or its folder.
        output: Folder of the run.
        settings: A YAML file, or complete `Settings`.
        recipe: Recipe of the training; default: the one that the cohort was prepared for.
        preset: Preset that the settings start from; default: the cohort's.
        overrides: Single settings, such as ``{"training.steps": 100}``.
        model: A model, run or checkpoint to start from (fine-tuning), whose method is the default.
        resume: Continue from the last checkpoint in `output`, if there is one.

    Returns:
        The folder of the model, ``output/model``.

    Raises:
        RunInterruptedError: a signal ended the run early; it can be resumed.
        CrepsError: the run already exists, the settings do not fit, weights are missing, …
    """
    cohort = cohort if isinstance(cohort, Cohort) else load_cohort(cohort)
    if not isinstance(output, str | Path):
        raise InputError(f"{output!r} is not a folder.", "Give the path of the run's folder.")
    folder = Path(output)
    settings = run_settings(
        cohort, folder, settings, recipe=recipe, preset=preset, overrides=overrides, model=model, resume=resume
    )
    check_installed(settings.training.loggers)
    source = load_starting_point(model, settings) if model is not None else None
    style = build_style(settings)
    fabric = start_processes(settings.training)
    memory = Memory.of(settings, style, fabric)  # while the perceptual network is on the CPU, as its probe is
    run = RunFolder(folder, cohort, settings, style, source.record() if source else None)
    with Interruption() as interruption, _held(fabric, run):
        checkpoint = on_first_process(fabric, partial(run.checkpoint_to_resume, resume))
        networks = build_networks(fabric, settings, style, source.weights if source else None)
        start, best = load_checkpoint(checkpoint, networks) if checkpoint is not None else (0, None)
        if source is not None and checkpoint is None:
            source.warm_start(networks)
        patches, run_id = _open(fabric, run, cohort, settings, start)
        loop = TrainingLoop(
            fabric,
            networks,
            TrainingStep(fabric, networks, style.to(fabric.device) if style else None, settings),
            patches,
            start=start,
            best=on_first_process(fabric, partial(run.kept_best, best)),
            folder=folder,
            plan=lambda done: run.plan(run.training_record(done, networks.balance)),
            validate=PatchValidation(cohort, settings, fabric.device),
        )
        with run.told(lambda: loop.done) if fabric.is_global_zero else nullcontext():
            if source is None and fabric.is_global_zero:
                warn_of_other_preparation(cohort, settings)
            _say_what_runs(fabric, cohort, settings, style, memory, start, patches.steps)
            with _monitor(fabric, run, run_id, start, patches.steps) as monitor:
                with _failures_named(loop, memory):
                    outcome = loop.run(monitor, interruption)
                first_process_only(fabric, partial(run.finish, networks, outcome))
            if outcome.signal is not None:
                raise shared_error(fabric, run.interruption(outcome, patches.steps))
    return folder / "model"


class Memory(NamedTuple):
    """What a step is estimated to take, and what to change if that is too much."""

    estimate: MemoryEstimate
    free: float
    remedy: str

    @classmethod
    def of(cls, settings: Settings, style: CrepsLoss | None, fabric: Fabric) -> Memory:
        """Count it for one process, with its share of the memory that is free."""
        estimate = estimate_memory(settings, style, fabric.world_size)
        sharing = fabric.world_size // settings.training.nodes if fabric.device.type == "cpu" else 1
        free = free_bytes(fabric.device) / max(1, sharing)
        wanted = min(0.75 * estimate.total, free)
        return cls(estimate, free, settings_that_fit(settings, style, wanted, fabric.world_size))


@contextmanager
def _held(fabric: Fabric, run: RunFolder) -> Iterator[None]:
    """Keep other runs out of the folder."""
    on_first_process(fabric, run.lock.acquire)
    try:
        yield
    finally:
        run.lock.release()


def _open(
    fabric: Fabric, run: RunFolder, cohort: Cohort, settings: Settings, start: int
) -> tuple[UnpairedPatches, str]:
    """The run's samples and its id, with what must be on disk before the first step."""
    sampler = UnpairedSampler(
        cohort.cases("mr", "train"),
        cohort.cases("ct", "train"),
        settings.sampling,
        settings.training.seed,
        settings.training.batch_size,
    )
    run_id = on_first_process(fabric, partial(run.open, start))
    steps = total_steps(settings, sampler.samples_per_epoch)
    return UnpairedPatches(cohort, sampler, steps, simulator(settings)), run_id


@contextmanager
def _monitor(fabric: Fabric, run: RunFolder, run_id: str, start: int, steps: int) -> Iterator[Monitor | None]:
    """What shows the run, in the first process only."""
    opened: list[Monitor] = []

    def open_monitor() -> None:
        config = run.training_record(start)["settings"]
        trackers = open_trackers(run.settings.training.loggers, run.path, run_id, start, config)
        opened.append(Monitor(run.path, start, steps, trackers, partial(curves_figure, title=run.path.name)))

    first_process_only(fabric, open_monitor)
    try:
        yield opened[0] if opened else None
    finally:
        for monitor in opened:
            monitor.close()


@contextmanager
def _failures_named(loop: TrainingLoop, memory: Memory) -> Iterator[None]:
    """Say which setting to change when memory runs out, and where to look when another process has ended."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said, processes = str(error).lower(), loop.fabric.world_size
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in said for words in OUT_OF_MEMORY):
            raise TrainingError(
                f"Out of memory on {loop.fabric.device} at step {loop.done + 1}: "
                f"a step takes {memory.estimate.describe()}.",
                memory.remedy,
            ) from error
        if processes > 1 and any(words in said for words in PROCESS_ENDED):
            raise TrainingError(
                f"Another process of the run ended at step {loop.done + 1}.",
                "Its own message says why; go on with --resume auto.",
            ) from error
        raise


def _say_what_runs(
    fabric: Fabric,
    cohort: Cohort,
    settings: Settings,
    style: CrepsLoss | None,
    memory: Memory,
    start: int,
    steps: int,
) -> None:
    training, processes = settings.training, fabric.world_size
    log.info(NOTICE)
    log.info(
        "training on %d MR and %d CT cases, %s; preset %s, recipe %s; %s%s, %s",
        len(cohort.cases("mr", "train")),
        len(cohort.cases("ct", "train")),
        "paired" if settings.sampling.ct_positions == "colocated" else "no pairs",
        settings.preset,
        settings.recipe,
        fabric.device,
        f" x {processes} processes" if processes > 1 else "",
        resolve_precision(training.precision, fabric.device),
    )
    log.info("perceptual network: %s", style.backbone.weights.describe() if style else "none (creps.weight is 0)")
    log.info("memory of a step: %s; %s has %.0f GB free", memory.estimate.describe(), fabric.device, memory.free / 1e9)
    if memory.estimate.total > memory.free:
        log.warning("this may not fit into memory. %s", memory.remedy)
    if slow := emulated_bf16(training.precision, fabric.device):
        log.warning("%s (--training.precision)", slow)
    if not (cohort.cases("mr", "validation") and cohort.cases("ct", "validation")):
        log.warning("the cohort has no validation cases: scores and pictures are of training cases")
    if settings.simulation.weight > 0 and fabric.device.type == "cuda" and training.workers == 0:
        log.warning("MRs are simulated in the process that trains and the GPU waits: set training.workers to 4 or so")
    if start >= steps:
        log.info("all %d steps are done: raise training.steps or training.epochs to go on", steps)
    else:
        log.info("steps %d to %d, %d patches each", start + 1, steps, training.batch_size)
