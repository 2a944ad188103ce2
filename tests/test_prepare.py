import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from creps.cohort.cohort import load_cohort
from creps.cohort.prepare import prepare
from creps.cohort.sources import find_sources
from creps.cohort.splits import split_patients
from creps.errors import CohortError, InputError, OutputExistsError
from creps.io.itk import read_volume, write_volume
from creps.preprocessing.mask import body_mask_ct, body_mask_mr
from creps.preprocessing.preparation import prepare_mr
from creps.provenance import sha256_file
from creps.settings import load_settings
from creps.volume import Volume
from tests.conftest import TINY, ball_head


def settings(**changes):
    return load_settings(overrides=TINY | changes)


def test_two_folders_become_a_cohort(head_folders, tmp_path):
    mr, ct = head_folders
    prepare((mr, ct), tmp_path / "c", settings=settings())
    cohort = load_cohort(tmp_path / "c")
    assert [len(cohort.cases(m, s)) for m in ("mr", "ct") for s in ("train", "validation")] == [2, 1, 3, 1]
    for case in cohort.manifest.cases:
        array, body = cohort.array(case), cohort.body(case)
        assert isinstance(array, np.memmap)
        assert array.dtype == np.float32
        assert 0.1 < body.mean() < 0.6
        low, high = (0, 2) if case.modality == "mr" else (-1, 3)
        assert low <= array.min() < array.max() <= high
        box = tuple(slice(*pair) for pair in case.body)
        assert body[box].sum() == body.sum()
        folder = mr if case.modality == "mr" else ct
        assert case.source_sha256 == sha256_file(folder / case.source)
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert manifest["schema_version"] == 1
    assert manifest["provenance"]["versions"]["creps"]
    assert str(tmp_path.parent) not in json.dumps(manifest)  # no path of this machine in it


def test_the_manifest_says_how_much_bright_signal_is_outside_the_body(tmp_path):
    for i in range(3):
        mr, ct = ball_head(i)
        array = mr.array.copy()
        if i == 1:  # markers, too small for a limb or a finger
            for first in (4, 12, 20):
                array[first : first + 5, 1:4, 1:4] = 1.2 * np.median(array[ct.array > -400])
            markers_ml = 3 * 5 * 9 * np.prod(mr.spacing_mm) / 1000
        write_volume(mr.with_array(array), tmp_path / "mr" / f"m{i}.nii.gz")
        write_volume(ct, tmp_path / "ct" / f"c{i}.nii.gz", integer=True)
    prepare((tmp_path / "mr", tmp_path / "ct"), tmp_path / "c", settings=settings())
    cases = json.loads((tmp_path / "c" / "manifest.json").read_text())["cases"]
    left_out = {case["case"]: case["left_out_ml"] for case in cases}
    assert [left_out[f"c{i}"] for i in range(3)] == [None] * 3
    assert left_out["m0"] == left_out["m2"] == 0
    assert 0.3 * markers_ml < left_out["m1"] <= markers_ml  # specks do not count, and corners are specks


def test_orientation_and_spacing_are_the_models(tmp_path):
    """A sagittal, flipped scan and the axial one prepare to the same array."""
    volume = ball_head(0)[0]
    turned = volume.reoriented(volume.direction[:, [2, 0, 1]] * np.array([1, -1, 1]))
    assert turned.shape != volume.shape
    for name, image in (("axial", volume), ("sagittal", turned)):
        write_volume(image, tmp_path / name / "mr" / "a.nii.gz")
        write_volume(ball_head(1)[1], tmp_path / name / "ct" / "b.nii.gz")
    arrays = []
    for name in ("axial", "sagittal"):
        cohort = prepare((tmp_path / name / "mr", tmp_path / name / "ct"), tmp_path / name / "c", settings=settings())
        arrays.append(np.array(cohort.array(cohort.cases("mr", "train")[0])))
    np.testing.assert_allclose(*arrays, atol=1e-4)


def test_synthrad_layout_with_masks(tmp_path):
    for name, which in (("p1", "mr"), ("p2", "mr"), ("q1", "ct"), ("q2", "ct")):
        mr, ct = ball_head(int(name[1]))
        write_volume(mr if which == "mr" else ct, tmp_path / "data" / name / f"{which}.nii.gz")
        mask = np.zeros(mr.shape)
        mask[5:20, 6:22, 7:21] = 1
        write_volume(mr.with_array(mask), tmp_path / "data" / name / "mask.nii.gz", integer=True)
    cohort = prepare(tmp_path / "data", tmp_path / "c", settings=settings())
    assert {c.case for c in cohort.manifest.cases} == {"p1", "p2", "q1", "q2"}
    assert all(c.body == ((5, 20), (6, 22), (7, 21)) for c in cohort.manifest.cases)


