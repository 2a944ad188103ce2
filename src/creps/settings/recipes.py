"""Recipes: named sets of training settings, chosen with one line, and how a change of recipe is resolved.

A recipe sets defaults for the method: preparation, loss terms, networks, sampling, training and inference. A preset
sets defaults for a size: spacing, patch and width. So every recipe works with every preset. Whatever a preset, a
model, a file or the command line sets takes precedence over the recipe, so terms can be combined freely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from creps.settings.choices import RecipeName

__all__ = ["DEFAULT_RECIPE", "RECIPES", "TERM_WEIGHTS", "without_other_recipe"]

DEFAULT_RECIPE: RecipeName = "anatomy"
"""The recipe used when none is named."""

PREPARATION = {"mr_scale": "auto", "remove_couch": True}
"""How every recipe but the paper's prepares a cohort: MRs in any units, CTs without a couch, which MR does not show."""

REGRESSION = {"optimizer": "muon", "learning_rate": 2e-3, "schedule": "cosine", "clip_norm": 1.0, "bone_weight": 6.0}
"""Training of a recipe whose loss knows the CT of every patch."""

SINGLE_PASS = {"extent": "body", "fusion": "single"}
"""The U-Net sees most of a body at once: no patches, so no seams."""

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "anatomy": {
        "preparation": PREPARATION,
        "generator": {"kind": "unet"},
        "adversarial": {"weight": 0.0},
        "creps": {"weight": 0.0},
        "simulation": {"weight": 1.0, "phantom_share": 0.65, "phantoms": 40},
        "sampling": {"mr_positions": "random", "ct_positions": "matched"},
        "training": REGRESSION | {"model": "best"},
        "inference": SINGLE_PASS,
    },
    "paper": {},
    "cyclegan": {
        "preparation": PREPARATION,
        "creps": {"weight": 0.0},
        "cycle": {"weight": 10.0, "identity_weight": 5.0},
    },
    "cut": {
        "preparation": PREPARATION,
        "creps": {"weight": 0.0},
        "nce": {"weight": 1.0, "identity_weight": 1.0},
    },
    "supervised": {
        "preparation": PREPARATION,
        "generator": {"kind": "unet"},
        "adversarial": {"weight": 0.0},
        "creps": {"weight": 0.0},
        "supervised": {"weight": 1.0},
        "sampling": {"mr_positions": "random", "ct_positions": "colocated"},
        "training": REGRESSION,
        "inference": SINGLE_PASS,
    },
}
"""Recipe → section → name → value, where it differs from the defaults. The defaults are the paper's (Hémon et al.
2023); weights of cyclegan and cut are those of Zhu et al. 2017 and Park et al. 2020."""

TERM_WEIGHTS: dict[str, set[str]] = {
    "adversarial": {"weight"},
    "creps": {"weight", "content_weight"},
    "cycle": {"weight", "identity_weight"},
    "nce": {"weight", "identity_weight"},
    "supervised": {"weight"},
    "simulation": {"weight"},
}
"""Settings that every recipe decides, including those that it leaves at their default."""


def without_other_recipe(layer: Mapping[str, Any], recipe: str) -> dict[str, Any]:
    """Drop from a layer the settings that its own recipe decides, if another recipe is used.

    A settings file that `creps settings` wrote names every value, including those of its recipe. With another recipe
    these must not count.

    Args:
        layer: Sections of a model or a file, with its `recipe`; without one, it fits any recipe.
        recipe: The recipe in use.

    Returns:
        A copy of the layer.
    """
    own = str(layer.get("recipe", recipe))
    if own == recipe:
        return dict(layer)
    decided: list[Mapping[str, Iterable[str]]] = [TERM_WEIGHTS, RECIPES.get(own, {}), RECIPES.get(recipe, {})]
    kept: dict[str, Any] = {}
    for section, values in layer.items():
        names = {name for part in decided for name in part.get(section, ())}
        if section == "generator" and "kind" in names:
            continue  # the fields of a kind mean nothing for another
        is_section = isinstance(values, Mapping)
        kept[section] = {k: v for k, v in values.items() if k not in names} if is_section else values
    return kept
