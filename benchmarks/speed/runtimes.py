"""One forward pass by several runtimes: PyTorch as creps runs it, torch.compile, ONNX Runtime, OpenVINO.

::

    python -m benchmarks.speed.runtimes [--width 16] [--patch 32 84 84] [--rounds 5] [--threads 1 2]

For the environment of `requirements.txt`. Random weights, random patches, float32 unless it says bf16 (only where the
CPU has units for it; ``--emulated`` measures it all the same). **Once** is what a runtime takes before its first
prediction: compiling, or reading and optimising the exported file. Large pages are switched by
``THP_MEM_ALLOC_ENABLE``, which is recorded: run it with 0 and with 1. Writes ``results/runtimes.json``, or with
``--name`` another file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch

from benchmarks.common.timing import medians
from benchmarks.speed.models import generator, settings
from benchmarks.speed.results import save
from creps.export import export
from creps.inference.executor import Executor
from creps.machine import resolve_precision
from creps.model import Model, Plan
from creps.networks.generator import Generator
from creps.telemetry import ONNX_RUNTIME, switch_off
from creps.volume import Array

os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # a compilation is timed, not the reading of an older one

Forward = Callable[[Array], Array]
"""(1, D, H, W) in network units → the same."""

REFERENCE = "PyTorch, folded"


def by_torch(network: torch.nn.Module, layout: torch.memory_format) -> Forward:
    network = network.to(memory_format=layout)

    @torch.inference_mode()
    def run(patch: Array) -> Array:
        return network(torch.from_numpy(patch)[None].contiguous(memory_format=layout))[0].numpy()

    return run


def by_executor(network: Generator, precision: Any) -> Forward:
    executor = Executor(network, precision=precision)
    return lambda patch: executor.start(patch).result()


def by_onnxruntime(file: Path, threads: int) -> Forward:
    switch_off(ONNX_RUNTIME)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda patch: np.asarray(session.run(None, {"mr": patch[None]})[0][0])


def by_openvino(file: Path, threads: int) -> Forward:
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(file), "CPU", hints)
    return lambda patch: np.array(compiled({"mr": patch[None]})[0][0])


def exported(width: int, patch: list[int], network: Generator, folder: Path) -> Path:
    chosen = settings("brain", width, patch)
    plan = Plan(
        preparation=chosen.preparation, generator=chosen.generator, patch_size=chosen.sampling.patch_size,
        inference=chosen.inference,
    )  # fmt: skip
    return export(Model(plan, network), folder / "model.onnx").path


def makers(network: Generator, file: Path, threads: int, emulated: bool) -> dict[str, Callable[[], Forward]]:
    """Name → what makes the forward pass ready."""
    contiguous, last = torch.contiguous_format, torch.channels_last_3d
    found: dict[str, Callable[[], Forward]] = {
        REFERENCE: lambda: by_executor(network, "fp32"),
        "PyTorch, as written": lambda: by_torch(network, contiguous),
        "PyTorch, channels last": lambda: by_torch(network, last),
        "torch.compile": lambda: by_torch(torch.compile(network), last),
        "torch.compile, frozen": lambda: by_torch(torch.compile(network, options={"freezing": True}), last),
        "ONNX Runtime": lambda: by_onnxruntime(file, threads),
        "OpenVINO": lambda: by_openvino(file, threads),
    }
    if emulated or resolve_precision("auto", torch.device("cpu")) == "bf16":
        found["PyTorch, folded, bf16"] = lambda: by_executor(network, "bf16")
    return found


def compared(width: int, patch: list[int], rounds: int, threads: int, emulated: bool) -> dict[str, Any]:
    torch.set_num_threads(threads)
    network = generator(width)
    mr = np.random.default_rng(0).uniform(0, 2, (1, *patch)).astype(np.float32)
    runs, once, ours = {}, {}, None
    with tempfile.TemporaryDirectory() as folder:
        file = exported(width, patch, network, Path(folder))
        for name, make in makers(network, file, threads, emulated).items():
            started = time.perf_counter()
            try:
                forward = make()
                first = forward(mr)
            except Exception as error:  # noqa: BLE001 - a runtime that fails is a result
                print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}")
                once[name] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
                continue
            ours = first if ours is None else ours
            once[name] = {
                "once_seconds": round(time.perf_counter() - started, 2),
                "largest_difference": float(np.abs(first - ours).max()),
            }
            runs[name] = lambda forward=forward: forward(mr)
        rows: dict[str, dict[str, Any]] = medians(runs, rounds, reference=REFERENCE, warm_up=False)
    for name, told in once.items():
        rows[name] = rows.get(name, {}) | told
    return rows


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--patch", nargs=3, type=int, default=[32, 84, 84], metavar=("D", "H", "W"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--emulated", action="store_true", help="Measure bf16 without units for it too.")
    parser.add_argument("--name", default="runtimes")
    chosen = parser.parse_args()
    found = {}
    for threads in chosen.threads:
        print(f"{threads} threads")
        rows = found[str(threads)] = compared(chosen.width, chosen.patch, chosen.rounds, threads, chosen.emulated)
        for name, row in rows.items():
            if "seconds" in row:
                print(
                    f"  {name:26s}{row['seconds']:8.3f} s{row['times_reference']:8.3f} x   once {row['once_seconds']} s"
                    f"   off {row['largest_difference']:.1e}"
                )
    pages = os.environ.get("THP_MEM_ALLOC_ENABLE", "0")
    save(chosen.name, width=chosen.width, patch=chosen.patch, large_pages=pages, threads=found)


if __name__ == "__main__":
    main()
