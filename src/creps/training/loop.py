"""The training loop: batches in, updates, validation, checkpoints, until the end or a signal."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from creps.errors import CrepsError, TrainingError
from creps.io.atomic import atomic_folder
from creps.model import Plan, save_model
from creps.training.batches import batches, on_device
from creps.training.files import BEST, CHECKPOINTS
from creps.training.health import HEALTHY, diagnose
from creps.training.interruption import Interruption, StepInterruptedError
from creps.training.networks import Networks, average_into
from creps.training.report import StepReport
from creps.training.run.monitor import Monitor
from creps.training.sampling import PatchPairs
from creps.training.schedule import decay_rates, weigh_bone
from creps.training.state import (
    SCORE,
    Best,
    Outcome,
    Progress,
    inference_weights,
    refuse_broken,
    restore,
    save_checkpoint,
    snapshot,
)
from creps.training.step import TrainingStep

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SLOW_SECONDS", "TrainingLoop", "Validation"]

log = logging.getLogger(__name__)

Validation = Callable[[nn.Module, nn.Module], "tuple[dict[str, float], npt.NDArray[np.uint8]]"]
"""(generator in training, generator to synthesize with) → values for the curves, picture (H, W, 3).
The value named `SCORE` decides which weights are the best."""

SLOW_SECONDS = 3.0
"""A signal interrupts a step or a validation if the one before it took longer; a shorter one is finished."""


class TrainingLoop:
    """Trains until the last of the patches, or until patience is spent.

    Args:
        networks: What is trained; `progress` says for how many steps it has been.
        step: The update.
        patches: The samples of the whole run.
        progress: Where the run stands; kept up to date.
        folder: The run's folder.
        plan: Number of steps → plan of the model after them.
        validate: Scores the networks on validation patches.
    """

    def __init__(
        self,
        networks: Networks,
        step: TrainingStep,
        patches: PatchPairs,
        *,
        progress: Progress,
        folder: Path,
        plan: Callable[[int], Plan],
        validate: Validation,
    ) -> None:
        self.processes, self.networks, self.step, self.patches = step.processes, networks, step, patches
        self.progress, self.folder, self.plan, self.validate = progress, folder, plan, validate
        self.start = progress.steps
        self.settings = step.settings.training
        self._findings: dict[str, str] = {}
        self._unchecked: list[tuple[int, StepReport]] = []
        self._saved = self.start
        self._seconds = {"step": math.inf, "validation": math.inf}  # of the last one; nothing is known of the first

    def run(
        self, monitor: Monitor | None, interruption: Interruption, doing: Callable[[str], None] = lambda _: None
    ) -> Outcome:
        """Train.

        A signal drops a step that takes long (see `SLOW_SECONDS`): networks and optimizers are set back to where they
        were before it, so that a resumed run does the same as one that was never interrupted. With several processes
        the step is finished, since the others do not know of the signal.

        Args:
            monitor: Reports the run; None in all processes but the first.
            interruption: Says when to stop early.
            doing: Called with the name of each part of the work when it begins.

        Raises:
            TrainingError: a loss or a weight is no longer finite; earlier checkpoints stay.
        """
        steps = self.patches.steps
        if self._patience_spent(self.start):  # a resumed run that had stopped
            return self._ended(monitor)
        if self.start < steps and interruption.requested(self.processes):
            return self._stopped(interruption, monitor)
        for done, batch in enumerate(self._batches(), self.start + 1):
            if isinstance(batch, CrepsError):
                if interruption.signal is not None:  # which ends the growth of phantoms too
                    return self._stopped(interruption, monitor)
                raise batch
            doing(f"step {done} of {steps}")
            try:
                saves, stops = self._one_step(done, batch, monitor, interruption, doing)
            except StepInterruptedError:
                return self._stopped(interruption, monitor)
            spent = self._validates(done) and done < steps and self._patience_spent(done)
            if saves or spent:
                self.processes.first_only(partial(self._save, done))
                self._saved = done
            self.progress.steps = done
            if stops and done < steps:
                return Outcome(done, self.progress.best, interruption.signal, tuple(self._findings.values()))
            if spent:
                break
            doing(f"the patches of step {done + 1} of {steps}")
        return self._ended(monitor)

    def _validates(self, done: int) -> bool:
        return done % self.settings.validate_every == 0 or done == self.patches.steps

    def _one_step(
        self,
        done: int,
        batch: dict[str, torch.Tensor],
        monitor: Monitor | None,
        interruption: Interruption,
        doing: Callable[[str], None],
    ) -> tuple[bool, bool]:
        """A step with its report and validation; whether to save, and whether to stop.

        Raises:
            StepInterruptedError: a signal came, and the networks are as they were before.
        """
        settings, steps = self.settings, self.patches.steps
        slow = self._seconds["step"] > SLOW_SECONDS
        slow = slow or (self._validates(done) and self._seconds["validation"] > SLOW_SECONDS)
        kept = snapshot(self.networks) if slow and self.processes.count == 1 else None
        try:
            started = time.perf_counter()
            with interruption.within(allowed=kept is not None):
                self._unchecked.append((done, self._update(batch, done)))
            self._seconds["step"] = time.perf_counter() - started
            stops = interruption.requested(self.processes)
            saves = done % settings.checkpoint_every == 0 or done == steps or stops
            if done == self.start + 1 or done % settings.log_every == 0 or self._validates(done) or saves:
                report = partial(self._report, monitor, done, *self._checked_terms())
                if self._validates(done):
                    doing(f"the validation after step {done} of {steps}")
                    report = partial(report, *self._validated(done, interruption, may_drop=kept is not None))
                self.processes.first_only(report)
                stops = interruption.requested(self.processes)
        except StepInterruptedError:
            if kept is not None:
                restore(self.networks, kept)
            raise
        doing(f"what follows step {done} of {steps}")
        return saves or stops, stops

    def _stopped(self, interruption: Interruption, monitor: Monitor | None) -> Outcome:
        """The outcome of a run whose current step is dropped; what was done before it is reported and saved."""
        done = self.progress.steps
        self._unchecked = [one for one in self._unchecked if one[0] <= done]
        if self._unchecked:
            terms, weights = self._checked_terms()
            self.processes.first_only(partial(self._report, monitor, done, terms, weights))
        if done > max(self.start, self._saved):
            self.processes.first_only(partial(self._save, done))
        return Outcome(done, self.progress.best, interruption.signal, tuple(self._findings.values()))

    def _ended(self, monitor: Monitor | None) -> Outcome:
        """The outcome of a run that is finished; logs its health."""
        if monitor is not None:
            self._diagnose(monitor, log_all=True)
        return Outcome(self.progress.steps, self.progress.best, health=tuple(self._findings.values()))

    def _patience_spent(self, done: int) -> bool:
        """Whether enough validations have passed without a better score: the same answer in every process.

        Counted from the best step, which a checkpoint keeps, so that a resumed run stops where it would have.
        """
        patience, every = self.settings.patience, self.settings.validate_every
        if patience is None:
            return False

        def spent() -> bool:
            best = self.progress.best
            if best is None or done // every - best.step // every < patience:
                return False
            log.info(
                "stopped at step %d: no better score in %d validations since step %d (training.patience)",
                *(done, done // every - best.step // every, best.step),
            )
            return True

        return self.processes.on_first(spent)

    def _batches(self) -> Iterable[dict[str, torch.Tensor] | CrepsError]:
        """Batches, and in place of one the error of the process that reads it, be it this one."""
        try:
            yield from batches(self.patches, self.settings, self.processes, self.start)
        except CrepsError as error:
            yield error

    def _update(self, batch: dict[str, torch.Tensor], done: int) -> StepReport:
        mr, ct, simulated = on_device(batch, self.processes.device)
        if self.settings.schedule == "cosine":
            decay_rates(self.networks, self.settings, done, self.patches.steps)
        weigh_bone(self.networks, self.settings, done, self.patches.steps)
        report = self.step(mr, ct, done, simulated)
        if self.networks.averaged is not None:
            average_into(self.networks.averaged, self.networks.generator, self.settings.ema_decay, done)
        return report

    def _checked_terms(self) -> tuple[dict[str, float], dict[str, float]]:
        """The last step's terms and weights, after checking every step since the last report for NaN and infinity."""
        values: dict[str, float] = {}
        for step, report in self._unchecked:
            means = self.processes.mean(torch.stack(list(report.terms.values()))).tolist()
            values = dict(zip(report.terms, means, strict=True))
            broken = next((name for name, value in values.items() if not math.isfinite(value)), None)
            if broken is not None:
                error = TrainingError(
                    f"At step {step} the loss term '{broken}' is {values[broken]}.",
                    f"Resume from the last checkpoint in {self.folder / CHECKPOINTS} with --resume auto "
                    "(resume=True) and a lower training.learning_rate.",
                )
                raise self.processes.error_of_all(error)
        weights = self._unchecked[-1][1].weights
        self._unchecked.clear()
        return values, weights

    def _validated(
        self, done: int, interruption: Interruption, *, may_drop: bool
    ) -> tuple[dict[str, float], npt.NDArray[np.uint8]]:
        """Values and picture of a validation; also measures how long it took."""

        def validate() -> tuple[dict[str, float], npt.NDArray[np.uint8]]:
            refuse_broken(inference_weights(self.networks), done, self.folder / CHECKPOINTS)
            final = self.networks.averaged if self.networks.averaged is not None else self.networks.generator
            return self.validate(self.networks.generator, final)

        started = time.perf_counter()
        with interruption.within(allowed=may_drop):
            found = self.processes.on_first(validate)
        self._seconds["validation"] = time.perf_counter() - started
        return found

    def _report(
        self,
        monitor: Monitor | None,
        done: int,
        terms: dict[str, float],
        weights: dict[str, float],
        values: dict[str, float] | None = None,
        picture: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        if values is not None:
            self._keep_if_best(done, values[SCORE])
        if monitor is not None and picture is not None:
            monitor.picture(done, picture)
        if monitor is not None:
            monitor.show(done, terms, weights, values)
            if values is not None:
                self._diagnose(monitor)
        balance = self.networks.balance
        if balance.steps and done == balance.steps:
            log.info("style weight balanced and frozen at %.6g", float(balance.weight))

    def _diagnose(self, monitor: Monitor, *, log_all: bool = False) -> None:
        """Log the problems that the curves show: new ones, or all of them."""
        before, self._findings = self._findings, diagnose(monitor.history, self.step.settings.adversarial.loss)
        for kind, sentence in self._findings.items():
            if log_all or kind not in before:
                log.warning("training health: %s", sentence)
        if not self._findings and (log_all or before):
            validations = sum(SCORE in row for row in monitor.history)
            log.info(HEALTHY if validations > 1 else "training health: one validation is too few to tell")

    def _keep_if_best(self, done: int, score: float) -> None:
        best = self.progress.best
        if not math.isfinite(score) or (best is not None and score >= best.score):
            return
        with atomic_folder(self.folder / BEST) as temporary:
            save_model(temporary, inference_weights(self.networks), self.plan(done))
        self.progress.best = Best(done, score)

    def _save(self, done: int) -> None:
        checkpoints, keep = self.folder / CHECKPOINTS, self.settings.keep_checkpoints
        save_checkpoint(checkpoints, self.networks, done, self.plan(done), keep, self.progress.best)
