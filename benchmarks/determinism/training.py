"""The same run again, and in other ways: threads, cores, reading workers, processes, interruptions, instructions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.determinism.commands import AVX2, ONE_CORE, OTHER_SEED, PLAIN, TWO_THREADS, Way
from benchmarks.determinism.compare import hu_apart, weights_apart
from benchmarks.determinism.originals import RECIPES, train_words
from benchmarks.determinism.session import run_session

__all__ = ["far", "trainings"]

STEPS = 6

WORKERS = Way("2 reading workers", words="--training.workers 2")
PROCESSES = Way("2 processes", words="--training.devices 2")
INTERRUPTED = Way("interrupted, resumed")
FOR_ALL = (PLAIN, INTERRUPTED, TWO_THREADS)
SAMPLE = ("anatomy",)
"""Recipes that run in the other ways too."""

BF16 = Way("again, bf16", words="--training.precision bf16")


def trainings(folder: Path, recipes: Sequence[str] = RECIPES, steps: int = STEPS) -> dict[str, Any]:
    """Train each recipe in every way; compare with the first run.

    Args:
        folder: With the originals.
        recipes: Which.
        steps: Length of a run.

    Returns:
        Way → recipe → what `weights_apart` and `hu_apart` (of an sCT with each model) say.
    """
    _train(folder, "first", PLAIN, recipes, steps)
    told: dict[str, Any] = {}
    for way in (PLAIN, INTERRUPTED, TWO_THREADS, WORKERS, ONE_CORE, AVX2, PROCESSES, OTHER_SEED):
        some = [one for one in recipes if way in FOR_ALL or one in SAMPLE]
        told[way.name] = _compared(folder, way, some, steps)
        print(way.name, json.dumps(told[way.name]), flush=True)
    _train(folder, "first_bf16", BF16, SAMPLE, steps)
    told[BF16.name] = _compared(folder, BF16, SAMPLE, steps, "first_bf16")
    return told


def far(folder: Path, steps: int) -> dict[str, Any]:
    """A longer run of the default recipe: how far rounding, and how far another seed, carry it.

    Args:
        folder: With the originals.
        steps: Its length.
    """
    _train(folder, "far", PLAIN, ["anatomy"], steps)
    return {
        "steps": steps,
        **{
            way.name: _compared(folder, way, ["anatomy"], steps, "far")["anatomy"]
            for way in (PLAIN, TWO_THREADS, OTHER_SEED)
        },
    }


def _compared(folder: Path, way: Way, recipes: Sequence[str], steps: int, first: str = "first") -> dict[str, Any]:
    name = f"{first}_{''.join(letter for letter in way.name if letter.isalnum())}"
    _train(folder, name, way, recipes, steps)
    pairs = {one: (folder / f"{first}_{one}", folder / f"{name}_{one}") for one in recipes}
    return {
        one: {
            **weights_apart(*runs),
            "most_hu": hu_apart(*(run.with_name(f"{run.name}.nii.gz") for run in runs))["most"],
        }
        for one, runs in pairs.items()
    }


def _train(folder: Path, name: str, way: Way, recipes: Sequence[str], steps: int) -> None:
    """Train, and synthesize one MR with each model, in one plain process; what is there stays."""
    every = 2 if steps < 20 else steps // 2
    commands: list[str | tuple[str, str]] = []
    for recipe in (one for one in recipes if not _ended(folder / f"{name}_{one}", steps)):
        words = f"{train_words(recipe, f'{name}_{recipe}', steps, every=every)} {way.words}"
        if way is INTERRUPTED:
            commands.append((words, f"{name}_{recipe}/checkpoints/step_{every:08d}"))
            words += " --resume auto"
        commands.append(words)
    if commands:
        run_session(folder, commands, way)
    mr = sorted((folder / "mr").iterdir())[0].name
    shown = [
        f"synthesize {name}_{one}/model mr/{mr} -o {name}_{one}.nii.gz --inference.precision fp32 --qa off --force"
        for one in recipes
        if not (folder / f"{name}_{one}.nii.gz").is_file()
    ]
    if shown:
        run_session(folder, shown)


def _ended(run: Path, steps: int) -> bool:
    return (run / "checkpoints" / f"step_{steps:08d}").is_dir() and (run / "model").is_dir()
