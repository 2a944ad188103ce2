"""One sCT against the true CT: figures, what is missing, grids, masks, labels."""

import json
import subprocess
import sys

import numpy as np
import pytest

import creps
from creps.errors import InputError, SettingsError
from creps.evaluation import evaluate as evaluation
from creps.evaluation.definitions import METRICS, metric, worst
from creps.evaluation.options import EvaluationOptions
from creps.io.itk import read_volume, write_volume
from creps.metrics.image import mean_absolute_error_hu
from creps.preprocessing.mask import body_mask_ct
from creps.preprocessing.resample import resample
from creps.volume import Volume
from tests.conftest import ball_head


def evaluate(sct, ct, mask=None, **options):
    return evaluation.evaluate(sct, ct, EvaluationOptions(mask=mask, **options))


@pytest.fixture(scope="module")
def pair():
    """A CT with skull, brain and a sinus, and an sCT that is a little off: 4 mm voxels."""
    ct = ball_head(1, shape=(44, 48, 46))[1]
    array = ct.array.copy()
    array[20:24, 20:26, 20:26] = -1000
    ct = ct.with_array(array)
    noise = np.random.default_rng(0).normal(5, 20, ct.shape)
    return ct.with_array(ct.array * 0.9 + noise), ct


@pytest.fixture(scope="module")
def scored(pair):
    return evaluate(*pair)


def test_every_figure_is_there_and_is_what_it_says(pair, scored):
    sct, ct = pair
    body = body_mask_ct(ct)
    assert set(scored.values) >= {one.name for one in METRICS}
    assert scored.values["mae_hu"] == mean_absolute_error_hu(ct.array, sct.array, body)
    assert scored.values["mae_hu"] == scored.values["synthrad2023_mae_hu"]
    assert scored.values["synthrad2025_psnr_db"] > scored.values["synthrad2025_psnr_4024_db"]
    assert scored.values["bias_cortical_bone_hu"] == pytest.approx(
        5 - 0.1 * ct.array[body & (ct.array > 600)].mean(), abs=1
    )
    assert scored.values["bone_dice"] > 0.95
    assert scored.values["air_dice"] == 1
    assert scored.values["air_hd95_mm"] == 0
    assert scored.values["edge_sharpness"] == pytest.approx(0.9, abs=0.02)
    assert scored.record["mask"] == {"source": "the body found in the CT", "voxels": int(body.sum())}
    assert sum(scored.record["tissues"]["voxels"].values()) == body.sum()
    assert scored.record["structures"]["air"] == {"ct_voxels": 144, "sct_voxels": 144}
    assert scored.record["alignment"] == {"kind": "same grid"}
    assert set(scored.record["definitions"]) == set(scored.values)


def test_everything_is_json_and_every_missing_figure_says_why(scored):
    json.dumps([scored.values, scored.record], allow_nan=False)
    missing = {name for name, value in scored.values.items() if value is None}
    assert missing == set(scored.missing) == {"mae_spongy_bone_hu", "bias_spongy_bone_hu"}
    assert scored.missing["mae_spongy_bone_hu"] == "the CT has no spongy bone inside the mask"


def test_a_structure_that_the_sct_lacks_has_dice_0_and_no_distance(pair):
    sct, ct = pair
    found = evaluate(sct.with_array(np.minimum(sct.array, 200)), ct)
    assert found.values["bone_dice"] == 0
    assert found.values["bone_hd95_mm"] is None
    assert found.missing["bone_hd95_mm"] == "the sCT has no bone there"
    assert found.record["structures"]["bone"]["sct_voxels"] == 0
    full = evaluate(sct.with_array(np.zeros(sct.shape)), ct)
    assert "is it a CT in HU" in full.record["notes"][0]
    empty = evaluate(sct.with_array(np.full(sct.shape, -1000)), ct)
    assert empty.values["body_dice"] == 0
    assert empty.missing["body_assd_mm"] == "the sCT has no body there"


