"""How far two results are apart."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["arrays_apart", "documents_apart", "hu_apart", "weights_apart"]

VARYING = ("created", "seconds", "file", "versions", "machine")
"""Keys of documents that may differ: when, where, how long."""


def weights_apart(run: Path, other: Path) -> dict[str, Any]:
    """Two runs: whether the last checkpoints and the models are equal, and how far the generators are apart.

    The distance is the norm of the difference over the norm of the weights.
    """
    from creps.model import checkpoints, load_tensors

    states = [load_tensors(checkpoints(one / "checkpoints")[-1] / "training.safetensors") for one in (run, other)]
    models = [load_tensors(one / "model" / "generator.safetensors") for one in (run, other)]
    squares = [
        (float(((a.double() - b.double()) ** 2).sum()), float((a.double() ** 2).sum()))
        for a, b in ((models[0][name], models[1][name]) for name in models[0])
        if a.is_floating_point()
    ]
    apart, norm = (sum(column) for column in zip(*squares, strict=True))
    return {
        "equal": all(a.keys() == b.keys() and all(a[n].equal(b[n]) for n in a) for a, b in (states, models)),
        "weights": _short(math.sqrt(apart / norm)),
    }


def hu_apart(file: Path, other: Path) -> dict[str, Any]:
    """Two volume files: whether all voxels are equal, the largest difference and the mean of the absolute one."""
    from creps.io.itk import read_volume

    a, b = read_volume(file).array, read_volume(other).array
    difference = np.abs(a.astype(np.float64) - b)
    return {
        "equal": bool((a == b).all()),
        "most": _short(float(difference.max())),
        "mean": _short(float(difference.mean())),
    }


def arrays_apart(cohort: Path, other: Path) -> dict[str, Any]:
    """Two prepared cohorts: whether all arrays have the same bytes, and whether the manifests say the same."""
    digests = [
        {str(file.relative_to(one)): hashlib.sha256(file.read_bytes()).hexdigest() for file in one.rglob("*.npy")}
        for one in (cohort, other)
    ]
    return {
        "equal": digests[0] == digests[1] != {},
        **documents_apart(cohort / "manifest.json", other / "manifest.json"),
    }


def documents_apart(file: Path, other: Path) -> dict[str, Any]:
    """Two JSON files without what may differ: whether they are equal, and which keys are not."""
    a, b = (dict(_leaves(json.loads(one.read_text()))) for one in (file, other))
    different = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
    return {"same_document": not different, **({"differs_in": different[:5]} if different else {})}


def _leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, one in value.items() if key not in VARYING for leaf in _leaves(one, f"{name}.{key}")]
    if isinstance(value, list):
        return [leaf for number, one in enumerate(value) for leaf in _leaves(one, f"{name}.{number}")]
    return [(name, value)]


def _short(value: float) -> float:
    return float(f"{value:.3g}")
