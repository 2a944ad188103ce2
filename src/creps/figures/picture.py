"""What every figure is: an array of pixels, to be embedded in a report or written by `creps.io.picture`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "rendered"]

Picture = npt.NDArray[np.uint8]
"""Red, green and blue, (rows, columns, 3)."""


def rendered(figure: Figure, dpi: int) -> Picture:
    """Render a matplotlib figure, (rows, columns, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
