import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import creps
from creps import export as room
from creps.errors import ModelError, OutputExistsError, SettingsError
from creps.export import export
from creps.model import Model, Plan
from creps.networks.build import build_generator
from creps.settings import UNetSettings
from tests.test_cli import run

DEMO = Path(__file__).parent / "data" / "former"


def model_of(settings, **changes):
    chosen = settings.generator.model_copy(update=changes)
    plan = Plan(
        preparation=settings.preparation,
        generator=chosen,
        patch_size=settings.sampling.patch_size,
        inference=settings.inference,
        weights_sha256="of no file",
    )
    torch.manual_seed(1)
    generator = build_generator(chosen).eval()
    for name, buffer in generator.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return Model(plan, generator)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_onnx_runtime_predicts_what_pytorch_does_at_any_size(tiny_settings, tmp_path, norm):
    model = model_of(tiny_settings, norm=norm)
    exported = export(model, tmp_path / "model.onnx")
    assert exported.path == tmp_path / "model.onnx"
    assert exported.difference_hu < 0.1
    session = onnxruntime.InferenceSession(str(exported.path))
    for shape in ((1, 1, 24, 24, 24), (3, 1, 7, 30, 13), (1, 1, 50, 9, 11)):
        mr = torch.rand(shape) * 2
        with torch.inference_mode():
            ours = model.generator(mr).numpy()
        (theirs,) = session.run(["sct"], {"mr": mr.numpy()})
        assert np.ptp(ours) > 1e-3
        np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_a_u_net_is_exported_too(tiny_settings, tmp_path):
    kind = UNetSettings(width=8, levels=2, fine=8)
    plan = model_of(tiny_settings).plan.model_copy(update={"generator": kind})
    torch.manual_seed(0)
    generator = build_generator(kind)
    for name, weights in generator.named_parameters():
        if name.endswith("second.weight"):
            torch.nn.init.kaiming_uniform_(weights)  # or the residual branches would be zero
    exported = export(Model(plan, generator.eval()), tmp_path / "model.onnx")
    assert exported.difference_hu < 0.1
    session = onnxruntime.InferenceSession(str(exported.path))
    mr = torch.rand(1, 1, 13, 10, 17) * 2
    with torch.inference_mode():
        np.testing.assert_allclose(session.run(["sct"], {"mr": mr.numpy()})[0], generator(mr).numpy(), atol=1e-4)


def test_the_file_says_what_it_is_and_what_to_do_with_it(tiny_settings, tmp_path):
    model = model_of(tiny_settings)
    export(model, tmp_path / "model.onnx")
    file = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(file, full_check=True)
    said = {entry.key: entry.value for entry in file.metadata_props}
    assert "Not for diagnosis" in said["notice"]
    assert said["weights_sha256"] == "of no file"
    assert int(said["halo_voxels"]) in (model.generator.halo, model.generator.halo + 1)
    assert int(said["halo_voxels"]) % 2 == 0
    assert int(said["stride_voxels"]) == model.generator.stride == 2
    assert json.loads(said["spacing_mm"]) == [4.0, 4.0, 4.0]
    assert Plan.model_validate_json(said["plan"]).generator == model.plan.generator
    assert (file.producer_name, file.producer_version) == ("creps", creps.__version__)
    assert str(tmp_path) not in str(file.SerializeToString())
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_exporting_leaves_the_generator_as_it_was(tiny_settings, tmp_path):
    model = model_of(tiny_settings)
    before = {name: tensor.clone() for name, tensor in model.generator.state_dict().items()}
    model.generator.train()
    export(model, tmp_path / "model.onnx")
    assert model.generator.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.generator.state_dict().items())


def test_predictions_that_differ_are_refused_and_nothing_is_written(tiny_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_difference_hu", lambda *_: 0.2)
    with pytest.raises(ModelError, match="nothing was written"):
        export(model_of(tiny_settings), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_model_that_returns_nan_is_refused(tiny_settings, tmp_path):
    model = model_of(tiny_settings)
    with torch.no_grad():
        model.generator.head[1].weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN or infinite"):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_random_state_of_the_caller_stays(tiny_settings, tmp_path):
    model = model_of(tiny_settings)
    before = torch.random.get_rng_state()
    export(model, tmp_path / "model.onnx")
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_comparison_sees_weights_that_differ(tiny_settings, tmp_path):
    model = model_of(tiny_settings)
    export(model, tmp_path / "model.onnx")
    with torch.no_grad():
        model.generator.head[1].weight.mul_(1.5)
    assert room._difference_hu(model.generator, tmp_path / "model.onnx") > 0.1


def test_what_is_there_stays_and_other_names_are_refused(tiny_settings, tmp_path):
    model = model_of(tiny_settings)
    (tmp_path / "model.onnx").write_text("mine")
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        export(model, tmp_path / "model.onnx")
    with pytest.raises(SettingsError, match=r"\.onnx"):
        export(model, tmp_path / "model.pt")
    assert (tmp_path / "model.onnx").read_text() == "mine"


def test_a_missing_package_is_named(tiny_settings, tmp_path, monkeypatch):
    there = room.importlib.util.find_spec
    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name))
    with pytest.raises(SettingsError, match=r"package onnxscript\. .*creps\[export\]"):
        export(model_of(tiny_settings), tmp_path / "model.onnx")


def test_the_verb_exports_the_demo_model(tmp_path, capsys):
    model = creps.load(DEMO)
    assert run("export", DEMO, "-o", tmp_path / "demo.onnx") == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "demo.onnx")
    assert "Largest difference" in err
    assert run("-q", "export", DEMO, "-o", tmp_path / "demo.onnx") == 1
    assert "already exists" in capsys.readouterr().err
    mr = np.random.default_rng(0).uniform(0, 2, (1, 1, 16, 18, 21)).astype(np.float32)
    (theirs,) = onnxruntime.InferenceSession(str(tmp_path / "demo.onnx")).run(None, {"mr": mr})
    with torch.inference_mode():
        ours = model.generator(torch.from_numpy(mr)).numpy()
    assert np.abs(theirs - ours).max() * 1000 < 0.1