def test_a_ct_without_bone_and_air_has_no_dice(pair):
    sct, ct = pair
    mask = ct.with_array(np.zeros(ct.shape))
    mask.array[14:18, 18:30, 18:30] = 1  # brain only
    found = evaluate(sct, ct, mask)
    assert found.values["bone_dice"] is None
    assert found.missing["bone_dice"] == "the CT and the sCT have no bone there"
    assert found.missing["edge_sharpness"] == "the CT has no edge of bone or air inside the mask"
    assert found.record["mask"] == {"source": "given", "voxels": 576}
    assert found.values["body_dice"] == 1  # the whole image's


def test_a_small_mask_loses_ms_ssim_alone(pair):
    sct, ct = pair
    mask = ct.with_array(np.zeros(ct.shape))
    mask.array[4:12, 4:20, 4:20] = 1
    found = evaluate(sct, ct, mask)
    assert found.values["synthrad2025_ms_ssim"] is found.values["synthrad2025_ms_ssim_4024"] is None
    assert "level 5" in found.missing["synthrad2025_ms_ssim"]
    assert found.values["synthrad2023_ssim"] is not None
    assert found.values["mae_hu"] is not None


def test_equal_images_have_no_psnr(pair):
    found = evaluate(pair[1], pair[1])
    assert found.values["mae_hu"] == 0
    assert found.values["synthrad2023_psnr_db"] is None
    assert "infinite" in found.missing["synthrad2023_psnr_db"]


def test_the_order_of_the_axes_does_not_matter(pair, scored):
    sct, ct = pair
    turned = sct.reoriented(np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]]))
    assert turned.shape != sct.shape or not turned.same_grid_as(sct)
    assert evaluate(turned, ct).values == pytest.approx(scored.values)


def on_finer_grid(volume, factor=2):
    spacing = tuple(s / factor for s in volume.spacing_mm)
    array = np.kron(volume.array, np.ones((factor,) * 3, np.float32))
    origin = np.asarray(volume.origin_mm) - 0.5 * np.asarray(volume.spacing_mm) * (1 - 1 / factor)
    return Volume(array, spacing, tuple(origin.tolist()), volume.direction)


def test_another_grid_is_refused_unless_it_may_be_resampled(pair, scored):
    sct, ct = pair
    fine = on_finer_grid(ct)
    with pytest.raises(InputError, match=r"is on a different grid.*--resample.*--register rigid"):
        evaluate(sct, fine)
    found = evaluate(sct, fine, resample=True)
    assert found.record["alignment"]["kind"] == "resampled"
    assert found.record["alignment"]["ct_spacing_mm"] == [2, 2, 2]
    assert found.record["grid"]["spacing_mm"] == [4, 4, 4]
    assert found.values["bone_dice"] > 0.9  # splines round off the steps of the finer grid
    mask = on_finer_grid(ct.with_array(body_mask_ct(ct)))
    with_mask = evaluate(sct, fine, mask, resample=True)
    assert with_mask.record["mask"]["voxels"] == body_mask_ct(ct).sum()
    with pytest.raises(InputError, match=r"the mask .* on neither the sCT's grid .* nor the CT's"):
        evaluate(sct, ct, mask)


def test_an_oblique_ct_is_resampled_too(pair):
    _, ct = pair
    angle = np.radians(10)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    grid = Volume(np.zeros(ct.shape), ct.spacing_mm, (2.0, -1.0, 3.0), turn @ ct.direction)
    from creps.evaluation.alignment import align

    oblique = align(grid, ct, None, None, EvaluationOptions(resample=True), name="x").ct
    found = evaluate(ct, oblique, resample=True)
    assert found.record["alignment"]["kind"] == "resampled"
    assert found.record["mask"]["voxels"] == pytest.approx(body_mask_ct(ct).sum(), rel=0.01)
    assert found.values["bone_dice"] > 0.8
    assert found.values["mae_soft_hu"] < 60


