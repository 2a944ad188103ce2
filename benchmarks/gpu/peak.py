"""What the device is, and the fastest matrix product that was measured on it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from benchmarks.gpu.job import Job

__all__ = ["device_seconds", "measure_peak", "wall_seconds"]


def measure_peak(job: Job) -> None:
    """Peak of bfloat16 products and of copies, each the best of many."""
    device, side = torch.device(job.sizes.device), job.sizes.peak_side
    job.note(device=describe(device))
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = min(device_seconds(lambda: a @ b, device, rounds=30))
    job.note(
        matrix_side=side,
        bf16_matrix_seconds=best,
        bf16_matrix_tflops=round(2 * side**3 / best / 1e12, 3),
    )
    other = torch.empty_like(a)
    best = min(device_seconds(lambda: other.copy_(a), device, rounds=30))
    job.note(copy_gb_per_second=round(2 * a.numel() * a.element_size() / best / 1e9, 1))


def describe(device: torch.device) -> dict[str, Any]:
    """The machine, without its name."""
    found: dict[str, Any] = {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device.type != "cuda":
        return {"name": "CPU", **found}
    properties = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "gpu_memory_gb": round(total / 1e9, 1),
        "gpu_memory_free_gb": round(free / 1e9, 1),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **found,
    }


def device_seconds(run: Callable[[], object], device: torch.device, rounds: int, warm_up: int = 2) -> list[float]:
    """Seconds of each of several calls, on the device's own clock where it has one."""
    for _ in range(warm_up):
        run()
    if device.type != "cuda":
        return [wall_seconds(run) for _ in range(rounds)]
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
    for first, last in events:
        first.record()
        run()
        last.record()
    torch.cuda.synchronize()
    return [first.elapsed_time(last) / 1000 for first, last in events]


def wall_seconds(run: Callable[[], object]) -> float:
    """Seconds of one call, the GPU's work included."""
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
