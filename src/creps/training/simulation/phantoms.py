"""Pairs from digital phantoms: exact anatomy, imaged again for every patch (not in the paper).

A phantom knows what every voxel is made of. So each visit gets another sequence, other tissue levels, another posture
and size, and another scanner, and its CT is the exact truth. (Learning from label maps imaged at random: Billot
et al. 2023, Medical Image Analysis 86:102789.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from creps import hu
from creps.patches import Triple
from creps.phantom import TISSUES
from creps.phantom.scanners.mr import relative_texture
from creps.phantom.tissue_map import Window
from creps.preprocessing.intensity import AIR_NETWORK, hu_to_network
from creps.training.simulation.fields import smooth_field
from creps.training.simulation.lookup import looked_up
from creps.training.simulation.masses import MASS_SHARE, add_mass
from creps.training.simulation.people import BONE, Person
from creps.training.simulation.postures import draw_places
from creps.training.simulation.scanner import scanned
from creps.training.simulation.sequences import draw_levels, relative_levels
from creps.volume import Array, Mask

__all__ = ["PhantomPairs", "imaged", "people_at"]

BONE_CENTRED = 0.4
"""Share of patches that are centred on bone."""

BESIDE_SHARE = 0.1
"""Share of patches centred anywhere in the patient or up to half a patch beside: some show air alone."""

MR_TEXTURE = {tissue.name: relative_texture(tissue) for tissue in TISSUES}
CT_TEXTURE = {tissue.name: tissue.hu_sd for tissue in TISSUES}
"""How strongly the texture modulates each tissue, relative in MR and in HU."""

CUT_SHARE = 0.25
"""Share of patches in which the field of view ends."""

AT_SKIN_SHARE, AT_SKIN_VOXELS = 0.5, 5
"""Share of these in which it ends at the skin, or at most this many voxels within."""


FIRST_PEOPLE, STEPS_PER_PERSON = 2, 8
"""People that the first step uses, and steps after which one more is used: they grow while the run continues.

