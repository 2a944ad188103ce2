"""The Python API: prepare, train, synthesize, evaluate; every function takes paths as `str` or `Path`.

A wrong call raises a `CrepsError` that says what is wrong and what to do. Names load on first use: reading a volume
needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creps.api.data import load_cohort, load_settings, read_volume, write_volume
    from creps.api.model import Model, load
    from creps.api.verbs import evaluate, prepare, train

__all__ = [
    "Model",
    "evaluate",
    "load",
    "load_cohort",
    "load_settings",
    "prepare",
    "read_volume",
    "train",
    "write_volume",
]

_HOME = {
    "Model": "model",
    "evaluate": "verbs",
    "load": "model",
    "load_cohort": "data",
    "load_settings": "data",
    "prepare": "verbs",
    "read_volume": "data",
    "train": "verbs",
    "write_volume": "data",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"creps.api.{_HOME[name]}"), name)
    raise AttributeError(f"module 'creps.api' has no attribute '{name}'")
