"""Pictures of a comparison, as arrays of pixels: dose wash, difference, gamma and DVH."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from creps.dose.dvh import curve
from creps.figures import SOFT_WINDOW_HU, Picture
from creps.figures.picture import rendered
from creps.volume import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from creps.dose.compare import DoseComparison

__all__ = ["difference_figure", "dose_figures", "dvh_figure", "gamma_figure", "wash_figure"]

LOWEST_SHARE = 0.1
"""Of the prescription: lower doses are not drawn."""

LARGEST_DIFFERENCE = 0.1
"""Of the prescription: the ends of the scale of differences."""

LEAST_PERCENT = 0.5
"""Of the prescription: smaller differences are not drawn."""

DPI = 100

PLANES = ("axial", "coronal", "sagittal")

COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple", "tab:brown", "tab:pink", "tab:cyan")


def dose_figures(result: DoseComparison) -> dict[str, Picture]:
    """All pictures by name: ``wash_ct``, ``wash_sct``, ``difference``, ``dvh``, ``gamma``.

    Args:
        result: The comparison.
    """
    return {
        "wash_ct": wash_figure(result, "ct"),
        "wash_sct": wash_figure(result, "sct"),
        "difference": difference_figure(result),
        "dvh": dvh_figure(result),
        "gamma": gamma_figure(result),
    }


def wash_figure(result: DoseComparison, which: str) -> Picture:
    """Draw the dose over one image, in three planes through the isocentre.

    Args:
        result: The comparison.
        which: ``ct`` or ``sct``.

    Returns:
        The figure, (rows, columns, 3).
    """
    prescription = result.document.plan.prescription_gy
    dose = result.ct.total_gy if which == "ct" else result.sct.total_gy
    shown = np.where(dose >= LOWEST_SHARE * prescription, dose, np.nan)
    called = result.document.reference_name if which == "ct" else "sCT"
    return _overlay(result, which, shown, f"Dose on the {called}", "Gy per fraction", (0.0, 1.1 * prescription), "jet")


def difference_figure(result: DoseComparison) -> Picture:
    """Draw dose on the sCT minus dose on the CT, over the sCT.

    Returns:
        The figure, (rows, columns, 3).
    """
    prescription = result.document.plan.prescription_gy
    percent = 100 * (result.sct.total_gy - result.ct.total_gy) / prescription
    shown = np.where(np.abs(percent) >= LEAST_PERCENT, percent, np.nan)
    end = 100 * LARGEST_DIFFERENCE
    reference = result.document.reference_name
    title = f"Dose on the sCT minus dose on the {reference} (less than {LEAST_PERCENT:g} % is not drawn)"
    return _overlay(result, "sct", shown, title, "% of the prescription", (-end, end), "coolwarm")


def gamma_figure(result: DoseComparison) -> Picture:
    """Draw the gamma map of the first criterion, over the sCT.

    Returns:
        The figure, (rows, columns, 3).
    """
    gamma = result.gammas[0]
    share = result.document.gamma[gamma.name]
    within = "no voxel counts" if share is None else f"{100 * share:.1f} % of the voxels within 1"
    title = f"Gamma {gamma.percent:g} %/{gamma.distance_mm:g} mm, global: {within}"
    return _overlay(result, "sct", gamma.map, title, "gamma", (0.0, 1.25), "viridis")


def dvh_figure(result: DoseComparison) -> Picture:
    """Draw the dose–volume histograms: solid on the CT, dashed on the sCT.

    Returns:
        The figure, (rows, columns, 3).
    """
    from matplotlib.figure import Figure

    highest = float(max(result.ct.total_gy.max(), result.sct.total_gy.max()))
    levels = np.linspace(0.0, 1.02 * highest, 300)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    for number, (name, share) in enumerate(_ordered(result).items()):
        colour = COLOURS[number % len(COLOURS)]
        axis.plot(levels, 100 * curve(result.ct.total_gy, share, levels), color=colour, label=name)
        axis.plot(levels, 100 * curve(result.sct.total_gy, share, levels), color=colour, linestyle="--")
    axis.set_xlabel("dose per fraction in Gy")
    axis.set_ylabel("volume in %")
    axis.set_xlim(0, levels[-1])
    axis.set_ylim(0, 102)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    _head(figure, f"DVH: solid on the {result.document.reference_name}, dashed on the sCT")
    return rendered(figure, dpi=DPI)


def _ordered(result: DoseComparison) -> dict[str, Array]:
    """The target first, then the others by name."""
    others = {name: share for name, share in result.scene.structures.items() if name != result.scene.target}
    return {result.scene.target: result.scene.structures[result.scene.target], **dict(sorted(others.items()))}


def _overlay(
    result: DoseComparison,
    which: str,
    shown: npt.NDArray[np.floating[Any]],
    title: str,
    unit: str,
    ends: tuple[float, float],
    colours: str,
) -> Picture:
    """Three planes through the isocentre: HU in grey, values in colour, the target's outline."""
    from matplotlib.figure import Figure

    scene = result.scene
    back = scene.ct.hu if which == "ct" else scene.sct.hu
    centre = scene.grid.nearest_voxel(scene.isocentre_mm)
    planes = [_planes(array, centre) for array in (back, shown, scene.structures[scene.target])]
    widths = [plane.shape[1] for plane in planes[0]]
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=widths)
    images = []
    for axis, name, grey, value, target in zip(axes, PLANES, *planes, strict=True):
        axis.imshow(grey, cmap="gray", vmin=SOFT_WINDOW_HU[0], vmax=SOFT_WINDOW_HU[1])
        images.append(axis.imshow(value, cmap=colours, vmin=ends[0], vmax=ends[1], alpha=0.55))
        if (target >= 0.5).any() and (target < 0.5).any():
            axis.contour(target, levels=[0.5], colors="white", linewidths=1.2)
        axis.set_title(name, fontsize=10)
        axis.axis("off")
    figure.colorbar(images[0], ax=list(axes), label=unit, shrink=0.8)
    _head(figure, title)
    return rendered(figure, dpi=DPI)


def _head(figure: Figure, title: str) -> None:
    figure.suptitle(f"{title}\nNot for diagnosis, not for clinical use.", fontsize=11)


def _planes(array: npt.NDArray[Any], centre: tuple[int, int, int]) -> list[npt.NDArray[Any]]:
    """Axial (anterior up), coronal and sagittal (superior up)."""
    depth, row, column = centre
    return [array[depth], array[::-1, row], array[::-1, :, column]]
