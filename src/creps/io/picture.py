"""Write pictures as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from creps.io.atomic import atomic_file

__all__ = ["write_picture"]


def write_picture(picture: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a picture as a PNG, atomically.

    Args:
        picture: Red, green and blue, (rows, columns, 3).
        path: The file to write; its folder is created if needed.
    """
    from PIL import Image

    with atomic_file(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")
