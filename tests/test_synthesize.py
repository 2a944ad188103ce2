import json

import numpy as np
import pytest
import torch
from scipy import ndimage

import creps
from creps.errors import InputError, ModelError, SettingsError
from creps.inference.executor import Executor
from creps.inference.sliding_window import predict_patches
from creps.machine import resolve_device
from creps.model import Model, Plan, save_model
from creps.networks.build import build_generator
from creps.networks.generator import Generator
from creps.patches import covering_grid, read_patch
from creps.preprocessing.resample import resample
from creps.settings import InferenceSettings, PreparationSettings, ResidualSettings
from creps.synthesis.options import SynthesisOptions
from creps.synthesis.synthesize import synthesize
from creps.volume import Volume
from tests.conftest import ball_head


def plan(spacing=(4.0, 4.0, 4.0), patch=(8, 8, 8), **preparation):
    return Plan(
        preparation=PreparationSettings(spacing_mm=spacing, **preparation),
        generator=ResidualSettings(width=2, residual_blocks=1),
        patch_size=patch,
        inference=InferenceSettings(precision="fp32", device="cpu"),
    )


class Identity(Generator):
    def forward(self, x):
        return x


@pytest.mark.parametrize("fusion", ["upper_median", "median", "mean", "gaussian"])
def test_an_identity_network_gives_the_scaled_mr_back_in_hu(fusion):
    mr = ball_head(0)[0]
    result = synthesize(Model(plan(), Identity()), mr, InferenceSettings(fusion=fusion, precision="fp32"))
    np.testing.assert_allclose(result.sct.array, np.clip(mr.array, 0, 2000), atol=0.01)  # /1000 in, x1000 out


def test_the_sct_lies_on_the_mrs_own_grid_whatever_its_orientation():
    upright = ball_head(0)[0]
    oblique = np.array([[0.1, 0.0, 0.995], [0.0, 1.0, 0.0], [0.995, 0.0, -0.1]])
    upright = Volume(upright.array, upright.spacing_mm, (3, 4, 5), oblique)
    turned = upright.reoriented(upright.direction[:, [2, 0, 1]] * np.array([1, -1, 1]))
    settings = InferenceSettings(precision="fp32")
    a = synthesize(Model(plan((3, 5, 4)), Identity()), upright, settings).sct
    b = synthesize(Model(plan((3, 5, 4)), Identity()), turned, settings).sct
    assert a.same_grid_as(upright)
    assert b.same_grid_as(turned)
    np.testing.assert_allclose(b.reoriented(upright.direction).array, a.array, atol=1e-3)


def test_values_are_clipped_to_the_papers_range():
    class Extreme(Generator):
        def forward(self, x):
            return torch.where(x > 0.5, 9.0, -9.0)

    result = synthesize(Model(plan(), Extreme()), ball_head(0)[0])
    assert (result.sct.array.min(), result.sct.array.max()) == (-1024, 3000)


def test_a_record_says_what_was_done():
    result = synthesize(Model(plan(), Identity()), ball_head(0)[0])
    patches = result.record["patches"]
    assert 2 <= patches["coverage_min"] <= patches["coverage_max"] <= 8
    assert result.record["settings"]["fusion"] == "upper_median"
    assert result.record["versions"]["torch"]
    assert "Not for diagnosis" in result.record["notice"]
    json.dumps(result.record)


def test_batch_size_changes_nothing():
    torch.manual_seed(0)
    generator = build_generator(ResidualSettings(width=4, residual_blocks=2))
    generator.train()(torch.rand(2, 1, 8, 8, 8))
    model, mr = Model(plan(), generator), ball_head(0)[0]
    one, five = (synthesize(model, mr, InferenceSettings(batch_size=n, precision="fp32")) for n in (1, 5))
    np.testing.assert_allclose(one.sct.array, five.sct.array, atol=0.05)


def test_bf16_is_close_to_float32():
    torch.manual_seed(0)
    model = Model(plan(), build_generator(ResidualSettings(width=4, residual_blocks=2)))
    mr = ball_head(0)[0]
    full, half = (synthesize(model, mr, InferenceSettings(precision=p)).sct.array for p in ("fp32", "bf16"))
    assert np.abs(full - half).mean() < 0.05 * np.abs(full).mean() + 5
    assert not np.array_equal(full, half)


