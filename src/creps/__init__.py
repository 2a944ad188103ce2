"""creps: unpaired MRI-to-CT synthesis for MR-only radiotherapy research. Not for diagnosis.

The public surface loads on first use, so that ``import creps`` stays light::

    import creps

    model = creps.load("run/model")
    result = model.synthesize(creps.read_volume("mr.nii.gz"))
    creps.write_volume(result.sct, "sct.nii.gz", integer=True)

`prepare`, `train` and `evaluate` are the verbs of the same names.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creps.api import Model, load
    from creps.cohort.cohort import Cohort, load_cohort
    from creps.cohort.prepare import prepare
    from creps.errors import CrepsError
    from creps.evaluation.evaluate import evaluate
    from creps.io.itk import read_volume, write_volume
    from creps.settings import Settings, load_settings
    from creps.training.run.train import train
    from creps.volume import Volume

    __version__: str

__all__ = [
    "Cohort",
    "CrepsError",
    "Model",
    "Settings",
    "Volume",
    "__version__",
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
    "Cohort": "creps.cohort.cohort",
    "CrepsError": "creps.errors",
    "Model": "creps.api",
    "Settings": "creps.settings",
    "Volume": "creps.volume",
    "evaluate": "creps.evaluation.evaluate",
    "load": "creps.api",
    "load_cohort": "creps.cohort.cohort",
    "load_settings": "creps.settings",
    "prepare": "creps.cohort.prepare",
    "read_volume": "creps.io.itk",
    "train": "creps.training.run.train",
    "write_volume": "creps.io.itk",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name == "__version__":
        from creps.provenance import installed_version

        return installed_version("creps") or "0+unknown"  # a source tree that is not installed
    raise AttributeError(f"module 'creps' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
