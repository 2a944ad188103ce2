"""Settings that were written for another recipe, come from a cohort of another recipe, or have no effect."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from creps.errors import SettingsError
from creps.settings.layers import Layer, merged, preset_values, validated, values_of_recipes, written
from creps.settings.recipes import RECIPES, TERM_WEIGHTS, without_other_recipe
from creps.settings.tree import Settings

__all__ = ["preparation_mismatch", "refuse_without_effect", "warn_of_other_recipe", "without_size_of_recipe"]

log = logging.getLogger(__name__)


def preparation_mismatch(settings: Settings, prepared: Settings) -> str | None:
    """One warning sentence if a cohort was prepared for another recipe than it is used for.

    Args:
        settings: Settings of a training.
        prepared: Settings that its cohort was prepared with.

    Returns:
        The settings that differ and the command to prepare the cohort again; None if it fits.
    """
    if settings.recipe == prepared.recipe:
        return None
    usual = _tree_of(settings.recipe, settings.preset).preparation
    decided = {name for recipe in (settings.recipe, prepared.recipe) for name in RECIPES[recipe].get("preparation", {})}
    differences = [
        f"preparation.{name} is {written(has)}, not {written(usual_value)}"
        for name in sorted(decided)
        if (has := getattr(prepared.preparation, name)) != (usual_value := getattr(usual, name))
    ]
    if not differences:
        return None
    return (
        f"The cohort was prepared for recipe {prepared.recipe}, but the training uses recipe {settings.recipe}: "
        f"{' and '.join(differences)}. To prepare it again, run 'creps prepare SOURCES -o COHORT -p {settings.preset} "
        f"--recipe {settings.recipe}'."
    )


def refuse_without_effect(names: Iterable[str], settings: Settings) -> None:
    """Refuse settings that would do nothing, since their loss term or network is not used.

    Args:
        names: Settings that the user gave by name, such as ``creps.weights``.
        settings: The settings that they led to.

    Raises:
        SettingsError: names the first one, and what to do.
    """
    adversarial, style = settings.adversarial.weight > 0, settings.creps.weight + settings.creps.content_weight > 0
    used = {"adversarial": adversarial, "discriminator": adversarial, "creps": style, "nce": settings.nce.weight > 0}
    for name in names:
        section, _, key = name.partition(".")
        if used.get(section, True) or key in TERM_WEIGHTS.get(section, ()):
            continue
        term = "adversarial" if section == "discriminator" else section
        recipe = "cut" if term == "nce" else "paper"
        raise SettingsError(
            f"{name} has no effect: with recipe {settings.recipe}, {term}.weight is 0.",
            f"Set {term}.weight as well, use recipe {recipe}, or leave {name} out.",
        )


def _usual(recipe: str, preset: str) -> dict[str, Any]:
    """Every value that a recipe has with a preset, as plain JSON values."""
    return _tree_of(recipe, preset).model_dump(mode="json")


def _tree_of(recipe: str, preset: str) -> Settings:
    """The settings of a recipe with a preset, and nothing else."""
    return validated(merged(RECIPES.get(recipe, {}), preset_values(preset, recipe), {"recipe": recipe}), "the file")


def without_size_of_recipe(file: Layer, recipe: str, preset: str) -> dict[str, Any]:
    """Drop from a file the sizes that its preset gives to another recipe, unless they were changed by hand."""
    own, of_recipes = str(file.get("recipe", recipe)), values_of_recipes(preset)
    if own == recipe:
        return dict(file)
    values = _usual(own, preset)
    own_sizes = [of_recipes.get(name, {}) for name in (own, recipe)]
    kept: dict[str, Any] = {}
    for section, content in file.items():
        names = {name for sizes in own_sizes for name in sizes.get(section, ())} if section != "generator" else set()
        is_section = isinstance(content, Mapping)
        kept[section] = (
            {k: v for k, v in content.items() if k not in names or v != values[section][k]} if is_section else content
        )
    return kept


def warn_of_other_recipe(file: Layer, recipe: str, preset: str) -> None:
    """Name the values that a file changed for another recipe, since they do not count."""
    kept = without_other_recipe(file, recipe)
    if kept == file:
        return
    own = str(file["recipe"])
    usual = _usual(own, preset)
    dropped = [
        f"{section}.{name}"
        for section, values in file.items()
        if isinstance(values, Mapping)
        for name in values.keys() - kept.get(section, {}).keys()
        if values[name] != usual.get(section, {}).get(name)
    ]
    if dropped:
        sentence = "The settings file was written for recipe %s, so these of its settings do not count for %s: %s."
        log.warning(sentence, own, recipe, ", ".join(sorted(dropped)))
