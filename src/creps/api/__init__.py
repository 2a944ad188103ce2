"""The Python API: prepare, train, synthesize, evaluate; every function takes paths as `str` or `Path`.

A wrong call raises a `CrepsError` that says what is wrong and what to do.
"""

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
