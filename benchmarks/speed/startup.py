"""Start-up: what a user waits for before anything is done, command by command.

::

    python -m benchmarks.speed.startup [--rounds 9]

Every command is a new process, all of them in turn in every round. **Help** of a verb is what the shell waits for;
**ready** is everything that the verb imports before its work begins. Writes ``results/startup.json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.common.timing import medians
from benchmarks.speed.results import save

VERBS = {
    "demo": "creps.demo.full",
    "phantom": "creps.phantom.cohort",
    "prepare": "creps.cohort.prepare",
    "train": "creps.training.run.train",
    "synthesize": "creps.api.synthesis, creps.synthesis.batch",
    "evaluate": "creps.evaluation.evaluate",
    "export": "creps.api",
    "settings": "creps.settings",
}
"""Verb → what it imports when it runs."""
BARS = {"creps --help": 0.4, "import creps": 0.15}
"""Seconds."""
HEAVY = ("torch", "torchvision", "tensorboard", "numpy", "scipy", "skimage", "SimpleITK", "pydantic", "pydicom")


def commands() -> dict[str, list[str]]:
    creps = str(Path(sys.executable).parent / "creps")
    found = {"python": [sys.executable, "-c", "pass"], "import creps": [sys.executable, "-c", "import creps"]}
    found["creps --help"] = [creps, "--help"]
    found |= {f"creps {verb} --help": [creps, verb, "--help"] for verb in VERBS}
    found |= {f"creps {verb}, ready": [sys.executable, "-c", f"import {home}"] for verb, home in VERBS.items()}
    return found


def called(command: list[str]) -> Callable[[], object]:
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def imported(command: list[str]) -> list[str]:
    """Which of `HEAVY` a command imports."""
    profile = [command[0], "-X", "importtime", *command[1:]]
    if command[0] != sys.executable:
        profile = [sys.executable, "-X", "importtime", *command]
    told = subprocess.run(profile, check=True, capture_output=True, text=True).stderr
    names = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    return [name for name in HEAVY if name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    rows = medians({name: called(command) for name, command in commands().items()}, chosen.rounds, reference="python")
    for name, command in commands().items():
        rows[name]["heavy"] = imported(command)
        if name in BARS:
            rows[name]["bar"] = BARS[name]
        print(f"{name:28s}{rows[name]['seconds']:7.3f} s   {' '.join(rows[name]['heavy'])}")
    save("startup", rows=rows)


if __name__ == "__main__":
    main()
