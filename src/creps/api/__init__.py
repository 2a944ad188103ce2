"""The Python API: prepare, train, synthesize, evaluate, compare doses; every function takes paths as `str` or `Path`.

A wrong call raises a `CrepsError` that says what is wrong and what to do. Names load on first use: reading a volume
needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creps.api.data import load_cohort, load_settings, read_volume, write_volume
    from creps.api.dose import compare_dose
    from creps.api.model import Model, load
    from creps.api.report import write_report
    from creps.api.verbs import evaluate, prepare, train
    from creps.shipped.catalogue import models

__all__ = [
    "Model",
    "compare_dose",
    "evaluate",
    "load",
    "load_cohort",
    "load_settings",
    "models",
    "prepare",
    "read_volume",
    "train",
    "write_report",
    "write_volume",
]

_HOME = {
    "Model": "api.model",
    "compare_dose": "api.dose",
    "evaluate": "api.verbs",
    "load": "api.model",
    "load_cohort": "api.data",
    "load_settings": "api.data",
    "models": "shipped.catalogue",
    "prepare": "api.verbs",
    "read_volume": "api.data",
    "train": "api.verbs",
    "write_report": "api.report",
    "write_volume": "api.data",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"creps.{_HOME[name]}"), name)
    raise AttributeError(f"module 'creps.api' has no attribute '{name}'")
