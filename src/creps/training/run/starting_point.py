"""Fine-tuning: a run that starts from a model instead of random weights."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from creps.errors import SettingsError
from creps.model import TRAINING_STATE, Model, Plan, latest_checkpoint, load_plan
from creps.settings import Settings, leaf_fields, of_this_version
from creps.training.networks import Networks
from creps.training.state import load_companions

__all__ = ["StartingPoint", "load_starting_point", "settings_of"]

log = logging.getLogger(__name__)

OWN = ("validation_fraction", "seed")
"""Preparation settings that say nothing about what a network sees."""


RECIPE = (
    *("batch_size", "learning_rate", "discriminator_learning_rate", "beta1", "weight_decay", "ema_decay"),
    "precision",
)
"""Training settings that make a recipe."""


@dataclass(frozen=True)
class StartingPoint:
    """A model to start from.

    Attributes:
        plan: Its plan.
        weights: Its generator's state.
        checkpoint: A checkpoint beside it, whose discriminator and other networks are taken along.
    """

    plan: Plan
    weights: dict[str, torch.Tensor]
    checkpoint: Path | None

    def record(self) -> dict[str, Any]:
        """As plain JSON values, with what the model itself started from."""
        return {
            "weights_sha256": self.plan.weights_sha256,
            "steps": self.plan.training.get("steps"),
            "region": self.plan.preparation.region,
            "started_from": self.plan.training.get("started_from"),
        }

    def warm_start(self, networks: Networks) -> None:
        """Take the other networks along where there are some of the same shape."""
        found = load_companions(self.checkpoint, networks) if self.checkpoint is not None else []
        anew = [name for name in networks.named() if name not in ("generator", *found)]
        log.info(
            "starting from a model of %s steps (SHA-256 %s)%s%s",
            self.plan.training.get("steps", "?"),
            self.plan.weights_sha256[:12],
            f", {' and '.join(found)} as well" if found else "",
            f", {' and '.join(anew)} anew" if anew else "",
        )


def settings_of(folder: Path) -> dict[str, Any]:
    """The recipe that a model was trained with, as far as this version knows it.

    The recipe only: where and how long it was trained, what it was shown with, and the path of perceptual
    weights belong to the machine and the people it comes from.

    Args:
        folder: A model, a run or a checkpoint.

    Raises:
        ModelError: it is none of these.
    """
    plan = load_plan(folder)
    recorded = of_this_version(plan.training.get("settings", {}))
    chosen: dict[str, Any] = {"recipe": recorded.get("recipe", "paper")}  # as before there were recipes
    for section, name, _ in leaf_fields():
        recipe = section != "preparation" and (section != "training" or name in RECIPE)
        if recipe and name in recorded.get(section, {}):
            chosen.setdefault(section, {})[name] = recorded[section][name]
    if chosen.get("creps", {}).get("weights") not in ("imagenet", "random"):
        chosen.get("creps", {}).pop("weights", None)
    inference = {k: v for k, v in plan.inference.model_dump().items() if k != "device"}
    return chosen | {"generator": plan.generator.model_dump(), "inference": inference}


def load_starting_point(folder: Path, settings: Settings) -> StartingPoint:
    """Load what a run is to start from.

    Args:
        folder: A model, a run or a checkpoint.
        settings: Those of the new run.

    Raises:
        ModelError: it is none of these, or damaged.
        SettingsError: the cohort was prepared otherwise, or the generator has another shape.
    """
    model = Model.load(folder)
    plan = model.plan
    ours, theirs = settings.preparation.model_dump(), plan.preparation.model_dump()
    other = next((name for name in ours if name not in OWN and ours[name] != theirs[name]), None)
    if other is not None:
        raise SettingsError(
            f"{folder} was trained with preparation.{other} = {theirs[other]}, the cohort has {ours[other]}.",
            "Prepare the cohort for it: creps prepare ... --from MODEL.",
        )
    shape, wanted = plan.generator.model_dump(), settings.generator.model_dump()
    other = next((name for name in wanted if wanted[name] != shape.get(name)), None)
    if other is not None:
        raise SettingsError(
            f"The generator of {folder} has generator.{other} = {shape.get(other)}, the settings ask for "
            f"{wanted[other]}.",
            "Leave the generator out of the settings: it comes with the model.",
        )
    checkpoint = folder if (folder / TRAINING_STATE).is_file() else latest_checkpoint(folder)
    return StartingPoint(plan, dict(model.generator.state_dict()), checkpoint)
