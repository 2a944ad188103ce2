"""The same run again, and in other ways: threads, cores, reading workers, processes, interruptions, instructions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.determinism.commands import AVX2, ONE_CORE, OTHER_SEED, PLAIN, TWO_THREADS, Way, creps_run
from benchmarks.determinism.compare import weights_apart
from benchmarks.determinism.originals import RECIPES, train_words
from benchmarks.determinism.session import run_session

__all__ = ["far", "trainings"]

STEPS = 6

WORKERS = Way("2 reading workers", words="--training.workers 2")
PROCESSES = Way("2 processes", words="--training.devices 2")
INTERRUPTED = Way("interrupted, resumed")
SAMPLE = ("anatomy",)
"""Recipes that run in the other ways too."""

BF16 = Way("again, bf16", words="--training.precision bf16")

FOR_ALL = (PLAIN, INTERRUPTED)
BY_WORDS = (WORKERS, OTHER_SEED, BF16)
"""Ways that differ by their words alone: they can share a process. A run of several processes starts its own command
again, so it needs a process for itself."""


def trainings(folder: Path, recipes: Sequence[str] = RECIPES, steps: int = STEPS) -> dict[str, Any]:
    """Train each recipe in every way; compare with the first run.

    Args:
        folder: With the originals.
        recipes: Which.
        steps: Length of a run.

    Returns:
        Way → recipe → what `weights_apart` says, and how far sCTs with both models are apart.
    """
    _train(folder, [("first", PLAIN, recipes), *((_name("first", way), way, SAMPLE) for way in BY_WORDS)], steps)
    told: dict[str, Any] = {}
    for way in (PLAIN, INTERRUPTED, *BY_WORDS, TWO_THREADS, PROCESSES, ONE_CORE, AVX2):
        some = recipes if way in FOR_ALL else SAMPLE
        first = _name("first", BF16) if way is BF16 else "first"
        _train(folder, [(_name(first, way), way, some)], steps)
        told[way.name] = _compared(folder, first, way, some)
        print(way.name, json.dumps(told[way.name]), flush=True)
    return told


def far(folder: Path, steps: int) -> dict[str, Any]:
    """A longer run of the default recipe: how far rounding, and how far another seed, carry it.

    Args:
        folder: With the originals.
        steps: Its length.
    """
    _train(folder, [("far", PLAIN, SAMPLE), (_name("far", OTHER_SEED), OTHER_SEED, SAMPLE)], steps)
    _train(folder, [(_name("far", TWO_THREADS), TWO_THREADS, SAMPLE)], steps)
    apart = {way.name: _compared(folder, "far", way, SAMPLE)["anatomy"] for way in (TWO_THREADS, OTHER_SEED)}
    return {"steps": steps, **apart}


def _name(first: str, way: Way) -> str:
    return f"{first}_{''.join(letter for letter in way.name if letter.isalnum())}"


def _compared(folder: Path, first: str, way: Way, recipes: Sequence[str]) -> dict[str, Any]:
    pairs = {one: (folder / f"{first}_{one}", folder / f"{_name(first, way)}_{one}") for one in recipes}
    mr = sorted((folder / "mr").iterdir())[0]
    return {one: {**weights_apart(*runs), "hu": _hu_apart(mr, *runs)} for one, runs in pairs.items()}


def _hu_apart(mr: Path, *runs: Path) -> dict[str, float]:
    """Largest and mean absolute difference of the sCTs of two models, in float32 and with one thread."""
    import creps

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one, other = (creps.load(run / "model").synthesize(mr, force=True, precision="fp32").sct.array for run in runs)
    finally:
        torch.set_num_threads(before)
    difference = np.abs(one.astype(np.float64) - other)
    return {"most": float(f"{difference.max():.3g}"), "mean": float(f"{difference.mean():.3g}")}


def _train(folder: Path, runs: Sequence[tuple[str, Way, Sequence[str]]], steps: int) -> None:
    """Train in one process, which runs as the first way says; what is there stays."""
    every = 2 if steps < 20 else steps // 2
    commands: list[str | tuple[str, str]] = []
    for name, way, recipes in runs:
        for recipe in (one for one in recipes if not _ended(folder / f"{name}_{one}", steps)):
            words = f"{train_words(recipe, f'{name}_{recipe}', steps, every=every)} {way.words}"
            if way is INTERRUPTED:
                commands.append((words, f"{name}_{recipe}/checkpoints/step_{every:08d}"))
                words += " --resume auto"
            commands.append(words)
    if runs[0][1] is PROCESSES:
        for words in map(str, commands):
            creps_run(folder, words)
    elif commands:
        run_session(folder, commands, runs[0][1])


def _ended(run: Path, steps: int) -> bool:
    return (run / "checkpoints" / f"step_{steps:08d}").is_dir() and (run / "model").is_dir()
