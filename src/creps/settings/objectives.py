"""Objectives: which loss terms a training starts from, and which of them go together.

An objective is a layer of defaults for the weights of loss terms. What a preset, a file or the command line says
wins over it, so that terms can be combined. What was written *for another objective* does not bring its weights
along: the preset ``demo`` ties the sCT to a crude guess, which would make something else of a CycleGAN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from creps.settings.choices import ObjectiveName

if TYPE_CHECKING:
    from creps.settings.tree import Settings

__all__ = ["OBJECTIVES", "refuse_contradictions", "without_weights_of_another"]

OBJECTIVES: dict[str, dict[str, dict[str, Any]]] = {
    "creps": {},
    "cyclegan": {"creps": {"weight": 0.0}, "cycle": {"weight": 10.0, "identity_weight": 5.0}},
    "cut": {"creps": {"weight": 0.0}, "nce": {"weight": 1.0, "identity_weight": 1.0}},
    "supervised": {
        "adversarial": {"weight": 0.0},
        "creps": {"weight": 0.0},
        "supervised": {"weight": 1.0},
        "sampling": {"ct_positions": "colocated"},
    },
}
"""Objective → section → name → value, where it differs from the defaults (Hémon et al. 2023, eqs. 4-5; Zhu et al. 2017;
Park et al. 2020)."""

WEIGHTS: dict[str, set[str]] = {
    "adversarial": {"weight"},
    "creps": {"weight", "content_weight"},
    "cycle": {"weight", "identity_weight"},
    "nce": {"weight", "identity_weight"},
    "supervised": {"weight"},
    "prior": {"warm_up_steps", "weight", "smoothness"},
}
"""What an objective is about: the weights of all terms."""


def without_weights_of_another(layer: Mapping[str, Any], objective: str) -> dict[str, Any]:
    """A layer of settings without what it says for the sake of another objective.

    Args:
        layer: Sections of a preset, a model or a file; its own objective is `creps` if it names none.
        objective: The one that is asked for.
    """
    own = str(layer.get("objective", "creps"))
    if own == objective:
        return dict(layer)
    decided: list[Mapping[str, Iterable[str]]] = [WEIGHTS, OBJECTIVES.get(own, {}), OBJECTIVES.get(objective, {})]
    kept: dict[str, Any] = {}
    for section, values in layer.items():
        names = {name for part in decided for name in part.get(section, ())}
        is_section = isinstance(values, Mapping)
        kept[section] = {k: v for k, v in values.items() if k not in names} if is_section else values
    return kept


def refuse_contradictions(settings: Settings) -> None:
    """Refuse terms that contradict each other, and those that would silently do nothing.

    Raises:
        ValueError: says which.
    """
    adversarial, creps, cycle, nce = settings.adversarial, settings.creps, settings.cycle, settings.nce
    main: dict[ObjectiveName, tuple[str, float]] = {
        "cyclegan": ("cycle", cycle.weight),
        "cut": ("nce", nce.weight),
        "supervised": ("supervised", settings.supervised.weight),
    }
    term, weight = main.get(settings.objective, ("", 1.0))
    blocks = [f"block{number}" for number in range(1, settings.generator.residual_blocks + 1)]
    unknown = next((name for name in nce.features if name not in ("input", "stem", "down", *blocks)), None)
    rules = [
        (
            adversarial.weight == creps.weight == creps.content_weight == settings.supervised.weight == settings.prior.simulated == 0,
            "adversarial.weight, creps.weight, creps.content_weight and supervised.weight are 0: nothing would be learnt "
            "from CT",
        ),
        (weight == 0, f"objective {settings.objective} needs {term}.weight above 0"),
        (cycle.identity_weight > 0 and cycle.weight == 0, "cycle.identity_weight needs cycle.weight above 0"),
        (nce.identity_weight > 0 and nce.weight == 0, "nce.identity_weight needs nce.weight above 0"),
        (
            cycle.weight > 0 and adversarial.weight == 0,
            "cycle.weight needs adversarial.weight above 0: nothing else makes an MR of the way back",
        ),
        (
            cycle.weight > 0 and settings.discriminator.conditional,
            "discriminator.conditional and cycle.weight exclude each other: the discriminator of MR has nothing to be "
            "shown beside",
        ),
        (
            settings.supervised.weight > 0 and settings.sampling.ct_positions != "colocated",
            "supervised.weight needs sampling.ct_positions: colocated (the CT of the same patient and place)",
        ),
        (
            creps.balance == "always" and min(creps.weight, adversarial.weight) == 0,
            "creps.balance: always needs creps.weight and adversarial.weight above 0, which it balances",
        ),
        (
            adversarial.weight == 0 and settings.discriminator.conditional,
            "discriminator.conditional needs adversarial.weight above 0: without it there is no discriminator",
        ),
        (
            adversarial.weight == 0 and settings.training.discriminator_learning_rate is not None,
            "training.discriminator_learning_rate needs adversarial.weight above 0: without it there is no discriminator",
        ),
        (len(set(nce.features)) < len(nce.features), "nce.features names a stage twice"),
        (
            nce.weight > 0 and unknown is not None,
            f"nce.features names {unknown}; there are input, stem, down and {blocks[0]} to {blocks[-1]}",
        ),
    ]
    contradiction = next((said for broken, said in rules if broken), None)
    if contradiction is not None:
        raise ValueError(contradiction)
