"""Resolve the settings of a run from the caller's arguments."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creps.cohort.cohort import Cohort
from creps.errors import SettingsError
from creps.settings import Settings, load_settings, preparation_mismatch, refuse_without_effect
from creps.training.files import SETTINGS
from creps.training.run.starting_point import settings_of

__all__ = ["run_settings", "warn_of_other_preparation"]

log = logging.getLogger(__name__)


def run_settings(
    cohort: Cohort,
    folder: Path,
    settings: Settings | str | Path | None,
    *,
    recipe: str | None,
    preset: str | None,
    overrides: Mapping[str, Any] | None,
    model: str | Path | None,
    resume: bool,
) -> Settings:
    """Settings for a training on `cohort`; see `creps.training.run.train.train` for the arguments.

    A continued run starts from the settings in its folder, unless a settings file or a preset is given.

    Raises:
        SettingsError: a setting is wrong, has no effect, or does not fit the cohort.
        ModelError: `model` is not a model.
    """
    if isinstance(settings, Settings):
        given = [name for name, value in (("preset", preset), ("recipe", recipe)) if value is not None]
        given += list(overrides or ())
        if given:
            raise SettingsError(f"Complete settings are given, but {given[0]} is given as well.", "Give one of them.")
        if settings.preparation != cohort.manifest.preparation:
            raise SettingsError(
                "The settings and the cohort differ in preparation.",
                "Pass prepared=cohort.settings() to load_settings.",
            )
        return settings
    own = folder / SETTINGS
    if resume and settings is None and preset is None and own.is_file():
        settings = own
    started_from = settings_of(model) if model is not None and settings != own else None
    chosen = load_settings(preset, settings, overrides, cohort.settings(), started_from, recipe=recipe)
    refuse_without_effect(overrides or (), chosen)
    return chosen


def warn_of_other_preparation(cohort: Cohort, settings: Settings) -> None:
    """Log a warning if the cohort was prepared for another recipe in a way that matters."""
    mismatch = preparation_mismatch(settings, cohort.settings())
    if mismatch is not None:
        log.warning("%s", mismatch)
