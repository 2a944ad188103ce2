"""Volumes in three planes, in soft-tissue and bone windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from creps.figures.picture import Picture
from creps.volume import Array, Volume

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = [
    "BONE_WINDOW_HU",
    "SOFT_WINDOW_HU",
    "Panel",
    "comparison_figure",
    "mr_window",
    "patch_row",
    "synthesis_figure",
]

SOFT_WINDOW_HU = (-160.0, 240.0)
BONE_WINDOW_HU = (-450.0, 1550.0)

WIDEST = 286
"""Pixels of the widest panel; all panels share its scale."""

GAP = 8
"""Pixels between panels and around them."""

TITLE_HEIGHT = 20
"""Pixels above a panel for its title."""

HEAD_HEIGHT = 46
"""Pixels above all panels for the figure's title."""

FONT_SIZES = {"head": 14, "panel": 13}


@dataclass(frozen=True)
class Panel:
    """One image of a figure.

    Attributes:
        volume: The volume to draw; oriented by `Volume.reoriented`.
        title: The text above it.
        window: The values drawn black and white.
    """

    volume: Volume
    title: str
    window: tuple[float, float]


def synthesis_figure(mr: Volume, sct: Volume, title: str) -> Picture:
    """Draw an MR and its sCT (soft-tissue and bone window) in three planes.

    Args:
        mr: The MR, in any unit.
        sct: The synthetic CT in HU.
        title: The text above all panels.

    Returns:
        The figure, (rows, columns, 3).
    """
    mr, sct = mr.reoriented(), sct.reoriented()
    rows = [
        Panel(mr, "MR", mr_window(mr)),
        Panel(sct, "synthetic CT, soft tissue", SOFT_WINDOW_HU),
        Panel(sct, "synthetic CT, bone", BONE_WINDOW_HU),
    ]
    return _draw([[(panel, plane) for plane in range(3)] for panel in rows], title)


def comparison_figure(rows: Sequence[Sequence[Panel]], title: str, planes: Sequence[int] = (0, 2)) -> Picture:
    """Draw rows of panels, once per plane.

    Args:
        rows: The panels of each row.
        title: The text above all panels.
        planes: 0 axial, 1 coronal, 2 sagittal; each row of panels is drawn once for each of them.

    Returns:
        The figure, (rows, columns, 3).
    """
    oriented = [[Panel(panel.volume.reoriented(), panel.title, panel.window) for panel in row] for row in rows]
    return _draw([[(panel, plane) for panel in row] for row in oriented for plane in planes], title)


def patch_row(mr: Array, sct: Array, ct: Array | None) -> Picture:
    """Draw MR, sCT and CT patches in network units side by side: axial and coronal mid-planes.

    Args:
        mr: (D, H, W).
        sct: (D, H, W).
        ct: (D, H, W); None leaves it out.

    Returns:
        The row, (rows, columns, 3).
    """
    planes = []
    for image, window in ((mr, (0.0, 2.0)), (sct, (-1.0, 1.5)), (ct, (-1.0, 1.5))):
        if image is None:
            continue
        axial, coronal = image[image.shape[0] // 2], image[::-1, image.shape[1] // 2]
        planes += [_grey(axial, window), _grey(coronal, window)]
    height = max(plane.shape[0] for plane in planes)
    padded = [np.pad(plane, ((0, height - plane.shape[0]), (0, 2))) for plane in planes]
    row = np.pad(np.concatenate(padded, axis=1), ((0, 2), (0, 0)))
    enlarged = row.repeat(3, axis=0).repeat(3, axis=1)
    return np.stack([enlarged] * 3, axis=-1)


def mr_window(mr: Volume) -> tuple[float, float]:
    """Return a grey window for an MR: from 0 to its 99.5th percentile."""
    return 0.0, max(float(np.percentile(mr.array, 99.5)), 1e-6)


def _draw(lines: Sequence[Sequence[tuple[Panel, int]]], title: str) -> Picture:
    """Draw each line's (panel, plane) from left to right, all at one scale."""
    from PIL import Image, ImageDraw

    columns = range(max(len(line) for line in lines))
    scale = WIDEST / max(_extent_mm(panel.volume, plane)[1] for line in lines for panel, plane in line)
    images = [[_panel_image(panel, plane, scale) for panel, plane in line] for line in lines]
    widths = [max(line[column].width for line in images if column < len(line)) for column in columns]
    heights = [max(image.height for image in line) for line in images]
    size = (sum(widths) + GAP * (len(widths) + 1), HEAD_HEIGHT + sum(heights) + (TITLE_HEIGHT + GAP) * len(lines))
    figure = Image.new("RGB", size, "black")
    draw = ImageDraw.Draw(figure)
    head = f"{title}\nNot for diagnosis."
    draw.multiline_text((size[0] / 2, 5), head, "white", _font("head"), anchor="ma", align="center")
    top = HEAD_HEIGHT
    for line, line_images, height in zip(lines, images, heights, strict=True):
        left = GAP
        for (panel, _), image, width in zip(line, line_images, widths, strict=False):
            draw.text((left + width / 2, top + TITLE_HEIGHT - 4), panel.title, "white", _font("panel"), anchor="ms")
            figure.paste(image, (left + (width - image.width) // 2, top + TITLE_HEIGHT + (height - image.height) // 2))
            left += width + GAP
        top += TITLE_HEIGHT + height + GAP
    return np.array(figure)


def _panel_image(panel: Panel, plane: int, scale: float) -> Image:
    """The middle slice of a panel at `scale` pixels per mm."""
    from PIL import Image

    height, width = (max(1, round(scale * extent)) for extent in _extent_mm(panel.volume, plane))
    image = Image.fromarray(_grey(_plane(panel.volume, plane), panel.window))
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _font(kind: str) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(FONT_SIZES[kind])


def _grey(image: Array, window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Values as grey levels: the window's lower end is black, its upper end white."""
    low, high = window
    return (255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)


def _plane(volume: Volume, plane: int) -> npt.NDArray[np.float32]:
    """The middle slice: axial (anterior up), coronal or sagittal (superior up)."""
    middle = np.moveaxis(volume.array, plane, 0)[volume.shape[plane] // 2]
    return middle if plane == 0 else middle[::-1]


def _extent_mm(volume: Volume, plane: int) -> tuple[float, float]:
    height, width = (e for axis, e in enumerate(volume.extent_mm) if axis != plane)
    return height, width