def test_where_the_ct_does_not_reach_nothing_counts(pair):
    sct, ct = pair
    half = Volume(ct.array[:20], ct.spacing_mm, ct.origin_mm, ct.direction)
    mask = ct.with_array(body_mask_ct(ct))
    found = evaluate(sct, half, mask, resample=True)
    assert found.record["mask"]["voxels"] == mask.array[:20].sum()
    assert found.values["mae_hu"] == pytest.approx(
        mean_absolute_error_hu(ct.array[:20], sct.array[:20], mask.array[:20] > 0), rel=1e-3
    )
    above = ct.with_array(mask.array * (np.arange(ct.shape[0]) >= 25)[:, None, None])
    with pytest.raises(InputError, match="lies entirely outside the CT"):
        evaluate(sct, half, above, resample=True)


def test_registration_finds_the_shift_and_is_never_silent(pair, scored):
    sct, ct = pair
    shifted = Volume(ct.array, ct.spacing_mm, (6.0, -5.0, 4.0), ct.direction)
    plain = evaluate(sct, shifted, resample=True)
    found = evaluate(sct, shifted, register="rigid")
    assert plain.values["mae_hu"] > 2 * scored.values["mae_hu"]
    assert found.values["bone_dice"] > 0.9
    alignment = found.record["alignment"]
    assert alignment["kind"] == "rigidly registered"
    assert alignment["translation_mm"] == pytest.approx([6, -5, 4], abs=1)
    assert "position errors are hidden" in found.record["notes"][0]
    far = Volume(ct.array, ct.spacing_mm, (5000.0, 0.0, 0.0), ct.direction)
    with pytest.raises(InputError, match=r"hardly overlap.*--register rigid-centres"):
        evaluate(sct, far, register="rigid")
    assert evaluate(sct, far, register="rigid-centres").values["bone_dice"] > 0.9


def test_labels_go_with_the_ct(pair):
    sct, ct = pair
    shifted = Volume(ct.array, ct.spacing_mm, (6.0, -5.0, 4.0), ct.direction)
    labels = shifted.with_array(np.select([ct.array > 600, ct.array > -300], [7, 3], 0))
    names = {3: "Soft tissue", 7: "bone", 9: "metal"}
    found = evaluate(sct, shifted, labels=labels, label_names=names, register="rigid")
    voxels = found.record["tissues"]["voxels"]
    assert set(voxels) == {"soft_tissue", "bone", "metal"}
    assert voxels["bone"] == pytest.approx(int((ct.array > 600).sum()), rel=0.05)
    assert found.values["mae_metal_hu"] is None
    assert found.record["tissues"]["voxels_of_no_class"] > 0
    exact = evaluate(sct, ct, labels=ct.with_array(labels.array), label_names=names)
    inside = body_mask_ct(ct) & (ct.array > 600)
    assert exact.values["mae_bone_hu"] == pytest.approx(mean_absolute_error_hu(ct.array, sct.array, inside))


def test_names_of_labels_from_files(tmp_path, pair):
    sct, ct = pair
    labels = ct.with_array(ct.array > 600)
    for content, message in [
        ("{", "cannot be read as JSON"),
        ("[1]", "holds no names"),
        ('{"a": "b"}', "holds no names"),
        ("{}", "names no class"),
        ('{"-1": "b"}', "-1 is not a class number from 0 to 65535"),
        ('{"30000000000": "b"}', "30000000000 is not a class number from 0 to 65535"),
        ('{"1": 5}', "5 is not a class name"),
    ]:
        (tmp_path / "n.json").write_text(content)
        with pytest.raises(InputError, match=message):
            evaluate(sct, ct, labels=labels, label_names=tmp_path / "n.json")
    with pytest.raises(InputError, match="is not a file"):
        evaluate(sct, ct, labels=labels, label_names=tmp_path / "none.json")
    with pytest.raises(SettingsError, match="go together"):
        evaluate(sct, ct, labels=labels)
    with pytest.raises(InputError, match="labels cannot be used: a class number is -1"):
        evaluate(sct, ct, labels=ct.with_array(labels.array - 1), label_names={1: "a"})


