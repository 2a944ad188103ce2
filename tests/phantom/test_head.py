"""Anatomy of the digital head."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from creps.errors import SettingsError
from creps.phantom import MR_CENTRES, TISSUE_ID, TISSUES, Phantom, head_patient
from creps.phantom.painting.tissues import TEXTURE_LENGTHS_MM
from creps.phantom.scanners.mr import signal
from tests.once import head_phantom

SPACING_MM = 4.0
BONE = ("cortical bone", "dense bone", "thin bone", "diploe", "marrow", "tooth")
BRAIN = ("grey matter", "white matter", "deep grey matter")


@pytest.fixture(scope="module")
def patient() -> Phantom:
    """A test patient: MR and aligned CT."""
    return head_phantom(3, SPACING_MM)


def is_any(patient: Phantom, names: tuple[str, ...]) -> np.ndarray:
    return np.isin(patient.labels.array, [TISSUE_ID[name] for name in names])


def test_tissue_fractions_sum_to_one(patient: Phantom) -> None:
    canvas = patient.body.canvas
    fractions = [canvas.mix({tissue.name: 1.0}) for tissue in TISSUES]
    assert min(part.min() for part in fractions) > -1e-5
    np.testing.assert_allclose(sum(fractions), 1.0, atol=1e-4)


def test_labels_name_the_largest_fraction_nearly_everywhere(patient: Phantom) -> None:
    fractions = np.stack([patient.body.canvas.mix({tissue.name: 1.0}) for tissue in TISSUES])
    dominant = fractions.max(axis=0) > 0.7
    agree = fractions.argmax(axis=0) == patient.labels.array
    assert agree[dominant].mean() > 0.99


def test_bone_encloses_the_brain() -> None:
    """Above the skull base, what is not bone falls into the brain and the outside, with no way between."""
    patient = head_patient(3, 2.5)
    bone = is_any(patient, BONE)
    vault = patient.body.canvas.points.z > 0.0
    regions, _ = ndimage.label(~bone & vault)
    brain = is_any(patient, BRAIN) & vault
    inside = np.unique(regions[brain])
    assert regions[-1, 0, 0] not in inside
    assert np.bincount(regions[brain]).max() > 0.95 * brain.sum()


def test_tissues_are_where_they_belong(patient: Phantom) -> None:
    points = patient.body.canvas.points
    heights = {name: float(points.z[is_any(patient, (name,))].mean()) for name in ("tooth", "vitreous", "white matter")}
    assert heights["tooth"] < heights["vitreous"] < heights["white matter"]
    for name in ("grey matter", "white matter", "csf", "cortical bone", "fat", "muscle", "disc", "blood", "mucosa"):
        assert is_any(patient, (name,)).any(), name


def test_brain_has_a_plausible_volume() -> None:
    patient = head_patient(11, 3.0, mr=False)
    voxel_ml = np.prod(patient.labels.spacing_mm) / 1000
    assert 900 < is_any(patient, BRAIN).sum() * voxel_ml < 1700


def test_mask_covers_the_patient_and_not_the_couch(patient: Phantom) -> None:
    mask = patient.mask.array > 0
    tissue = patient.labels.array > 0
    assert tissue[~mask].mean() < 0.005
    assert patient.ct_noise_free is not None
    couch = (patient.ct_noise_free.array > -950) & ~ndimage.binary_dilation(mask, iterations=2)
    assert couch.any()
    rows = patient.body.canvas.axes[1]
    assert rows[np.nonzero(couch)[1]].mean() > rows[np.nonzero(mask)[1]].mean() + 60


def test_truth_ct_lies_on_the_mr_grid_and_shows_the_same_anatomy(patient: Phantom) -> None:
    assert patient.mr is not None
    assert patient.ct is not None
    assert patient.mr.same_grid_as(patient.ct)
    assert patient.mr.same_grid_as(patient.labels)
    hu, mr = patient.ct.array, patient.mr.array
    deep = is_any(patient, ("fat",)) & (hu < -60)
    cortex = is_any(patient, ("cortical bone",)) & (hu > 1000)
    air = patient.body.canvas.mix({"air": 1.0}) > 0.99
    assert np.median(mr[deep]) > 2.5 * np.median(mr[cortex])
    assert np.median(mr[air]) < 0.1 * np.median(mr[deep])
    assert np.median(hu[air & (patient.mask.array > 0)]) == pytest.approx(-1000, abs=10)
    assert np.median(hu[is_any(patient, ("white matter",))]) == pytest.approx(30, abs=5)


def test_ct_noise_has_zero_mean_and_the_scanners_strength(patient: Phantom) -> None:
    assert patient.ct is not None
    assert patient.ct_noise_free is not None
    soft = is_any(patient, BRAIN)
    noise = (patient.ct.array - patient.ct_noise_free.array)[soft]
    assert abs(noise.mean()) < 1.0
    assert patient.parameters["ct_noise_hu"] * 0.85 < noise.std() < patient.parameters["ct_noise_hu"] * 1.3


def test_ct_holds_whole_hu_in_range(patient: Phantom) -> None:
    assert patient.ct is not None
    np.testing.assert_array_equal(patient.ct.array, np.rint(patient.ct.array))
    assert patient.ct.array.min() >= -1024
    assert patient.ct.array.max() <= 3071


def test_same_seed_same_patient_and_another_seed_another(patient: Phantom) -> None:
    again, other = head_patient(3, SPACING_MM), head_patient(4, SPACING_MM)
    assert again.mr is not None
    assert patient.mr is not None
    np.testing.assert_array_equal(again.mr.array, patient.mr.array)
    np.testing.assert_array_equal(again.labels.array, patient.labels.array)
    assert again.parameters == patient.parameters
    assert other.parameters["scale"] != patient.parameters["scale"]


def test_the_anatomy_does_not_depend_on_the_spacing() -> None:
    coarse, fine = head_patient(5, 4.0, ct=False), head_patient(5, 3.0, ct=False)
    volumes = [p.mask.array.sum() * np.prod(p.mask.spacing_mm) for p in (coarse, fine)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.01)
    assert coarse.parameters["scale"] == fine.parameters["scale"]


def test_centres_differ_in_raw_range_and_contrast() -> None:
    tops = []
    for centre in range(len(MR_CENTRES)):
        image = head_patient(6, 5.0, ct=False, centre=centre).mr
        assert image is not None
        tops.append(float(np.percentile(image.array, 99)))
    tops.sort()
    assert all(higher > 2 * lower for lower, higher in pairwise(tops))
    table = {tissue.name: tissue for tissue in TISSUES}
    ratios = [signal(table["grey matter"], c) / signal(table["white matter"], c) for c in MR_CENTRES]
    assert max(ratios) - min(ratios) > 0.1
    assert all(signal(table["cortical bone"], c) < 0.02 * signal(table["fat"], c) for c in MR_CENTRES)


# The images of one small head as they were before there was any other region: hash, and projection on
# a fixed pattern for processors that round the last bit of a sine or a power otherwise.
_PINNED = {
    "mr": ("cf2b7c3c14c08d2d", 10148578.93),
    "ct": ("7fd0b6c4143bd1b0", -24942241.42),
    "ct_noise_free": ("bb0877ec8ac2f015", -24943022.38),
    "mask": ("f6aa6e8e2bdf57f6", 15103.71),
    "labels": ("29ab12bd2f544ac7", 142845.71),
}


def test_heads_stay_what_they_were() -> None:
    patient = head_patient([7, 2, 0], 5.0)
    pattern = np.random.default_rng(0).random(patient.mask.array.shape)
    for name, (digest, projection) in _PINNED.items():
        array = getattr(patient, name).array
        if hashlib.sha256(array.tobytes()).hexdigest()[:16] != digest:
            assert float((array * pattern).sum()) == pytest.approx(
                projection, rel=1e-4 if name in ("mask", "labels") else 1e-5
            ), name


def test_new_tissues_leave_label_values_and_textures_alone() -> None:
    assert [tissue.name for tissue in TISSUES[:23]][-1] == "nerve"
    assert TISSUE_ID["urine"] == 23
    assert TEXTURE_LENGTHS_MM == (5, 12)


@pytest.mark.parametrize("spacing_mm", [0.0, -1.0, 5.1, float("nan")])
def test_spacing_out_of_range(spacing_mm: float) -> None:
    with pytest.raises(SettingsError, match="spacing"):
        head_patient(0, spacing_mm)
