"""Charts as SVG within the page: they follow its colours, light or dark, and print sharply."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from creps.volume import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "curves", "dots", "histogram"]

INK = "#010203"
"""Stands for the page's text colour while matplotlib draws."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of lines: Okabe and Ito's, which colour-blind readers can distinguish."""

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 3)))
"""Of lines: the second way to tell them apart."""

SIZE = (6.4, 3.0)

HU_RANGE, BINS = (-1050.0, 2000.0), 160


def histogram(images: Mapping[str, Array]) -> str:
    """Histograms of HU, on a logarithmic scale.

    Args:
        images: Name → voxels.

    Returns:
        The chart as SVG.
    """

    def draw(axis: Axes) -> None:
        for number, (name, voxels) in enumerate(images.items()):
            counts, edges = np.histogram(voxels, bins=BINS, range=HU_RANGE)
            share = 100 * counts / max(1, counts.sum())
            axis.step(edges[:-1], share, where="post", label=name, **_line(number))
        axis.set_yscale("log")
        axis.set_xlim(*HU_RANGE)
        axis.set_xlabel("HU")
        axis.set_ylabel("% of the voxels")
        axis.legend(frameon=False, labelcolor=INK)

    return _svg(draw, f"histogram {list(images)}")


def curves(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str) -> str:
    """Lines over a common axis.

    Args:
        lines: Name → values along x and y.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.

    Returns:
        The chart as SVG.
    """

    def draw(axis: Axes) -> None:
        for number, (name, (along, values)) in enumerate(lines.items()):
            few = len(along) < 30
            axis.plot(along, values, label=name, marker="." if few else None, **_line(number))
        axis.set_xlabel(x)
        axis.set_ylabel(y)
        axis.legend(frameon=False, labelcolor=INK)

    return _svg(draw, f"curves {list(lines)} {y}")


def dots(values: Mapping[str, Sequence[float]], label: str) -> str:
    """A row of dots for each group: a distribution of few values, each of them seen, with its median.

    Args:
        values: Group → values.
        label: Label of the axis.

    Returns:
        The chart as SVG.
    """

    def draw(axis: Axes) -> None:
        for row, (_, group) in enumerate(values.items()):
            colour = COLOURS[row % len(COLOURS)]
            height = row + 0.12 * (np.arange(len(group)) % 3 - 1)  # so that equal values are told apart
            axis.plot(group, height, "o", color=colour, alpha=0.75, markersize=5)
            axis.plot([np.median(group)] * 2, [row - 0.38, row + 0.38], color=INK, linewidth=2)
        axis.set_yticks(range(len(values)), list(values))
        axis.set_ylim(len(values) - 0.5, -0.5)
        axis.set_xlabel(f"{label} (a dot per case, line: median)")

    return _svg(draw, f"dots {list(values)} {label}", height=1.1 + 0.55 * len(values))


def _line(number: int) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": 1.6,
    }


def _svg(draw: Callable[[Axes], None], salt: str, height: float = SIZE[1]) -> str:
    """Draw one chart; `salt` keeps its identifiers apart from those of other charts of the page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    inked = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color")
    settings: dict[Any, Any] = dict.fromkeys(inked, INK)
    settings |= {"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(SIZE[0], height), layout="constrained")
        figure.patch.set_alpha(0)
        axis = figure.subplots()
        axis.patch.set_alpha(0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
        draw(axis)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg class="chart" role="img" viewBox="\1">', text, count=1)