On one core a person takes 5 to 16 s, and a step half a second or more.
"""


def people_at(step: int | None, count: int) -> int:
    """How many of `count` people the patches of a step show, whatever the machine.

    Args:
        step: Steps done before; None: all of them.
        count: How many there are in the end.
    """
    return count if step is None else min(count, FIRST_PEOPLE + step // STEPS_PER_PERSON)


class PhantomPairs:
    """Draws pairs of MR and CT patches from phantoms.

    Args:
        people: The phantoms to image; each is opened when a patch first shows it.
        size: Patch size (D, H, W).
        outside: Whether MRs have noise outside the body.
        spacing_mm: Voxel spacing (D, H, W) of the patches; default: that of the first person.
    """

    def __init__(
        self,
        people: Sequence[Person],
        size: Triple,
        *,
        outside: bool,
        spacing_mm: tuple[float, float, float] | None = None,
    ) -> None:
        self.people = people
        self.size, self.outside, self.spacing_mm = size, outside, spacing_mm or people[0].tissues.spacing_mm

    def draw(self, rng: np.random.Generator, step: int | None = None) -> tuple[Array, Array]:
        """A pair of patches.

        Args:
            rng: Source of everything: person, place, posture, sequence, scanner.
            step: Steps done before, see `people_at`.

        Raises:
            TrainingError: a person's file is damaged, or it is not there and no longer grows.

        Returns:
            MR and CT, each (D, H, W) in network units.
        """
        person = self.people[int(rng.integers(people_at(step, len(self.people))))]
        centre = self._centre(person, rng)
        places = draw_places(self.size, centre, self.spacing_mm, rng, person.tissues.spacing_mm)
        signal, ct, body = imaged(person, places, rng)
        mr = scanned(signal, body, self.spacing_mm, rng, outside=self.outside)
        _cut(mr, ct, body, rng)
        return mr, ct

    def _centre(self, person: Person, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """(3,) voxel indices that the middle of the patch shows."""
        if rng.random() < BESIDE_SHARE:
            reach = np.array(self.size) * self.spacing_mm / person.tissues.spacing_mm / 2
            low, high = person.inside
            return np.asarray(rng.uniform(low - reach, high + reach))
        if len(person.bone) and rng.random() < BONE_CENTRED:
            return np.asarray(person.bone[int(rng.integers(len(person.bone)))] + rng.uniform(-4, 4, 3))
        return _in_body(person, rng)


def imaged(person: Person, places: Array, rng: np.random.Generator) -> tuple[Array, Array, Mask]:
    """Image a person, without scanner effects.

    Args:
        person: The person.
        places: (3, D, H, W) voxel indices of the person, from `draw_places`.
        rng: Source of sequence, levels and texture.

    Returns:
        Signal in network units of MR, CT in network units, and body mask, each (D, H, W).
    """
    levels = relative_levels(draw_levels(rng), person.volumes)
    air = float(rng.uniform(0, 0.02))
    levels["air"] = air
    density = float(np.exp(rng.normal(0, 0.08)))  # of this person's bone
    numbers = {
        tissue.name: tissue.hu * (density if tissue.name in BONE else 1) + 0.3 * tissue.hu_sd * rng.standard_normal()
        for tissue in TISSUES
    }
    window = _window(places, person.tissues.shape)
    if window is None:
        empty = np.zeros(places.shape[1:], dtype=np.float32)
        return empty, empty + np.float32(AIR_NETWORK), empty > 0
    start = np.array([part.start for part in window], dtype=np.float32)[:, None, None, None]
    there = places - start
    tissues = person.tissues
    texture = smooth_field(tissues.body[window].shape, tissues.spacing_mm, 7.0, rng)
    signal, ct, of_signal, of_ct = tissues.mixed([levels, numbers, MR_TEXTURE, CT_TEXTURE], window)
    if rng.random() < MASS_SHARE:
        add_mass(signal, ct, tissues, window, levels, rng)
    signal *= 1 + rng.uniform(0.5, 2) * of_signal * texture
    ct += of_ct * texture
    mr, at, body = looked_up([signal, ct, tissues.body[window]], there, (air, hu.AIR, 0.0))
    return np.clip(mr, 0, None), hu_to_network(at), body >= 0.5


def _in_body(person: Person, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A random place in the body; anywhere in its box if it is not met soon."""
    for _ in range(20):
        centre = np.asarray(rng.uniform(*person.inside))
        if person.tissues.body[tuple(centre.astype(int))]:
            break
    return centre


def _window(places: Array, shape: Triple) -> Window | None:
    """The part of the phantom that a patch shows, or None where it shows nothing."""
    low = [max(0, int(np.floor(axis.min())) - 1) for axis in places]
    high = [min(n, int(np.ceil(axis.max())) + 2) for axis, n in zip(places, shape, strict=True)]
    if any(b - a < 2 for a, b in zip(low, high, strict=True)):
        return None
    first, second, third = (slice(a, b) for a, b in zip(low, high, strict=True))
    return first, second, third


def _cut(mr: Array, ct: Array, body: Mask, rng: np.random.Generator) -> None:
    """Now and then the field of view ends within the patch: nothing in any image beyond. In place."""
    if rng.random() >= CUT_SHARE:
        return
    axis, at_end = int(rng.integers(3)), rng.random() < 0.5
    n = mr.shape[axis]
    inside = np.flatnonzero(body.any(axis=tuple(other for other in range(3) if other != axis)))
    before_skin = 0 if not len(inside) else n - 1 - inside[-1] if at_end else inside[0]
    if before_skin > 0 and rng.random() < AT_SKIN_SHARE:
        cut = int(before_skin + rng.integers(AT_SKIN_VOXELS + 1))
    else:
        cut = int(rng.integers(1, max(2, n // 2)))
    where = [slice(None)] * 3
    where[axis] = slice(n - cut, n) if at_end else slice(0, cut)
    mr[tuple(where)], ct[tuple(where)] = 0, AIR_NETWORK
