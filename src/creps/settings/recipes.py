"""Recipes: what a training is made of, chosen by one line, and which of its parts go together.

A recipe is a layer of defaults for any setting of the method: loss terms, networks, sampling, training, inference.
It is the lowest layer: what a preset, a model, a file or the command line says wins over it, so that terms can be
combined. Presets say what belongs to a size (spacing, patch, width) and recipes what does not, so every recipe goes
with every preset. What a file or a model was written with *for another recipe* is not brought along.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from creps.errors import SettingsError
from creps.settings.choices import RecipeName

if TYPE_CHECKING:
    from creps.settings.tree import Settings

__all__ = [
    "RECIPES",
    "USUAL_RECIPE",
    "former_ties",
    "of_this_version",
    "refuse_contradictions",
    "refuse_idle",
    "without_what_another_decides",
]

log = logging.getLogger(__name__)

USUAL_RECIPE: RecipeName = "anatomy"
"""What is taken where no recipe is named."""

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "anatomy": {
        "adversarial": {"weight": 0.0},
        "creps": {"weight": 0.0},
        "simulation": {"weight": 1.0},
        "sampling": {"mr_positions": "random", "ct_positions": "matched"},
        "training": {"learning_rate": 3e-4, "beta1": 0.5, "ema_decay": 0.995, "model": "best"},
        "inference": {"extent": "body", "fusion": "median"},
    },
    "paper": {},
    "cyclegan": {"creps": {"weight": 0.0}, "cycle": {"weight": 10.0, "identity_weight": 5.0}},
    "cut": {"creps": {"weight": 0.0}, "nce": {"weight": 1.0, "identity_weight": 1.0}},
    "supervised": {
        "adversarial": {"weight": 0.0},
        "creps": {"weight": 0.0},
        "supervised": {"weight": 1.0},
        "sampling": {"ct_positions": "colocated"},
    },
}
"""Recipe → section → name → value, where it differs from the defaults, which are the paper's (Hémon et al. 2023;
Zhu et al. 2017; Park et al. 2020). None decides the preparation: a cohort is prepared before a recipe is chosen."""

WEIGHTS: dict[str, set[str]] = {
    "adversarial": {"weight"},
    "creps": {"weight", "content_weight"},
    "cycle": {"weight", "identity_weight"},
    "nce": {"weight", "identity_weight"},
    "supervised": {"weight"},
    "simulation": {"weight"},
}
"""What every recipe decides, by its silence too: the weights of all terms."""

FORMER_RECIPES = {"creps": "paper"}
"""Values of the former setting `objective` that have another name as recipes."""


def of_this_version(layer: Mapping[str, Any], source: str | None = None) -> dict[str, Any]:
    """A layer of settings with `recipe` where an earlier version wrote `objective`.

    Args:
        layer: Sections of a model or a file.
        source: A file, about which a line is logged.
    """
    ties = former_ties(layer)
    if ties:
        said = "%s ties the sCT to a crude guess, which creps no longer does: %s left out"
        log.warning(said, source or "the model's recipe", ", ".join(ties))
    had_ties = isinstance(layer.get("prior"), Mapping)
    kept = {key: value for key, value in layer.items() if not (key == "prior" and had_ties)}
    if "recipe" in kept:  # an objective beside it is refused as unknown
        return kept
    if "objective" in kept:
        objective = str(kept.pop("objective"))
        recipe = FORMER_RECIPES.get(objective, objective)
        if source is not None:
            log.info("%s says objective: %s, which is recipe: %s now", source, objective, recipe)
        return {"recipe": recipe, **kept}
    return {"recipe": "paper", **kept} if had_ties else kept  # the ties were a part of that one alone


def former_ties(layer: Mapping[str, Any]) -> list[str]:
    """Settings of an earlier version in a layer that tied the sCT to a crude guess of the CT."""
    prior = layer.get("prior")
    return [f"prior.{name}" for name, value in prior.items() if value] if isinstance(prior, Mapping) else []


def refuse_idle(names: Iterable[str], settings: Settings) -> None:
    """Refuse options that would do nothing, since the term or network that they belong to is not there.

    Args:
        names: Options that were given by name, as ``creps.weights``.
        settings: What came of them.

    Raises:
        SettingsError: names the first one, and what to do.
    """
    adversarial, style = settings.adversarial.weight > 0, settings.creps.weight + settings.creps.content_weight > 0
    there = {"adversarial": adversarial, "discriminator": adversarial, "creps": style, "nce": settings.nce.weight > 0}
    for name in names:
        section, _, key = name.partition(".")
        if not there.get(section, True) and key not in WEIGHTS.get(section, ()):
            term = "adversarial" if section == "discriminator" else section
            raise SettingsError(
                f"--{name} would do nothing: with recipe {settings.recipe}, {term}.weight is 0.",
                f"Give --{term}.weight as well, choose another recipe (--recipe paper has it), or leave --{name} out."
                if term != "nce"
                else f"Give --nce.weight as well, choose --recipe cut, or leave --{name} out.",
            )


def without_what_another_decides(layer: Mapping[str, Any], recipe: str) -> dict[str, Any]:
    """A layer of settings without what it says for the sake of another recipe.

    Args:
        layer: Sections of a model or a file, with its own `recipe`; without one it is for any.
        recipe: The one that is asked for.
    """
    own = str(layer.get("recipe", recipe))
    if own == recipe:
        return dict(layer)
    decided: list[Mapping[str, Iterable[str]]] = [WEIGHTS, RECIPES.get(own, {}), RECIPES.get(recipe, {})]
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
    supervised, simulation = settings.supervised, settings.simulation
    main: dict[RecipeName, tuple[str, float]] = {
        "cyclegan": ("cycle", cycle.weight),
        "cut": ("nce", nce.weight),
        "supervised": ("supervised", supervised.weight),
    }
    term, weight = main.get(settings.recipe, ("", 1.0))
    known = settings.generator.feature_names
    unknown = next((name for name in nce.features if name not in known), None)
    rules = [
        (
            not any((adversarial.weight, creps.weight, creps.content_weight, supervised.weight, simulation.weight)),
            "adversarial.weight, creps.weight, creps.content_weight, supervised.weight and simulation.weight are 0: nothing "
            "would be learnt from CT",
        ),
        (weight == 0, f"recipe {settings.recipe} needs {term}.weight above 0"),
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
            supervised.weight > 0 and settings.sampling.ct_positions != "colocated",
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
            f"nce.features names {unknown}; there are {', '.join(known) or 'none'}",
        ),
    ]
    contradiction = next((said for broken, said in rules if broken), None)
    if contradiction is not None:
        raise ValueError(contradiction)
