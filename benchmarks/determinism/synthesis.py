"""The same sCT again, and by other threads, cores, batches, tiles, precisions, processes and orders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.determinism.commands import AVX2, PLAIN, TWO_THREADS
from benchmarks.determinism.compare import hu_apart
from benchmarks.determinism.scts import Order, made, values_apart
from creps.parallel import Work, run_all

__all__ = ["PATCHES", "InProcesses", "small_model", "syntheses"]

SINGLE = "head"
"""A shipped model: one pass, a spread, a calibration."""

PATCHES = "patches"
"""A small model whose overlapping patches are fused."""

FP32, BF16 = {"precision": "fp32"}, {"precision": "bf16"}

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "single pass, fp32": (SINGLE, {**FP32, "uncertainty": True}),
    "single pass, bf16": (SINGLE, {**BF16, "uncertainty": True}),
    "patches, fp32": (PATCHES, {**FP32, "batch_size": 1}),
    "patches, bf16": (PATCHES, {**BF16, "batch_size": 1}),
}
"""Name → model and settings; they run in every way."""

OTHERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "single pass, fp32, tiles of 0.2 GB": ("single pass, fp32", SINGLE, {**FP32, "memory_gb": 0.2}),
    "single pass, bf16, tiles of 0.1 GB": ("single pass, bf16", SINGLE, {**BF16, "memory_gb": 0.1}),
    "single pass, bf16 against fp32": ("single pass, fp32", SINGLE, {**BF16, "uncertainty": True}),
    "patches, fp32, batches of 3": ("patches, fp32", PATCHES, {**FP32, "batch_size": 3}),
    "patches, fp32, batches of 8": ("patches, fp32", PATCHES, {**FP32, "batch_size": 8}),
    "patches, bf16, batches of 3": ("patches, bf16", PATCHES, {**BF16, "batch_size": 3}),
    "patches, bf16, batches of 8": ("patches, bf16", PATCHES, {**BF16, "batch_size": 8}),
    "patches, bf16 against fp32": ("patches, fp32", PATCHES, {**BF16, "batch_size": 1}),
}
"""Name → what it is compared with, model and settings."""


class InProcesses:
    """A runner: two processes of this machine, each with half of its cores."""

    def __call__(self, work: Work[Any, Any], tasks: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Yield (index, result)."""
        return run_all(work.do, tasks, 2)

    def knows(self, work: Work[Any, Any], task: Any) -> bool:  # noqa: ARG002
        """Nothing was written before."""
        return False


def syntheses(folder: Path) -> dict[str, Any]:
    """Synthesize one MR in every way; compare with the first sCT.

    Args:
        folder: With the originals.
    """
    small_model(folder)
    mr = f"mr/{sorted((folder / 'mr').iterdir())[0].name}"
    usual: dict[str, Order] = {name: (model, mr, settings) for name, (model, settings) in SETTINGS.items()}
    others: dict[str, Order] = {name: (model, mr, settings) for name, (_, model, settings) in OTHERS.items()}
    first = made(folder, "scts_first", usual | others)
    told: dict[str, Any] = {
        "other settings": {name: values_apart(first[OTHERS[name][0]], first[name]) for name in others}
    }
    print(json.dumps(told), flush=True)
    for way in (PLAIN, TWO_THREADS, AVX2):
        orders = {name: one for name, one in usual.items() if way is not AVX2 or "bf16" not in name}  # it is emulated
        found = made(folder, f"scts_{''.join(letter for letter in way.name if letter.isalnum())}", orders, way)
        told[way.name] = {name: values_apart(first[name], file) for name, file in found.items()}
        print(way.name, json.dumps(told[way.name]), flush=True)
    told["many"] = _many(folder)
    told["tiles in the opposite order"] = _tile_order(folder / mr)
    return told


def small_model(folder: Path) -> None:
    """Put the small model into a folder, if it is not there."""
    from tests.service.running import tiny_model

    if not (folder / PATCHES).is_dir():
        tiny_model(folder / PATCHES)


def _many(folder: Path) -> dict[str, Any]:
    """All MRs in one command against each by itself, in the opposite order, and in two processes."""
    from creps import load
    from creps.synthesis.batch import synthesize_batch
    from creps.synthesis.options import SynthesisOptions

    mrs = sorted((folder / "mr").iterdir())
    model, options = load(folder / PATCHES), SynthesisOptions(force=True)
    synthesize_batch(model, mrs, folder / "many_here", options=options, overwrite=True)
    synthesize_batch(model, mrs[::-1], folder / "many_reversed", options=options, overwrite=True)
    synthesize_batch(model, mrs, folder / "many_there", options=options, overwrite=True, runner=InProcesses())
    for one in mrs:
        model.synthesize(one, force=True).save(folder / "many_alone" / f"{one.name.removesuffix('.nii.gz')}_sct.nii.gz")
    files = sorted((folder / "many_here").glob("*_sct.nii.gz"))
    return {
        name: [hu_apart(file, folder / f"many_{name}" / file.name) for file in files]
        for name in ("reversed", "there", "alone")
    }


def _tile_order(mr: Path) -> dict[str, Any]:
    """Predictions of one prepared MR whose tiles are taken in opposite orders."""
    from creps import load, read_volume
    from creps.inference.executor import Executor
    from creps.inference.prediction import lay_out, predict
    from creps.preprocessing.preparation import prepare_mr

    model = load(SINGLE)
    prepared = prepare_mr(read_volume(mr), model.plan.preparation, mr.name)
    settings = model.plan.inference.model_copy(update={"memory_gb": 0.1})
    executor = Executor(model.generator, precision="fp32")
    array = prepared.array
    layout = lay_out(array.shape, prepared.grid.spacing_mm, prepared.body, (32, 32, 32), executor, settings)
    one, other = (
        predict(executor, array, replace(layout, tiles=layout.tiles[::step]), settings)[0] for step in (1, -1)
    )
    return {"tiles": len(layout.tiles), "equal": bool(np.array_equal(one, other, equal_nan=True))}