def test_phantom_tissues_are_brought_together(tmp_path):
    from creps.evaluation.images import label_names_of
    from creps.phantom import write_cohort

    write_cohort(tmp_path / "p", mr_patients=0, ct_patients=0, test_patients=0)
    names = label_names_of(tmp_path / "p" / "phantom.json")
    assert list(dict.fromkeys(names.values())) == [
        "air", "fat", "muscle", "brain", "spongy_bone", "cortical_bone", "other",
    ]  # fmt: skip
    from creps.phantom.painting.tissues import PHANTOM_CLASSES, TISSUE_ID

    for name, tissues in PHANTOM_CLASSES.items():
        assert all(names[TISSUE_ID[tissue]] == name for tissue in tissues)


def test_what_is_no_ct_or_no_mask_is_refused(pair):
    sct, ct = pair
    with pytest.raises(InputError, match="is not a CT in HU"):
        evaluate(sct, ct.with_array(ct.array + 1024))
    with pytest.raises(InputError, match="the mask is empty"):
        evaluate(sct, ct, ct.with_array(np.zeros(ct.shape)))
    noise = np.random.default_rng(0).normal(0, 10, ct.shape)
    with pytest.raises(InputError, match="no body was found"):
        evaluate(sct, ct.with_array(np.where(np.arange(46) < 1, 100, -1000) + noise), None)


def test_files_are_in_the_record_by_name_and_hash_only(pair, tmp_path):
    write_volume(pair[0], tmp_path / "s.nii.gz")
    write_volume(pair[1], tmp_path / "c.mha")
    found = creps.evaluate(tmp_path / "s.nii.gz", str(tmp_path / "c.mha"))
    assert found.record["inputs"]["sct"]["file"] == "s.nii.gz"
    assert len(found.record["inputs"]["ct"]["sha256"]) == 64
    assert str(tmp_path) not in json.dumps(found.record)


@pytest.mark.process
def test_evaluation_needs_no_torch():
    code = "import sys, creps; creps.evaluate; assert not {'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys, creps.cli; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_worst_case_is_the_furthest_from_the_best_value():
    values = {"a": 1.2, "b": -3.0, "c": 0.5}
    assert [worst(name, values) for name in ("mae_hu", "bone_dice", "bias_fat_hu")] == ["a", "b", "b"]
    assert worst("edge_sharpness", {"a": 0.7, "b": 1.2}) == "a"
    assert metric("bias_spongy_bone_hu").definition.startswith(
        "mean of sCT - CT over the voxels of spongy_bone (CT from"
    )


def test_a_real_ct_against_itself_shifted(shared):
    """A shift by two voxels along an axis is known: so are the distances of the outlines it can make."""
    ct = resample(read_volume(shared / "data" / "head" / "ct" / "pycerr_hn.nii.gz").reoriented(), (4, 3, 3))
    array = np.roll(ct.array, 2, axis=2)
    found = evaluate(ct.with_array(array), ct)
    across = 2 * ct.spacing_mm[2]
    assert 0 < found.values["body_hd95_mm"] <= across + 1e-6
    assert 0 < found.values["bone_assd_mm"] < across
    assert found.values["bone_dice"] < 0.95
    assert found.values["histogram_distance_hu"] < found.values["mae_hu"] / 3
    assert found.missing == {}
    back = evaluate(ct.with_array(array), ct, register="rigid")
    assert back.record["alignment"]["translation_mm"][0] == pytest.approx(-across, abs=0.3)
    assert back.values["mae_hu"] < 0.5 * found.values["mae_hu"]
