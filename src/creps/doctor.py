"""``creps doctor``: what this machine has, and what to install or set. Works where torch does not."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Any, Literal

import psutil

from creps.errors import CrepsError
from creps.machine import available_bytes, cores, resolve_device, resolve_precision
from creps.provenance import installed_version

__all__ = ["Finding", "as_json", "examine_machine", "report"]

GIGABYTE = 1e9

LITTLE_MEMORY_GB = 4.0
"""With less, the larger shipped models and every training at 2 mm get tight."""

LITTLE_DISK_GB = 2.0
"""A cohort of 50 patients and the checkpoints of a run need about this much."""

EXTRAS: dict[str, tuple[tuple[str, ...], str]] = {
    "dose": (("pyRadPlan", "pymedphys", "numba"), "creps dose"),
    "paper": (("torchvision",), "recipe paper"),
    "export": (("onnx", "onnxruntime", "onnxscript"), "creps export"),
    "tensorboard": (("tensorboard",), "training.loggers"),
    "cluster": (("submitit",), "--slurm"),
    "service": (("pynetdicom", "cryptography"), "creps node"),
}
"""Extra → its packages, and what needs them."""


@dataclass(frozen=True)
class Finding:
    """One line about this machine.

    Attributes:
        name: What was checked.
        state: ``ok``, ``note`` (works, but something is slow or missing) or ``broken``.
        found: What is there.
        remedy: What to install or set; empty if nothing.
    """

    name: str
    state: Literal["ok", "note", "broken"]
    found: str
    remedy: str = ""


def examine_machine() -> list[Finding]:
    """Look at everything that creps needs on this machine.

    Returns:
        About ten findings, in the order in which to solve them. creps works if none is ``broken``.

    Examples:
        >>> from creps.doctor import examine_machine
        >>> [finding.name for finding in examine_machine()][:2]
        ['python', 'torch']
    """
    return [finding for look in LOOKS for finding in look()]


def report(findings: list[Finding]) -> str:
    """Findings as text, a line each, with the remedy on the same line.

    Examples:
        >>> from creps.doctor import Finding, report
        >>> print(report([Finding("GPU", "note", "none", "Train small models here.")]))
        note    GPU          none. Train small models here.
    """
    return "\n".join(
        f"{finding.state:<8}{finding.name:<13}{finding.found}{'. ' if finding.remedy else ''}{finding.remedy}"
        for finding in findings
    )


def as_json(findings: list[Finding]) -> list[dict[str, str]]:
    """Findings as plain JSON values."""
    return [asdict(finding) for finding in findings]


def _python() -> Iterator[Finding]:
    needed = metadata("creps")["Requires-Python"] if installed_version("creps") else ""
    missing = [name for name in _required() if installed_version(name) is None]
    found = f"creps {installed_version('creps') or 'from source'}, Python {platform.python_version()}"
    found += f", {platform.system()} {platform.machine()}"
    if missing:
        yield Finding("python", "broken", f"{found}; missing: {', '.join(missing)}", "Run pip install creps again.")
    else:
        yield Finding("python", "ok", f"{found} (needs {needed})" if needed else found)


def _required() -> list[str]:
    """Names of the packages that creps cannot do without."""
    lines = [line for line in (requires("creps") or [] if installed_version("creps") else []) if "extra ==" not in line]
    return ["".join(c if c.isalnum() or c in "-_." else " " for c in line).split()[0] for line in lines]


def _torch() -> Iterator[Finding]:
    """PyTorch, the processor and the GPU; the last two are known only if torch works."""
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken installation fails in many ways
        reason = " ".join(str(error).split())[:120]
        yield Finding("torch", "broken", f"cannot be imported ({reason})", "Install it anew: see pytorch.org.")
        yield Finding("CPU", "ok", f"{cores()} cores")
        return
    yield Finding("torch", "ok", str(torch.__version__))
    yield _cpu(torch)
    yield _gpu(torch)


def _cpu(torch: Any) -> Finding:
    units = resolve_precision("auto", resolve_device("cpu")) == "bf16"
    found = f"{cores()} cores, {torch.get_num_threads()} threads; "
    found += (
        "bfloat16 units: 1.3 to 4 times as fast as float32"
        if units
        else "no bfloat16 units: float32, up to 4 times slower"
    )
    if torch.get_num_threads() < cores() and "OMP_NUM_THREADS" in os.environ:
        return Finding("CPU", "note", found, f"Set OMP_NUM_THREADS to {cores()} to use all cores.")
    return Finding("CPU", "ok", found)


def _gpu(torch: Any) -> Finding:
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(0)
        found = f"{torch.cuda.get_device_name(0)}, {free / GIGABYTE:.0f} of {total / GIGABYTE:.0f} GB free"
        more = torch.cuda.device_count() - 1
        return Finding("GPU", "ok", found + (f", and {more} more" if more else ""))
    if torch.backends.mps.is_available():
        return Finding("GPU", "note", "Apple mps", "It is untested: add --device cpu if something fails.")
    built = torch.version.cuda
    remedy = "Synthesis takes seconds to minutes on the CPU; train at clinical resolution on a GPU."
    return Finding(
        "GPU", "note", f"none that PyTorch can use (built {f'for CUDA {built}' if built else 'without CUDA'})", remedy
    )


def _memory() -> Iterator[Finding]:
    free, total = available_bytes() / GIGABYTE, psutil.virtual_memory().total / GIGABYTE
    found = f"{free:.0f} of {total:.0f} GB free"
    if free < LITTLE_MEMORY_GB:
        yield Finding(
            "memory", "note", found, "Lower inference.batch_size, raise training.accumulate, or close programs."
        )
    else:
        yield Finding("memory", "ok", found)


def _disk() -> Iterator[Finding]:
    for name, folder in (("disk here", Path.cwd()), ("disk temp", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / GIGABYTE
        found = f"{free:.0f} GB free in {folder}"
        if not os.access(folder, os.W_OK):
            yield Finding(name, "note", f"{folder} cannot be written", "Change to a folder of yours, or set TMPDIR.")
        elif free < LITTLE_DISK_GB:
            yield Finding(name, "note", found, "Free some, or work on another disk.")
        else:
            yield Finding(name, "ok", found)


def _models() -> Iterator[Finding]:
    from creps.shipped.catalogue import shipped_names, verify

    try:
        files = verify()
    except CrepsError as error:
        yield Finding("models", "broken", error.what.rstrip("."), error.remedy)
    else:
        yield Finding("models", "ok", f"{', '.join(shipped_names())} ({len(files)} files as shipped)")


def _extras() -> Iterator[Finding]:
    lacking = {
        name: use for name, (packages, use) in EXTRAS.items() if any(installed_version(p) is None for p in packages)
    }
    there = ", ".join(name for name in EXTRAS if name not in lacking) or "none"
    if not lacking:
        yield Finding("extras", "ok", there)
        return
    missing = ", ".join(f"{name} (for {use})" for name, use in lacking.items())
    yield Finding("extras", "note", f"{there}; missing: {missing}", f"pip install 'creps[{','.join(lacking)}]'")


def _perceptual_weights() -> Iterator[Finding]:
    try:
        from creps.networks.backbone import cached_weights

        path = cached_weights("convnext_tiny")
    except Exception:  # noqa: BLE001 - torch was reported above
        return
    if path.is_file():
        yield Finding("ConvNeXt", "ok", f"ImageNet weights for recipe paper are in {path.parent}")
    else:
        yield Finding(
            "ConvNeXt", "note", "no ImageNet weights", "Only recipe paper needs them; it downloads 114 MB once."
        )


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python,
    _torch,
    _memory,
    _disk,
    _models,
    _extras,
    _perceptual_weights,
)