def test_zero_padding_is_background_and_is_cropped_away():
    seen = []

    class Watch(Generator):
        def forward(self, x):
            seen.append(x.clone())
            return x + 0.7

    array = np.full((10, 11, 9), 500.0) + np.arange(9)
    array[:2, :4, :2] = np.random.default_rng(0).uniform(0, 20, (2, 4, 2))  # air is about 0 in an MR
    mr = Volume(array, (4, 4, 4))
    result = synthesize(Model(plan(), Watch()), mr, options=SynthesisOptions(force=True))
    assert result.sct.shape == mr.shape
    assert any((x == 0).any() for x in seen)  # padded with zeros
    inside = ndimage.binary_erosion(array > 100, border_value=1)
    np.testing.assert_allclose(result.sct.array[inside], mr.array[inside] + 700, atol=5)


def test_predictions_come_in_order_and_progress_is_told():
    places = covering_grid((9, 9, 9), (4, 4, 4)).locations_in_volume
    told, mr = [], np.arange(9**3, dtype=np.float32).reshape(9, 9, 9)
    predictions = predict_patches(
        Executor(Identity(), precision="fp32"), mr, places, batch_size=5, progress=lambda *now: told.append(now)
    )
    for place, prediction in zip(places, predictions, strict=True):
        np.testing.assert_array_equal(prediction, read_patch(mr, place, fill=0.0))
    assert told == [(n, len(places)) for n in range(1, len(places) + 1)]


def test_what_is_no_mr_is_refused():
    mr, ct = ball_head(0)
    with pytest.raises(InputError, match="looks like a CT"):
        synthesize(Model(plan(), Identity()), ct)
    with pytest.raises(InputError, match="is empty"):
        synthesize(Model(plan(), Identity()), mr.with_array(0 * mr.array))


def test_an_overlap_that_does_not_cover_is_refused():
    with pytest.raises(SettingsError, match="cannot cover"):
        synthesize(Model(plan(), Identity()), ball_head(0)[0], InferenceSettings(patch_overlap=(0, 0, 0)))


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")
    for name in ("cuda:99", "quantum"):
        with pytest.raises(SettingsError, match=r"no device|not available"):
            resolve_device(name)


@pytest.fixture
def model_folder(tmp_path):
    (tmp_path / "m").mkdir()
    torch.manual_seed(0)
    chosen = plan(mr_scale="auto", remove_outside=True)
    save_model(tmp_path / "m", dict(build_generator(chosen.generator).state_dict()), chosen)
    return tmp_path / "m"


def test_the_python_api(model_folder):
    model = creps.load(model_folder)
    mr = ball_head(0)[0]
    a, b = model.synthesize(mr), model.synthesize(mr, fusion="mean")
    assert a.sct.same_grid_as(mr)
    assert not np.array_equal(a.sct.array, b.sct.array)
    assert b.record["settings"]["fusion"] == "mean"
    assert a.record["model"]["weights_sha256"] == model.plan.weights_sha256
    with pytest.raises(SettingsError, match="Unknown inference setting 'fusoin'"):
        model.synthesize(mr, fusoin="mean")
    with pytest.raises(SettingsError, match="patch_overlap"):
        model.synthesize(mr, patch_overlap=(8, 0, 0))
    assert (a.sct.array[0, 0] == -1000).all()  # outside the body, as in training


def test_auto_scale_makes_synthesis_blind_to_the_scanners_units(model_folder):
    model = creps.load(model_folder)
    mr = ball_head(0)[0]
    a, b = model.synthesize(mr), model.synthesize(mr.with_array(mr.array * 0.13))
    np.testing.assert_allclose(a.sct.array, b.sct.array, atol=2)


