"""The tables of the page of the mask benchmark, and pictures of the real volumes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from creps.volume import Array, Mask, Volume

__all__ = ["draw_sheet", "write_tables"]

START, END = "<!-- tables: written by the command -->", "<!-- end of tables -->"

PLACES = ((0, 0.1), (0, 0.35), (0, 0.6), (0, 0.85), (1, 0.35), (1, 0.65), (2, 0.35), (2, 0.65))
"""Axis and place along the mask of the slices in a picture."""

WORST = ("lost_percent", "lost_piece_ml", "extra_percent", "thing_piece_ml")


def write_tables(page: Path, rows: Sequence[dict[str, Any]], real: Sequence[dict[str, Any]]) -> None:
    """Replace the tables of a page.

    Args:
        page: A Markdown file with the two marks.
        rows: Results on phantoms.
        real: Results on real volumes; without any, their table stays away.
    """
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(START)
    tables = [_worst(rows), *([_real(real)] if real else [])]
    page.write_text("\n\n".join([before + START, *tables, END + rest.split(END)[1]]), encoding="utf-8")


def _worst(rows: Sequence[dict[str, Any]]) -> str:
    """The worst row of each region and modality."""
    lines = []
    for region, modality in sorted({(row["region"], row["modality"]) for row in rows}):
        chosen = [row for row in rows if (row["region"], row["modality"]) == (region, modality)]
        lines.append([region, modality.upper(), len(chosen), *(max(row[key] for row in chosen) for key in WORST)])
    heads = [
        "region",
        "",
        "rows",
        "patient lost, %",
        "largest lost piece, ml",
        "extra, %",
        "largest piece of a thing, ml",
    ]
    return "Worst of all rows on phantoms:\n\n" + _table(heads, lines)


def _real(real: Sequence[dict[str, Any]]) -> str:
    keys = ("file", "kept_ml", "pieces", "smallest_piece_ml", "left_out_ml")
    lines = [[row["region"], row["modality"].upper(), *(row[key] for key in keys)] for row in real]
    return "Real volumes:\n\n" + _table(
        ["region", "", "volume", "kept, ml", "pieces", "smallest piece, ml", "left out, ml"], lines
    )


def _table(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    cells = [heads, ["---"] * len(heads), *([str(cell) for cell in line] for line in lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def draw_sheet(path: Path, volume: Volume, mask: Mask, modality: str) -> None:
    """Slices in three planes with the outline of the mask."""
    low, high = (-1000.0, 300.0) if modality == "ct" else (0.0, 0.5 * float(np.percentile(volume.array, 97)))
    figure = Figure(figsize=(3 * len(PLACES), 3.2))
    for i, (axis, share) in enumerate(PLACES):
        seen = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        place = int(seen[int(share * (len(seen) - 1))])
        picture, outline = (_upright(np.take(array, place, axis), axis) for array in (volume.array, mask))
        height_mm, width_mm = (s for other, s in enumerate(volume.spacing_mm) if other != axis)
        axes = figure.add_subplot(1, len(PLACES), i + 1)
        axes.imshow(picture, cmap="gray", vmin=low, vmax=high, aspect=height_mm / width_mm)
        rim = np.pad(outline, 1)
        rows, columns = (np.arange(-1, n - 1) for n in rim.shape)
        axes.contour(columns, rows, rim, [0.5], colors=["red"], linewidths=0.7)
        axes.set_axis_off()
    figure.suptitle(path.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70, bbox_inches="tight")


def _upright(plane: Array | Mask, axis: int) -> Array | Mask:
    return plane if axis == 0 else plane[::-1]
