"""``creps train``: a prepared cohort → a run's folder with a model in it."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric import Fabric, seed_everything
from torch import nn

from creps.checkpoint import Plan, save_model
from creps.data.cohort import MANIFEST, Case, Cohort
from creps.data.patches import PatchLocation, read_patch
from creps.errors import ModelError, OutputExistsError, SettingsError
from creps.inference.sliding_window import resolve_device
from creps.io.atomic import atomic_file, atomic_folder, write_json
from creps.losses.creps import CrepsLoss
from creps.preprocessing.intensity import AIR_NETWORK
from creps.provenance import NOTICE, provenance, sha256_file
from creps.settings import Settings, load_settings, to_yaml
from creps.training.loop import Validation, build_networks, build_style, run_training, total_steps
from creps.training.sampling import UnpairedPatches, UnpairedSampler
from creps.training.state import inference_weights, latest_checkpoint, load_checkpoint
from creps.training.step import TrainingStep, unwrapped

__all__ = ["SETTINGS_FILE", "train"]

log = logging.getLogger(__name__)

SETTINGS_FILE = "settings.yaml"
PICTURED_CASES = 3


def train(cohort: Cohort, folder: Path, settings: Settings, resume: str | None = None) -> Path:
    """Train a model without pairs.

    Args:
        cohort: What to train on.
        folder: The run's folder.
        settings: The whole tree.
        resume: None starts anew; ``auto`` goes on from the run's last checkpoint if there is one;
            otherwise the path of a checkpoint.

    Returns:
        The model's folder, ``folder/model``.

    Raises:
        CrepsError: the run is there already, the settings do not fit, weights are missing, …
    """
    checkpoint = _checkpoint_to_resume(folder, settings, resume)
    fabric = _fabric(settings)
    style = build_style(settings)
    networks = build_networks(fabric, settings, style)
    sampler = UnpairedSampler(
        cohort.cases("mr", "train"),
        cohort.cases("ct", "train"),
        settings.sampling,
        settings.training.seed,
        settings.training.batch_size,
    )
    patches = UnpairedPatches(cohort, sampler, total_steps(settings, sampler.samples_per_epoch))
    start = load_checkpoint(checkpoint, networks) if checkpoint else 0
    _open_run(folder, cohort, settings, style, start)
    step = TrainingStep(fabric, networks, style.to(fabric.device) if style else None, settings)

    def plan(done: int) -> Plan:
        return _plan(cohort, settings, style, done)

    validate = _validation(cohort, settings, fabric)
    _say_what_runs(cohort, settings, style, fabric, start, patches.steps)
    run_training(fabric, networks, step, patches, start=start, folder=folder, plan=plan, validate=validate)
    with atomic_folder(folder / "model") as temporary:
        save_model(temporary, inference_weights(networks), plan(max(start, patches.steps)))
    return folder / "model"


def _fabric(settings: Settings) -> Fabric:
    device = resolve_device(settings.training.device)
    seed_everything(settings.training.seed, verbose=False)
    devices: Any = [device.index or 0] if device.type == "cuda" else 1
    return Fabric(accelerator=device.type, devices=devices)


def _checkpoint_to_resume(folder: Path, settings: Settings, resume: str | None) -> Path | None:
    """The checkpoint to go on from; refuses a folder that holds another run."""
    if resume is None:
        if folder.exists() and any(folder.iterdir()):
            raise OutputExistsError(f"{folder} is already there.", "Go on with --resume auto, or name another folder.")
        return None
    if resume != "auto":
        if not (Path(resume) / "training.json").is_file():
            raise ModelError(f"{resume} is not a checkpoint.", "Name a folder like RUN/checkpoints/step_00000500.")
        return Path(resume)
    path = folder / SETTINGS_FILE
    if path.is_file():
        _refuse_other_settings(load_settings(file=path), settings, path)
    return latest_checkpoint(folder / "checkpoints")


FREE_TO_CHANGE = {
    "epochs", "steps", "device", "workers", "log_every", "picture_every", "checkpoint_every", "keep_checkpoints",
}  # fmt: skip
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


def _open_run(folder: Path, cohort: Cohort, settings: Settings, style: CrepsLoss | None, start: int) -> None:
    """Write what the run is before its first step."""
    with atomic_file(folder / SETTINGS_FILE) as path:
        path.write_text(to_yaml(settings, f"{NOTICE}\nThe settings of this run."), encoding="utf-8")
    record = _training_record(cohort, settings, style, start)
    write_json(folder / "record.json", {**provenance(), "started_at_step": start, **record})


def _training_record(cohort: Cohort, settings: Settings, style: CrepsLoss | None, steps: int) -> dict[str, Any]:
    return {
        "steps": steps,
        "cohort": {
            "manifest_sha256": sha256_file(cohort.folder / MANIFEST),
            "mr_cases": len(cohort.cases("mr", "train")),
            "ct_cases": len(cohort.cases("ct", "train")),
        },
        "perceptual_weights": style.backbone.weights.record() if style else None,
        "settings": settings.model_dump(mode="json"),
    }


def _plan(cohort: Cohort, settings: Settings, style: CrepsLoss | None, steps: int) -> Plan:
    return Plan(
        preparation=settings.preparation,
        generator=settings.generator,
        patch_size=settings.sampling.patch_size,
        inference=settings.inference,
        training=_training_record(cohort, settings, style, steps),
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
    log.info("steps %d to %d, %d patches each", start + 1, steps, settings.training.batch_size)


def _validation(cohort: Cohort, settings: Settings, fabric: Fabric) -> Validation:
    """Look at the central patch of a few MRs, beside a CT of somebody else."""
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
        difference = float((in_eval - in_train).abs().mean()) * 1000
        rows = [_row(mr, s, ct) for (mr, ct), s in zip(pairs, sct, strict=True)]
        return {"train_eval_difference_hu": difference}, np.concatenate(rows)

    return validate


def _pictured(cohort: Cohort, modality: Any) -> list[Case]:
    """Validation cases, or training cases where there is none, repeated to `PICTURED_CASES` at most."""
    cases = cohort.cases(modality, "validation") or cohort.cases(modality, "train")
    return list(cases[:PICTURED_CASES])


def _central_patch(cohort: Cohort, case: Case, size: tuple[int, int, int], fill: float) -> npt.NDArray[np.float32]:
    d, h, w = ((first + end - n) // 2 for (first, end), n in zip(case.body, size, strict=True))
    return read_patch(cohort.array(case), PatchLocation((d, h, w), size), fill)


def _row(
    mr: npt.NDArray[np.float32], sct: npt.NDArray[np.float32], ct: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """MR | sCT | CT of one case: axial and coronal mid-planes, (rows, columns, 3)."""

    def grey(image: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.uint8]:
        return (255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)

    planes = []
    for image, low, high in ((mr, 0.0, 2.0), (sct, -1.0, 1.5), (ct, -1.0, 1.5)):
        axial, coronal = image[image.shape[0] // 2], image[::-1, image.shape[1] // 2]
        planes += [grey(axial, low, high), grey(coronal, low, high)]
    height = max(plane.shape[0] for plane in planes)
    padded = [np.pad(plane, ((0, height - plane.shape[0]), (0, 2))) for plane in planes]
    row = np.pad(np.concatenate(padded, axis=1), ((0, 2), (0, 0)))
    enlarged = row.repeat(3, axis=0).repeat(3, axis=1)
    return np.stack([enlarged] * 3, axis=-1)
