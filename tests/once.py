"""What is made once for a whole test run, however many processes share it."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from creps import phantom

RUN: list[Path] = []
"""The run's folder, which its processes share; set by conftest."""


def folder_made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process that wants it fills; tests only read it."""
    folder = RUN[0] / "once" / name
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):
        finished = folder.with_name(f"{name}.finished")
        if not finished.exists():
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder


def head_phantom(seed: Any, spacing_mm: float, **options: Any) -> phantom.Phantom:
    """As `creps.phantom.head_patient` grows it."""
    return _grown(phantom.head_patient, seed, spacing_mm, options)


def pelvis_phantom(seed: Any, spacing_mm: float, **options: Any) -> phantom.Phantom:
    """As `creps.phantom.pelvis_patient` grows it."""
    return _grown(phantom.pelvis_patient, seed, spacing_mm, options)


def _grown(grow: Callable[..., phantom.Phantom], seed: Any, spacing_mm: float, options: dict[str, Any]) -> Any:
    words = [grow.__name__, str(seed), str(spacing_mm), *(f"{key}={value}" for key, value in sorted(options.items()))]
    name = re.sub(r"[^\w.=]+", "_", " ".join(words))

    def make(folder: Path) -> None:
        (folder / "phantom.pickle").write_bytes(pickle.dumps(grow(seed, spacing_mm, **options)))

    return pickle.loads((folder_made_once(name, make) / "phantom.pickle").read_bytes())
