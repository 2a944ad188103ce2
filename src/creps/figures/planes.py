"""Pictures for people: three planes, soft-tissue and bone windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from creps.io.atomic import atomic_file
from creps.volume import Array, Volume

__all__ = ["BONE_WINDOW_HU", "SOFT_WINDOW_HU", "Panel", "comparison_figure", "patch_row", "synthesis_figure"]

SOFT_WINDOW_HU = (-160.0, 240.0)
BONE_WINDOW_HU = (-450.0, 1550.0)


@dataclass(frozen=True)
class Panel:
    """One image of a figure.

    Attributes:
        volume: What is shown; oriented by `Volume.reoriented`.
        title: Above it.
        window: Grey from and to.
    """

    volume: Volume
    title: str
    window: tuple[float, float]


def synthesis_figure(path: Path, mr: Volume, sct: Volume, title: str) -> None:
    """Write a PNG: MR and sCT (soft-tissue and bone window) in three planes."""
    mr, sct = mr.reoriented(), sct.reoriented()
    rows = [
        Panel(mr, "MR", mr_window(mr)),
        Panel(sct, "synthetic CT, soft tissue", SOFT_WINDOW_HU),
        Panel(sct, "synthetic CT, bone", BONE_WINDOW_HU),
    ]
    _draw(path, [[(panel, plane) for plane in range(3)] for panel in rows], title)


def comparison_figure(path: Path, rows: Sequence[Sequence[Panel]], title: str, planes: Sequence[int] = (0, 2)) -> None:
    """Write a PNG: for each row of panels one line of images per plane (0 axial, 1 coronal, 2 sagittal)."""
    oriented = [[Panel(panel.volume.reoriented(), panel.title, panel.window) for panel in row] for row in rows]
    _draw(path, [[(panel, plane) for panel in row] for row in oriented for plane in planes], title)


def patch_row(mr: Array, sct: Array, ct: Array) -> npt.NDArray[np.uint8]:
    """MR | sCT | CT patches in network units: axial and coronal mid-planes, (rows, columns, 3)."""

    def grey(image: Array, low: float, high: float) -> npt.NDArray[np.uint8]:
        return (255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)

    planes = []
    for image, low, high in ((mr, 0.0, 2.0), (sct, -1.0, 1.5), (ct, -1.0, 1.5)):
        axial, coronal = image[image.shape[0] // 2], image[::-1, image.shape[1] // 2]
        planes += [grey(axial, low, high), grey(coronal, low, high)]
    height = max(plane.shape[0] for plane in planes)
    padded = [np.pad(plane, ((0, height - plane.shape[0]), (0, 2))) for plane in planes]
    row = np.pad(np.concatenate(padded, axis=1), ((0, 2), (0, 0)))
    enlarged = row.repeat(3, axis=0).repeat(3, axis=1)
    return np.stack([enlarged] * 3, axis=-1)


def mr_window(mr: Volume) -> tuple[float, float]:
    """From 0 to the bright end of an MR."""
    return 0.0, max(float(np.percentile(mr.array, 99.5)), 1e-6)


def _draw(path: Path, lines: Sequence[Sequence[tuple[Panel, int]]], title: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(line) for line in lines)
    heights = [max(_extent_mm(panel.volume, plane)[0] for panel, plane in line) for line in lines]
    widths = [
        max(_extent_mm(line[c][0].volume, line[c][1])[1] for line in lines if c < len(line)) for c in range(columns)
    ]
    inches = 2.6 / max(widths)
    figure = Figure(
        figsize=(inches * sum(widths) + 0.2, inches * sum(heights) + 0.26 * len(lines) + 0.5), facecolor="black"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(lines), columns, squeeze=False, width_ratios=widths, height_ratios=heights)
    for axis in axes.flat:
        axis.axis("off")
    for line, row in zip(lines, axes, strict=True):
        for (panel, plane), axis in zip(line, row, strict=False):
            height, width = _extent_mm(panel.volume, plane)
            axis.imshow(
                _plane(panel.volume, plane),
                cmap="gray",
                vmin=panel.window[0],
                vmax=panel.window[1],
                extent=(0, width, height, 0),
                interpolation="bilinear",
            )
            axis.set_title(panel.title, color="white", fontsize=8, pad=3)
    figure.suptitle(f"{title}\nNot for diagnosis.", color="white", fontsize=9, y=0.995, va="top")
    figure.subplots_adjust(
        left=0.01, right=0.99, bottom=0.01, top=1 - 0.62 / figure.get_figheight(), wspace=0.03, hspace=0.16
    )
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="black")


def _plane(volume: Volume, plane: int) -> npt.NDArray[np.float32]:
    """The middle slice: axial (anterior up), coronal or sagittal (superior up)."""
    middle = np.moveaxis(volume.array, plane, 0)[volume.shape[plane] // 2]
    return middle if plane == 0 else middle[::-1]


def _extent_mm(volume: Volume, plane: int) -> tuple[float, float]:
    height, width = (e for axis, e in enumerate(volume.extent_mm) if axis != plane)
    return height, width
