"""The plug-in for SlicerModalityConverter, run as its guide says: through the base class, registry and folders there.

3D Slicer is not available here. What the plug-in uses of it (volume nodes, the base class, the registry) is stood in
for by the names that the guide and the extension's own models use; the network runs in ONNX Runtime as in Slicer.
"""

import importlib.util
import json
import sys
import types

import numpy as np
import pytest

import creps
from creps.errors import OutputExistsError, SettingsError
from creps.export import Exported
from creps.model import Plan
from creps.networks.build import build_generator
from creps.settings import InferenceSettings, PreparationSettings, UNetSettings
from creps.slicer.plugin import plugin_key, write_plugin
from creps.volume import Volume
from tests.test_cli import run
from tests.ultrasound.heads import head


def small_model(**preparation):
    import torch

    kind = UNetSettings(width=4, levels=2, fine=4)
    plan = Plan(
        preparation=PreparationSettings(spacing_mm=(3.0, 3.0, 3.0), mr_scale="auto", region="head", **preparation),
        generator=kind,
        patch_size=(16, 16, 16),
        inference=InferenceSettings(precision="fp32", device="cpu", extent="body", fusion="single"),
        weights_sha256="0123abcd of no file",
    )
    torch.manual_seed(0)
    return creps.Model(plan, build_generator(kind).eval())


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    return small_model().export_slicer(tmp_path_factory.mktemp("slicer") / "plugin")


class Node:
    """A scalar volume node: voxels (K, J, I) and the matrix from IJK to RAS."""

    def __init__(self, array=None, matrix=None):
        self.array, self.matrix = array, matrix

    def GetIJKToRASMatrix(self, matrix):  # noqa: N802  # VTK's name
        matrix.values = self.matrix

    def CopyOrientation(self, other):  # noqa: N802
        self.matrix = other.matrix


class Matrix:
    values = None


