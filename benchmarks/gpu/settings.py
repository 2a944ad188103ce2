"""The settings of the job, all of them from the package's own presets and recipes and from the accuracy benchmark."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.plan import ARMS, merged
from benchmarks.gpu.sizes import Sizes
from creps.settings import Settings, load_settings

__all__ = ["TABLE_ARMS", "model_settings", "paper_settings", "table_settings"]

TABLE_ARMS = {
    "supervised": ("supervised", "paired"),
    "anatomy": ("anatomy", "unpaired"),
    "phantoms": ("anatomy", "unpaired"),
    "cyclegan": ("cyclegan", "unpaired"),
    "cut": ("cut", "unpaired"),
    "paper": ("paper", "unpaired"),
}
"""Arm of the tables → its recipe and its cohort. `phantoms` is `anatomy` without any CT of the site."""

ENDLESS = 1_000_000
"""Steps and epochs of a run that the clock ends."""


def paper_settings(sizes: Sizes, preset: str) -> Settings:
    """The paper's preset and recipe as they are, but for random perceptual features and the length of the run."""
    own: dict[str, Any] = {
        "recipe": "paper",
        "creps.weights": "random",
        "training.seed": sizes.seed,
        "training.steps": sizes.paper_steps,
        "training.checkpoint_every": sizes.paper_killed_after,
        "training.keep_checkpoints": 1000,
        "training.log_every": max(1, sizes.paper_killed_after // 8),
        "training.workers": sizes.workers,
        "training.device": sizes.device,
        "training.loggers": [],
        "inference.device": sizes.device,
    }
    return load_settings(preset, overrides=own | sizes.paper_changes)


def model_settings(sizes: Sizes, region: str) -> Settings:
    """A model to be shipped: the default recipe, taught by phantoms alone."""
    own: dict[str, Any] = {
        "recipe": "anatomy",
        "preparation.region": region,
        "preparation.spacing_mm": sizes.model_mm[region],
        "sampling.patch_size": sizes.model_patch[region],
        "simulation.phantom_share": 1.0,
        "simulation.phantoms": sizes.model_people[region],
        "training.batch_size": sizes.model_batch[region],
        "training.validate_every": sizes.model_validate_every,
        "training.checkpoint_every": sizes.model_validate_every,
        "training.keep_checkpoints": 2,
        "training.workers": sizes.model_workers[region],
    }
    return load_settings("brain", overrides=own | timed(sizes, sizes.seed) | sizes.model_changes)


def table_settings(sizes: Sizes, region: str, arm: str, seed: int) -> Settings:
    """An arm of the tables. U-Nets have the recipe's values, the others those of the accuracy benchmark."""
    recipe, _ = TABLE_ARMS[arm]
    own: dict[str, Any] = {
        "recipe": recipe,
        "preparation.region": region,
        "preparation.spacing_mm": [sizes.table_mm[region]] * 3,
        "preparation.mr_scale": "auto",
        "preparation.remove_couch": True,
        "training.batch_size": sizes.table_batch,
        "training.validate_every": 10 * sizes.table_checkpoint_every,
        "training.checkpoint_every": sizes.table_checkpoint_every,
        "training.keep_checkpoints": 1000,
        "training.model": "last",
        "training.workers": sizes.table_workers[arm],
    }
    own |= timed(sizes, seed)
    if recipe in ("anatomy", "supervised"):
        own |= {"sampling.patch_size": sizes.table_patch[region]} | sizes.table_changes
        if recipe == "anatomy":
            own |= {"simulation.phantoms": sizes.table_phantoms}
        if arm == "phantoms":
            own |= {"simulation.phantom_share": 1.0}
        return load_settings("brain", overrides=own)
    own |= flat(rival(region, arm)) | {"inference.device": sizes.device}
    if recipe == "paper":
        vgg16 = {"creps.backbone": "vgg16", "creps.weights": sizes.table_weights}
        own |= vgg16 if sizes.table_weights else {"creps.weights": "random"}
    return load_settings("brain", overrides=own | sizes.rival_changes)


def timed(sizes: Sizes, seed: int) -> dict[str, Any]:
    """Settings of a run that the clock ends."""
    return {
        "training.seed": seed,
        "training.steps": ENDLESS,
        "training.epochs": ENDLESS,
        "training.log_every": 20,
        "training.device": sizes.device,
        "training.loggers": [],
        "inference.device": sizes.device,
    }


def rival(region: str, arm: str) -> dict[str, Any]:
    """What the accuracy benchmark trains an arm with on small networks, without preparation and length."""
    size = ARMS["sizes"]["small"]
    name = "paper-random" if arm == "paper" else arm
    tree = merged([ARMS["shared"], size["all"], size[region], ARMS["arms"][name]["settings"]])
    kept = ("learning_rate", "beta1", "ema_decay", "schedule", "clip_norm", "batch_size")
    sections = ("generator", "discriminator", "adversarial", "creps", "sampling", "inference")
    chosen = {section: tree[section] for section in sections}
    return chosen | {"training": {key: tree["training"][key] for key in kept if key in tree["training"]}}


def flat(tree: dict[str, Any]) -> dict[str, Any]:
    """Sections as dotted names."""
    return {f"{section}.{name}": value for section, values in tree.items() for name, value in values.items()}
