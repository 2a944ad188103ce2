"""What is asked of SLURM, from a YAML file, single values, or both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from creps.errors import InputError, SettingsError
from creps.settings import invalid_value

__all__ = ["Given", "SlurmOptions", "slurm_options"]

Given = Path | str | Mapping[str, Any] | Sequence[Path | str]
"""A YAML file, ``KEY=VALUE``, values by name, or several files and ``KEY=VALUE`` of which later ones win."""

REMEDY = "The options of --slurm are listed in docs/how-to/cluster.md."


def _minutes(value: object) -> object:
    """A time limit in minutes, from SLURM's forms ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M`` and ``D-H:M:S``."""
    if not isinstance(value, str) or not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", value):
        return value
    days, dash, rest = value.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if not dash and len(parts) < 3:
        parts.insert(0, 0)  # no hours
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return (int(days or 0) * 24 + hours) * 60 + minutes + (seconds > 0)


def _lines(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class SlurmOptions(BaseModel):
    """What each job asks of SLURM, and how the cases are divided among jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str | None = None
    """Partition (queue) of the jobs; None: the cluster's default."""
    account: str | None = None
    """Account that is charged; None: the user's default."""
    qos: str | None = None
    """Quality of service; None: the user's default."""
    time: Annotated[int, BeforeValidator(_minutes), Field(ge=1)] = 60
    """Time limit of a job in minutes, or as SLURM writes it: 2:00:00."""
    memory: Annotated[str | None, Field(pattern=r"^\d+[MGT]$")] = None
    """Memory of a job, such as 16G; None: the cluster's default."""
    cpus: Annotated[int, Field(ge=1)] = 4
    """Processor cores of a job, and threads of its libraries."""
    gpus: Annotated[int, Field(ge=0, le=1)] = 0
    """GPUs of a job: 0 or 1."""
    shards: Annotated[int, Field(ge=1)] = 16
    """Number of jobs that the cases are divided among; never more than there are cases."""
    at_once: Annotated[int | None, Field(ge=1)] = None
    """Number of jobs that may run at the same time; None: all."""
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a job that was killed is started again for the cases it had left."""
    setup: Annotated[tuple[str, ...], BeforeValidator(_lines)] = ()
    """Shell commands that each job runs first, such as module load cuda."""
    sbatch: dict[str, str | int | bool] = {}
    """Further options of sbatch by name, such as reservation: study."""
    folder: Path | None = None
    """Folder of the jobs while they run, seen by all nodes; None: beside the output, with the ending .slurm."""


def slurm_options(given: Given) -> SlurmOptions:
    """Read and check what is asked of SLURM.

    >>> slurm_options(["partition=gpu", "gpus=1", "time=2:00:00"]).time
    120

    Args:
        given: A YAML file, ``KEY=VALUE``, values by name, or a list of files and ``KEY=VALUE``.

    Raises:
        SettingsError: an unknown name (the nearest one is named) or a value out of range.
        InputError: a file cannot be read.
    """
    if isinstance(given, Mapping):
        return _validated(given)
    if not isinstance(given, (Path, str, Sequence)):
        raise SettingsError(f"slurm is of the type {type(given).__name__}.", "Give a YAML file, or values by name.")
    values: dict[str, Any] = {}
    for one in [given] if isinstance(given, (Path, str)) else given:
        values |= _read(one)
    return _validated(values)


def _read(one: Path | str) -> dict[str, Any]:
    """The values of one file, or of one ``KEY=VALUE``; as text, since YAML reads 2:00:00 as a number of seconds."""
    name, equals, value = str(one).partition("=")
    if isinstance(one, str) and equals and not Path(one).is_file():
        return {name.strip(): value.strip()}
    try:
        values = yaml.load(Path(one).read_text(encoding="utf-8"), yaml.BaseLoader)  # text, lists and mappings only
    except OSError as error:
        raise InputError(
            f"{one} cannot be read ({error.strerror}).", "Give --slurm a YAML file, or KEY=VALUE such as shards=8."
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{one} is not a YAML file.", REMEDY) from error
    if not isinstance(values, dict):
        raise InputError(f"{one} contains no names with values.", REMEDY)
    return {name: value for name, value in values.items() if value not in ("", "null", "~")}


def _validated(values: Mapping[str, Any]) -> SlurmOptions:
    known = SlurmOptions.model_fields
    unknown = next((name for name in values if name not in known), None)
    if unknown is not None:
        near = get_close_matches(str(unknown), known, 1)
        raise SettingsError(
            f"Unknown option of SLURM: '{unknown}'.",
            f"Did you mean '{near[0]}'?" if near else f"Use {', '.join(known)}.",
        )
    try:
        return SlurmOptions.model_validate(dict(values))
    except ValidationError as error:
        name, value, reason = invalid_value(error)
        raise SettingsError(f"SLURM's option {name} = {value}: {reason}.", REMEDY) from error
