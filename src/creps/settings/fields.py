"""Types of the values of settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "Count",
    "Fraction",
    "NotNegative",
    "OneOrMany",
    "PatchSize",
    "Positive",
    "Section",
    "Seed",
    "Share",
    "SpacingMm",
]


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


def _whole(value: object) -> object:
    """``1e3`` is a whole number, `True` is not."""
    if isinstance(value, bool):
        raise ValueError("a whole number is needed, not true or false")
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return value
    return int(number) if number is not None and number.is_integer() else value


def _listed(value: object) -> object:
    """A single word becomes a list of one."""
    return (value,) if isinstance(value, str) else value


OneOrMany = BeforeValidator(_listed)
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
SpacingMm = tuple[Positive, Positive, Positive]
PatchSize = tuple[Count, Count, Count]


class Section(BaseModel):
    """One section of the tree: unknown keys are rejected, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