def test_a_model_folder_needs_nothing_else_and_is_checked(model_folder, tmp_path):
    loaded = Model.load(model_folder)
    assert loaded.plan.weights_sha256
    assert not loaded.generator.training
    with pytest.raises(ModelError, match="not a model"):
        Model.load(tmp_path)
    with pytest.raises(ModelError, match="not a folder"):
        Model.load(tmp_path / "none")
    weights = model_folder / "generator.safetensors"
    original = weights.read_bytes()
    weights.write_bytes(original[:-8])
    with pytest.raises(ModelError, match="different SHA-256"):
        Model.load(model_folder)
    weights.unlink()
    with pytest.raises(ModelError, match=r"no generator\.safetensors"):
        Model.load(model_folder)
    content = json.loads((model_folder / "plan.json").read_text())
    (model_folder / "plan.json").write_text(json.dumps(content | {"schema_version": 7}))
    with pytest.raises(ModelError, match="schema version 7"):
        Model.load(model_folder)
    (model_folder / "plan.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        Model.load(model_folder)


def test_resampling_to_the_models_spacing_is_part_of_it():
    mr = ball_head(0)[0]
    record = synthesize(Model(plan((8, 8, 8)), Identity()), mr).record
    assert record["patches"]["extent"]["size"] == list(resample(mr, (8, 8, 8)).shape)


def test_values_that_are_not_finite_are_never_fused():
    class Broken(Generator):
        def forward(self, x):
            return torch.where(x > 0.5, torch.nan, x)

    with pytest.raises(ModelError, match="NaN or infinite"):
        synthesize(Model(plan(), Broken()), ball_head(0)[0])


def test_a_given_mask_is_used(model_folder):
    model = creps.load(model_folder)
    mr = ball_head(0)[0]
    mask = np.zeros(mr.shape)
    mask[8:20, 8:20, 8:20] = 1
    sct = model.synthesize(mr, mask=mr.with_array(mask)).sct.array
    assert (sct[mask == 0] == -1000).all()
    assert (sct[mask == 1] != -1000).any()
    with pytest.raises(InputError, match="on a different grid"):
        model.synthesize(mr, mask=Volume(mask[:9], mr.spacing_mm))


def test_an_mr_without_a_body_is_refused(model_folder):
    sparse = np.zeros((30, 34, 28))
    sparse[::7, ::7, ::7] = np.random.default_rng(0).uniform(300, 500, (5, 5, 4))
    with pytest.raises(InputError, match=r"no positive value|No body"):
        creps.load(model_folder).synthesize(Volume(sparse, (4, 4, 4)))


def test_what_the_gate_refuses_needs_force_and_says_so():
    slab = 500 + np.random.default_rng(0).uniform(0, 20, (10, 11, 9))
    filled = Volume(np.pad(slab, ((0, 6), (0, 0), (0, 0))), (4, 4, 4))  # dark corners at the top
    model, forced = Model(plan(), Identity()), SynthesisOptions(force=True)
    with pytest.raises(InputError, match=r"cut off on two opposite sides.*force=True synthesizes anyway"):
        synthesize(model, filled)
    result = synthesize(model, filled, options=forced)
    assert result.record["gate"]["forced"]
    assert result.record["gate"]["findings"][0]["level"] == "refusal"
    assert not synthesize(model, ball_head(0)[0], options=forced).record["gate"]["forced"]  # nothing to force


def test_a_model_keeps_what_its_training_mrs_were_like(cohort, tmp_path):
    from creps.model import load_plan
    from creps.settings import load_settings
    from creps.training.run.train import train
    from tests.conftest import TINY

    model = train(cohort, tmp_path / "run", load_settings(overrides=TINY, prepared=cohort.settings()))
    intake = load_plan(model).intake
    assert intake is not None
    assert "m0" not in (model / "plan.json").read_text().split('"intake"')[1].split('"weights_sha256"')[0]
    trained_on = creps.load(model)
    assert trained_on.synthesize(ball_head(0)[0]).record["gate"]["scores"] is not None
    giant = Volume(ball_head(0)[0].array, (9.9, 9.9, 9.9))
    with pytest.raises(InputError, match="does not suit this model"):
        trained_on.synthesize(giant)
    refused = trained_on.synthesize(giant, force=True).intake.refusals
    assert "size" in {finding.check for finding in refused}


@pytest.mark.parametrize(("precision", "warned"), [("bf16", True), ("fp32", False), ("auto", False)])
def test_bf16_without_units_for_it_is_warned_of(monkeypatch, caplog, precision, warned):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    synthesize(Model(plan(), Identity()), ball_head(0)[0], InferenceSettings(precision=precision, device="cpu"))
    assert ("no bfloat16 instructions" in caplog.text) == warned


def test_the_spread_lies_on_the_scts_grid_in_hu(model_folder):
    model, mr = creps.load(model_folder), ball_head(0)[0]
    plain, both = model.synthesize(mr), model.synthesize(mr, spread=True)
    assert plain.spread is None
    np.testing.assert_array_equal(plain.sct.array, both.sct.array)
    assert both.spread.same_grid_as(both.sct)
    inside = both.body_mask()
    assert 0 < both.spread.array[inside].mean() < 2000
    assert both.spread.array.min() == 0
    identity = synthesize(Model(plan(), Identity()), mr, options=SynthesisOptions(spread=True))
    np.testing.assert_allclose(identity.spread.array, 0, atol=1e-3)
