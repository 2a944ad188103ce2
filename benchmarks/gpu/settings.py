"""The settings of the job, all of them from the package's own presets and recipes."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.sizes import Sizes
from creps.settings import Settings, load_settings

__all__ = ["ARMS", "arm_settings", "paper_settings"]

ARMS = {"anatomy": "unpaired", "supervised": "paired"}
"""Recipe → the cohort it is trained on: the default recipe, and the bound that sees registered pairs."""

EQUAL = ("learning_rate", "beta1", "weight_decay", "ema_decay", "batch_size")
"""Training settings that the bound takes from the default recipe, so that only what it learns from differs."""


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


def arm_settings(sizes: Sizes, recipe: str) -> Settings:
    """One of `ARMS`, both under the conditions of the default recipe."""
    own: dict[str, Any] = {
        "recipe": recipe,
        "preparation.region": sizes.region,
        "preparation.spacing_mm": [sizes.train_mm] * 3,
        "preparation.mr_scale": "auto",
        "preparation.remove_outside": True,
        "sampling.patch_size": list(sizes.train_patch),
        "training.seed": sizes.seed,
        "training.steps": 1_000_000,
        "training.epochs": 1_000_000,
        "training.schedule": "constant",  # the time decides when it ends
        "training.ema_decay": 0.995,
        "training.checkpoint_every": sizes.checkpoint_every,
        "training.log_every": min(10, sizes.checkpoint_every),
        "training.keep_checkpoints": 1000,
        "training.workers": sizes.train_workers[recipe],
        "training.device": sizes.device,
        "training.loggers": [],
        "inference.device": sizes.device,
    }
    if recipe == "supervised":
        usual = arm_settings(sizes, "anatomy")
        own |= {f"training.{name}": getattr(usual.training, name) for name in EQUAL}
        own |= {f"generator.{name}": value for name, value in usual.generator.model_dump().items()}
        own |= {f"inference.{name}": value for name, value in usual.inference.model_dump().items()}
        own |= {"sampling.mr_positions": usual.sampling.mr_positions}
    return load_settings("brain", overrides=own | sizes.train_changes)
