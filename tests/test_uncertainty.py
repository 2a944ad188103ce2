"""Uncertainty of an sCT: asked for, written, opened by others, refused; and the command that calibrates."""

import inspect
import json
import shutil

import numpy as np
import pytest
import torch
from benchmarks.uncertainty.page import PAGE, RESULTS, written
from pydicom import dcmread

import creps
from creps.cli.verbs.calibrate import calibrate
from creps.errors import InputError, ModelError, OutputExistsError, SettingsError
from creps.evaluation.matching import find_scts
from creps.inference.calibration import CALIBRATION, Calibration, ClassCalibration
from creps.inference.executor import Executor
from creps.io.dicom.read.series import find_series
from creps.metrics.tissues import TISSUE_WINDOWS_HU
from creps.model import Plan
from creps.networks.build import build_generator
from creps.networks.ensemble import Ensemble
from creps.settings import InferenceSettings, PreparationSettings, ResidualSettings, UNetSettings
from creps.synthesis.calibration import PHANTOMS, SEED
from creps.volume import Volume
from tests.conftest import ball_head
from tests.dicom_cases import mr_series, read_by_itk
from tests.test_cli import run


def test_calibration_defaults_agree_in_python_and_cli():
    python = inspect.signature(creps.Model.calibrate).parameters
    options = {option.name: option.default for option in calibrate.params}
    for name, expected in (("phantoms", PHANTOMS), ("seed", SEED)):
        assert python[name].default == options[name] == expected


LINE = ClassCalibration(voxels=1, spread_hu=(1.0, 10.0), half_width_hu=(2.0, 20.0), error_hu=(1.0, 10.0))
"""Twice the spread; the expected error is the spread itself."""


def model_of(*, calibrated=True, fusion="single", classes=True):
    torch.manual_seed(0)
    generator = UNetSettings(width=4, levels=2, blocks=1, fine=4, classes=classes)
    plan = Plan(
        preparation=PreparationSettings(spacing_mm=(4, 4, 4), mr_scale="auto"),
        generator=generator,
        patch_size=(16, 16, 16),
        inference=InferenceSettings(precision="fp32", device="cpu", fusion=fusion, extent="body"),
    )
    calibration = Calibration(confidence=0.9, weights_sha256="", classes=dict.fromkeys(TISSUE_WINDOWS_HU, LINE))
    return creps.Model(plan, build_generator(generator).eval(), calibration if calibrated else None)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return model_of().save(tmp_path_factory.mktemp("uncertain") / "model")


def test_the_uncertainty_is_the_calibrated_spread():
    mr = ball_head(0)[0]
    result = model_of().synthesize(mr, spread=True, uncertainty=True)
    assert result.uncertainty.same_grid_as(result.sct)
    np.testing.assert_allclose(result.uncertainty.array, 2 * result.spread.array, rtol=1e-4, atol=1e-3)
    assert result.uncertainty.array[result.body_mask()].min() > 0
    record = result.record["uncertainty"]
    body = result.body.array > 0.5
    assert record["confidence"] == 0.9
    assert record["predicted_mae_hu"] == pytest.approx(result.spread.array[body].mean(), abs=0.06)
    assert record["mean_half_width_hu"] == pytest.approx(2 * result.spread.array[body].mean(), abs=0.06)
    slices = record["predicted_mae_of_slices_hu"]
    assert len(slices) == result.sct.shape[0]
    middle = len(slices) // 2
    assert slices[middle] == pytest.approx(result.spread.array[middle][body[middle]].mean(), abs=0.06)
    json.dumps(result.record)


def test_the_sct_is_the_same_with_and_without():
    mr, model = ball_head(1)[0], model_of()
    plain, told = model.synthesize(mr), model.synthesize(mr, uncertainty=True)
    np.testing.assert_allclose(told.sct.array, plain.sct.array, atol=0.01)
    assert plain.uncertainty is plain.record["uncertainty"] is told.spread is None


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ({"calibrated": False}, {}, "spread of this model is not calibrated.*creps calibrate"),
        ({"classes": False, "calibrated": False}, {}, "one value for each voxel and no spread"),
        ({}, {"fusion": "mean"}, "calibrated with inference.fusion = single, not mean"),
        ({}, {"flips": True}, "calibrated with inference.flips = False, not True"),
    ],
)
def test_what_nobody_has_measured_is_refused(model, changes, message):
    with pytest.raises(SettingsError, match=message):
        model_of(**model).synthesize(ball_head(0)[0], uncertainty=True, **changes)
    with pytest.raises(InputError, match="'uncertainty' is of the type str"):
        model_of().synthesize(ball_head(0)[0], uncertainty="yes")


