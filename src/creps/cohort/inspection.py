"""A page per prepared case, to be checked before training: planes, body outline, histogram, numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from creps import hu
from creps.cohort.cohort import INSPECTION, Case, Cohort
from creps.cohort.overview import overview_page, page_file
from creps.errors import CohortError
from creps.figures.picture import Picture, rendered
from creps.io.atomic import atomic_folder
from creps.io.picture import write_picture
from creps.parallel import WorkerDied, run_all
from creps.preprocessing.intensity import network_to_hu
from creps.volume import Array, Mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["inspect_cohort", "inspection_figure"]

CT_WINDOW_HU = (-1000.0, 600.0)
"""Wide enough to show the couch and the mask."""

BINS = 100
PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class _Page:
    """A case and where its page is written."""

    cohort: Cohort
    case: Case
    path: Path


def inspect_cohort(cohort: Cohort, progress: Callable[[int, int, str], None] | None = None, jobs: int = 1) -> Path:
    """Write a page per case and an overview into ``inspection/`` in the cohort's folder, replacing earlier ones.

    Args:
        cohort: The prepared cohort.
        progress: Called with (pages done, total pages, case).
        jobs: Number of processes.

    Returns:
        The overview, ``inspection/index.html``.

    Raises:
        CohortError: a case cannot be opened, or a process died.
    """
    folder = cohort.folder / INSPECTION
    cases = sorted(cohort.manifest.cases, key=lambda c: (c.modality != "mr", c.centre or "", c.case))
    with atomic_folder(folder) as temporary:
        pages = [_Page(cohort, case, temporary / page_file(case)) for case in cases]
        for done, (index, result) in enumerate(run_all(_draw, pages, jobs), start=1):
            if isinstance(result, WorkerDied):
                raise CohortError(f"The page of case '{cases[index].case}' could not be drawn.", "Use fewer jobs.")
            if progress is not None:
                progress(done, len(pages), cases[index].case)
        overview = overview_page(cohort.manifest, cases, cohort.failures(), cohort.folder.name)
        (temporary / "index.html").write_text(overview, encoding="utf-8")
    return folder / "index.html"


def inspection_figure(case: Case, array: Array, body: Mask) -> Picture:
    """Draw one page.

    Args:
        case: The case's entry in the manifest.
        array: (D, H, W) in network units.
        body: (D, H, W) body mask.

    Returns:
        The page, (rows, columns, 3).
    """
    from matplotlib.figure import Figure

    values, window, unit = _in_own_units(case, array, body)
    figure = Figure(figsize=(13, 3.9), facecolor="white")
    widths = [*(_extent_mm(case, plane)[1] for plane in range(3))]
    axes = figure.subplots(1, 5, width_ratios=[*(w / max(widths) for w in widths), 1.1, 0.9])
    centre = [(first + end) // 2 for first, end in case.body]
    for plane, axis in enumerate(axes[:3]):
        _draw_plane(axis, case, plane, values, body, centre[plane], window)
    _draw_histogram(axes[3], case, values[body], unit)
    axes[4].axis("off")
    axes[4].text(0, 1, _numbers(case, values, unit), va="top", fontsize=8, family="monospace", linespacing=1.5)
    figure.suptitle(
        f"{case.modality.upper()} {case.case}: as prepared. Not for diagnosis.", fontsize=10, x=0.01, ha="left"
    )
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.13, top=0.88, wspace=0.08)
    return rendered(figure, dpi=80)


def _draw(page: _Page) -> None:
    array, body = page.cohort.array(page.case), page.cohort.body(page.case)
    write_picture(inspection_figure(page.case, np.asarray(array), np.asarray(body)), page.path)


def _in_own_units(case: Case, array: Array, body: Mask) -> tuple[Array, tuple[float, float], str]:
    """Values in the source's unit, a grey window, and the unit's name."""
    if case.modality == "ct":
        return network_to_hu(array), CT_WINDOW_HU, "HU"
    values = array * np.float32(case.mr_divisor or 1.0)
    inside = values[body]
    top = float(np.percentile(inside, 99.5)) if inside.size else 1.0
    return values, (0.0, max(top, 1e-6)), "scanner units"


def _draw_plane(
    axis: Axes, case: Case, plane: int, values: Array, body: Mask, index: int, window: tuple[float, float]
) -> None:
    """Draw a plane through the middle of the body with the body's outline; anterior or superior is up."""
    height, width = _extent_mm(case, plane)
    image, outline = (_upright(np.moveaxis(a, plane, 0)[index], plane) for a in (values, body))
    extent = (0.0, width, height, 0.0)
    axis.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], extent=extent, interpolation="bilinear")
    if outline.any() and not outline.all():
        rows, columns = outline.shape
        x = (np.arange(columns) + 0.5) * width / columns
        y = (np.arange(rows) + 0.5) * height / rows
        axis.contour(x, y, outline, levels=[0.5], colors="#ff4040", linewidths=0.8)
    axis.set_title(PLANES[plane], fontsize=8, pad=2)
    axis.axis("off")


def _draw_histogram(axis: Axes, case: Case, inside: Array, unit: str) -> None:
    limits = hu.CT_RANGE if case.modality == "ct" else (0.0, 2 * (case.mr_divisor or 1.0))
    counts, edges = np.histogram(inside, bins=BINS, range=limits)
    axis.fill_between(edges[:-1], np.sqrt(counts / max(counts.max(), 1)), step="post", color="#4878a8")
    for value, style in ((case.intensity_p01, ":"), (case.intensity_p50, "-"), (case.intensity_p99, ":")):
        if value is not None:
            axis.axvline(value, color="#d06000", linestyle=style, linewidth=1)
    axis.set_title("inside the body (square root of the count)", fontsize=8, pad=2)
    axis.set_xlabel(unit, fontsize=8, labelpad=1)
    axis.set_xlim(*limits)
    axis.set_yticks([])
    axis.tick_params(labelsize=7)


def _numbers(case: Case, values: Array, unit: str) -> str:
    def listed(numbers: tuple[float, ...] | tuple[int, ...], form: str = "g") -> str:
        return " x ".join(f"{number:{form}}" for number in numbers)

    percentiles = (case.intensity_p01, case.intensity_p50, case.intensity_p99)
    lines = [
        f"split    {case.split}",
        f"centre   {case.centre or 'unknown'}",
        f"size     {listed(case.shape)}",
        f"spacing  {listed(case.spacing_mm)} mm",
        f"body     {listed(case.body_extent_mm, '.0f')} mm",
        f"range    {values.min():.4g} to {values.max():.4g}",
        f"         {unit}, as prepared",
        "source, in the body:",
        f"1/50/99% {' / '.join('-' if p is None else f'{p:.4g}' for p in percentiles)}",
    ]
    if case.mr_divisor is not None:
        lines.append(f"divisor  {case.mr_divisor:.4g}")
    if case.left_out_ml is not None:
        lines.append(f"left out {case.left_out_ml:.4g} ml of bright signal")
    source = case.source
    lines += ["file", *(source[i : i + 30] for i in range(0, len(source), 30))]
    return "\n".join(lines)


def _upright(plane_image: npt.NDArray[np.generic], plane: int) -> npt.NDArray[np.generic]:
    return plane_image if plane == 0 else plane_image[::-1]


def _extent_mm(case: Case, plane: int) -> tuple[float, float]:
    height, width = (n * s for i, (n, s) in enumerate(zip(case.shape, case.spacing_mm, strict=True)) if i != plane)
    return height, width
