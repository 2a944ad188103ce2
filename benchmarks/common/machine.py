"""The machine and the packages that a benchmark ran with."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import psutil
import torch

from creps.provenance import installed_version

__all__ = ["machine", "processor"]

PEERS = ("monai", "torchio", "konfai", "onnxruntime", "openvino")


def machine() -> dict[str, Any]:
    """Return what the results depend on, as plain JSON values."""
    return {
        "processor": processor(),
        "cores": psutil.cpu_count(logical=False),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "bf16_units": sorted(_flags() & {"amx_bf16", "avx512_bf16"}),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_before": round(psutil.getloadavg()[0], 2),
        "peers": {name: installed_version(name) for name in PEERS},
    }


def _flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor()
