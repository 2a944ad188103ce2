"""ConvNeXt-Tiny under torchvision's, timm's and its authors' key names gives the same features."""

import hashlib
import itertools

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from creps.errors import ModelError
from creps.networks import backbone as backbone_module
from creps.networks.backbone import DEFAULT_LAYERS, Backbone
from creps.networks.weight_layouts import LAYOUTS, load_features

WIDTHS, DEPTHS = (96, 192, 384, 768), (3, 3, 9, 3)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of (N, C, H, W), eps 1e-6, written out."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(width) + 0.5), nn.Parameter(torch.randn(width) * 0.1)

    def forward(self, x):
        centred = x - x.mean(1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(1, keepdim=True) + 1e-6)
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]


class FacebookBlock(nn.Module):
    """Liu et al. 2022, figure 4, with its authors' names; `seen` keeps the second point-wise layer's output."""

    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(width))
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = ChannelNorm(width)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        inner = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        inner = self.pwconv2(nn.functional.gelu(self.pwconv1(inner)))
        self.seen = inner.permute(0, 3, 1, 2)
        return x + (self.gamma * inner).permute(0, 3, 1, 2)


class FacebookConvNext(nn.Module):
    """The whole network, written for this test from the paper, with its authors' key names."""

    def __init__(self, classes=1000):
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 4, stride=4), ChannelNorm(WIDTHS[0]))
        steps = [nn.Sequential(ChannelNorm(a), nn.Conv2d(a, b, 2, stride=2)) for a, b in itertools.pairwise(WIDTHS)]
        self.downsample_layers = nn.ModuleList([stem, *steps])
        self.stages = nn.ModuleList(
            nn.Sequential(*(FacebookBlock(width) for _ in range(depth)))
            for width, depth in zip(WIDTHS, DEPTHS, strict=True)
        )
        self.norm, self.head = nn.LayerNorm(WIDTHS[-1]), nn.Linear(WIDTHS[-1], classes)

    def forward(self, x):
        for step, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(step(x))
        return x


class TimmMlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class TimmBlock(nn.Module):
    """The same block with timm's names."""

    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(width))
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm, self.mlp = ChannelNorm(width), TimmMlp(width)

    def forward(self, x):
        self.seen = self.mlp(self.norm(self.conv_dw(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.gamma[:, None, None] * self.seen


class TimmStage(nn.Module):
    def __init__(self, before, width, depth):
        super().__init__()
        self.downsample = (
            nn.Sequential(ChannelNorm(before), nn.Conv2d(before, width, 2, stride=2))
            if before != width
            else nn.Identity()
        )
        self.blocks = nn.Sequential(*(TimmBlock(width) for _ in range(depth)))

    def forward(self, x):
        return self.blocks(self.downsample(x))


class TimmConvNext(nn.Module):
    """The whole network with timm's key names."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 4, stride=4), ChannelNorm(WIDTHS[0]))
        befores = (WIDTHS[0], *WIDTHS[:-1])
        self.stages = nn.Sequential(*(TimmStage(*sizes) for sizes in zip(befores, WIDTHS, DEPTHS, strict=True)))
        self.head = nn.Sequential()
        self.head.add_module("norm", nn.LayerNorm(WIDTHS[-1]))
        self.head.add_module("fc", nn.Linear(WIDTHS[-1], 21841))

    def forward(self, x):
        return self.stages(self.stem(x))


@pytest.fixture(scope="module")
def torchvision_state():
    torch.manual_seed(3)
    network = models.convnext_tiny()
    for key, value in network.state_dict().items():
        if "layer_scale" in key or value.ndim == 1:  # ones, zeros and 1e-6 would hide what was swapped
            value.copy_(torch.rand(value.shape) + 0.1)
    return network.state_dict()


def renamed(state, layout):
    """Torchvision's state under other names, (C,) layer scales and a classifier of its own."""
    names = next(one for one in LAYOUTS["convnext_tiny"] if one.name == layout).names()
    other = {theirs: state[ours].clone() for ours, theirs in names.items()}
    other = {key: value.flatten() if key.endswith("gamma") else value for key, value in other.items()}
    head = {"timm": "head.fc", "facebook": "head"}[layout]
    other |= {f"{head}.weight": torch.randn(21841, 4), f"{head}.bias": torch.randn(21841)}
    norm = {"timm": "head.norm", "facebook": "norm"}[layout]
    return other | {f"{norm}.weight": torch.ones(768), f"{norm}.bias": torch.zeros(768)}


@pytest.fixture(scope="module")
def images():
    return torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def test_the_features_are_the_same_bits_from_every_layout_and_file(torchvision_state, images, tmp_path):
    states = {
        "torchvision": torchvision_state,
        "timm": renamed(torchvision_state, "timm"),
        "facebook": renamed(torchvision_state, "facebook"),
    }
    layers = ["features.0", "features.5.0.block.5", "features.7.2.add"]
    expected = None
    for layout, state in states.items():
        torch.save(state, tmp_path / f"{layout}.pth")
        torch.save({"model": state}, tmp_path / f"{layout}_nested.pth")
        save_file(state, tmp_path / f"{layout}.safetensors")
        for file in sorted(tmp_path.glob(f"{layout}*")):
            backbone = Backbone("convnext_tiny", str(file), layers, image_size=None)
            features = backbone(images)
            expected = expected or features
            assert all(torch.equal(a, b) for a, b in zip(features, expected, strict=True)), file.name
            assert backbone.weights.layout == layout
            assert backbone.weights.record()["layout"] == layout
            assert f"{layout} key names" in backbone.weights.describe()
            assert not backbone.weights.official


@pytest.mark.parametrize(("network", "layout"), [(FacebookConvNext, "facebook"), (TimmConvNext, "timm")])
def test_features_equal_those_of_a_network_written_from_the_paper(network, layout, images, tmp_path):
    """Independent of the conversion table: the reference has those key names by its own structure."""
    torch.manual_seed(5)
    reference = network().eval()
    torch.save({"model": reference.state_dict()}, tmp_path / "weights.pth")
    last = ("features.5.8.block.5", "features.7.2.add")
    backbone = Backbone("convnext_tiny", str(tmp_path / "weights.pth"), [*DEFAULT_LAYERS["convnext_tiny"], *last], None)
    assert backbone.weights.layout == layout
    features = backbone(images)
    with torch.no_grad():
        output = reference((images - backbone.mean) / backbone.std)
    blocks = [stage if layout == "facebook" else stage.blocks for stage in reference.stages]
    expected = [blocks[2][0].seen, blocks[3][0].seen, blocks[2][8].seen, output]
    for ours, theirs in zip(features, expected, strict=True):
        assert theirs.std() > 0.01
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layout", ["timm", "facebook"])
def test_the_table_names_every_tensor_of_the_features_once(layout):
    names = next(one for one in LAYOUTS["convnext_tiny"] if one.name == layout).names()
    assert set(names) == {key for key in models.convnext_tiny().state_dict() if key.startswith("features.")}
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(torchvision_state, precision, tmp_path):
    half = {key: value.to(precision) for key, value in renamed(torchvision_state, "timm").items()}
    save_file(half, tmp_path / "half.safetensors")
    network = models.convnext_tiny()
    assert load_features(network, tmp_path / "half.safetensors", "convnext_tiny") == "timm"
    scale = network.get_parameter("features.1.0.layer_scale")
    assert scale.dtype == torch.float32
    assert torch.equal(scale.flatten(), half["stages.0.blocks.0.gamma"].float())


def test_only_torchvisions_hash_makes_weights_official(torchvision_state, tmp_path, monkeypatch):
    path = tmp_path / "timm.pth"
    torch.save(renamed(torchvision_state, "timm"), path)
    weights = Backbone("convnext_tiny", str(path)).weights
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (weights.source, weights.official, weights.file) == ("file", False, "timm.pth")
    official = (backbone_module.OFFICIAL["convnext_tiny"][0], weights.sha256[:8])
    monkeypatch.setitem(backbone_module.OFFICIAL, "convnext_tiny", official)
    assert Backbone("convnext_tiny", str(path)).weights.official
    assert Backbone("convnext_tiny", "random").weights.layout is None


def refused(state, path, name="convnext_tiny"):
    try:
        save_file(state, path)
    except KeyError as error:
        pytest.skip(f"this safetensors cannot write {error}")
    with torch.device("meta"):  # only its shapes are needed
        network = getattr(models, name)()
    with pytest.raises(ModelError) as caught:
        load_features(network, path, name)
    assert caught.value.what.startswith(str(path))
    return str(caught.value)


def test_another_network_is_refused(torchvision_state, tmp_path):
    path, timm = tmp_path / "w.safetensors", renamed(torchvision_state, "timm")
    deeper = timm | {key.replace("blocks.3", "blocks.9"): timm[key].clone() for key in timm if "2.blocks.3" in key}
    message = refused(deeper, path)  # ConvNeXt-Small has 27 blocks there
    assert "(timm key names) does not hold the weights of convnext_tiny: 9 tensors are not part of it" in message
    assert "stages.2.blocks.9.conv_dw.bias" in message
    wider = timm | {"stages.0.blocks.0.gamma": torch.ones(128)}
    assert "1 of 178 tensors are missing or differ in shape, the first is stages.0.blocks.0.gamma" in refused(
        wider, path
    )
    second = timm | {"stages.0.blocks.0.mlp.grn.weight": torch.ones(384)}  # ConvNeXt V2
    assert "1 tensors are not part of it" in refused(second, path)
    assert "contains no weights of vgg16 in a known key layout" in refused(timm, path, "vgg16")
    assert "first tensor is layer4.0.weight" in refused({"layer4.0.weight": torch.ones(2)}, path)


@pytest.mark.parametrize("layout", ["timm", "facebook"])
def test_a_missing_tensor_is_refused(torchvision_state, layout, tmp_path):
    state = renamed(torchvision_state, layout)
    gone = {"timm": "stages.1.downsample.0.bias", "facebook": "downsample_layers.1.0.bias"}[layout]
    del state[gone]
    assert f"1 of 178 tensors are missing or differ in shape, the first is {gone}" in refused(
        state, tmp_path / "w.safetensors"
    )


def test_layer_scale_in_the_wrong_shape_is_refused(torchvision_state, tmp_path):
    state = renamed(torchvision_state, "facebook")
    state["stages.3.0.gamma"] = state["stages.3.0.gamma"].view(-1, 1, 1)
    assert "the first is stages.3.0.gamma" in refused(state, tmp_path / "w.safetensors")


def test_a_whole_checkpoint_or_an_empty_file_is_refused(tmp_path):
    torch.save({"model": {"stem.0.weight": 3}, "epoch": 4}, tmp_path / "checkpoint.pth")
    with pytest.raises(ModelError, match="contains no state dict of tensors"):
        load_features(models.convnext_tiny(), tmp_path / "checkpoint.pth", "convnext_tiny")
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(ModelError, match="its first tensor is none at all"):
        load_features(models.convnext_tiny(), tmp_path / "empty.pth", "convnext_tiny")


def test_vgg16_loads_with_timms_classifier(tmp_path):
    torch.manual_seed(1)
    state = {key: value for key, value in models.vgg16().state_dict().items() if key.startswith("features.")}
    other = {"pre_logits.fc1.weight": torch.ones(2, 2), "head.fc.weight": torch.ones(2, 2)}
    save_file(state | other, tmp_path / "vgg.safetensors")
    network = models.vgg16()
    assert load_features(network, tmp_path / "vgg.safetensors", "vgg16") == "torchvision"
    assert torch.equal(network.features[28].weight, state["features.28.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: torch.full_like(tensor, torch.nan), "contains NaN or infinite values"),
        (lambda tensor: torch.full_like(tensor, torch.inf), "contains NaN or infinite values"),
        (lambda tensor: torch.full_like(tensor, 1e300, dtype=torch.float64), "contains NaN or infinite values"),
        (lambda tensor: torch.ones_like(tensor, dtype=torch.int64), "holds values of type int64"),
        (lambda tensor: torch.ones_like(tensor, dtype=torch.complex64), "holds values of type complex64"),
    ],
)
def test_weights_that_are_no_finite_floats_are_refused(torchvision_state, change, message, tmp_path):
    state = renamed(torchvision_state, "timm")
    state["stages.1.blocks.2.norm.bias"] = change(state["stages.1.blocks.2.norm.bias"])
    assert f"tensor stages.1.blocks.2.norm.bias {message}" in refused(state, tmp_path / "w.safetensors")


def test_a_wrapped_state_dict_is_loaded_or_its_wrapping_named(tmp_path):
    features = {key: value for key, value in models.vgg16().state_dict().items() if key.startswith("features.")}
    torch.save({"state_dict": features, "epoch": 3}, tmp_path / "nested.pth")
    network = models.vgg16()
    assert load_features(network, tmp_path / "nested.pth", "vgg16") == "torchvision"
    assert torch.equal(network.features[28].weight, features["features.28.weight"])
    parallel = {f"module.{key}": value for key, value in features.items()}
    message = refused(parallel, tmp_path / "parallel.safetensors", "vgg16")
    assert "first tensor is module.features." in message
    assert "without the 'module.' that a wrapper put before every one" in message


def test_keys_that_are_no_names_and_a_wrong_ending_are_refused(tmp_path):
    torch.save({3: torch.ones(2), "features.0.weight": torch.ones(2)}, tmp_path / "numbers.pth")
    with pytest.raises(ModelError, match=r"contains no state dict of tensors.*'model' or 'state_dict'"):
        load_features(models.convnext_tiny(), tmp_path / "numbers.pth", "convnext_tiny")
    save_file({"features.0.weight": torch.ones(2)}, tmp_path / "weights.bin")
    with pytest.raises(ModelError, match=r"cannot be read as weights .* ending in \.safetensors is read as such"):
        load_features(models.convnext_tiny(), tmp_path / "weights.bin", "convnext_tiny")
