"""Cohorts, settings and volumes: what the other public functions are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creps.api.arguments import as_path, as_values, check_flags, optional_path
from creps.errors import InputError, SettingsError, file_errors_explained
from creps.volume import Volume

if TYPE_CHECKING:
    from creps.cohort.cohort import Cohort
    from creps.settings import Settings

__all__ = ["load_cohort", "load_settings", "read_volume", "write_volume"]


@file_errors_explained
def load_cohort(folder: Path | str) -> Cohort:
    """Open a prepared cohort.

    Args:
        folder: The folder that `prepare` wrote.

    Raises:
        CohortError: it is not a cohort, or another schema version wrote it.

    Examples:
        >>> len(creps.load_cohort("cohort").manifest.cases)
        4
    """
    from creps.cohort.cohort import load_cohort as run

    return run(as_path(folder, "The cohort"))


@file_errors_explained
def load_settings(
    preset: str | None = None,
    file: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    prepared: Settings | None = None,
    model: Mapping[str, Any] | None = None,
) -> Settings:
    """All settings: defaults, recipe, preset, file and single values, the later over the earlier.

    Args:
        preset: Name of a preset that ships with creps.
        file: YAML file; it is never rewritten.
        overrides: Single settings: ``{"training.steps": 100, "recipe": "cut"}``.
        prepared: Settings of a cohort (`Cohort.settings()`), whose preparation stands.
        model: Sections of a model to start from.

    Raises:
        SettingsError: an unknown key (the nearest is named), a wrong value, or an unreadable file.

    Examples:
        >>> settings = creps.load_settings(preset="pelvis", overrides={"training.steps": 100})
        >>> settings.training.steps, settings.recipe
        (100, 'anatomy')
    """
    from creps.settings import Settings
    from creps.settings import load_settings as run

    if prepared is not None and not isinstance(prepared, Settings):
        raise SettingsError(
            f"'prepared' is of the type {type(prepared).__name__}.", "Give the settings of a cohort: Cohort.settings()."
        )
    if model is not None and not isinstance(model, Mapping):
        raise SettingsError(
            f"'model' is of the type {type(model).__name__}.", 'Give sections of settings: {"recipe": "cut"}.'
        )
    if preset is not None and not isinstance(preset, str):
        raise SettingsError(f"A preset is a name, not {type(preset).__name__}.", "Use brain, pelvis or another preset.")
    return run(preset, optional_path(file, "The settings file"), as_values(overrides), prepared, model)


@file_errors_explained
def read_volume(path: Path | str) -> Volume:
    """Read a volume file: NIfTI, MetaImage or NRRD.

    Args:
        path: The file.

    Returns:
        The volume (D, H, W), with its spacing in mm.

    Raises:
        InputError: the file is missing, damaged, or not a 3-D scalar image.

    Examples:
        >>> creps.read_volume("mr.nii.gz").spacing_mm
        (4.0, 4.0, 4.0)
    """
    from creps.io.itk import read_volume as run

    return run(as_path(path, "The volume"))


@file_errors_explained
def write_volume(volume: Volume, path: Path | str, *, integer: bool = False) -> None:
    """Write a volume file: NIfTI, MetaImage or NRRD, by its ending.

    Args:
        volume: The volume.
        path: The file to write; an existing file is replaced.
        integer: Round to 16-bit integers, as is usual for CT.

    Raises:
        InputError: `volume` is not a `Volume`, or the ending is not known.

    Examples:
        >>> creps.write_volume(creps.read_volume("ct.nii.gz"), "copy.mha", integer=True)
    """
    from creps.io.itk import write_volume as run

    check_flags(integer=integer)
    if not isinstance(volume, Volume):
        raise InputError(f"{type(volume).__name__} is not a volume.", "Give creps.Volume(array, spacing_mm).")
    run(volume, as_path(path, "The volume file"), integer=integer)