@pytest.fixture
def slicer(monkeypatch, plugin):
    """The names of Slicer and of the extension that the plug-in uses; the model's class, loaded as a module there."""
    fake = types.ModuleType("slicer")
    fake.util = types.SimpleNamespace(
        arrayFromVolume=lambda node: node.array,
        arrayFromVTKMatrix=lambda matrix: np.asarray(matrix.values),
        updateVolumeFromArray=lambda node, array: setattr(node, "array", array),
        setSliceViewerLayers=lambda **_: None,
        resetSliceViews=lambda: None,
    )
    fake.app = types.SimpleNamespace(processEvents=lambda: None)
    vtk = types.ModuleType("vtk")
    vtk.vtkMatrix4x4 = Matrix
    base = types.ModuleType("ModalityConverterLib.ModelBase")
    base.registry = {}

    class BaseModel:
        def __init__(self, modelKey, device="cpu"):
            self.modelKey, self.device, self.model = modelKey, device.lower(), None

    def register_model(key):
        return lambda cls: base.registry.setdefault(key, cls)

    base.BaseModel, base.register_model = BaseModel, register_model
    for name, module in {
        "slicer": fake,
        "vtk": vtk,
        "ModalityConverterLib": types.ModuleType("ModalityConverterLib"),
        "ModalityConverterLib.ModelBase": base,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    about = json.loads((plugin.path / "metadata_entry.json").read_text())[plugin.key]
    path = plugin.path / f"{about['module_name']}.py"
    spec = importlib.util.spec_from_file_location(about["module_name"], path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, about["module_name"], module)
    spec.loader.exec_module(module)
    fake.registry = base.registry
    return fake


def node_of(volume):
    """A node of a volume: its array as it is, its matrix in RAS."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ (volume.direction * volume.spacing_mm)[:, ::-1]
    affine[:3, 3] = np.diag([-1, -1, 1]) @ volume.origin_mm
    return Node(volume.array, affine)


def loaded(slicer, plugin):
    made = slicer.registry[plugin.key](plugin.key, "cpu")
    made.model = made._loadModelFromPath(str(plugin.path / f"{plugin.key}.onnx"))
    return made


def test_the_folder_is_what_the_guide_asks_for(plugin):
    """Key = decorator = beginning of the model file; module_name = file = class; an entry with the guide's keys."""
    about = json.loads((plugin.path / "metadata_entry.json").read_text())
    assert list(about) == [plugin.key] == ["creps_head_0123abcd"]
    entry = about[plugin.key]
    assert set(entry) == {"url", "display_name", "description", "module_name", "mask_required"}
    assert {path.name for path in plugin.path.iterdir()} == {
        f"{plugin.key}.onnx", f"{entry['module_name']}.py", "metadata_entry.json", "install.py",
    }  # fmt: skip
    source = (plugin.path / f"{entry['module_name']}.py").read_text()
    assert f'@register_model("{plugin.key}")\nclass {entry["module_name"]}(BaseModel)' in source
    assert "creps." not in source.replace("of creps.", "")  # nothing of creps is imported
    assert "@" not in source.replace("@register_model", "").replace("@dataclass", "").replace(" @ ", "")
    assert "Not for diagnosis" in entry["description"]
    assert plugin.difference_hu < 0.1


@pytest.mark.parametrize("oblique", [False, True])
def test_the_plug_in_gives_what_creps_gives(slicer, plugin, oblique):
    mr = head((2.0, 2.0, 2.0))[0]
    if oblique:
        turned = np.array([[0.1, 0.0, 0.995], [0.0, 1.0, 0.0], [0.995, 0.0, -0.1]])
        mr = Volume(mr.array, mr.spacing_mm, mr.origin_mm, turned)
        mr = mr.reoriented(turned[:, [2, 0, 1]] * np.array([1, -1, 1]))
    expected = small_model().synthesize(mr, force=True)
    output = Node()
    given = node_of(mr)
    loaded(slicer, plugin).runInference(given, output)
    assert output.matrix is given.matrix
    assert output.array.shape == mr.shape
    inside = expected.body_mask()
    error = np.abs(output.array - expected.sct.array)
    span = np.ptp(expected.sct.array[inside])
    assert span > 10
    assert error[inside].mean() < 0.025 * span  # the bodies differ by a few voxels at the skin
    shifted = np.roll(expected.sct.array, 1, axis=0)
    assert error[inside].mean() < 0.5 * np.abs(shifted - expected.sct.array)[inside].mean()  # half of a voxel's shift


def test_a_mask_is_used_and_must_fit(slicer, plugin):
    mr, given = head((2.0, 2.0, 2.0))[0], Node()
    made = loaded(slicer, plugin)
    half = np.zeros(mr.shape, np.uint8)
    half[:, :, :28] = mr.array[:, :, :28] > 100
    made.runInference(node_of(mr), given, Node(half))
    assert (given.array[:, :, 40:] < -995).all()
    assert given.array[28, 28, 15] > -500
    with pytest.raises(ValueError, match="different grid"):
        made.runInference(node_of(mr), given, Node(half[1:]))
    with pytest.raises(ValueError, match="No patient was found"):
        made.runInference(node_of(mr), given, Node(np.zeros_like(half)))


def test_the_installer_copies_and_enters_the_model(slicer, plugin, tmp_path):
    extension = tmp_path / "ModalityConverter"
    (extension / "Resources" / "Models").mkdir(parents=True)
    (extension / "ModalityConverterLib" / "ModelsImpl").mkdir(parents=True)
    (extension / "Resources" / "Models" / "metadata.json").write_text('{"other": {"module_name": "Other"}}')
    slicer.modules = types.SimpleNamespace(
        modalityconverter=types.SimpleNamespace(path=str(extension / "ModalityConverter.py"))
    )
    installer = plugin.path / "install.py"
    exec(compile(installer.read_text(), "install.py", "exec"), {"__file__": str(installer)})
    metadata = json.loads((extension / "Resources" / "Models" / "metadata.json").read_text())
    assert set(metadata) == {"other", plugin.key}
    assert (extension / "Resources" / "Models" / f"{plugin.key}.onnx").is_file()
    module = metadata[plugin.key]["module_name"]
    assert (extension / "ModalityConverterLib" / "ModelsImpl" / f"{module}.py").is_file()


def test_models_that_prepare_otherwise_are_refused(tmp_path):
    for change, message in (
        ({"mr_bias_correction": True}, "bias field"),
        ({"remove_outside": True}, "outside the body"),
    ):
        with pytest.raises(SettingsError, match=message):
            write_plugin(small_model(**change), tmp_path / "plugin")
        assert not (tmp_path / "plugin").exists()
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError):
            write_plugin(small_model(), tmp_path / "plugin", overwrite=overwrite)


def exported(model, target):
    target.write_bytes(b"")
    return Exported(target, 0.0)


def test_the_command_writes_the_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("creps.api.load", lambda *_, **__: small_model(), raising=False)
    monkeypatch.setattr("creps.slicer.plugin.export", exported)  # which the other tests run
    assert run("export", "head", "-o", tmp_path / "plugin", "--slicer") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "plugin")
    assert (tmp_path / "plugin" / f"{plugin_key(small_model())}.onnx").is_file()
