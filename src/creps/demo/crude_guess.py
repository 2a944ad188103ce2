"""A crude CT guess from unpaired statistics: a baseline without any network.

Cortical bone gives almost no MR signal and fat (unless it is suppressed) a strong one; in CT it is the other way
round. So the MR's grey values are matched to those of the cohort's CTs in *reversed* order, separately for each depth
under the skin and each height, where both modalities show the same tissues. Air is dark in both; its thickness
distinguishes it from bone. No pair is used. An earlier version used the guess to constrain the generator, see
docs/ablation.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from creps.cohort.cohort import Cohort
from creps.preprocessing.intensity import AIR_NETWORK
from creps.preprocessing.mask import depth_mm
from creps.volume import Array, Mask

__all__ = ["ContrastPrior", "fit_prior"]

DEPTHS_MM = (0.0, 4.5, 7.5, 10.5, 13.5, 16.5, 19.5, 22.5, 28.5, 40.0, 60.0)
"""Lower ends of the classes of depth under the skin: fine at the skull."""

HEIGHT_MM = 40.0
HEIGHTS = 5
"""Classes of distance from the top of the body, `HEIGHT_MM` thick; the last one is open."""

AIR_BELOW = -0.25
"""Network units: a CT voxel below this is air or borders on it, and is excluded from the matching."""

THICK_MM = 9.0
"""Dark structures thinner than this are not air."""

WATER = 0.0
"""Network units: the guess where the cohort's CTs have no values."""

PER_CASE = 10_000
"""About this many values of a case represent it in each class of place."""

QUANTILES = np.linspace(0, 100, 201)


@dataclass(frozen=True)
class ContrastPrior:
    """Reversed grey-value matching by place.

    Attributes:
        mr: class of place → quantiles of the MR in network units.
        ct: class of place → quantiles of the CT in network units, without air.
        air_share: Share of the body's voxels below the skin that is air in the CTs.
        spacing_mm: Of the cohort (D, H, W).
    """

    mr: dict[int, npt.NDArray[np.float64]]
    ct: dict[int, npt.NDArray[np.float64]]
    air_share: float
    spacing_mm: tuple[float, float, float]

    def guess(self, mr: Array, body: Mask) -> Array:
        """The CT guess for an MR.

        Args:
            mr: (D, H, W) in network units.
            body: (D, H, W) body mask.

        Returns:
            (D, H, W) in network units; air outside the body.
        """
        result = np.full(mr.shape, AIR_NETWORK, dtype=np.float32)
        places = _places(body, self.spacing_mm)
        result[body] = WATER
        for place in self.mr.keys() & self.ct.keys():
            here = places == place
            table = self.mr[place]  # ties count half, so that the many zeros do not all rank last
            order = np.searchsorted(table, mr[here], "left") + np.searchsorted(table, mr[here], "right")
            rank = np.clip((order - 1) / 2, 0, len(table) - 1) * (100 / (len(table) - 1))
            result[here] = np.interp(100 - rank, QUANTILES, self.ct[place])
        d, h, w = (max(3, 2 * round(THICK_MM / 2 / s) - 1) for s in self.spacing_mm)
        thick = ndimage.grey_closing(mr, size=(d, h, w))  # thin dark structures are filled
        deep = places >= HEIGHTS
        threshold = np.percentile(thick[deep], 100 * self.air_share) if deep.any() else -1.0
        result[deep & (thick <= threshold)] = AIR_NETWORK
        return result


def fit_prior(cohort: Cohort) -> ContrastPrior:
    """Collect the grey values of a cohort's training MRs and CTs by place."""
    spacing_mm = cohort.manifest.preparation.spacing_mm
    air, body = 0, 0
    tables: dict[str, dict[int, npt.NDArray[np.float64]]] = {}
    for modality in ("mr", "ct"):
        pools: dict[int, list[Array]] = {}
        for case in cohort.cases(modality, "train"):
            array, mask = np.asarray(cohort.array(case)), cohort.body(case)
            places = _places(mask, spacing_mm)
            if modality == "ct":
                deep = places >= HEIGHTS  # not the skin, which borders on the air outside
                air, body = air + int((array[deep] < AIR_BELOW).sum()), body + int(deep.sum())
                places[array < AIR_BELOW] = -1
            for place in np.unique(places[places >= 0]):
                values = array[places == place]
                pools.setdefault(int(place), []).append(values[:: max(1, len(values) // PER_CASE)])
        tables[modality] = {
            place: np.asarray(np.percentile(np.concatenate(v), QUANTILES), dtype=np.float64)
            for place, v in pools.items()
        }
    return ContrastPrior(tables["mr"], tables["ct"], air / max(1, body), spacing_mm)


def _places(body: Mask, spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.int64]:
    """The class of place of each voxel; -1 outside the body. Depth of the array runs to superior."""
    depth = np.digitize(depth_mm(body, spacing_mm), DEPTHS_MM) - 1
    slices = np.flatnonzero(body.any(axis=(1, 2)))
    top = int(slices[-1]) if len(slices) else 0
    below = np.maximum(0, (top - np.arange(len(body))) * spacing_mm[0])
    height = np.minimum(below // HEIGHT_MM, HEIGHTS - 1).astype(np.int64)
    return np.where(body, depth * HEIGHTS + height[:, None, None], -1)
