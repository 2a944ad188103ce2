"""A sample of the mask benchmark: limbs stay, things go, whatever the field of view cuts."""

import numpy as np
import pytest
from benchmarks.mask.mask import compared, measured
from benchmarks.mask.scenes import draw_scene
from scipy import ndimage

from creps.io.itk import read_volume
from creps.preprocessing.mask import body_mask_ct, body_mask_mr, left_out_ml
from creps.preprocessing.resample import resample
from creps.volume import Volume


@pytest.fixture(scope="module")
def scene():
    return draw_scene("head", "hand", 0, 3.0)


@pytest.mark.parametrize("view", ["whole", "left side cut", "all sides cut"])
def test_the_patient_is_kept_and_the_coil_is_not(scene, view):
    found = measured(scene.cut(view), "mr")
    assert found["lost_percent"] <= 0.5
    assert found["lost_piece_ml"] <= 5
    assert found["extra_percent"] <= 1
    assert found["thing_piece_ml"] <= 5


@pytest.mark.parametrize("view", ["whole", "front and back cut", "all sides cut"])
@pytest.mark.parametrize("seed", [0, 1])
def test_loose_fingers_in_coarse_voxels_are_kept_and_the_coil_above_them_is_not(seed, view):
    found = measured(draw_scene("pelvis", "fingers", seed, 4.0).cut(view), "mr")
    assert found["lost_percent"] <= 0.5
    assert found["lost_piece_ml"] <= 5
    assert found["extra_percent"] <= 1
    assert found["thing_piece_ml"] <= 5


@pytest.mark.parametrize("limbs", ["arms", "foot"])
def test_limbs_on_the_couch_of_a_ct_are_kept(limbs):
    scene = draw_scene("pelvis", limbs, 0, 4.0)
    found = measured(scene, "ct")
    assert found["lost_percent"] <= 0.5
    assert found["lost_piece_ml"] <= 5
    assert found["extra_percent"] <= 1
    assert found["thing_piece_ml"] <= 5


def test_a_mask_without_the_hand_is_measured(scene):
    pieces, count = ndimage.label(scene.patient)
    assert count == 2
    sizes = np.bincount(pieces.ravel())[1:]
    head = pieces == 1 + np.argmax(sizes)
    hand_ml = sizes.min() * np.prod(scene.mr.spacing_mm) / 1000
    wrong = compared(head, scene.patient, scene.things[0], scene.mr)
    assert wrong["lost_piece_ml"] > 5
    assert 0.4 * hand_ml < left_out_ml(scene.mr, head) < 1.1 * hand_ml


def ball(centre, radius, shape, spacing):
    places = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    return sum((p - c) ** 2 for p, c in zip(places, centre, strict=True)) < radius**2


def test_dark_muscle_at_the_edge_is_the_patient_and_air_is_not():
    """Muscle at a twelfth of fat's signal meets the side of the field of view; air has noise."""
    shape, spacing = (20, 60, 60), (4.0, 3.0, 3.0)
    rng = np.random.default_rng(3)
    body = np.zeros(shape, dtype=bool)
    body[:, 10:, :] = True
    muscle = np.zeros(shape, dtype=bool)
    muscle[:, 25:45, :12] = True
    clean = np.where(muscle, 85.0, np.where(body, 1000.0, 0.0))
    mr = np.hypot(clean + rng.normal(0, 6, shape), rng.normal(0, 6, shape))
    mask = body_mask_mr(Volume(mr.astype(np.float32), spacing))
    assert (mask & muscle).sum() > 0.98 * muscle.sum()
    assert (mask & ~body).sum() < 0.01 * body.sum()


def test_the_mask_does_not_flare_where_a_head_touches_the_edge():
    shape, spacing = (40, 40, 40), (3.0, 3.0, 3.0)
    head = ball((60, 60, 45), 46, shape, spacing)
    rng = np.random.default_rng(0)
    mr = np.where(head, rng.normal(500, 60, shape), 0.0) + rng.uniform(0, 10, shape)
    mask = body_mask_mr(Volume(mr.astype(np.float32), spacing))
    assert not (mask[:, :, 0] & ~head[:, :, 0]).any()
    assert (mask & head).sum() > 0.995 * head.sum()


