"""Properties of this machine: devices, precisions, cores and free memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from creps.errors import SettingsError

if TYPE_CHECKING:
    import torch

__all__ = [
    "affordable_processes",
    "available_bytes",
    "bf16_warning",
    "cores",
    "free_bytes",
    "resolve_device",
    "resolve_precision",
]

CGROUP = Path("/sys/fs/cgroup")


def resolve_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` → a device of this machine.

    Raises:
        SettingsError: an unknown name, or a device that this machine lacks.
    """
    import torch

    if name == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"There is no device '{name}'.", "Use auto, cpu, cuda, cuda:N or mps.") from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise SettingsError(f"Device not available: '{name}'.", "Use auto or cpu.")
    return device


def resolve_precision(name: str, device: torch.device) -> Literal["bf16", "fp32"]:
    """``auto``, ``bf16`` or ``fp32`` → bf16 or fp32; ``auto`` is bf16 where the hardware supports it.

    A CPU without bfloat16 instructions is tens of times slower with it than with float32 (benchmarks/speed).
    """
    import torch

    if name != "auto":
        return "bf16" if name == "bf16" else "fp32"
    if device.type == "cuda":
        units = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        found = any(_torch_says(torch.cpu, name) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        units = found and not _without_bf16(os.environ.get("ONEDNN_MAX_CPU_ISA", ""))
    else:
        units = False
    return "bf16" if units else "fp32"


def _without_bf16(highest: str) -> bool:
    """Whether oneDNN, PyTorch's library of convolutions, is limited to instructions without bfloat16."""
    return highest.upper() in ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def _torch_says(module: object, name: str) -> bool:
    """The answer of a private function of torch; False in versions without it, where float32 is used."""
    ask = getattr(module, name, None)
    return bool(ask()) if callable(ask) else False


def bf16_warning(name: str, device: torch.device) -> str | None:
    """A warning if bfloat16 is asked of a CPU without instructions for it, as another machine's model may do."""
    if device.type != "cpu" or name != "bf16" or resolve_precision("auto", device) == "bf16":
        return None
    return "this CPU has no bfloat16 instructions and is tens of times slower with it: set precision to auto or fp32"


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_bytes() -> int:
    """Free memory in bytes: of the machine, or of the container or job that this process runs in."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such limit, or the word "max"
        return free
    return max(0, min(free, limit - used))


def affordable_processes(bytes_each: float, reserved_bytes: float = 0.0) -> int:
    """As many processes as there are cores, or as four fifths of the free memory hold; at least one.

    Args:
        bytes_each: What a process takes.
        reserved_bytes: What others are going to take of the memory that is free now.
    """
    return max(1, min(cores(), int((0.8 * available_bytes() - reserved_bytes) / bytes_each)))


def free_bytes(device: torch.device) -> int:
    """Free memory of a device in bytes: a GPU's own, or `available_bytes`."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return available_bytes()
