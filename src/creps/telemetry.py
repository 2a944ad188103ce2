"""Switch off what dependencies collect, send or read without being asked.

ONNX Runtime (1.32 at least) writes a device identifier and events below the home folder as soon as it is imported, on
Linux too, and sends them to its maker: processor, memory, host system, path of the interpreter. Logfire, which
pyRadPlan installs, hooks into every pydantic model, reads ``pyproject.toml`` of the working folder, fails if that is
broken, and delays a start by half a second. The Hugging Face hub counts its downloads.

A value that the user has set stays.

>>> from creps.telemetry import ONNX_RUNTIME
>>> ONNX_RUNTIME
{'ORT_DISABLE_TELEMETRY': '1'}
"""

from __future__ import annotations

import os

__all__ = ["COMMAND_LINE", "ONNX_RUNTIME", "switch_off"]

ONNX_RUNTIME = {"ORT_DISABLE_TELEMETRY": "1"}
"""To be set before ONNX Runtime is imported (its Privacy.md, "Disabling Telemetry")."""

COMMAND_LINE = {**ONNX_RUNTIME, "HF_HUB_DISABLE_TELEMETRY": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""For a process that is ours from its start. A library leaves pydantic's plugins to the program that imports it."""


def switch_off(variables: dict[str, str]) -> None:
    """Set environment variables that switch telemetry off, for this process and those that it starts.

    Args:
        variables: `ONNX_RUNTIME` or `COMMAND_LINE`.
    """
    for name, value in variables.items():
        os.environ.setdefault(name, value)