def test_a_threshold_between_air_and_a_bright_head_is_no_noise():
    """Every threshold from 10 to 300 splits these values equally well."""
    shape, spacing = (40, 40, 40), (3.0, 3.0, 3.0)
    head = ball((60, 60, 60), 46, shape, spacing)
    rng = np.random.default_rng(1)
    mr = np.where(head, rng.normal(500, 60, shape), rng.uniform(0, 10, shape))
    mask = body_mask_mr(Volume(mr.astype(np.float32), spacing))
    assert (mask ^ head).sum() < 0.01 * head.sum()


@pytest.mark.parametrize("share", [0.0, 0.03])
def test_ghosts_beside_the_patient_are_no_tissue(share):
    scene = draw_scene("head", "none", 0, 3.0)
    array, patient = scene.mr.array, np.where(scene.patient, scene.mr.array, 0)
    clean = np.where(scene.patient, array, 0.15 * array)
    ghosts = sum(np.roll(patient, steps * array.shape[1] // 8, 1) / abs(steps) for steps in (-3, -2, -1, 1, 2, 3))
    mask = body_mask_mr(scene.mr.with_array((clean + share * ghosts).astype(np.float32)))
    found = compared(mask, scene.patient, scene.things[0], scene.mr)
    assert found["extra_percent"] <= 1
    assert found["lost_percent"] <= 0.1


def test_a_skull_cut_by_the_field_of_view_is_closed_and_the_gap_below_a_coil_is_not():
    shape, spacing = (40, 60, 60), (3.0, 3.0, 3.0)
    centre = (60, 90, 90)
    skin, outer, inner = (ball(centre, radius, shape, spacing) for radius in (75, 69, 60))
    coil = ball(centre, 99, shape, spacing) & ~ball(centre, 95, shape, spacing)
    rng = np.random.default_rng(2)
    mr = np.where(coil, 250.0, np.where(inner | (skin & ~outer), 500.0, 0.0))
    cut = np.s_[:, :, 12:]  # through scalp, skull and brain, and through the coil
    noisy = np.hypot(mr + rng.normal(0, 8, shape), rng.normal(0, 8, shape)).astype(np.float32)[cut]
    mask = body_mask_mr(Volume(np.ascontiguousarray(noisy), spacing))
    assert (mask & skin[cut]).sum() > 0.995 * skin[cut].sum()
    assert (mask & ~skin[cut]).sum() < 0.02 * skin[cut].sum()


def test_dark_muscle_behind_a_real_ear_is_the_patient(shared):
    """Outlined by hand on the slice: scalp and muscle behind the left mastoid, a tenth as bright as the brain."""
    volume = read_volume(shared / "data" / "head" / "mr" / "studyforrest_T1_1mm.nii.gz")
    mr = resample(volume.reoriented(), (1.5, 1.5, 1.5))
    mask = body_mask_mr(mr)
    assert mask[70:84, 118:134, 96:102].mean() > 0.99
    assert not mask[:, :16].any()  # the air in front of the face


def test_a_couch_apart_from_the_patient_is_no_limb():
    shape, spacing = (40, 60, 60), (3.0, 3.0, 3.0)
    body, arm = ball((60, 60, 60), 50, shape, spacing), ball((60, 60, 145), 22, shape, spacing)
    ct = np.where(body | arm, 40.0, -1000.0)
    ct[:, 42:44], ct[:, 44:52], ct[:, 52:54] = -150, -920, -150
    mask = body_mask_ct(Volume(ct.astype(np.float32), spacing))
    assert not mask[:, 42:].any()
    assert (mask & arm).sum() > 0.99 * (arm & (ct > -400)).sum()
