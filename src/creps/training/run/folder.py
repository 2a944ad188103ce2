"""The folder of a run: whether a run may continue there, and what is written at its start and end.

What the folder contains is listed in `creps.training.files`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from creps.cohort.cohort import Cohort
from creps.errors import CohortError, CrepsError, ModelError, OutputExistsError, RunInterruptedError, SettingsError
from creps.intake.profile import IntakeProfile, profile_of
from creps.io.atomic import atomic_file, atomic_folder
from creps.io.documents import read_json
from creps.io.lock import FolderLock
from creps.losses.balance import MagnitudeBalance
from creps.losses.creps import CrepsLoss
from creps.model import PLAN, Model, Plan, latest_checkpoint, load_plan, save_model
from creps.provenance import NOTICE, provenance
from creps.settings import Settings, load_settings, to_yaml
from creps.training.disk import try_checkpoint
from creps.training.files import BEST, CHECKPOINTS, LOG, MODEL, PHANTOMS, RECORD, SETTINGS
from creps.training.networks import Networks
from creps.training.run.record import RunRecord, log_to, read_record
from creps.training.state import Best, Outcome, Progress, inference_weights

__all__ = ["RunFolder", "cases_sha256"]

log = logging.getLogger(__name__)

FREE_TO_CHANGE = (
    *("epochs", "steps", "learning_rate", "discriminator_learning_rate", "device", "devices", "nodes", "accumulate"),
    *("checkpoint_activations", "workers", "log_every", "loggers", "validate_every", "model"),
    *("patience", "checkpoint_every", "keep_checkpoints"),
)
"""Training settings that may change when a run is resumed."""


class RunFolder:
    """The folder of one run.

    Args:
        path: The folder; missing or empty for a new run.
        cohort: The cohort to train on.
        settings: All settings.
        style: The CREPs loss, or None.
        started_from: Record of the model that the run starts from, or None for random weights.
        report: Writes a report of the folder, or None.
    """

    def __init__(
        self,
        path: Path,
        cohort: Cohort,
        settings: Settings,
        style: CrepsLoss | None,
        started_from: dict[str, Any] | None,
        report: Callable[[Path], object] | None = None,
    ) -> None:
        self.path, self.cohort, self.settings, self.style, self.started_from = (
            path,
            cohort,
            settings,
            style,
            started_from,
        )
        busy = OutputExistsError(f"Another process is training in {path}.", "Wait for it, or name another folder.")
        self.lock, self.record = FolderLock(path, busy), RunRecord(path / RECORD)
        self.phantoms, self.report = path / PHANTOMS, report

    def checkpoint_to_resume(self, resume: bool) -> Path | None:
        """The checkpoint to continue from, if there is one.

        Raises:
            OutputExistsError: the folder contains something else, or a run and `resume` is not set.
            SettingsError, CohortError, ModelError: it contains a different run.
        """
        path, settings = self.path, self.path / SETTINGS
        if path.exists() and not path.is_dir():
            raise OutputExistsError(f"{path} is a file, not the folder of a run.", "Name another folder.")
        held = [item for item in path.iterdir() if not item.name.startswith(".writing-")] if path.exists() else []
        if not held:
            return None
        if "run_id" not in read_record(path / RECORD) and not (path / CHECKPOINTS).is_dir():
            raise OutputExistsError(f"{path} already exists and contains no run.", "Name another folder.")
        checkpoint = latest_checkpoint(path)
        if not resume and (checkpoint is not None or (path / BEST).exists()):
            raise OutputExistsError(
                f"{path} already exists.", "Go on with --resume auto (resume=True), or name another folder."
            )
        if checkpoint is None:
            return None  # the run never reached a checkpoint, so it starts from the beginning
        _refuse_other_settings(load_settings(file=settings), self.settings, settings)
        self._refuse_other_run(checkpoint / PLAN)
        return checkpoint

    def kept_best(self, best: Best | None) -> Best | None:
        """The best validation recorded in a checkpoint, if ``best/`` still contains that model.

        A run that crashed after its last checkpoint may have written a later model there. It is removed, since the
        steps after the checkpoint are repeated.
        """
        place = self.path / BEST
        if best is not None and place.is_dir() and load_plan(place).training.get("steps") == best.step:
            return best
        if best is not None:
            log.warning("%s no longer contains the model of step %d: selecting the best one anew", place, best.step)
        shutil.rmtree(place, ignore_errors=True)
        return None

    def open(self, start: int) -> None:
        """Write settings and record before the first step.

        Raises:
            TrainingError: a checkpoint cannot be written here, which is tried out.
        """
        try_checkpoint(self.path / CHECKPOINTS)
        with atomic_file(self.path / SETTINGS) as path:
            path.write_text(to_yaml(self.settings, f"{NOTICE}\nThe settings of this run."), encoding="utf-8")
        self.record.open(start, self.training_record(start))

    @contextmanager
    def recorded(self, progress: Progress) -> Iterator[None]:
        """Write the log of a session, and in the record how it ended, whatever ends it.

        Args:
            progress: Says how many steps are done.
        """
        with log_to(self.path / LOG) as log_line:
            try:
                yield
            except RunInterruptedError as error:
                log_line(str(error))
                self.record.close("interrupted", error.reason, progress.steps, self.training_record(progress.steps))
                raise
            except BaseException as error:
                reason = str(error) if isinstance(error, CrepsError) else type(error).__name__
                log_line(f"stopped: {reason}")
                self.record.close("failed", reason, progress.steps, self.training_record(progress.steps))
                raise

    def finish(self, networks: Networks, outcome: Outcome) -> None:
        """Write models and record of a run that finished or was interrupted."""
        record = self.training_record(outcome.step, networks.balance)
        last = self.plan(record)
        tensors = {"last": networks.generator.state_dict()}
        if networks.averaged is not None:
            tensors["ema"] = networks.averaged.state_dict()
        for name, state in tensors.items():
            self._save_model(name, dict(state), last)
        if self.settings.training.model == "best" and outcome.best is not None:
            best = Model.load(self.path / BEST)
            self._save_model(MODEL, dict(best.generator.state_dict()), best.plan)
            log.info("model: the weights of step %d, with the lowest validation score", outcome.best.step)
        else:
            self._save_model(MODEL, inference_weights(networks), last)
            log.info("model: the last weights%s", ", averaged" if networks.averaged is not None else "")
        self.record.keep_best(outcome.best)
        self.record.close("finished", None, outcome.step, {**record, "health": list(outcome.health)})

    def write_report(self) -> None:
        """Write the report of the run, if one is requested; its failure is logged and never ends the training."""
        if self.report is None:
            return
        try:
            self.report(self.path)
        except Exception as error:  # noqa: BLE001 - a page is worth less than a run
            log.warning("the report of the run could not be written: %s", error)

    def drop_phantoms(self) -> None:
        """Remove the phantoms of a finished run, once no process grows or reads them."""
        shutil.rmtree(self.phantoms, ignore_errors=True)

    def interruption(self, outcome: Outcome, steps: int) -> RunInterruptedError:
        """The error to raise after a signal ended the run early."""
        number = outcome.signal or signal.SIGINT
        reason = f"Stopped by {number.name} after step {outcome.step} of {steps}"
        return RunInterruptedError(
            f"{reason}; everything is saved in {self.path}.",
            "Go on with --resume auto (resume=True).",
            128 + number,
            reason,
        )

    def _save_model(self, name: str, tensors: dict[str, torch.Tensor], plan: Plan) -> None:
        with atomic_folder(self.path / name) as temporary:
            save_model(temporary, tensors, plan)

    @cached_property
    def intake(self) -> IntakeProfile:
        """Profile of the training MRs, computed once, when the first model is written."""
        log.info("profiling the training MRs for the model's intake checks")
        return profile_of(self.cohort)

    def plan(self, record: dict[str, Any]) -> Plan:
        """The plan of a model with this training record; the device of a synthesis is chosen where that runs."""
        return Plan(
            preparation=self.cohort.manifest.preparation,
            generator=self.settings.generator,
            patch_size=self.settings.sampling.patch_size,
            inference=self.settings.inference.model_copy(update={"device": "auto"}),
            intake=self.intake,
            training=record,
            provenance=provenance(),
        )

    def plan_after(self, networks: Networks, steps: int) -> Plan:
        """The plan of the model after a number of steps."""
        return self.plan(self.training_record(steps, networks.balance))

    def training_record(self, steps: int, balance: MagnitudeBalance | None = None) -> dict[str, Any]:
        """How a model was trained, with file names but no paths of this machine."""
        chosen = self.settings.model_dump(mode="json")
        chosen["creps"]["weights"] = Path(self.settings.creps.weights).name
        style = self.style
        return {
            "steps": steps,
            "started_from": self.started_from,
            "cohort": {
                "cases_sha256": cases_sha256(self.cohort),
                "mr_cases": len(self.cohort.cases("mr", "train")),
                "ct_cases": len(self.cohort.cases("ct", "train")),
            },
            "perceptual_weights": style.backbone.weights.record() if style else None,
            "style_weight": None if balance is None or style is None else balance.record(),
            "settings": chosen,
        }

    def _refuse_other_run(self, plan: Path) -> None:
        """Refuse to resume with another cohort, other perceptual weights or another starting model."""
        try:
            before = read_json(plan)["training"]
            cases, weights = before["cohort"]["cases_sha256"], before["perceptual_weights"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{plan} is missing or damaged.", "Delete this checkpoint and resume again.") from error
        if cases != cases_sha256(self.cohort):
            raise CohortError(
                f"{self.cohort.folder} is not the cohort that this run was started with.",
                "Resume with that one, or start a new run.",
            )
        if (weights or {}).get("sha256") != (self.style.backbone.weights.sha256 if self.style else None):
            raise ModelError("The perceptual weights are not those of this run.", "Resume with the same file.")
        started_from = before.get("started_from")
        if self.started_from is not None and self.started_from != started_from:
            raise ModelError(
                "This run was not started from that model.", "Resume without --from (model=None), or start a new run."
            )
        self.started_from = started_from


def _refuse_other_settings(before: Settings, now: Settings, path: Path) -> None:
    old, new = before.model_dump(exclude={"inference", "preset"}), now.model_dump(exclude={"inference", "preset"})
    if old.pop("recipe") != new.pop("recipe"):
        raise SettingsError(
            f"The run was started with recipe {before.recipe} ({path}), now it is {now.recipe}.",
            "Resume without changing it, or start a new run.",
        )
    for section, values in old.items():
        for name, value in values.items():
            free = (section == "training" and name in FREE_TO_CHANGE) or (section, name) == ("creps", "weights")
            changed = new[section].get(name)
            if changed != value and not free:  # weights: their hash is compared instead
                raise SettingsError(
                    f"The run was started with {section}.{name} = {value} ({path}), now it is {changed}.",
                    "Resume without changing it, or start a new run.",
                )


def cases_sha256(cohort: Cohort) -> str:
    """One hash over the cases of a cohort: names, splits and hashes of the prepared arrays."""
    cases = sorted((c.modality, c.case, c.split, c.prepared_sha256) for c in cohort.manifest.cases)
    return hashlib.sha256(json.dumps(cases).encode()).hexdigest()
