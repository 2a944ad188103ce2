"""Anatomy of the digital pelvis."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from creps.errors import SettingsError
from creps.phantom import PELVIS_MR_CENTRES, TISSUE_ID, TISSUES, Phantom, pelvis_patient
from creps.phantom.painting.shapes import Points
from creps.phantom.pelvis.anatomy import PelvisSubject, grow_pelvis
from creps.phantom.pelvis.bones import CENTRE, JOINT_MM
from creps.phantom.pelvis.person import PelvisPerson, PelvisPosture
from creps.phantom.scanners.mr import signal
from tests.once import pelvis_phantom

SPACING_MM = 4.0
MAN, WOMAN = 1, 9
BONE = ("cortical bone", "thin bone", "marrow", "trabecular bone", "yellow marrow")
BLADDER = ("urine", "bladder wall")
TABLE = {tissue.name: tissue for tissue in TISSUES}


@pytest.fixture(scope="module")
def man() -> Phantom:
    """A test patient: MR, aligned CT and the CT of another sitting."""
    return pelvis_phantom(MAN, SPACING_MM)


@pytest.fixture(scope="module")
def woman() -> Phantom:
    """Likewise."""
    return pelvis_phantom(WOMAN, SPACING_MM, centre=1)


@pytest.fixture(params=["man", "woman"])
def patient(request: pytest.FixtureRequest) -> Phantom:
    return request.getfixturevalue(request.param)


def is_any(labels: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return np.isin(labels, [TISSUE_ID[name] for name in names])


def atlas(patient: Phantom) -> Points:
    return patient.body.canvas.points


def voxel_ml(patient: Phantom) -> float:
    return float(np.prod(patient.labels.spacing_mm)) / 1000


def urine_ml(patient: Phantom, labels: np.ndarray) -> float:
    return float(is_any(labels, ("urine",)).sum()) * voxel_ml(patient)


def test_tissue_fractions_sum_to_one(man: Phantom) -> None:
    fractions = [man.body.canvas.mix({tissue.name: 1.0}) for tissue in TISSUES]
    assert min(part.min() for part in fractions) > -1e-5
    np.testing.assert_allclose(sum(fractions), 1.0, atol=1e-4)


def test_tissues_are_present(patient: Phantom) -> None:
    labels = patient.labels.array
    for name in (
        *BONE, *BLADDER, "air", "skin", "fat", "muscle", "cartilage", "disc", "blood", "nerve", "csf", "bowel wall",
        "bowel content", "stool",
    ):  # fmt: skip
        assert is_any(labels, (name,)).any(), name


def test_organs_of_one_sex_only(man: Phantom, woman: Phantom) -> None:
    assert (man.parameters["female"], woman.parameters["female"]) == (False, True)
    male, female = ("prostate", "peripheral zone"), ("uterus", "endometrium")
    assert is_any(man.labels.array, male).any()
    assert is_any(woman.labels.array, female).any()
    assert not is_any(woman.labels.array, male).any()
    assert not is_any(man.labels.array, female).any()
    assert "prostate" not in woman.parameters
    assert "uterus" not in man.parameters


def test_organs_lie_where_they_belong(man: Phantom, woman: Phantom) -> None:
    def place(patient: Phantom, *names: str) -> np.ndarray:
        here = is_any(patient.labels.array, names) & (np.abs(atlas(patient).x) < 45) & (atlas(patient).z < 60)
        return np.array([float(part[here].mean()) for part in (atlas(patient).y, atlas(patient).z)])

    for patient in (man, woman):
        assert place(patient, "stool")[0] > place(patient, "urine")[0] + 25  # rectum behind bladder
    assert place(man, "prostate")[1] < place(man, "urine")[1] - 15
    assert place(woman, "urine")[0] < place(woman, "uterus")[0] < place(woman, "stool")[0]


def test_bone_is_symmetric_inside_the_body_and_one_ring(patient: Phantom) -> None:
    bone = is_any(patient.labels.array, BONE)
    left, right = (float((bone & half).sum()) for half in (atlas(patient).x > 0, atlas(patient).x < 0))
    assert left == pytest.approx(right, rel=0.1)
    assert not bone[patient.body.skin_mm > -4].any()
    assert 700 < bone.sum() * voxel_ml(patient) < 2000
    ring = is_any(patient.labels.array, (*BONE, "cartilage", "disc"))
    pieces, _ = ndimage.label(ring)
    assert np.bincount(pieces[ring]).max() > 0.97 * ring.sum()


def test_femoral_head_is_a_ball_in_a_socket() -> None:
    axes = [np.arange(centre - 42.0, centre + 42.1, 1.2) for centre in reversed(CENTRE)]
    person = PelvisPerson()
    canvas = grow_pelvis(np.random.default_rng(1), axes, person, PelvisPosture())(np.random.default_rng(2)).canvas
    offset = np.stack(
        [part - c for part, c in zip((canvas.points.x, canvas.points.y, canvas.points.z), CENTRE, strict=True)]
    )
    radius = np.sqrt((offset**2).sum(axis=0))
    bone = is_any(canvas.labels(), BONE)
    assert bone[radius < person.head_mm - 1].mean() > 0.99
    upwards = (offset[2] > 0.5 * radius) & (offset[0] < 0)  # the roof and the inner wall of the socket
    gap = upwards & (np.abs(radius - person.head_mm - JOINT_MM / 2) < 0.5)
    assert bone[gap].mean() < 0.1
    assert bone[upwards & (np.abs(radius - person.head_mm - JOINT_MM - 2) < 0.6)].mean() > 0.9


def test_bladder_has_the_volume_drawn(patient: Phantom) -> None:
    whole = is_any(patient.labels.array, BLADDER) & (np.abs(atlas(patient).x) < 75) & (atlas(patient).z > -18)
    volume = float(whole.sum()) * voxel_ml(patient) / np.prod(patient.parameters["scale"])
    assert volume == pytest.approx(patient.parameters["bladder_ml"], rel=0.3)
    assert 30 < urine_ml(patient, patient.labels.array) < 500


def test_rectal_gas_is_dark(patient: Phantom) -> None:
    p, canvas = atlas(patient), patient.body.canvas
    rectum = (np.abs(p.x) < 35) & (p.y > 30) & (p.z < 55) & (patient.mask.array > 0)
    gas = rectum & (canvas.mix({"air": 1.0}) > 0.95)
    assert patient.ct is not None
    assert patient.mr is not None
    assert gas.sum() * voxel_ml(patient) > 0.5
    assert patient.ct.array[gas].max() < -700
    fat = is_any(patient.labels.array, ("fat",)) & (canvas.mix({"fat": 1.0}) > 0.95)
    assert np.median(patient.mr.array[gas]) < 0.15 * np.median(patient.mr.array[fat])


def test_another_sitting_changes_bladder_and_rectum_only(patient: Phantom) -> None:
    assert patient.ct is not None
    assert patient.ct_planning is not None
    assert patient.labels_planning is not None
    now, other = patient.labels.array, patient.labels_planning.array
    np.testing.assert_array_equal(is_any(now, BONE), is_any(other, BONE))
    assert patient.ct_planning.same_grid_as(patient.ct)
    before, after = patient.parameters["bladder_ml"], patient.parameters["ct_planning"]["bladder_ml"]
    assert before != after
    change = urine_ml(patient, other) - urine_ml(patient, now)
    assert np.sign(change) == np.sign(after - before)
    assert abs(change) > 0.3 * abs(after - before)
    moved = now != other
    p = atlas(patient)
    inside = (np.abs(p.x) < 75) & (p.z > -60) & (p.z < 110) & (p.y > -85) & (p.y < 100)
    assert moved.any()
    assert not (moved & ~inside).any()
    deep = is_any(now, BONE)
    assert abs(float((patient.ct.array - patient.ct_planning.array)[deep].mean())) < 2.0
    assert np.abs(patient.ct.array - patient.ct_planning.array)[deep].max() > 5.0  # the noise is another


def test_only_test_patients_have_another_sitting() -> None:
    ct = pelvis_patient(MAN, 5.0, mr=False)
    assert ct.ct is not None
    assert ct.ct_planning is None
    assert ct.labels_planning is None


def test_truth_is_aligned_to_the_mr(patient: Phantom) -> None:
    assert patient.mr is not None
    assert patient.ct is not None
    assert patient.ct_noise_free is not None
    assert all(volume.same_grid_as(patient.mr) for volume in (patient.ct, patient.labels, patient.mask))
    noise = (patient.ct.array - patient.ct_noise_free.array)[is_any(patient.labels.array, ("muscle",))]
    assert abs(noise.mean()) < 1.0
    assert patient.parameters["ct_noise_hu"] * 0.85 < noise.std() < patient.parameters["ct_noise_hu"] * 1.3


@pytest.mark.parametrize("name", ["fat", "muscle", "urine", "blood", "stool"])
def test_hu_follow_the_table(man: Phantom, name: str) -> None:
    assert man.ct_noise_free is not None
    pure = man.body.canvas.mix({name: 1.0}) > 0.97
    assert np.median(man.ct_noise_free.array[pure]) == pytest.approx(TABLE[name].hu, abs=20)


def test_no_muscle_reaches_the_skin(patient: Phantom) -> None:
    p = atlas(patient)
    sphincter = (np.abs(p.x) < 15) & (p.z < -60)
    muscle = is_any(patient.labels.array, ("muscle",)) & ~sphincter
    assert not muscle[patient.body.skin_mm > -2.5].any()


def test_body_is_in_view_at_the_sides_and_the_couch_below_it() -> None:
    patient = pelvis_patient(WOMAN, 5.0, mr=False)
    mask = patient.mask.array > 0
    assert not any(edge.any() for edge in (mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]))
    assert mask[0].any()
    assert mask[-1].any()
    assert patient.ct_noise_free is not None
    couch = (patient.ct_noise_free.array > -960) & ~ndimage.binary_dilation(mask, iterations=2)
    rows = patient.body.canvas.axes[1]
    assert couch.any()
    assert rows[np.nonzero(couch)[1]].min() > rows[np.nonzero(mask)[1]].max() - 15


def test_same_seed_same_patient_and_another_seed_another(man: Phantom) -> None:
    again, other = pelvis_patient(MAN, SPACING_MM), pelvis_patient(MAN + 1, 5.0, ct=False)
    for name in ("mr", "ct", "ct_noise_free", "ct_planning", "labels", "mask"):
        np.testing.assert_array_equal(getattr(again, name).array, getattr(man, name).array)
    assert again.parameters == man.parameters
    assert other.parameters["scale"] != man.parameters["scale"]


def test_what_is_imaged_does_not_change_the_patient(man: Phantom) -> None:
    alone = pelvis_patient(MAN, SPACING_MM, ct=False)
    assert man.mr is not None
    assert alone.mr is not None
    np.testing.assert_array_equal(alone.mr.array, man.mr.array)
    np.testing.assert_array_equal(alone.labels.array, man.labels.array)


def test_the_anatomy_does_not_depend_on_the_spacing() -> None:
    coarse, fine = pelvis_patient(5, 4.0, ct=False), pelvis_patient(5, 3.0, ct=False)
    keys = ("scale", "female", "bladder_ml", "rectum_mm", "hips_deg")
    assert [coarse.parameters[key] for key in keys] == [fine.parameters[key] for key in keys]
    for names, tolerance in ((BONE, 0.04), (BLADDER, 0.05), (("muscle",), 0.03)):
        wanted = dict.fromkeys(names, 1.0)
        volumes = [float(p.body.canvas.mix(wanted).sum()) * voxel_ml(p) for p in (coarse, fine)]
        assert volumes[0] == pytest.approx(volumes[1], rel=tolerance), names
    masks = [p.mask.array.sum() * voxel_ml(p) for p in (coarse, fine)]
    assert masks[0] == pytest.approx(masks[1], rel=0.02)


def test_centres_differ_in_raw_range_contrast_and_voxels() -> None:
    tops, shapes = [], set()
    for centre in range(len(PELVIS_MR_CENTRES)):
        image = pelvis_patient(6, 5.0, ct=False, centre=centre).mr
        assert image is not None
        tops.append(float(np.percentile(image.array, 97)))
        shapes.add(image.spacing_mm)
    tops.sort()
    assert all(higher > 1.5 * lower for lower, higher in pairwise(tops))
    assert len(shapes) == 3
    a, b, c = PELVIS_MR_CENTRES
    assert signal(TABLE["urine"], a) > 1.2 * signal(TABLE["fat"], a)
    assert all(signal(TABLE["urine"], t1) < 0.5 * signal(TABLE["fat"], t1) for t1 in (b, c))
    assert all(signal(TABLE["muscle"], centre) < 0.5 * signal(TABLE["fat"], centre) for centre in (a, b, c))


def test_subject_records_person_and_posture() -> None:
    record = PelvisSubject(PelvisPerson(), PelvisPosture()).as_dict()
    assert {"scale", "fat_mm", "hips_deg", "rotation_deg"} <= record.keys()


def test_spacing_out_of_range() -> None:
    with pytest.raises(SettingsError, match="spacing"):
        pelvis_patient(0, 6.0)


def test_the_bladder_of_two_sittings_differs_enough_to_be_seen():
    for seed in range(6):
        parameters = pelvis_patient([seed, 2, 0], 5.0, mr=True, ct=True).parameters
        first, second = parameters["bladder_ml"], parameters["ct_planning"]["bladder_ml"]
        assert abs(second / first - 1) >= 0.25