def test_outside_can_be_removed(tmp_path, head_folders):
    cohort = prepare(head_folders, tmp_path / "c", settings=settings(**{"preparation.remove_outside": True}))
    for case in cohort.manifest.cases:
        outside = cohort.array(case)[~cohort.body(case)]
        assert (outside == (0 if case.modality == "mr" else -1)).all()


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 5), st.floats(0, 0.9), st.integers(0, 9))
def test_patients_are_in_one_split_whatever_they_have(mr, ct, both, fraction, seed):
    groups = [[f"m{i}" for i in range(mr)], [f"c{i}" for i in range(ct)]]
    for i in range(both):
        groups[0].append(f"b{i}")
        groups[1].append(f"b{i}")
    splits = split_patients(groups, fraction, seed)
    assert splits == split_patients([list(reversed(g)) for g in groups], fraction, seed)
    for group in groups:
        if len(set(group) - {f"b{i}" for i in range(both)}) < 2:
            continue
        chosen = sum(splits[name] == "validation" for name in group)
        assert chosen < len(group)
        assert chosen == 0 if fraction == 0 else chosen >= 1


def test_the_body_is_found_without_the_couch():
    _, ct = ball_head(0, shape=(30, 60, 50))
    array = ct.array.copy()
    array[:, 56:57, 5:45] = 300  # a couch plate, 4 mm thick
    mask = body_mask_ct(ct.with_array(array))
    assert not mask[:, 56].any()
    body = ct.array > -400
    assert (mask & body).sum() > 0.97 * body.sum()


def test_the_body_of_an_mr_includes_its_dark_skull():
    mr, ct = ball_head(0)
    body = ct.array > -400
    mask = body_mask_mr(mr)
    assert 2 * (mask & body).sum() / (mask.sum() + body.sum()) > 0.97


def corner(volume):
    """A share of the voxels, as the padding outside a round field of view."""
    return np.indices(volume.shape)[1:].sum(axis=0) < 8


def as_image(volume):
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm[::-1])
    return image


def wrong_volume(kind):
    mr, ct = ball_head(5)
    return {
        "a CT among the MRs": (ct, "mr", "looks like a CT in HU"),
        "an MR among the CTs": (mr, "ct", "not a CT in HU"),
        "an empty MR": (mr.with_array(np.zeros(mr.shape)), "mr", "is empty"),
        "a padded raw CT": (ct.with_array(np.where(corner(ct), -2000, ct.array + 1024)), "ct", "1024 subtracted"),
        "a raw CT": (ct.with_array(ct.array + 1024), "ct", "1024 subtracted"),
        "NaN": (mr.with_array(np.where(mr.array > 500, np.nan, mr.array)), "mr", "NaN"),
        "air only": (ct.with_array(np.full(ct.shape, -1000.0) - (ct.array > 0)), "ct", "not a CT in HU"),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["a CT among the MRs", "an MR among the CTs", "an empty MR", "a raw CT", "a padded raw CT", "NaN", "air only"],
)
def test_bad_cases_are_named_and_the_others_go_on(tmp_path, head_folders, kind, caplog):
    volume, modality, message = wrong_volume(kind)
    folders = dict(zip(("mr", "ct"), (shutil.copytree(f, tmp_path / f.name) for f in head_folders), strict=True))
    sitk.WriteImage(as_image(volume), str(folders[modality] / "zz.nii.gz"))
    cohort = prepare((folders["mr"], folders["ct"]), tmp_path / "c", settings=settings())
    assert len(cohort.manifest.cases) == 7
    (failure,) = load_cohort(tmp_path / "c").failures()
    assert (failure.modality, failure.case) == (modality, "zz")
    assert message in failure.reason + failure.remedy
    assert str(tmp_path) not in (tmp_path / "c" / "failures.json").read_text()
    assert "'zz' was left out" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "ct", "mr"]
    assert not list((tmp_path / "c").glob("*/zz*"))


def test_one_dark_voxel_does_not_make_an_mr_a_ct(tmp_path, head_folders):
    mr = ball_head(0)[0]
    array = mr.array.copy()
    array[0, 0, 0] = -1000
    write_volume(mr.with_array(array), tmp_path / "ct" / "a.nii.gz")
    with pytest.raises(CohortError, match=r"None of the 1 CT can be used.*without air"):
        prepare((head_folders[0], tmp_path / "ct"), tmp_path / "c", settings=settings())
    assert not (tmp_path / "c").exists()


def test_two_volumes_of_one_patient_are_refused(tmp_path):
    for name in ("mr.nii.gz", "mr.mha"):
        write_volume(ball_head(0)[0], tmp_path / "p" / name)
    (source,) = find_sources(tmp_path, "mr")
    assert "holds both mr.mha and mr.nii.gz" in str(source.problem)


def test_drawing_alone_takes_no_settings(tmp_path, capsys):
    from tests.test_cli import run

    for extra in (["--resume"], ["-p", "brain"], ["--from", "m"], ["--preparation.seed", "3"]):
        assert run("-q", "prepare", "--inspect", "-o", tmp_path / "c", *extra) == 2
        assert f"{extra[0]} needs SOURCES" in capsys.readouterr().err


