"""Find the folder of a model: of a shipped one by its name, or of any by its path."""

from __future__ import annotations

import difflib
import logging
import os
from pathlib import Path

from creps.errors import ModelError
from creps.shipped.catalogue import SHIPPED, shipped_names

__all__ = ["find_model"]

log = logging.getLogger(__name__)

SYNONYMS = {"brain": "head", "skull": "head", "hip": "pelvis", "prostate": "pelvis"}
"""Other words for the region of a shipped model."""


def find_model(model: Path | str) -> Path:
    """Find the folder of a model.

    Text without a path separator may be the name of a shipped model, which wins over a folder of that name; ``./head``
    is always a folder. So is a `Path`, since it does not keep the ``./``.

    Args:
        model: Name of a shipped model, or the path of a model, run or checkpoint.

    Returns:
        The folder. It need not hold a model: whoever loads it checks that.

    Raises:
        ModelError: it is a name, and there is neither a shipped model nor a folder of that name; or it is no path.

    Examples:
        >>> from creps.shipped.names import find_model
        >>> find_model("head").name, find_model("./head") == find_model("head")
        ('head', False)
    """
    if not isinstance(model, (Path, str)):
        raise ModelError(f"The model is of the type {type(model).__name__}.", "Give its name or its path.")
    if not str(model) or "\0" in str(model):
        raise ModelError("The model's path is empty or has a null character.", "Give another path.")
    if isinstance(model, Path) or any(separator in model for separator in (os.sep, os.altsep or os.sep, "/")):
        return Path(model)
    if model in shipped_names():
        if Path(model).exists():
            log.info("using the shipped model %s, not the folder of that name (for that: %s)", model, f"./{model}")
        return SHIPPED / model
    if Path(model).exists():
        return Path(model)
    raise ModelError(
        f"The model '{model[:80]}' does not exist: no shipped model and no folder has that name.", _hint(model)
    )


def _hint(model: str) -> str:
    synonyms = {word: name for word, name in SYNONYMS.items() if name in shipped_names()}
    nearest = difflib.get_close_matches(model.lower(), [*shipped_names(), *synonyms], n=1, cutoff=0.5)
    if nearest:
        return f"Did you mean '{synonyms.get(nearest[0], nearest[0])}'? List the shipped models with 'creps models'."
    return "List the shipped models with 'creps models', or give the model folder that 'creps train' wrote."
