"""What a department runs: a watch folder and a DICOM node. Each synthesizes, checks, reports and sends on its own."""

from __future__ import annotations

from creps.service.run import run_node, watch
from creps.service.settings import ServiceSettings, read_service_settings

__all__ = ["ServiceSettings", "read_service_settings", "run_node", "watch"]
