"""What changes from step to step: the learning rate, and how much bone counts."""

from __future__ import annotations

import math

from creps.settings import TrainingSettings
from creps.training.networks import Networks

__all__ = ["decay_rates", "weigh_bone"]

WARM_UP_STEPS, WARM_UP_SHARE = 100, 20
"""Steps over which the cosine schedule rises; in a short run, one step in this many."""

BONE_SHARE = 0.7
"""Share of a run over which `training.bone_weight` falls to 1."""


def decay_rates(networks: Networks, settings: TrainingSettings, done: int, steps: int) -> None:
    """Set the learning rates of a step along a cosine; the same in a resumed run.

    Args:
        networks: Whose optimizers.
        settings: The full rates.
        done: Number of the step, counted from 1.
        steps: Steps of the whole run.
    """
    share = 0.5 * (1 + math.cos(math.pi * (done - 1) / steps))
    share *= min(1.0, done / max(1, min(WARM_UP_STEPS, steps // WARM_UP_SHARE)))
    rate = settings.learning_rate
    optimizers = {
        networks.generator_optimizer: rate,
        networks.discriminator_optimizer: settings.discriminator_learning_rate or rate,
    }
    for optimizer, full in optimizers.items():
        for group in optimizer.param_groups if optimizer is not None else ():
            group["lr"] = full * share


def weigh_bone(networks: Networks, settings: TrainingSettings, done: int, steps: int) -> None:
    """Set how much bone counts in a step, counted from 1: more at first, see `training.bone_weight`."""
    rest = max(0.0, 1 - (done - 1) / (BONE_SHARE * steps))
    networks.generator.bone_weight = 1 + (settings.bone_weight - 1) * rest
