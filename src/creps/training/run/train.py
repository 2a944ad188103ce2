"""``creps train``: a prepared cohort → a run's folder with a model in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from creps.cohort.cohort import Cohort, load_cohort
from creps.cohort.screening import check_scales
from creps.errors import InputError, TrainingError, is_out_of_memory
from creps.figures import curves_figure
from creps.label_free.validation import PatchValidation
from creps.settings import Settings
from creps.shipped.names import find_model
from creps.training.build import build_networks, build_style, total_steps
from creps.training.disk import check_room
from creps.training.files import MODEL
from creps.training.interruption import Interruption
from creps.training.loop import TrainingLoop
from creps.training.networks import Networks
from creps.training.processes import Processes, start_processes
from creps.training.run.cohort_fit import refuse_missing_cts
from creps.training.run.folder import RunFolder
from creps.training.run.forecast import Memory, log_duration, log_run, warn_of_cohort
from creps.training.run.heartbeat import Heartbeat
from creps.training.run.monitor import Monitor
from creps.training.run.settings import run_settings
from creps.training.run.starting_point import StartingPoint, load_starting_point
from creps.training.run.tensorboard import check_loggers, open_loggers
from creps.training.sampling import PatchPairs, PatchSampler
from creps.training.simulation import (
    BackgroundGrowth,
    check_phantoms,
    grow_phantoms,
    has_phantoms,
    held_out_pairs,
    simulated_pairs,
)
from creps.training.state import Progress, load_checkpoint
from creps.training.step import TrainingStep

__all__ = ["train"]

log = logging.getLogger(__name__)

PROCESS_ENDED = ("connection closed by peer", "connection reset by peer", "nccl")
"""Parts of the messages of collectives whose other end is gone."""


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
    report: Callable[[Path], object] | None = None,
) -> Path:
    """Train a model on a prepared cohort; pairs are needed only by recipes that say so.

    Args:
        cohort: A prepared cohort or its folder.
        output: Folder of the run.
        settings: A YAML file, or complete `Settings`.
        recipe: Recipe of the training; default: the one that the cohort was prepared for.
        preset: Preset that the settings start from; default: the cohort's.
        overrides: Single settings, such as ``{"training.steps": 100}``.
        model: A shipped model by name, or a model, run or checkpoint to start from (fine-tuning), whose method is
            the default.
        resume: Continue from the last checkpoint in `output`, if there is one.
        report: Writes a report of the run's folder; called now and then, and at the end. Its failure ends no run.

    Returns:
        The folder of the model, ``output/model``.

    Raises:
        RunInterruptedError: a signal ended the run early; it can be resumed.
        CrepsError: the folder is in use, the settings do not fit, weights are missing, …
    """
    cohort = cohort if isinstance(cohort, Cohort) else load_cohort(cohort)
    if not isinstance(output, str | Path):
        raise InputError(f"{output!r} is not a folder.", "Give the path of the run's folder.")
    folder = Path(output)
    model = None if model is None else find_model(model)
    settings = run_settings(
        cohort, folder, settings, recipe=recipe, preset=preset, overrides=overrides, model=model, resume=resume
    )
    check_scales(cohort)
    check_loggers(settings.training.loggers)
    starting_point = load_starting_point(model, settings) if model is not None else None
    with Heartbeat("building the networks and estimating memory and time") as heartbeat:
        _train(cohort, folder, settings, starting_point, heartbeat, resume=resume, report=report)
    return folder / MODEL


def _train(
    cohort: Cohort,
    folder: Path,
    settings: Settings,
    starting_point: StartingPoint | None,
    heartbeat: Heartbeat,
    *,
    resume: bool,
    report: Callable[[Path], object] | None,
) -> None:
    style = build_style(settings)
    processes = start_processes(settings.training)
    memory = Memory.of(settings, style, processes)  # while the perceptual network is on the CPU, as its probe is
    run = RunFolder(folder, cohort, settings, style, starting_point.record() if starting_point else None, report)
    with Interruption() as interruption, processes.watched(), _locked(processes, run):
        networks, progress = _networks(processes, run, starting_point, resume=resume)
        processes.first_only(partial(check_room, folder, networks, settings.training.keep_checkpoints))
        sampler = _sampler(cohort, settings)
        steps = total_steps(settings, sampler.samples_per_epoch)
        processes.first_only(partial(run.open, progress.steps))
        with _recorded(processes, run, progress):
            heartbeat.doing("building the networks and estimating the time of a step")
            step = TrainingStep(processes, networks, style.to(processes.device) if style else None, settings)
            processes.first_only(partial(warn_of_cohort, cohort, settings, starting_point))
            log_run(processes, run, memory, progress.steps, steps)
            processes.first_only(partial(log_duration, processes, run, networks, steps - progress.steps))
            heartbeat.doing("reading the first patches")
            with _growing(processes, run, memory, progress.steps, steps, interruption):
                loop = _loop(processes, run, networks, step, progress, sampler, steps)
                with _monitored(processes, run, progress.steps, steps) as monitor:
                    with _failures_explained(processes, progress, memory):
                        outcome = loop.run(monitor, interruption, heartbeat.doing)
                    heartbeat.doing("writing the models")
                    processes.first_only(partial(run.finish, networks, outcome))
            if outcome.signal is not None:
                raise processes.error_of_all(run.interruption(outcome, steps))
        processes.first_only(run.drop_phantoms)


def _loop(
    processes: Processes,
    run: RunFolder,
    networks: Networks,
    step: TrainingStep,
    progress: Progress,
    sampler: PatchSampler,
    steps: int,
) -> TrainingLoop:
    """What trains and validates, with its patches."""
    simulated = simulated_pairs(run.settings, run.phantoms) if progress.steps < steps else None
    pairs = partial(held_out_pairs, run.cohort, run.settings, run.phantoms)
    return TrainingLoop(
        networks,
        step,
        PatchPairs(run.cohort, sampler, steps, simulated, step.reads),
        progress=progress,
        folder=run.path,
        plan=partial(run.plan_after, networks),
        validate=PatchValidation(run.cohort, run.settings, processes.device, pairs),
    )


@contextmanager
def _locked(processes: Processes, run: RunFolder) -> Iterator[None]:
    """Keep other runs out of the folder."""
    processes.on_first(run.lock.acquire)
    try:
        yield
    finally:
        run.lock.release()


def _networks(
    processes: Processes, run: RunFolder, starting_point: StartingPoint | None, *, resume: bool
) -> tuple[Networks, Progress]:
    """The networks as they were at the checkpoint to resume, as in the model to start from, or with random weights."""
    checkpoint = processes.on_first(partial(run.checkpoint_to_resume, resume))
    networks = build_networks(processes, run.settings, run.style, starting_point.weights if starting_point else None)
    progress = Progress()
    if checkpoint is not None:
        progress = load_checkpoint(checkpoint, networks)
    elif starting_point is not None:
        starting_point.warm_start(networks)
    progress.best = processes.on_first(partial(run.kept_best, progress.best))
    return networks, progress


def _sampler(cohort: Cohort, settings: Settings) -> PatchSampler:
    """Draws the patches of the whole run."""
    refuse_missing_cts(cohort, settings)
    return PatchSampler(
        cohort.cases("mr", "train"),
        cohort.cases("ct", "train"),
        settings.sampling,
        settings.training.seed,
        settings.training.batch_size,
    )


@contextmanager
def _growing(
    processes: Processes, run: RunFolder, memory: Memory, start: int, steps: int, interruption: Interruption
) -> Iterator[None]:
    """Grow the phantoms in the first process while the run continues; with several processes, before it starts."""
    if start >= steps or not has_phantoms(run.settings):
        yield
        return
    step_bytes = processes.count * memory.estimate.total if processes.device.type == "cpu" else 0.0
    grow = partial(grow_phantoms, run.settings, run.phantoms, steps=steps, reserved_bytes=step_bytes)
    processes.first_only(partial(check_phantoms, run.settings, run.phantoms))
    if processes.count > 1:
        processes.first_only(partial(grow, lambda: interruption.signal is not None))
        yield
        return
    with BackgroundGrowth(grow, run.phantoms, lambda: interruption.signal is not None):
        yield


@contextmanager
def _recorded(processes: Processes, run: RunFolder, progress: Progress) -> Iterator[None]:
    """Write log and record of this session, in the first process only."""
    if not processes.is_first:
        yield
        return
    try:
        with run.recorded(progress):
            yield
    finally:
        run.write_report()


@contextmanager
def _monitored(processes: Processes, run: RunFolder, start: int, steps: int) -> Iterator[Monitor | None]:
    """Console lines, curves and pictures, in the first process only."""
    opened: list[Monitor] = []

    def open_monitor() -> None:
        loggers = open_loggers(run.settings.training.loggers, run.path, start)
        draw = partial(curves_figure, title=run.path.name)
        opened.append(Monitor(run.path, start, steps, loggers, draw, run.write_report))

    processes.first_only(open_monitor)
    try:
        yield opened[0] if opened else None
    finally:
        for monitor in opened:
            monitor.close()


@contextmanager
def _failures_explained(processes: Processes, progress: Progress, memory: Memory) -> Iterator[None]:
    """Name the setting to change when memory runs out, and where to look when another process has ended."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        message, step = str(error).lower(), progress.steps + 1
        if is_out_of_memory(error):
            raise TrainingError(
                f"Out of memory on {processes.device} at step {step}: a step takes {memory.estimate.describe()}.",
                memory.remedy,
            ) from error
        if processes.count > 1 and any(part in message for part in PROCESS_ENDED):
            raise TrainingError(
                f"Another process of this run stopped at step {step}.",
                "See its own message; resume with --resume auto (resume=True).",
            ) from error
        raise
