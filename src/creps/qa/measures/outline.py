"""Whether the body of the sCT is that of the MR, and lies where it lies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from creps.intake.image_checks import cut_slices
from creps.qa.measures.measure import Measure
from creps.qa.scene import Scene
from creps.volume import Array, Mask, Volume

__all__ = ["agreement", "contour", "cut_slices_share"]

FURTHEST = 4
"""Voxels: a shift is looked for up to this far (16 mm)."""

FEW = 50
"""Points of a slice; one with fewer is not the worst for a few of them."""

INNER_MM = 9.0
"""Left and right are compared deeper than this: the skin is much the same on both sides."""

HU_WINDOW = (-1000.0, 800.0)
SIGNAL_TOP = 3.0


def contour(scene: Scene) -> dict[str, Measure]:
    """Distance in mm between the skin of the sCT and the skin of the MR: mean and 95th percentile of both ways.

    Where the images end, no skin is looked for.
    """
    skins = [_surface(mask, scene.imaged) for mask in (scene.body, scene.sct_body)]
    if min(len(skin) for skin in skins) == 0:
        return {"contour_mean": Measure(None), "contour_p95": Measure(None)}
    trees = [cKDTree(skin * np.asarray(scene.spacing_mm)) for skin in skins]
    both = [
        trees[0].query(trees[1].data, workers=1)[0],
        trees[1].query(trees[0].data, workers=1)[0],
    ]
    distances, points = np.concatenate(both), np.concatenate([skins[1], skins[0]])
    sums = np.bincount(points[:, 0], distances)
    counts = np.bincount(points[:, 0])
    level = int(np.where(counts > 0, sums / np.maximum(counts, FEW), -1.0).argmax())
    on_level = points[:, 0] == level
    worst = points[on_level][distances[on_level].argmax()]
    place = (int(worst[0]), int(worst[1]), int(worst[2]))
    return {
        "contour_mean": Measure(float(distances.mean()), place),
        "contour_p95": Measure(float(np.percentile(distances, 95)), place),
    }


def cut_slices_share(body: Volume) -> Measure:
    """Share in % of the axial slices whose body reaches a side of the field of view, see `creps.intake.image_checks`.

    Args:
        body: Body mask over the whole field of view, on any grid.
    """
    upright = body.reoriented()
    cuts = cut_slices(upright.array > 0.5, upright.spacing_mm)
    return Measure(100 * cuts.share(cuts.some))


def agreement(scene: Scene) -> dict[str, Measure]:
    """How the edges of the sCT fit those of the MR.

    `shift`: how far in mm they are displaced. `edges_shared`: their correlation inside the body, 1 if they are alike.
    `mirrored`: how much better they fit than with left and right exchanged; below 0 they fit better exchanged.
    """
    mr, sct = _edges(scene)
    peak, _ = _best(mr, sct)
    inner = scene.depth_mm > INNER_MM
    mr_inner, as_is, exchanged = (_centred(edges, inner) for edges in (mr, sct, _exchanged(sct, scene.body)))
    return {
        "shift": Measure(float(np.linalg.norm(peak * np.asarray(scene.spacing_mm)))),
        "edges_shared": Measure(_correlation(mr, sct, scene.body & scene.imaged)),
        "mirrored": Measure(_best(mr_inner, as_is)[1] - _best(mr_inner, exchanged)[1]),
    }


def _centred(edges: Array, where: Mask) -> Array:
    """Edges less their mean within a mask, 0 outside: so the mask itself does not correlate."""
    mean = edges[where].mean() if where.any() else np.float32(0)
    return np.where(where, edges - mean, np.float32(0))


def _correlation(one: Array, other: Array, where: Mask) -> float:
    if where.sum() < 2 or not (one[where].std() > 0 and other[where].std() > 0):
        return 0.0
    return float(np.corrcoef(one[where], other[where])[0, 1])


def _exchanged(array: Array, body: Mask) -> Array:
    """Left and right exchanged about the middle of the body's box."""
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    if not len(columns):
        return np.zeros_like(array)
    low, high = int(columns[0]), int(columns[-1]) + 1
    flipped = np.zeros_like(array)
    flipped[:, :, low:high] = array[:, :, low:high][:, :, ::-1]
    return flipped


def _surface(mask: Mask, imaged: Mask) -> npt.NDArray[np.int64]:
    """(n, 3) voxels of a mask that have a neighbour outside; where the images end, the mask goes on."""
    inner = ndimage.binary_erosion(mask | ~imaged, border_value=1)
    return np.argwhere(mask & imaged & ~inner)


def _edges(scene: Scene) -> tuple[Array, Array]:
    """Root of the gradients of MR and sCT, so that the skin does not outweigh all else."""
    where = scene.imaged & (scene.body | scene.sct_body)
    near = ndimage.binary_dilation(where, iterations=2) & scene.imaged
    found = []
    for image in (np.sqrt(np.clip(scene.mr, 0, SIGNAL_TOP)), np.clip(scene.sct_hu, *HU_WINDOW) / 500):
        edges = np.sqrt(ndimage.gaussian_gradient_magnitude(image.astype(np.float32), 1.0))
        found.append(np.where(near, edges, np.float32(0)))
    return found[0], found[1]


def _best(fixed: Array, moving: Array) -> tuple[npt.NDArray[np.float64], float]:
    """Shift in voxels, with fractions, at which `moving` correlates best with `fixed`, and that correlation."""
    shape = [fft.next_fast_len(n + FURTHEST, real=True) for n in fixed.shape]
    spectra = [fft.rfftn(image, shape) for image in (fixed, moving)]
    correlation = fft.irfftn(spectra[1] * spectra[0].conj(), shape)
    reach = np.arange(-FURTHEST, FURTHEST + 1)
    near = correlation[np.ix_(reach, reach, reach)]
    peak = np.array(np.unravel_index(int(near.argmax()), near.shape))
    scale = float(np.sqrt((fixed.astype(np.float64) ** 2).sum() * (moving.astype(np.float64) ** 2).sum()))
    exact = [reach[p] + _vertex(near, peak, axis) for axis, p in enumerate(peak)]
    return np.array(exact), float(near.max()) / max(scale, 1e-9)


def _vertex(near: Array, peak: npt.NDArray[np.intp], axis: int) -> float:
    """Fraction of a voxel from a peak to the vertex of the parabola through it and its neighbours along an axis."""
    line = near[tuple(slice(None) if other == axis else int(peak[other]) for other in range(3))]
    at = int(peak[axis])
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = (float(value) for value in line[at - 1 : at + 2])
    bend = before - 2 * here + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
