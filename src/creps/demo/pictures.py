"""Pictures of the demo: MR, sCTs and true CT of patients side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from creps.demo.patients import Patient
from creps.figures import BONE_WINDOW_HU, Panel, comparison_figure, mr_window
from creps.io.picture import write_picture
from creps.volume import Array

__all__ = ["draw", "panels_of"]


def panels_of(patient: Patient, scts_hu: Mapping[str, Array]) -> list[Panel]:
    """The MR of a patient, sCTs, and the true CT: one row of a comparison.

    Args:
        patient: With its truth.
        scts_hu: Title → (D, H, W) in HU on the grid of the MR.
    """
    panels = [Panel(patient.mr, "MR (input)", mr_window(patient.mr))]
    panels += [Panel(patient.mr.with_array(array), title, BONE_WINDOW_HU) for title, array in scts_hu.items()]
    return [*panels, Panel(patient.ct, "true CT (never seen)", BONE_WINDOW_HU)]


def draw(path: Path, rows: Sequence[Sequence[Panel]], title: str) -> Path:
    """Write a comparison of several patients as a picture, and return its path."""
    write_picture(comparison_figure(rows, title), path)
    return path
