"""What limits a step of the paper's brain preset: its own floating-point work, its convolutions alone, its kernels."""

from __future__ import annotations

import gc
import json
import statistics
from collections import Counter
from typing import Any

import torch
from benchmarks.gpu.convolutions import Recorder, alone_seconds, searching
from benchmarks.gpu.job import Job, result_file
from benchmarks.gpu.peak import wall_seconds
from benchmarks.gpu.settings import paper_settings
from torch.profiler import ProfilerActivity, profile

from creps.settings import Settings
from creps.training.build import build_networks, build_style
from creps.training.distribution import start_processes
from creps.training.step import TrainingStep

__all__ = ["Stepper", "measure_limits"]

KINDS = {
    "convolution": ("conv", "cudnn_convolution", "slow_conv", "mkldnn_convolution"),
    "norm": ("norm",),
    "optimizer": ("_foreach", "_fused_adam", "addcmul", "addcdiv", "sqrt"),
    "matrix product": ("mm", "matmul", "linear", "addmm"),
    "copy and cast": ("copy", "_to_copy", "clone", "cat", "contiguous", "Memcpy", "Memset"),
    "upsampling": ("upsample",),
    "activation": ("relu", "gelu", "threshold"),
}
"""Kind → parts of the names of operators; what fits none is elementwise and the rest."""

TOP = 20


class Stepper:
    """The training step of a preset on one batch that stays on the device: no data is waited for.

    Attributes:
        step: The package's own.
        device: Where.
    """

    def __init__(self, settings: Settings) -> None:
        once = settings.creps.model_copy(update={"balance": "never"})  # else the style is measured twice at first
        settings = settings.model_copy(update={"creps": once})
        fabric, style = start_processes(settings.training), build_style(settings)
        networks = build_networks(fabric, settings, style)
        self.device = fabric.device
        self.step = TrainingStep(fabric, networks, style.to(fabric.device) if style else None, settings)
        shape, torch_rng = settings.sampling.patch_size, torch.Generator().manual_seed(settings.training.seed)
        batch = [torch.rand(settings.training.batch_size, 1, *shape, generator=torch_rng) for _ in range(2)]
        mr, ct = (one.to(self.device, memory_format=torch.channels_last_3d) for one in batch)
        self.mr, self.ct = 2 * mr, 4 * ct - 1

    def __call__(self) -> None:
        """One step."""
        self.step(self.mr, self.ct, 1)

    def seconds(self, rounds: int, warm_up: int = 2) -> float:
        """Median seconds of a step."""
        for _ in range(warm_up):
            self()
        return round(statistics.median(wall_seconds(self) for _ in range(rounds)), 5)


def measure_limits(job: Job) -> None:
    """Time a step, count its work, profile it, then time its convolutions alone."""
    settings, rounds = paper_settings(job.sizes, "brain"), job.sizes.step_rounds
    stepper = Stepper(settings)
    device, seconds = stepper.device, stepper.seconds(rounds)
    job.note(seconds_per_step=seconds, images_per_second=round(settings.training.batch_size / seconds, 3))
    with Recorder() as recorder:
        stepper()
    tflop = recorder.flop / 1e12
    job.note(tflop_per_step=round(tflop, 6), tflops=round(tflop / seconds, 4), **share_of_peak(job, tflop / seconds))
    job.note(profile=profiled(stepper, rounds=min(3, rounds)))
    with searching(True):
        job.note(seconds_per_step_with_cudnn_search=stepper.seconds(rounds))
    del stepper
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    convolutions_alone(job, recorder.calls, device, seconds)


def share_of_peak(job: Job, tflops: float) -> dict[str, float | None]:
    """Of the bf16 matrix product that the part `peak` has measured."""
    file = result_file(job.work, "peak")
    peak = json.loads(file.read_text(encoding="utf-8")).get("bf16_matrix_tflops") if file.is_file() else None
    return {"share_of_bf16_matrix_peak": round(tflops / peak, 4) if peak else None}


def convolutions_alone(job: Job, calls: Counter[Any], device: torch.device, step_seconds: float) -> None:
    """Sum up the step's convolutions, each timed alone with the best algorithm that cuDNN finds for it."""
    total, done, rows = 0.0, 0, []
    with searching(True):
        for (operator, arguments), count, seconds in alone_seconds(calls, device, rounds=3):
            total, done = total + count * seconds, done + 1
            name = "backward" if "backward" in str(operator) else "forward"
            shapes = [list(one.shape) for one in arguments if hasattr(one, "shape")]
            rows.append({"way": name, "shapes": shapes, "count": count, "seconds": round(count * seconds, 6)})
            job.note(
                convolutions={
                    "kinds": len(calls),
                    "kinds_timed": done,
                    "seconds_with_best_algorithms": round(total, 6),
                    "share_of_the_step": round(total / step_seconds, 4),
                    "largest": sorted(rows, key=lambda row: -row["seconds"])[:10],
                }
            )


def profiled(stepper: Stepper, rounds: int) -> dict[str, Any]:
    """Share of the device's time by kind of operator, and the kernels that take most of it."""
    on_gpu = stepper.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as found:
        seconds = sum(wall_seconds(stepper) for _ in range(rounds))
    events = found.key_averages()
    operators = [event for event in events if event.device_type == torch.autograd.DeviceType.CPU]
    taken = {event.key: spent(event, on_gpu=on_gpu) for event in operators}
    on_device = [event for event in events if event.device_type == torch.autograd.DeviceType.CUDA]
    kernels = {event.key: spent(event, on_gpu=True) for event in on_device if event.key not in taken}  # no annotations
    kinds: dict[str, float] = {}
    for name, one in taken.items():
        kinds[kind_of(name)] = kinds.get(kind_of(name), 0.0) + one
    total = sum(kernels.values()) if on_gpu else sum(taken.values())
    by_kind = {name: round(one / total, 4) for name, one in sorted(kinds.items(), key=lambda item: -item[1])}
    top = sorted((kernels if on_gpu else taken).items(), key=lambda item: -item[1])[:TOP]
    return {
        "steps": rounds,
        "busy_share": round(total / seconds, 4),
        "by_kind": by_kind,
        "top_kernels": [{"name": name[:120], "share": round(one / total, 4)} for name, one in top],
    }


def spent(event: Any, *, on_gpu: bool) -> float:
    """Seconds of an operator or kernel itself."""
    return (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6


def kind_of(name: str) -> str:
    """The kind of an operator."""
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "elementwise, rest")
