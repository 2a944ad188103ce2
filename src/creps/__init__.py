"""creps: unpaired MRI-to-CT synthesis for MR-only radiotherapy research. Not for diagnosis.

The public surface loads on first use, so that ``import creps`` stays light::

    import creps

    creps.prepare(("mr", "ct"), "cohort", preset="brain")
    model = creps.train("cohort", "run")
    model.synthesize("mr.nii.gz").save("sct.nii.gz")
    creps.evaluate("sct.nii.gz", "ct.nii.gz").values["mae_hu"]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creps.api import (
        Model,
        compare_dose,
        evaluate,
        load,
        load_cohort,
        load_settings,
        models,
        prepare,
        read_volume,
        train,
        write_report,
        write_volume,
    )
    from creps.cohort.cohort import Cohort
    from creps.errors import CrepsError
    from creps.settings import Settings
    from creps.volume import Volume

    __version__: str

__all__ = [
    "Cohort",
    "CrepsError",
    "Model",
    "Settings",
    "Volume",
    "__version__",
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
    "Cohort": "creps.cohort.cohort",
    "CrepsError": "creps.errors",
    "Settings": "creps.settings",
    "Volume": "creps.volume",
}
"""Where a public name lives; all others in `creps.api`."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from creps.provenance import installed_version

        return installed_version("creps") or "0+unknown"  # a source tree that is not installed
    if name in __all__:
        return getattr(import_module(_HOME.get(name, "creps.api")), name)
    raise AttributeError(f"module 'creps' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
