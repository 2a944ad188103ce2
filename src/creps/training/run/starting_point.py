"""Start a run from a model instead of random weights (fine-tuning), and prepare a cohort as for that model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from creps.errors import SettingsError
from creps.model import TRAINING_STATE, Model, Plan, latest_checkpoint, load_plan, verified_plan
from creps.regions import part_of_body
from creps.settings import Settings, leaf_fields, load_settings
from creps.shipped.names import find_model
from creps.training.networks import Networks
from creps.training.state import load_companions

__all__ = ["StartingPoint", "load_starting_point", "preparation_settings_of", "settings_of"]

log = logging.getLogger(__name__)

SPLIT = ("validation_fraction", "seed")
"""Preparation settings that do not affect what a network sees."""

METHOD = (
    *("batch_size", "optimizer", "learning_rate", "discriminator_learning_rate", "beta1", "weight_decay"),
    *("schedule", "clip_norm", "ema_decay", "precision"),
)
"""Training settings that belong to the method; the others belong to the machine and the user."""


@dataclass(frozen=True)
class StartingPoint:
    """A model to start from.

    Attributes:
        plan: Its plan.
        weights: State of its generator.
        checkpoint: A checkpoint of the same run, which provides the discriminator and other networks.
    """

    plan: Plan
    weights: dict[str, torch.Tensor]
    checkpoint: Path | None

    def record(self) -> dict[str, Any]:
        """The model as plain JSON values, including what it was itself started from."""
        return {
            "weights_sha256": self.plan.weights_sha256,
            "steps": self.plan.training.get("steps"),
            "region": self.plan.preparation.region,
            "started_from": self.plan.training.get("started_from"),
        }

    def warm_start(self, networks: Networks) -> None:
        """Load the other networks from the checkpoint where their shapes match."""
        loaded = load_companions(self.checkpoint, networks) if self.checkpoint is not None else []
        new = [name for name in networks.named() if name not in ("generator", *loaded)]
        log.info(
            "starting from a model of %s steps (SHA-256 %s)%s%s",
            self.plan.training.get("steps", "?"),
            self.plan.weights_sha256[:12],
            f", including its {' and '.join(loaded)}" if loaded else "",
            f", with a new {' and '.join(new)}" if new else "",
        )


def settings_of(folder: Path | str) -> dict[str, Any]:
    """The method that a model was trained with, as sections of settings.

    Settings of the machine and the user (devices, trackers, length of the run, path of perceptual weights) and
    settings that this version does not know are left out. So are `simulation.phantom_share` 1 and
    `training.bone_weight`: a model that has learned from phantoms alone now learns from the cohort's
    MRs and CTs too, and one that knows bone needs no weight on it.

    Args:
        folder: A shipped model by name, a model, a run or a checkpoint.

    Raises:
        ModelError: the folder is none of these.
    """
    plan = load_plan(folder)
    recorded = plan.training.get("settings", {})
    chosen: dict[str, Any] = {"recipe": recorded.get("recipe", "paper")}
    for section, name, _ in leaf_fields():
        of_method = section != "preparation" and (section != "training" or name in METHOD)
        if of_method and name in recorded.get(section, {}):
            chosen.setdefault(section, {})[name] = recorded[section][name]
    if chosen.get("creps", {}).get("weights") not in ("imagenet", "random"):
        chosen.get("creps", {}).pop("weights", None)
    if chosen.get("simulation", {}).get("phantom_share") == 1:
        chosen["simulation"].pop("phantom_share")
    inference = {k: v for k, v in plan.inference.model_dump().items() if k != "device"}
    chosen.setdefault("training", {})["bone_weight"] = 1.0
    return chosen | {"generator": plan.generator.model_dump(), "inference": inference}


def preparation_settings_of(folder: Path | str) -> Settings:
    """Settings that prepare a cohort as that of a model, for `creps.cohort.prepare.prepare` (``like``).

    Args:
        folder: A shipped model by name, a model, a run or a checkpoint.

    Raises:
        ModelError: the folder is none of these.
    """
    plan = verified_plan(folder)
    recorded = plan.training.get("settings", {})
    preparation = {"preparation": plan.preparation.model_dump()}
    return load_settings(recorded.get("preset"), recipe=recorded.get("recipe", "paper"), overrides=preparation)


def load_starting_point(folder: Path | str, settings: Settings) -> StartingPoint:
    """Load the model to start from.

    Args:
        folder: A shipped model by name, a model, a run or a checkpoint.
        settings: Settings of the new run.

    Raises:
        ModelError: the folder is none of these, or damaged.
        SettingsError: another region, a cohort that was prepared differently, or a generator of another shape.
    """
    folder = find_model(folder)
    model = Model.load(folder)
    plan = model.plan
    regions = [settings.preparation.region, plan.preparation.region]
    if len(set(map(part_of_body, regions))) > 1:
        raise SettingsError(
            f"{folder} is a model of the {regions[1]}, the cohort shows the {regions[0]}.",
            "Start from a model of that region, or train without --from (model=None).",
        )
    ours, theirs = settings.preparation.model_dump(), plan.preparation.model_dump()
    other = next((name for name in ours if name not in SPLIT and ours[name] != theirs[name]), None)
    if other is not None:
        raise SettingsError(
            f"{folder} was trained with preparation.{other} = {theirs[other]}, the cohort has {ours[other]}.",
            "Prepare the cohort for it: creps prepare ... --from MODEL (model=MODEL).",
        )
    ours, theirs = settings.generator.model_dump(), plan.generator.model_dump()
    other = next((name for name in ours if ours[name] != theirs.get(name)), None)
    if other is not None:
        raise SettingsError(
            f"The generator of {folder} has generator.{other} = {theirs.get(other)}, the settings ask for "
            f"{ours[other]}.",
            "Leave the generator out of the settings, since it comes with the model.",
        )
    checkpoint = folder if (folder / TRAINING_STATE).is_file() else latest_checkpoint(folder)
    return StartingPoint(plan, dict(model.generator.state_dict()), checkpoint)
