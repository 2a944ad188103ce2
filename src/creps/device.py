"""Where networks run."""

from __future__ import annotations

import torch

from creps.errors import SettingsError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` → a device that is there.

    Raises:
        SettingsError: an unknown name, or a device that this machine lacks.
    """
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
        raise SettingsError(f"This machine has no device '{name}'.", "Use auto or cpu.")
    return device
