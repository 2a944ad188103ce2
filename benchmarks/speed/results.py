"""Where the speed benchmarks write their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common.machine import machine
from creps.io.atomic import write_json
from creps.provenance import provenance

__all__ = ["HERE", "save"]

HERE = Path(__file__).parent


def save(name: str, **content: Any) -> None:
    """Write ``results/NAME.json`` beside this file, with versions and machine."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{name}.json", {**provenance(), "machine": machine(), **content})
