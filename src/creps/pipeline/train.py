"""``creps train``: a prepared cohort → a run's folder with a model in it."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric import Fabric, seed_everything
from torch import nn

from creps.checkpoint import PLAN, Plan, save_model
from creps.data.cohort import Case, Cohort
from creps.data.patches import PatchLocation, read_patch
from creps.device import resolve_device
from creps.errors import CohortError, ModelError, OutputExistsError, SettingsError
from creps.figures import patch_row
from creps.io.atomic import atomic_file, atomic_folder, write_json
from creps.losses.balance import MagnitudeBalance
from creps.losses.creps import CrepsLoss
from creps.preprocessing.intensity import AIR_NETWORK, network_to_hu
from creps.provenance import NOTICE, provenance
from creps.settings import Settings, load_settings, to_yaml
from creps.training.loop import Validation, build_networks, build_style, run_training, total_steps
from creps.training.prior import write_guesses
from creps.training.sampling import UnpairedPatches, UnpairedSampler
from creps.training.state import inference_weights, latest_checkpoint, load_checkpoint
from creps.training.step import TrainingStep, unwrapped

__all__ = ["SETTINGS_FILE", "train"]

log = logging.getLogger(__name__)

SETTINGS_FILE = "settings.yaml"
RECORD_FILE = "record.json"
PICTURED_CASES = 3


def train(cohort: Cohort, folder: Path, settings: Settings, *, resume: bool = False) -> Path:
    """Train a model without pairs.

    Args:
        cohort: What to train on.
        folder: The run's folder.
        settings: The whole tree.
        resume: Go on from the run's last checkpoint, if there is one.

    Returns:
        The model's folder, ``folder/model``.

    Raises:
        CrepsError: the run is there already, the settings do not fit, weights are missing, …
    """
    if settings.preparation != cohort.manifest.preparation:
        raise SettingsError(
            "The settings' preparation is not that of the cohort.", "Pass prepared=cohort.settings() to load_settings."
        )
    fabric = _fabric(settings)
    style = build_style(settings)
    checkpoint = _checkpoint_to_resume(folder, cohort, settings, style, resume)
    networks = build_networks(fabric, settings, style)
    sampler = UnpairedSampler(
        cohort.cases("mr", "train"),
        cohort.cases("ct", "train"),
        settings.sampling,
        settings.training.seed,
        settings.training.batch_size,
    )
    start = load_checkpoint(checkpoint, networks) if checkpoint else 0
    _open_run(folder, cohort, settings, style, start)
    guesses = write_guesses(cohort, folder / "guesses") if settings.prior.needs_guess else None
    patches = UnpairedPatches(cohort, sampler, total_steps(settings, sampler.samples_per_epoch), guesses)
    step = TrainingStep(fabric, networks, style.to(fabric.device) if style else None, settings)

    def plan(done: int) -> Plan:
        return _plan(cohort, settings, _training_record(cohort, settings, style, done, networks.balance))

    validate = _validation(cohort, settings, fabric)
    _say_what_runs(cohort, settings, style, fabric, start, patches.steps)
    run_training(fabric, networks, step, patches, start=start, folder=folder, plan=plan, validate=validate)
    final = plan(max(start, patches.steps))
    with atomic_folder(folder / "model") as temporary:
        save_model(temporary, inference_weights(networks), final)
    write_json(folder / RECORD_FILE, {**provenance(), "started_at_step": start, **final.training})
    return folder / "model"


def _fabric(settings: Settings) -> Fabric:
    device = resolve_device(settings.training.device)
    seed_everything(settings.training.seed, verbose=False)
    devices: Any = [device.index or 0] if device.type == "cuda" else 1
    return Fabric(accelerator=device.type, devices=devices)


def _checkpoint_to_resume(
    folder: Path, cohort: Cohort, settings: Settings, style: CrepsLoss | None, resume: bool
) -> Path | None:
    """The checkpoint to go on from; refuses a folder that holds something else, or another run."""
    path = folder / SETTINGS_FILE
    held = [item for item in folder.iterdir() if not item.name.startswith(".writing-")] if folder.exists() else []
    if not held:
        return None
    checkpoint = latest_checkpoint(folder / "checkpoints")
    if not path.is_file():
        raise OutputExistsError(f"{folder} is already there.", "Name another folder.")
    if checkpoint is None:
        return None  # a run that never got anywhere: nothing is lost by starting it again
    if not resume:
        raise OutputExistsError(f"{folder} is already there.", "Go on with --resume auto, or name another folder.")
    _refuse_other_settings(load_settings(file=path), settings, path)
    _refuse_other_origin(checkpoint / PLAN, cohort, style)
    return checkpoint


FREE_TO_CHANGE = (
    *("epochs", "steps", "learning_rate", "discriminator_learning_rate", "device", "workers"),
    *("log_every", "picture_every", "checkpoint_every", "keep_checkpoints"),
)
"""Training settings that may change when a run goes on."""


def _refuse_other_settings(before: Settings, now: Settings, path: Path) -> None:
    old, new = before.model_dump(exclude={"inference", "preset"}), now.model_dump(exclude={"inference", "preset"})
    for section, values in old.items():
        for name, value in values.items():
            if new[section][name] != value and not (section == "training" and name in FREE_TO_CHANGE):
                raise SettingsError(
                    f"The run was started with {section}.{name} = {value} ({path}), now it is {new[section][name]}.",
                    "Resume without changing it, or start a new run.",
                )


def _refuse_other_origin(plan: Path, cohort: Cohort, style: CrepsLoss | None) -> None:
    """Another cohort or other perceptual weights under the same names are another run."""
    try:
        before = json.loads(plan.read_text(encoding="utf-8"))["training"]
        cases, weights = before["cohort"]["cases_sha256"], before["perceptual_weights"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{plan} is missing or damaged.", "Delete this checkpoint and resume again.") from error
    if cases != _cases_sha256(cohort):
        raise CohortError(
            f"{cohort.folder} is not the cohort that this run was started with.",
            "Resume with that one, or start a new run.",
        )
    if (weights or {}).get("sha256") != (style.backbone.weights.sha256 if style else None):
        raise ModelError("The perceptual weights are not those of this run.", "Resume with the same file.")


def _cases_sha256(cohort: Cohort) -> str:
    """One hash over what the cohort was made of: cases, splits and the prepared arrays' hashes."""
    cases = sorted((c.modality, c.case, c.split, c.prepared_sha256) for c in cohort.manifest.cases)
    return hashlib.sha256(json.dumps(cases).encode()).hexdigest()