def test_a_saved_model_keeps_its_calibration(tmp_path, saved):
    loaded = creps.load(saved)
    assert loaded.calibration.weights_sha256 == loaded.plan.weights_sha256
    assert loaded.calibration.classes == model_of().calibration.classes
    plain = model_of(calibrated=False).save(tmp_path / "plain")
    assert not (plain / CALIBRATION).exists()
    assert creps.load(plain).calibration is None
    shutil.copy(saved / CALIBRATION, plain)
    content = json.loads((plain / CALIBRATION).read_text()) | {"weights_sha256": "other"}
    (plain / CALIBRATION).write_text(json.dumps(content))
    with pytest.raises(ModelError, match="measured with other weights"):
        creps.load(plain)


def test_files_lie_beside_the_sct_and_are_no_sct(tmp_path, saved, capsys):
    mr = ball_head(0)[0]
    creps.write_volume(mr, tmp_path / "mr.nii.gz")
    out = tmp_path / "out"
    assert run("-q", "synthesize", saved, tmp_path / "mr.nii.gz", "-o", out, "--uncertainty") == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"mr_sct.nii.gz", "mr_sct.json", "mr_sct.png", "mr_sct_qa.json", "mr_sct_uncertainty.nii.gz"}
    expected = creps.load(saved).synthesize(mr, uncertainty=True).uncertainty
    written = creps.read_volume(out / "mr_sct_uncertainty.nii.gz")
    np.testing.assert_allclose(written.array, expected.array, atol=1.01)  # the MR's file is rounded, too
    assert json.loads((out / "mr_sct.json").read_text())["uncertainty"]["confidence"] == 0.9
    assert [path.name for path in find_scts(out).values()] == ["mr_sct.nii.gz"]
    (out / "mr_sct.nii.gz").unlink()
    (out / "mr_sct.json").unlink()
    (out / "mr_sct.png").unlink()
    (out / "mr_sct_qa.json").unlink()
    capsys.readouterr()
    assert run("-q", "synthesize", saved, tmp_path / "mr.nii.gz", "-o", out, "--uncertainty") == 1
    assert "mr_sct_uncertainty.nii.gz already exists" in capsys.readouterr().err
    assert run("-q", "synthesize", saved, tmp_path / "mr.nii.gz", "-o", tmp_path / "a.mhd", "--uncertainty") == 0
    assert (tmp_path / "a_uncertainty.zraw").is_file()


def test_what_lay_beside_an_sct_goes_with_it_when_it_is_replaced(tmp_path, saved):
    mr = ball_head(0)[0]
    model = creps.load(saved)
    full = model.synthesize(mr, uncertainty=True)
    full.save(tmp_path / "a.nii.gz", bulk_density=True)
    own = tmp_path / "b_bulk.nii.gz"
    own.write_bytes(b"mine")
    model.synthesize(mr).save(tmp_path / "a.nii.gz", overwrite=True, qa=False)
    model.synthesize(mr).save(tmp_path / "b.nii.gz")
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert names >= {"a.nii.gz", "a.json", "a.png", "b_bulk.nii.gz", "b_qa.json"}
    assert not names & {"a_qa.json", "a_bulk.nii.gz", "a_uncertainty.nii.gz"}
    assert own.read_bytes() == b"mine"


