"""What a training step takes: memory against the estimate printed before a run, and seconds.

Each configuration runs in a process of its own on random patches, so that peaks do not mix; the peak is
that of the resident memory (CPU) or of the allocator (GPU) above the loaded program, networks included::

    python -m benchmarks.training.memory [NAME …] [--device cuda]

Writes ``results-cpu.json`` or ``results-cuda.json`` beside this file; named configurations replace their rows only.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.common.memory import Peak
from creps.provenance import provenance
from creps.settings import load_settings
from creps.training.build import build_networks, build_style
from creps.training.memory import estimate_memory
from creps.training.processes import start_processes
from creps.training.step import TrainingStep

SMALL: dict[str, Any] = {"sampling.patch_size": [32, 64, 64], "training.batch_size": 4, "creps.slice_step": 4}

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("brain", SMALL),
    "small, 2 parts": ("brain", SMALL | {"training.accumulate": 2}),
    "small, 4 parts": ("brain", SMALL | {"training.accumulate": 4}),
    "small, activations again": ("brain", SMALL | {"training.checkpoint_activations": True}),
    "small, float32": ("brain", SMALL | {"training.precision": "fp32"}),
    "small, no style": ("brain", SMALL | {"creps.weight": 0}),
    "larger patch": ("brain", SMALL | {"sampling.patch_size": [64, 64, 64]}),
    "brain, one patch": ("brain", {"training.batch_size": 1}),
    "pelvis, one patch": ("pelvis", {"training.batch_size": 1}),
    "brain, batch 8 in 8 parts": ("brain", {"training.accumulate": 8}),
    "pelvis, batch 8 in 8 parts": ("pelvis", {"training.accumulate": 8}),
    "brain, batch 8 in 8 parts, activations again": (
        "brain",
        {"training.accumulate": 8, "training.checkpoint_activations": True},
    ),
    "brain": ("brain", {}),
    "pelvis": ("pelvis", {}),
}
"""Name → preset and changes. The last two are the paper's: GPUs only."""

STEPS = 3


def measure(name: str, device: str, steps: int, results: multiprocessing.Queue[dict[str, Any]]) -> None:
    preset, changes = CONFIGURATIONS[name]
    chosen = load_settings(
        preset, overrides={"recipe": "paper", "creps.weights": "random", "training.device": device, **changes}
    )
    style, processes = build_style(chosen), start_processes(chosen.training)
    started = time.perf_counter()
    estimate = estimate_memory(chosen, style)
    estimating = time.perf_counter() - started
    gc.collect()
    with Peak(processes.device) as peak:
        networks = build_networks(processes, chosen, style)
        step = TrainingStep(processes, networks, style.to(processes.device) if style else None, chosen)
        shape = (chosen.training.batch_size, 1, *chosen.sampling.patch_size)
        mr, ct = (torch.rand(shape, device=processes.device) for _ in range(2))
        mr, ct = (patches.contiguous(memory_format=torch.channels_last_3d) for patches in (mr, ct))
        seconds = []
        for _ in range(steps):
            started = time.perf_counter()
            step(mr, ct, 1, (mr, ct))
            if processes.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    results.put(
        {
            "estimate_gb": round(estimate.total / 1e9, 3),
            "measured_gb": round(peak.grown / 1e9, 3),
            "ratio": round(estimate.total / peak.grown, 2),
            "median_seconds_per_step": round(statistics.median(seconds[1:] or seconds), 2),
            "steps": steps,
            "seconds_to_estimate": round(estimating, 2),
            "batch_size": chosen.training.batch_size,
            "patch_size": list(chosen.sampling.patch_size),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="configurations; default: all that this device is for")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    path = Path(__file__).with_name(f"results-{options.device}.json")
    rows = json.loads(path.read_text())["rows"] if path.is_file() and options.names else {}
    context = multiprocessing.get_context("spawn")
    for name in options.names or [
        n for n in CONFIGURATIONS if options.device == "cuda" or n not in ("brain", "pelvis")
    ]:
        results = context.Queue()
        process = context.Process(target=measure, args=(name, options.device, options.steps, results))
        process.start()
        rows[name] = results.get()
        process.join()
        print(f"{name}: {rows[name]}", flush=True)
        machine = {"threads": torch.get_num_threads(), "memory_gb": round(psutil.virtual_memory().total / 1e9)}
        path.write_text(json.dumps({**provenance(), **machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
