"""creps: unpaired MRI-to-CT synthesis for MR-only radiotherapy research. Not for diagnosis.

The public surface loads on first use, so that ``import creps`` stays light::

    import creps

    model = creps.load("run/model")
    result = model.synthesize(creps.read_volume("mr.nii.gz"))
    creps.write_volume(result.sct, "sct.nii.gz", integer=True)
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creps.api import Model, load
    from creps.errors import CrepsError
    from creps.io.itk import read_volume, write_volume
    from creps.settings import Settings, load_settings
    from creps.volume import Volume

try:
    __version__ = version("creps")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "CrepsError",
    "Model",
    "Settings",
    "Volume",
    "__version__",
    "load",
    "load_settings",
    "read_volume",
    "write_volume",
]

_HOME = {
    "CrepsError": "creps.errors",
    "Model": "creps.api",
    "Settings": "creps.settings",
    "Volume": "creps.volume",
    "load": "creps.api",
    "load_settings": "creps.settings",
    "read_volume": "creps.io.itk",
    "write_volume": "creps.io.itk",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'creps' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