def test_an_overridden_voxel_is_certain(tmp_path, saved):
    mr = ball_head(0)[0]
    box = np.zeros(mr.shape)
    box[tuple(slice(n // 2 - 2, n // 2 + 2) for n in mr.shape)] = 1
    result = creps.load(saved).synthesize(mr, uncertainty=True, overrides={mr.with_array(box): 40})
    assert set(result.uncertainty.array[box > 0]) == {0.0}
    assert result.uncertainty.array[box == 0].max() > 0


def test_files_of_others_in_a_folder_of_a_further_series_are_not_replaced(tmp_path, saved):
    model, mr = creps.load(saved), mr_series(tmp_path / "mr")
    sct = model.synthesize(mr, uncertainty=True).save(tmp_path / "sct", bulk_density=True)
    assert len(find_series(sct)) == 1  # the others are passed over
    model.synthesize(mr).save(sct, overwrite=True)  # what creps wrote may be replaced
    assert not (sct / "bulk").exists()
    model.synthesize(mr).save(sct, overwrite=True, bulk_density=True)
    (sct / "bulk" / "RD.dcm").write_bytes(b"a dose")
    with pytest.raises(OutputExistsError, match="something other than an sCT"):
        model.synthesize(mr).save(sct, overwrite=True)


def test_where_a_ct_has_not_imaged_nothing_is_measured(pairs):
    model = model_of()
    whole = model.calibrate(pairs)
    for case in sorted(pairs.iterdir()):
        ct = creps.read_volume(case / "ct.nii.gz")
        half = Volume(ct.array[: len(ct.array) // 2], ct.spacing_mm, ct.origin_mm, ct.direction)
        creps.write_volume(half, case / "ct.nii.gz", integer=True)
    part = model.calibrate(pairs)
    ours, theirs = (max(one.error_hu[-1] for one in found.classes.values()) for found in (part, whole))
    assert ours < 1.2 * theirs
    far = creps.read_volume(case / "ct.nii.gz")
    creps.write_volume(Volume(far.array, far.spacing_mm, (5000.0, 0.0, 0.0)), case / "ct.nii.gz", integer=True)
    with pytest.raises(InputError, match="share no part of the body"):
        model.calibrate(pairs)


def test_two_readers_open_the_dicom_series_and_creps_takes_it_for_no_ct(tmp_path, saved):
    model = creps.load(saved)
    result = model.synthesize(mr_series(tmp_path / "mr"), uncertainty=True)
    sct = result.save(tmp_path / "sct", stable_uids=True)
    folder = sct / "uncertainty"
    opened, place = read_by_itk(folder)
    np.testing.assert_allclose(opened, np.rint(result.uncertainty.array), atol=1e-3)
    for index in ([0, 0, 0], [5, 6, 7]):
        np.testing.assert_allclose(place(index), result.sct.to_patient_mm(index), atol=1e-3)
    planes = sorted((dcmread(path) for path in folder.iterdir()), key=lambda one: one.ImagePositionPatient[2])
    values = np.stack([one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept) for one in planes])
    np.testing.assert_allclose(values, opened, atol=1e-3)
    first, of_sct = planes[0], dcmread(sorted(sct.glob("CT.*.dcm"))[0])
    assert list(first.ImageType) == ["DERIVED", "SECONDARY", "AXIAL", "UNCERTAINTY"]
    assert first.SeriesDescription.startswith("NOT A CT")
    assert "90 % interval" in first.ImageComments
    assert first.FrameOfReferenceUID == of_sct.FrameOfReferenceUID
    assert first.SeriesInstanceUID != of_sct.SeriesInstanceUID
    assert first.SeriesNumber != of_sct.SeriesNumber
    record = json.loads((sct / "record.json").read_text())
    assert record["uncertainty"]["series_instance_uid"] == first.SeriesInstanceUID
    assert [series.uid for series in find_series(sct)] == [of_sct.SeriesInstanceUID]
    again = model.synthesize(tmp_path / "mr", uncertainty=True)
    again.save(sct, overwrite=True, stable_uids=True)
    assert dcmread(folder / "UN.0001.dcm").SeriesInstanceUID == first.SeriesInstanceUID
    twice = again.uncertainty.with_array(2 * again.uncertainty.array)
    object.__setattr__(again, "uncertainty", twice)
    again.save(sct, overwrite=True, stable_uids=True)
    assert dcmread(folder / "UN.0001.dcm").SeriesInstanceUID != first.SeriesInstanceUID


def test_a_folder_that_cannot_be_replaced_is_filled_with_both_series(tmp_path, saved):
    (tmp_path / "sct").mkdir()
    creps.load(saved).synthesize(mr_series(tmp_path / "mr"), uncertainty=True).save(tmp_path / "sct")
    assert (tmp_path / "sct" / "uncertainty" / "UN.0001.dcm").is_file()
    assert (tmp_path / "sct" / "record.json").is_file()


def test_the_mirror_image_is_averaged_and_joins_the_spread():
    model, mr = model_of(), ball_head(2)[0]
    patch = np.ascontiguousarray(mr.array[:16, :16, :16] / 1000)[None]
    (value, spread), (mirrored, other) = (
        Executor(model.generator, precision="fp32", spread=True).start(np.ascontiguousarray(one)).result()[0]
        for one in (patch, patch[..., ::-1])
    )
    both = Executor(model.generator, precision="fp32", spread=True, flips=True).start(patch).result()[0]
    mirrored, other = mirrored[..., ::-1], other[..., ::-1]
    np.testing.assert_allclose(both[0], (value + mirrored) / 2, atol=1e-5)
    np.testing.assert_allclose(both[1], np.hypot((spread + other) / 2, (value - mirrored) / 2), atol=1e-5)
    alone = Executor(model.generator, precision="fp32", flips=True).start(patch).result()[0]
    np.testing.assert_allclose(alone, both[0], atol=1e-4)
    turned = mr.with_array(mr.array[..., ::-1])
    one, two = (model.synthesize(image, flips=True, grid="model").sct.array for image in (mr, turned))
    assert np.abs(one - two[..., ::-1]).mean() < np.abs(one - model.synthesize(mr, grid="model").sct.array).mean()


@pytest.fixture
def pairs(tmp_path):
    for number in range(2):
        mr, ct = ball_head(number)
        creps.write_volume(mr, tmp_path / "pairs" / f"p{number}" / "mr.nii.gz")
        creps.write_volume(ct, tmp_path / "pairs" / f"p{number}" / "ct.nii.gz", integer=True)
    return tmp_path / "pairs"


def test_real_pairs_calibrate_a_model_and_others_are_covered(pairs):
    model = model_of(calibrated=False)
    told = []
    found = model.calibrate(pairs, progress=lambda *now: told.append(now))
    assert told == [(1, 2, "p0"), (2, 2, "p1")]
    assert model.calibration is found
    assert found.measured_on == {"pairs": 2, "region": model.plan.preparation.region}
    mr, ct = ball_head(5)
    result = model.synthesize(mr, uncertainty=True)
    body = result.body.array > 0.5
    error = np.abs(result.sct.array - ct.array)[body]
    assert 0.8 < (error <= result.uncertainty.array[body]).mean() < 0.97
    assert result.record["uncertainty"]["predicted_mae_hu"] == pytest.approx(error.mean(), rel=0.15)


def test_a_mask_beside_a_pair_limits_what_counts(pairs):
    mr = ball_head(0)[0]
    creps.write_volume(mr.with_array(np.zeros(mr.shape)), pairs / "p0" / "mask.nii.gz", integer=True)
    with pytest.raises(InputError, match=r"p0: MR and CT share no part of the body. Align"):
        model_of().calibrate(pairs)


def test_the_command_calibrates_once_and_says_where(pairs, tmp_path, capsys):
    folder = model_of(calibrated=False).save(tmp_path / "model")
    assert run("-q", "calibrate", folder, "--pairs", pairs) == 0
    assert capsys.readouterr().out.strip() == str(folder / CALIBRATION)
    assert run("-q", "calibrate", folder, "--pairs", pairs) == 1
    assert "already exists" in capsys.readouterr().err
    assert run("-q", "calibrate", folder, "--pairs", pairs, "-o", tmp_path / "copy") == 0
    assert creps.load(tmp_path / "copy").calibration.classes == creps.load(folder).calibration.classes


def test_phantoms_calibrate_a_model_as_their_seed_says():
    model = model_of()
    one, two = (model.calibrate(phantoms=1, seed=seed) for seed in (3, 4))
    assert one.measured_on == {"phantoms": 1, "region": "head", "seed": 3}
    assert one.classes != two.classes


def test_what_cannot_be_calibrated_is_one_sentence(pairs, tmp_path, capsys):
    assert run("-q", "calibrate", "head") == 1
    assert "ships with creps and stays as it is. Name a folder for the copy: --output" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="nothing to calibrate"):
        model_of(classes=False).calibrate(pairs)
    with pytest.raises(InputError, match="is not a folder"):
        model_of().calibrate(tmp_path / "missing")
    with pytest.raises(InputError, match="holds no pair"):
        model_of().calibrate(tmp_path)
    with pytest.raises(SettingsError, match="at least one phantom"):
        model_of().calibrate(phantoms=0)
    other = model_of()
    preparation = other.plan.preparation.model_copy(update={"region": "thorax"})
    other.plan = other.plan.model_copy(update={"preparation": preparation})
    with pytest.raises(SettingsError, match="no phantom of the region 'thorax'"):
        other.calibrate()


def test_a_model_without_classes_has_the_spread_of_its_patches(pairs):
    plan = model_of().plan.model_copy(
        update={
            "generator": ResidualSettings(width=2, residual_blocks=1),
            "inference": InferenceSettings(precision="fp32", device="cpu", fusion="mean"),
        }
    )
    model = creps.Model(plan, build_generator(plan.generator).eval())
    model.calibrate(pairs)
    assert model.synthesize(ball_head(3)[0], uncertainty=True).uncertainty.array.max() > 0


def test_a_calibration_is_not_written_over(tmp_path, saved):
    from creps.synthesis.calibration import calibration_target

    with pytest.raises(OutputExistsError, match="already exists"):
        calibration_target(saved, overwrite=False)
    assert calibration_target(saved, overwrite=True) == saved / CALIBRATION


def test_an_ensemble_is_the_mean_and_its_spread_is_the_mixtures(tmp_path):
    one, two = model_of(), model_of()
    with torch.no_grad():
        two.generator.head.bias += torch.linspace(0, 3, len(two.generator.head.bias))
    patch = torch.rand(1, 1, 16, 16, 16)
    both = Ensemble([one.generator, two.generator])
    (a, s), (b, t) = (model.generator.with_spread(patch)[0] for model in (one, two))
    value, spread = both.with_spread(patch)[0]
    torch.testing.assert_close(value, (a + b) / 2)
    torch.testing.assert_close(spread, ((s**2 + t**2) / 2 + (a - b) ** 2 / 4).sqrt())
    assert (a - b).abs().mean() > 0.01
    with torch.no_grad():
        torch.testing.assert_close(both(patch)[0, 0], value, atol=1e-4, rtol=1e-4)
    assert (both.halo, both.stride, both.yields_spread) == (one.generator.halo, one.generator.stride, True)
    fast = both.folded(torch.float32)
    torch.testing.assert_close(fast.with_spread(patch)[0], torch.stack([value, spread]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fast(patch)[0, 0], value, atol=1e-4, rtol=1e-4)
    assert fast.bytes_at_peak(1000) > one.generator.folded(torch.float32).bytes_at_peak(1000)


def test_models_of_one_preparation_are_averaged(tmp_path, saved, capsys):
    mr = ball_head(0)[0]
    creps.write_volume(mr, tmp_path / "mr.nii.gz")
    alone, twice = creps.load(saved), creps.load(saved, ensemble=[saved])
    result = twice.synthesize(mr)
    np.testing.assert_allclose(result.sct.array, alone.synthesize(mr).sct.array, atol=0.05)
    assert result.record["model"]["training"]["ensemble"] == 2 * [alone.plan.weights_sha256]
    assert result.record["model"]["weights_sha256"] != alone.plan.weights_sha256
    with pytest.raises(ModelError, match="An ensemble has no folder of its own"):
        twice.save(tmp_path / "twice")
    with pytest.raises(ModelError, match="Give a list"):
        creps.load(saved, ensemble=str(saved))
    arguments = ("-q", "synthesize", saved, tmp_path / "mr.nii.gz", "-o", tmp_path / "sct.nii.gz", "--ensemble", saved)
    assert run(*arguments) == 0
    assert run(*arguments, "--overwrite", "--uncertainty") == 1
    assert "An ensemble has no calibration on the command line" in capsys.readouterr().err
    other = model_of()
    preparation = other.plan.preparation.model_copy(update={"spacing_mm": (2.0, 4.0, 4.0), "seed": 9})
    other.plan = other.plan.model_copy(update={"preparation": preparation})
    other.save(tmp_path / "other")
    with pytest.raises(ModelError, match=r"cannot join .*: preparation.spacing_mm is \(2.0, 4.0, 4.0\), not"):
        creps.load(saved, ensemble=[tmp_path / "other"])


def test_the_page_shows_the_results_of_the_benchmark():
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, json.loads(RESULTS.read_text(encoding="utf-8"))) == page