def _open_run(folder: Path, cohort: Cohort, settings: Settings, style: CrepsLoss | None, start: int) -> None:
    """Write what the run is before its first step."""
    with atomic_file(folder / SETTINGS_FILE) as path:
        path.write_text(to_yaml(settings, f"{NOTICE}\nThe settings of this run."), encoding="utf-8")
    record = _training_record(cohort, settings, style, start)
    write_json(folder / RECORD_FILE, {**provenance(), "started_at_step": start, **record})


def _training_record(
    cohort: Cohort, settings: Settings, style: CrepsLoss | None, steps: int, balance: MagnitudeBalance | None = None
) -> dict[str, Any]:
    """How a model came about; file names only, no paths of this machine."""
    chosen = settings.model_dump(mode="json")
    chosen["creps"]["weights"] = Path(settings.creps.weights).name
    return {
        "steps": steps,
        "cohort": {
            "cases_sha256": _cases_sha256(cohort),
            "mr_cases": len(cohort.cases("mr", "train")),
            "ct_cases": len(cohort.cases("ct", "train")),
        },
        "perceptual_weights": style.backbone.weights.record() if style else None,
        "style_weight": None if balance is None or style is None else balance.record(),
        "settings": chosen,
    }


def _plan(cohort: Cohort, settings: Settings, record: dict[str, Any]) -> Plan:
    return Plan(
        preparation=cohort.manifest.preparation,
        generator=settings.generator,
        patch_size=settings.sampling.patch_size,
        inference=settings.inference,
        training=record,
        provenance=provenance(),
    )


def _say_what_runs(
    cohort: Cohort, settings: Settings, style: CrepsLoss | None, fabric: Fabric, start: int, steps: int
) -> None:
    log.info(NOTICE)
    log.info(
        "training on %d MR and %d CT cases, no pairs; preset %s; %s, %s",
        len(cohort.cases("mr", "train")),
        len(cohort.cases("ct", "train")),
        settings.preset,
        fabric.device,
        settings.training.precision,
    )
    log.info("perceptual network: %s", style.backbone.weights.describe() if style else "none (creps.weight is 0)")
    if start >= steps:
        log.info("all %d steps are done: raise training.steps or training.epochs to go on", steps)
    else:
        log.info("steps %d to %d, %d patches each", start + 1, steps, settings.training.batch_size)


def _validation(cohort: Cohort, settings: Settings, fabric: Fabric) -> Validation:
    """Look at the central patch of a few MRs, beside that of a CT."""
    size = settings.sampling.patch_size
    pairs = [
        (_central_patch(cohort, mr, size, 0.0), _central_patch(cohort, ct, size, AIR_NETWORK))
        for mr, ct in zip(_pictured(cohort, "mr"), _pictured(cohort, "ct"), strict=False)
    ]

    @torch.no_grad()
    def validate(generator: nn.Module, final: nn.Module) -> tuple[dict[str, float], npt.NDArray[np.uint8]]:
        mr = torch.stack([torch.from_numpy(mr) for mr, _ in pairs])[:, None].to(fabric.device)
        current = copy.deepcopy(unwrapped(generator))  # running statistics of the one in training stay as they are
        in_eval, in_train = current.eval()(mr), current.train()(mr)
        sct = copy.deepcopy(unwrapped(final)).eval()(mr)[:, 0].float().cpu().numpy()
        difference = float(network_to_hu((in_eval - in_train).abs().mean().numpy(force=True)))
        rows = [patch_row(mr, s, ct) for (mr, ct), s in zip(pairs, sct, strict=True)]
        return {"train_eval_difference_hu": difference}, np.concatenate(rows)

    return validate


def _pictured(cohort: Cohort, modality: Any) -> list[Case]:
    """Validation cases, or training cases where there is none; `PICTURED_CASES` at most."""
    cases = cohort.cases(modality, "validation") or cohort.cases(modality, "train")
    return list(cases[:PICTURED_CASES])


def _central_patch(cohort: Cohort, case: Case, size: tuple[int, int, int], fill: float) -> npt.NDArray[np.float32]:
    d, h, w = ((first + end - n) // 2 for (first, end), n in zip(case.body, size, strict=True))
    return read_patch(cohort.array(case), PatchLocation((d, h, w), size), fill)
