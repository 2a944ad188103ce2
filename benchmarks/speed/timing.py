"""Alternatives timed side by side: every round runs all of them in turn, so that they share the machine's moods."""

from __future__ import annotations

import gc
import platform
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import torch

from creps.io.atomic import write_json
from creps.provenance import installed_version, provenance

__all__ = ["HERE", "Peak", "machine", "medians", "save", "timed"]

HERE = Path(__file__).parent
PEERS = ("monai", "torchio", "konfai", "onnxruntime", "openvino")


def timed(run: Callable[[], object]) -> float:
    """Seconds of one call, the GPU's work included."""
    gc.collect()
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def medians(
    alternatives: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    reference: str,
    warm_up: bool = True,
    against: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Name → median, least and most seconds, and ratios to the reference.

    `times_reference` is the median over rounds of the ratio within a round: what slows a whole round down cancels.
    `times` are the same to each of `against`.
    """
    if warm_up:
        for run in alternatives.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for number in range(rounds):
        names = list(alternatives)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds[name].append(timed(alternatives[name]))

    def ratio(name: str, other: str) -> float:
        return round(statistics.median(a / b for a, b in zip(seconds[name], seconds[other], strict=True)), 3)

    return {
        name: {
            "seconds": round(statistics.median(own), 4),
            "least": round(min(own), 4),
            "most": round(max(own), 4),
            "times_reference": ratio(name, reference),
            "rounds": rounds,
            **({"times": {other: ratio(name, other) for other in against}} if against else {}),
        }
        for name, own in seconds.items()
    }


class Peak(AbstractContextManager["Peak"]):
    """The most memory used while it is open, above what was used before: `grown` bytes."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.device, self.process, self.grown = device or torch.device("cpu"), psutil.Process(), 0

    def __enter__(self) -> Peak:
        gc.collect()
        self.base = self.most = self.process.memory_info().rss
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.base = torch.cuda.memory_allocated()
        self.open = True
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while self.open:
            self.most = max(self.most, self.process.memory_info().rss)
            time.sleep(0.005)

    def __exit__(self, *_: object) -> None:
        self.open = False
        self.thread.join()
        cuda = self.device.type == "cuda"
        self.grown = (torch.cuda.max_memory_allocated() if cuda else self.most) - self.base


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "bf16_units": sorted(_flags() & {"amx_bf16", "avx512_bf16"}),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_before": round(psutil.getloadavg()[0], 2),
        "peers": {name: installed_version(name) for name in PEERS},
    }


def save(name: str, **content: Any) -> None:
    """Write results/NAME.json beside this file."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{name}.json", {**provenance(), "machine": machine(), **content})


def _flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor()
