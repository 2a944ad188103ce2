"""How long a full-size synthesis takes: the whole way of an MR to its sCT, and the loop beside MONAI's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu.cohorts import load_patient
from benchmarks.gpu.job import Job
from benchmarks.gpu.peak import wall_seconds
from benchmarks.gpu.settings import paper_settings
from creps.api import Model
from creps.inference.executor import Executor
from creps.inference.prediction import lay_out, predict
from creps.model import Plan, build_generator
from creps.preprocessing.preparation import prepare_mr
from creps.provenance import installed_version
from creps.settings import Settings
from creps.volume import Array

__all__ = ["compare_with_monai", "synthesize_head"]

WAYS: dict[str, dict[str, str]] = {
    "upper median, whole volume (paper)": {"fusion": "upper_median", "extent": "volume"},
    "upper median, body": {"fusion": "upper_median", "extent": "body"},
    "single pass, whole volume": {"fusion": "single", "extent": "volume"},
    "single pass, body": {"fusion": "single", "extent": "body"},
}
PAPER = next(iter(WAYS))


def synthesize_head(job: Job) -> None:
    """From an MR in memory to an sCT in HU on the MR's grid, in every way; the first one is the paper's."""
    settings, mr = paper_settings(job.sizes, "brain"), load_patient(job.work / "sct" / "head.npz").mr
    plan = Plan(
        preparation=settings.preparation,
        generator=settings.generator,
        patch_size=settings.sampling.patch_size,
        inference=settings.inference,
    )
    model = Model(plan, generator(settings))
    on_gpu = job.sizes.device != "cpu"
    job.note(shape=list(mr.shape), spacing_mm=list(mr.spacing_mm), weights="random, seeded: the cost is the same")
    rows: dict[str, Any] = {}
    for name, way in WAYS.items():
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        started = time.perf_counter()
        record = model.synthesize(mr, **way).record
        first = time.perf_counter() - started
        seconds = [model.synthesize(mr, **way).record["seconds"] for _ in range(job.sizes.sct_rounds)]
        rows[name] = {
            "seconds": round(statistics.median(seconds), 3),
            "first_seconds": round(first, 3),
            "patches": record["patches"]["count"],
            "precision": record["patches"]["precision"],
            "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if on_gpu else None,
        }
        job.note(rows=rows)


def generator(settings: Settings) -> nn.Module:
    """With seeded random weights, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.training.seed)
        return build_generator(settings.generator).eval()


def compare_with_monai(job: Job) -> None:
    """The loop alone, from the prepared MR to the fused volume, the same network in creps' and in MONAI's."""
    from monai.inferers import sliding_window_inference

    settings, mr = paper_settings(job.sizes, "brain"), load_patient(job.work / "sct" / "head.npz").mr
    prepared = prepare_mr(mr, settings.preparation, "the head")
    executor = Executor(generator(settings), torch.device(job.sizes.device), settings.inference.precision)
    patch, bf16 = settings.sampling.patch_size, executor.precision == "bf16"
    runs: dict[str, Callable[[], Array]] = {}
    for name, way in WAYS.items():
        inference = settings.inference.model_copy(update=way)
        grid = prepared.grid
        layout = lay_out(grid.shape, grid.spacing_mm, prepared.body, patch, executor, inference)
        runs[f"creps, {name}"] = lambda layout=layout, inference=inference: predict(
            executor, prepared.array, layout, inference
        )[0]

    @torch.inference_mode()
    def monai(network: nn.Module, batch: int, layout: torch.memory_format, *, low: bool) -> Array:
        volume = torch.from_numpy(prepared.array)[None, None].to(executor.device)

        def forward(x: torch.Tensor) -> torch.Tensor:
            with torch.autocast(executor.device.type, torch.bfloat16, enabled=low):
                y: torch.Tensor = network(x.contiguous(memory_format=layout))
            return y.float()

        out = sliding_window_inference(volume, patch, batch, forward, overlap=0.5)
        return np.asarray(out[0, 0].cpu())  # type: ignore[index,call-overload]

    plain = generator(settings).to(executor.device)
    packed = generator(settings).to(executor.device).to(memory_format=torch.channels_last_3d)
    for batch in (1, 4):
        runs[f"MONAI, batch {batch}, float32 as written"] = lambda batch=batch: monai(
            plain, batch, torch.contiguous_format, low=False
        )
        runs[f"MONAI, batch {batch}, precision and layout of creps"] = lambda batch=batch: monai(
            packed, batch, torch.channels_last_3d, low=bf16
        )
    job.note(
        shape=list(prepared.array.shape),
        patch=list(patch),
        precision=executor.precision,
        monai=installed_version("monai"),
        extent="rows of the body predict less than MONAI does; compare those of the whole volume",
    )
    rows: dict[str, Any] = {}
    for name, run in runs.items():
        if run().shape != prepared.array.shape:
            raise ValueError(f"{name} gave a volume of another shape")
        seconds = [wall_seconds(run) for _ in range(job.sizes.sct_rounds)]
        rows[name] = round(statistics.median(seconds), 4)
        job.note(seconds=rows)
