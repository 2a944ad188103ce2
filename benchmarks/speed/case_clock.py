"""``creps synthesize`` in this process with its steps timed; synthesis.py starts it, so that nothing else is imported.

::

    python -m benchmarks.speed.case_clock MODEL MR SCT

Prints JSON: step → seconds; ``start`` is what is imported before a step runs.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

PARTS = {
    "creps.api": ("load",),
    "creps.io.image:ImageSource": ("read",),
    "creps.synthesis.synthesize": ("prepare_mr", "examine", "predict", "bring_onto"),
    "creps.synthesis.writing": ("write_volume", "synthesis_figure", "write_picture"),
}
"""Where `creps synthesize` looks its steps up."""


def measured(original: Any, name: str, seconds: dict[str, float]) -> Any:
    def run(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(*arguments, **options)
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began

    return run


def main() -> None:
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    for place, names in PARTS.items():
        module, _, owner = place.partition(":")
        home: Any = importlib.import_module(module)
        home = getattr(home, owner) if owner else home
        for name in names:
            setattr(home, name, measured(getattr(home, name), name, seconds))
    seconds["start"] = time.perf_counter() - started
    from creps.cli import main as cli

    model, mr, sct = sys.argv[1:]
    sys.argv = ["creps", "-q", "synthesize", model, mr, "-o", sct]
    cli()
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