def test_folders_that_hold_nothing(tmp_path, head_folders):
    with pytest.raises(InputError, match="not a folder"):
        find_sources(tmp_path / "none", "mr")
    with pytest.raises(InputError, match="holds no MR volume"):
        find_sources(tmp_path, "mr")
    write_volume(Volume(np.ones((3, 3, 3))), tmp_path / "a.nii.gz")
    write_volume(Volume(np.ones((3, 3, 3))), tmp_path / "a.mha")
    with pytest.raises(InputError, match="two volumes named 'a'"):
        find_sources(tmp_path, "mr")
    with pytest.raises(OutputExistsError, match="already exists"):
        prepare(head_folders, tmp_path, settings=settings())


def test_a_damaged_cohort_is_refused(head_folders, tmp_path):
    prepare(head_folders, tmp_path / "c", settings=settings())
    with pytest.raises(CohortError, match="not a prepared cohort"):
        load_cohort(tmp_path)
    path = tmp_path / "c" / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema_version": 99}))
    with pytest.raises(CohortError, match="schema version 99"):
        load_cohort(tmp_path / "c")
    path.write_text("{")
    with pytest.raises(CohortError, match="damaged"):
        load_cohort(tmp_path / "c")
    for name in ("../../secret", "..", "", "/etc/secret", "a\0b"):  # a manifest may come from others
        first, *others = content["cases"]
        path.write_text(json.dumps(content | {"cases": [first | {"case": name}, *others]}))
        with pytest.raises(CohortError, match="cannot name a file"):
            load_cohort(tmp_path / "c")
    path.write_text(json.dumps(content))
    cohort = load_cohort(tmp_path / "c")
    case = cohort.manifest.cases[0]
    np.save(tmp_path / "c" / case.modality / f"{case.case}.npy", np.zeros((2, 2, 2), np.float32))
    with pytest.raises(CohortError, match="has shape"):
        cohort.array(case)


def test_masks_must_lie_on_their_images_grid(tmp_path):
    mr, ct = ball_head(0)
    write_volume(ct, tmp_path / "ct" / "q" / "ct.nii.gz")
    write_volume(mr, tmp_path / "mr" / "p" / "mr.nii.gz")
    path = tmp_path / "mr" / "p" / "mask.nii.gz"
    body = np.ones(mr.shape)
    shifted = Volume(body, mr.spacing_mm, (60.0, 0.0, 0.0))
    cropped = Volume(body[:15], mr.spacing_mm)
    for wrong in (shifted, cropped):
        write_volume(wrong, path)
        with pytest.raises(CohortError, match=r"mask of .*mr\.nii\.gz is on a different grid from its image"):
            prepare((tmp_path / "mr", tmp_path / "ct"), tmp_path / "c", settings=settings())
    write_volume(mr.with_array(np.zeros(mr.shape)), path)
    with pytest.raises(CohortError, match="No body was found in the mask of"):
        prepare((tmp_path / "mr", tmp_path / "ct"), tmp_path / "c", settings=settings())
    tilt = np.deg2rad(0.03)  # what rounding in a header does
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    write_volume(Volume(body, mr.spacing_mm, mr.origin_mm, turn @ mr.direction), path)
    prepare((tmp_path / "mr", tmp_path / "ct"), tmp_path / "c", settings=settings())


def test_training_and_synthesis_prepare_alike(head_folders, tmp_path):
    """What the network sees of an MR does not depend on the verb."""
    chosen = settings(**{"preparation.remove_outside": True})
    cohort = prepare(head_folders, tmp_path / "c", settings=chosen)
    for case in cohort.cases("mr", "train"):
        volume = read_volume(head_folders[0] / case.source)
        prepared = prepare_mr(volume, chosen.preparation, "x")
        np.testing.assert_array_equal(prepared.array, cohort.array(case))
        assert prepared.mr_divisor == case.mr_divisor


def test_impossible_sizes_are_refused(tmp_path):
    mr = ball_head(0)[0]
    for factor in (0.001, 1000):
        wrong = Volume(mr.array, tuple(factor * s for s in mr.spacing_mm))
        with pytest.raises(InputError, match="which is impossible for a patient"):
            prepare_mr(wrong, settings().preparation, "x")


def test_a_folder_with_both_kinds_of_cases_is_refused_and_masks_are_no_cases(tmp_path):
    mr = ball_head(0)[0]
    write_volume(mr, tmp_path / "a.nii.gz")
    write_volume(mr, tmp_path / "a_mask.nii.gz")
    assert [source.case for source in find_sources(tmp_path, "mr")] == ["a"]
    write_volume(mr, tmp_path / "p" / "mr.nii.gz")
    with pytest.raises(InputError, match=r"mixes volume files \(a\.nii\.gz, …\) with patient folders \(p, …\)"):
        find_sources(tmp_path, "mr")
