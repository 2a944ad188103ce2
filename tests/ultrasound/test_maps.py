"""Maps of a head with known skull: mask, density, speed, labels, geometry."""

import numpy as np
import pytest
from scipy import ndimage

from creps.errors import InputError
from creps.ultrasound.curves import acoustic_curves
from creps.ultrasound.maps import LABELS, acoustic_maps
from creps.ultrasound.suitability import check_suitable, top_area
from creps.volume import Volume
from tests.ultrasound.heads import BONE_HU, head


def whole(volume):
    return np.ones(volume.shape, dtype=bool)


@pytest.fixture(scope="module")
def maps():
    ct = head()[1]
    return acoustic_maps(ct, whole(ct), acoustic_curves("k-plan"))


def test_skull_density_and_speed_are_those_of_the_curve(maps):
    skull = maps.skull.array > 0
    truth = head()[1].reoriented(maps.hu.direction).array == BONE_HU
    assert (skull & truth).sum() == truth.sum()
    assert (skull & ~truth).sum() < 1e-3 * truth.sum()  # notches between voxels
    assert maps.skull_ml == pytest.approx(skull.sum() / 1000, abs=0.1)
    skull = truth
    density = 1530 + (2150 - 1530) * 200 / 950
    np.testing.assert_allclose(maps.density.array[skull], density, rtol=1e-5)
    np.testing.assert_allclose(maps.speed.array[skull], 1.33 * density + 167, rtol=1e-4)


def test_tissue_water_and_enclosed_air_have_one_value_each():
    ct = head()[1]
    ct.array[53:59, 53:59, 80:86] = -900  # a sinus
    maps = acoustic_maps(ct, whole(ct), acoustic_curves("k-plan"))
    middle, corner = (56, 56, 85), (0, 0, 0)
    for volume, soft, air, water in ((maps.density, 1046, 1.2, 994), (maps.speed, 1546, 343, 1500)):
        assert volume.array[middle] == pytest.approx(soft)
        assert volume.array[corner] == pytest.approx(water)
        assert ((volume.array - air) ** 2 < 1e-6).sum() == 6**3
    assert maps.tissues.array[corner] == LABELS["background"]
    assert maps.tissues.array[middle] == LABELS["brain"]
    assert set(np.unique(maps.tissues.array)) == set(LABELS.values())


def test_the_brain_label_fills_the_skull_and_nothing_else(maps):
    index = np.indices(maps.hu.shape)
    r = np.linalg.norm(index - (np.array(maps.hu.shape)[:, None, None, None] - 1) / 2, axis=0)
    brain = maps.tissues.array == LABELS["brain"]
    assert brain[r < 34].all()
    assert not brain[r > 37].any()


def test_diploe_is_skull_and_specks_are_not():
    ct = head()[1]
    r = np.linalg.norm(np.indices(ct.shape) - 55.5, axis=0)
    ct.array[(r > 38) & (r < 40)] = 100  # marrow between the tables
    ct.array[40:43, 40:43, 54:57] = 900  # a calcification of 27 mm³
    maps = acoustic_maps(ct, whole(ct), acoustic_curves())
    skull = maps.skull.array > 0
    assert skull[(r > 38.5) & (r < 39.5)].all()
    assert not skull[r < 35].any()


def test_nothing_is_clipped_below_the_top_and_air_is_minus_1000():
    ct = head(dense_hu=2800)[1]
    ct.array[ct.array < -900] = -1020  # below air, as an sCT may be
    couch = np.zeros(ct.shape, dtype=bool)
    couch[:, 106:109] = True
    ct.array[couch] = 300
    maps = acoustic_maps(ct, ~couch, acoustic_curves())
    assert maps.hu.array.max() == 2800
    assert maps.hu.array.min() == -1000
    inside = ndimage.binary_dilation(maps.tissues.array > 0, iterations=3)
    assert set(np.unique(maps.hu.array[~inside])) == {-1000.0}


def test_voxels_run_to_right_anterior_superior_and_stay_where_they_are():
    ct = head()[1]
    mark = (60, 40, 20)
    ct.array[mark] = 2500
    oblique = np.array([[0.0, 0.1, 0.995], [0.0, 0.995, -0.1], [1.0, 0.0, 0.0]])
    ct = Volume(ct.array, ct.spacing_mm, ct.origin_mm, oblique)
    turned = ct.reoriented(oblique[:, [2, 0, 1]] * np.array([1, -1, 1]))
    maps = acoustic_maps(turned, whole(turned), acoustic_curves())
    where = np.unravel_index(maps.hu.array.argmax(), maps.hu.shape)
    np.testing.assert_allclose(maps.hu.to_patient_mm(where), ct.to_patient_mm(mark), atol=1e-3)
    nearest = np.abs(maps.hu.direction).argmax(axis=0)
    assert nearest.tolist() == [2, 1, 0]
    assert [maps.hu.direction[axis, k] > 0 for k, axis in enumerate(nearest)] == [True, False, False]  # S, A, R in LPS


def test_a_head_without_bone_is_refused():
    ct = head(dense_hu=200)[1]
    with pytest.raises(InputError, match="There is no skull in the sCT of t1: 0 ml") as caught:
        acoustic_maps(ct, whole(ct), acoustic_curves(), "t1")
    assert "model of the head" in caught.value.remedy


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.8, 1.0, 1.0)])
def test_the_vertex_is_cut_from_4_mm_on(spacing):
    for missing, cut in ((0.0, False), (0.5, False), (12.0, True), (20.0, True)):
        ct = head(spacing, top_cut_mm=missing)[1]
        area, limit = top_area(ct.with_array((ct.array > -400).astype(np.float32)))
        assert (area > limit) == cut, (missing, area, limit)


def test_a_stub_above_a_cut_vertex_does_not_hide_it():
    mr = head(top_cut_mm=20)[1]
    body = np.pad(mr.array > -400, ((0, 6), (0, 0), (0, 0)))
    body[-6:-2, 50:54, 50:54] = True  # an artefact of 16 mm² above the cut
    area, limit = top_area(Volume(body.astype(np.float32), mr.spacing_mm, mr.origin_mm))
    assert area > 2 * limit
    assert top_area(Volume(np.zeros((4, 4, 4)), (1.0, 1.0, 1.0)))[0] == 0


def check(**changes):
    mr = head(changes.get("spacing", (1.0, 1.0, 1.0)), top_cut_mm=changes.get("cut", 0.0))[1]
    body = mr.with_array((mr.array > -400).astype(np.float32))
    check_suitable(mr, body, changes.get("target", mr), changes.get("region", "head"), "t1.nii.gz")


def test_what_does_not_suit_is_refused_with_a_sentence():
    check()
    check(region="brain")
    for message, changes in {
        "region 'pelvis', which has no skull": {"region": "pelvis"},
        "spacing of t1.nii.gz is too coarse for transcranial ultrasound: its voxels are 2.5 mm": {
            "spacing": (2.5, 1.0, 1.0)
        },
        "spacing of the sCT of t1.nii.gz is too coarse": {"spacing": (1.5, 1.0, 1.0)},
        "The field of view of t1.nii.gz cuts the vertex": {"cut": 20.0},
    }.items():
        with pytest.raises(InputError) as caught:
            check(**changes)
        assert message in caught.value.what
        assert caught.value.remedy.endswith(".")
    check(spacing=(1.5, 1.0, 1.0), target=head()[1])  # a finer grid was asked for
