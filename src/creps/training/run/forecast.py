"""What is known of a run before its first step: its memory, its duration, and what it trains on; logged."""

from __future__ import annotations

import logging
from typing import NamedTuple

from creps.cohort.cohort import Cohort
from creps.losses.creps import CrepsLoss
from creps.machine import bf16_warning, free_bytes, resolve_precision
from creps.provenance import NOTICE
from creps.settings import Settings
from creps.training.duration import LONG_HOURS, advice, estimate_time, in_words
from creps.training.memory import MemoryEstimate, estimate_memory, settings_that_fit
from creps.training.networks import Networks
from creps.training.processes import Processes
from creps.training.run.cohort_fit import warn_of_other_mrs
from creps.training.run.folder import RunFolder
from creps.training.run.settings import warn_of_other_preparation
from creps.training.run.starting_point import StartingPoint
from creps.training.simulation import describe_pairs

__all__ = ["Memory", "log_duration", "log_run", "warn_of_cohort"]

log = logging.getLogger(__name__)


class Memory(NamedTuple):
    """The estimated memory of a step, in bytes, and what to change if that is too much.

    Attributes:
        estimate: What a step takes.
        free: What this process can have.
        remedy: Which settings to change, as a sentence.
    """

    estimate: MemoryEstimate
    free: float
    remedy: str

    @classmethod
    def of(cls, settings: Settings, style: CrepsLoss | None, processes: Processes) -> Memory:
        """Estimate it for one process, with its share of the free memory."""
        estimate = estimate_memory(settings, style, processes.count)
        sharing = processes.count // settings.training.nodes if processes.device.type == "cpu" else 1
        free = free_bytes(processes.device) / max(1, sharing)
        target = min(0.75 * estimate.total, free)
        return cls(estimate, free, settings_that_fit(settings, style, target, processes.count))


def warn_of_cohort(cohort: Cohort, settings: Settings, starting_point: StartingPoint | None) -> None:
    """Warn if the cohort was prepared for another recipe, or is unlike that of the model to start from."""
    if starting_point is None:
        warn_of_other_preparation(cohort, settings)
    else:
        warn_of_other_mrs(cohort, starting_point.plan.intake)


def log_run(processes: Processes, run: RunFolder, memory: Memory, start: int, steps: int) -> None:
    """Log what a session trains on and with, and warn of what may slow or stop it.

    Args:
        processes: The processes of the run.
        run: Its folder, with cohort and settings.
        memory: The estimate of a step.
        start: Steps done before.
        steps: Steps of the whole run.
    """
    cohort, settings, style, training = run.cohort, run.settings, run.style, run.settings.training
    log.info(NOTICE)
    log.info(
        "training on %d MR and %d CT cases, %s; preset %s, recipe %s; %s%s, %s",
        len(cohort.cases("mr", "train")),
        len(cohort.cases("ct", "train")),
        "paired" if settings.sampling.ct_positions == "colocated" else "no pairs",
        settings.preset,
        settings.recipe,
        processes.device,
        f" x {processes.count} processes" if processes.count > 1 else "",
        resolve_precision(training.precision, processes.device),
    )
    if style is not None:
        log.info("perceptual network: %s", style.backbone.weights.describe())
    if settings.simulation.weight > 0:
        log.info("simulated pairs: %s", describe_pairs(settings))
    free = f"{processes.device} has {memory.free / 1e9:.0f} GB free"
    log.info("memory per step: %s; %s", memory.estimate.describe(), free)
    if memory.estimate.total > memory.free:
        log.warning("this may not fit into memory: %s", memory.remedy)
    if slow := bf16_warning(training.precision, processes.device):
        log.warning("%s (--training.precision)", slow)
    if not all(cohort.cases(m, "validation") for m in ("mr", "ct") if cohort.cases(m, "train")):
        log.warning("the cohort has no validation cases: scores and pictures use training cases")
    if settings.simulation.weight > 0 and processes.device.type == "cuda" and training.workers == 0:
        log.warning("simulating MRs in this process slows the GPU down: set training.workers to about 4")
    if start >= steps:
        log.info("all %d steps are done: raise training.steps or training.epochs to train further", steps)
    else:
        log.info("steps %d to %d, %d patches each", start + 1, steps, training.batch_size)


def log_duration(processes: Processes, run: RunFolder, networks: Networks, steps: int) -> None:
    """Log about how long the remaining steps take; warn with a remedy if that is long."""
    if steps <= 0:
        return
    step = estimate_time(run.settings, networks, run.style, processes.device)
    seconds = step.total / processes.count
    log.info(
        "time per step: about %s, mostly %s; %d steps: about %s",
        *(in_words(seconds), step.largest, steps, in_words(seconds * steps)),
    )
    if seconds * steps > LONG_HOURS * 3600:
        remedy = advice(run.settings, step, -(-steps // processes.count))
        log.warning("this run will take about %s. %s", in_words(seconds * steps), remedy)
