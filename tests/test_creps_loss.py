import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from creps.errors import ModelError, SettingsError
from creps.losses.balance import MagnitudeBalance
from creps.losses.creps import CrepsLoss, gram_matrix, network_to_grey, style_distance
from creps.networks import backbone as backbone_module
from creps.networks.backbone import DEFAULT_LAYERS, Backbone


@pytest.fixture(scope="module")
def convnext():
    return Backbone("convnext_tiny", "random", image_size=64)


@pytest.fixture(scope="module")
def early():
    return Backbone("convnext_tiny", "random", layers=["features.1.0.block.5"], image_size=None)


def patches(seed, n=2, depth=3, size=32):
    return torch.rand(n, 1, depth, size, size, generator=torch.Generator().manual_seed(seed)) * 4 - 1


def test_gram_matrix_is_eq_1_by_a_direct_loop():
    features = torch.randn(2, 3, 4, 5)
    expected = torch.zeros(2, 3, 3)
    for n in range(2):
        for a in range(3):
            for b in range(3):
                for y in range(4):
                    for x in range(5):
                        expected[n, a, b] += features[n, a, y, x] * features[n, b, y, x]
    torch.testing.assert_close(gram_matrix(features), expected / (3 * 4 * 5))


def test_gram_runs_over_channels_whatever_the_memory_layout():
    features = torch.randn(2, 3, 4, 5)
    assert gram_matrix(features).shape == (2, 3, 3)
    torch.testing.assert_close(
        gram_matrix(features.contiguous(memory_format=torch.channels_last)), gram_matrix(features)
    )
    shuffled = features.flatten(2)[:, :, torch.randperm(20)].view_as(features)  # style does not know places
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(features))


def test_default_convnext_nodes_are_the_second_pointwise_layers_channels_first(convnext):
    network = models.convnext_tiny()
    for layer in DEFAULT_LAYERS["convnext_tiny"]:
        assert isinstance(network.get_submodule(layer), torch.nn.Linear)
    features = convnext(torch.rand(2, 1, 64, 64))
    assert [tuple(f.shape) for f in features] == [(2, 384, 4, 4), (2, 768, 2, 2)]


def test_vgg16_stands_behind_the_same_interface():
    features = Backbone("vgg16", "random", image_size=32)(torch.rand(1, 1, 40, 40))
    assert [tuple(f.shape[1:]) for f in features] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert all((f >= 0).all() for f in features)  # after the ReLU


def test_grey_window_is_fixed():
    torch.testing.assert_close(network_to_grey(torch.tensor([-1.0, 0, 3, 5])), torch.tensor([0, 0.25, 1, 1.5]))


def test_input_is_replicated_normalised_and_resized():
    backbone = Backbone("convnext_tiny", "random", image_size=64)
    seen = []
    backbone.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    backbone(torch.full((1, 1, 32, 40), 0.5))
    assert seen[0].shape == (1, 3, 64, 64)
    torch.testing.assert_close(
        seen[0][0, :, 5, 5], (0.5 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    )


def test_style_is_summed_over_entries_and_layers_and_averaged_over_slices():
    a = [torch.randn(6, 3, 3), torch.randn(6, 2, 2)]
    b = [torch.randn(6, 3, 3), torch.randn(6, 2, 2)]
    expected = sum(float((x[k] - y[k]).abs().sum()) for x, y in zip(a, b, strict=True) for k in range(6)) / 6
    assert float(style_distance(a, b)) == pytest.approx(expected, rel=1e-5)
    averaged = sum(float((x.mean(0) - y.mean(0)).abs().sum()) for x, y in zip(a, b, strict=True))
    assert float(style_distance(a, b, gram="batch")) == pytest.approx(averaged, rel=1e-5)


def test_slice_k_faces_slice_k(early):
    loss = CrepsLoss(early)
    sct, ct = patches(0), patches(1)
    one_by_one = [
        loss(sct[n : n + 1, :, k : k + 1], ct[n : n + 1, :, k : k + 1])[0] for n in range(2) for k in range(3)
    ]
    torch.testing.assert_close(loss(sct, ct)[0], torch.stack(one_by_one).mean(), rtol=1e-4, atol=1e-6)


def test_the_loss_is_zero_only_for_the_same_patch(convnext):
    loss = CrepsLoss(convnext)
    style, content = loss(patches(0), patches(0))
    assert float(style) == float(content) == 0
    style, content = loss(patches(0), patches(1))
    assert float(style) > 0
    assert float(content) > 0


def test_the_gradient_reaches_the_sct_only(convnext):
    sct, ct = patches(0).requires_grad_(), patches(1).requires_grad_()
    CrepsLoss(convnext)(sct, ct)[0].backward()
    assert sct.grad.abs().sum() > 0
    assert ct.grad is None
    assert all(p.grad is None and not p.requires_grad for p in convnext.parameters())


@pytest.mark.parametrize("change", [lambda x: x + 0.1, lambda x: 0.8 * x, lambda x: -x])
def test_an_affine_hu_error_changes_the_loss(convnext, change):
    ct = patches(0)
    assert float(CrepsLoss(convnext)(change(ct), ct)[0]) > 1e-4


def test_gram_stays_float32_under_autocast(early):
    with torch.autocast("cpu", torch.bfloat16):
        style, _ = CrepsLoss(early)(patches(0), patches(1))
        assert gram_matrix(torch.randn(1, 2, 3, 3).bfloat16()).dtype == torch.float32
    assert style.dtype == torch.float32
    full = CrepsLoss(early)(patches(0), patches(1))[0]
    assert float(style.detach()) == pytest.approx(float(full.detach()), rel=0.1)


def test_slices_can_be_subsampled(early):
    loss = CrepsLoss(early, slice_step=4)
    volume = torch.arange(10.0).view(1, 1, 10, 1, 1).expand(1, 1, 10, 8, 8)
    chosen = loss._slices(volume)
    assert chosen.shape == (2, 1, 8, 8)
    torch.testing.assert_close(chosen[:, 0, 0, 0], network_to_grey(torch.tensor([2.0, 6.0])))


def test_the_backbone_stays_in_eval_mode_and_frozen(convnext):
    CrepsLoss(convnext).train()
    assert not any(module.training for module in convnext.modules())


def test_random_weights_are_seeded_and_say_so():
    a, b, c = (Backbone("convnext_tiny", "random", ["features.1.0.block.0"], 32, seed=s) for s in (1, 1, 2))
    images = torch.rand(1, 1, 32, 32)
    assert torch.equal(a(images)[0], b(images)[0])
    assert not torch.equal(a(images)[0], c(images)[0])
    assert "RANDOM" in a.weights.describe()
    assert a.weights.record()["source"] == "random"


def test_building_a_backbone_leaves_the_runs_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Backbone("convnext_tiny", "random", ["features.1.0.block.0"], 32)
    assert torch.equal(torch.rand(1), expected)


@pytest.fixture
def weights_file(tmp_path):
    torch.manual_seed(3)
    state = models.convnext_tiny().state_dict()
    torch.save(state, tmp_path / "convnext.pth")
    save_file(state, tmp_path / "convnext.safetensors")
    return tmp_path / "convnext.pth", state


def test_weights_come_from_a_file_with_their_hash(weights_file):
    path, state = weights_file
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for file in (path, path.with_suffix(".safetensors")):
        backbone = Backbone("convnext_tiny", str(file), image_size=32)
        assert torch.equal(backbone.network.get_parameter("features.0.0.weight"), state["features.0.0.weight"])
    assert Backbone("convnext_tiny", str(path), sha256=digest[:10].upper()).weights.sha256 == digest
    assert not backbone.weights.official
    assert backbone.weights.trained
    with pytest.raises(ModelError, match="but the settings require 0123456789"):
        Backbone("convnext_tiny", str(path), sha256="0123456789")


def test_imagenet_weights_load_from_torchvisions_cache_and_their_hash_is_checked(weights_file, tmp_path, monkeypatch):
    path, _ = weights_file
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    cached = tmp_path / "hub" / "checkpoints" / "convnext_tiny-983f1562.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="not torchvision's file"):
        Backbone("convnext_tiny", "imagenet")
    prefix = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    official = {**backbone_module.OFFICIAL, "convnext_tiny": (backbone_module.OFFICIAL["convnext_tiny"][0], prefix)}
    monkeypatch.setattr(backbone_module, "OFFICIAL", official)
    weights = Backbone("convnext_tiny", "imagenet").weights
    assert weights.official
    assert weights.source == "imagenet"


def test_weights_that_cannot_be_had_never_become_something_else(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(ModelError, match=r"cannot be downloaded.*creps\.weights, or use 'random'"):
        Backbone("convnext_tiny", "imagenet")


def test_wrong_weights_are_refused(weights_file, tmp_path):
    path, state = weights_file
    with pytest.raises(ModelError, match="does not exist"):
        Backbone("convnext_tiny", str(tmp_path / "none.pth"))
    with pytest.raises(ModelError, match="does not hold the weights of vgg16"):
        Backbone("vgg16", str(path))
    save_file({"features.0.0.weight": state["features.0.0.weight"]}, tmp_path / "part.safetensors")
    with pytest.raises(ModelError, match="missing or differ"):
        Backbone("convnext_tiny", str(tmp_path / "part.safetensors"))
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        Backbone("convnext_tiny", str(tmp_path / "junk.pth"))


def test_an_unknown_node_is_refused():
    with pytest.raises(SettingsError, match="no feature node"):
        Backbone("convnext_tiny", "random", ["features.99"])


def test_balance_measures_then_freezes():
    balance = MagnitudeBalance(20.0, steps=2, ratio=2.0)
    balance.update(torch.tensor(10.0), torch.tensor(1.0))
    assert float(balance.weight) == pytest.approx(0.2)
    balance.update(torch.tensor(30.0), torch.tensor(3.0))
    balance.update(torch.tensor(1000.0), torch.tensor(1.0))  # frozen by now
    assert float(balance.weight) == pytest.approx(2 * 4 / 40)
    assert balance.frozen


def test_the_papers_weight_of_20_stays_exactly_20():
    balance = MagnitudeBalance(20.0)
    balance.update(torch.tensor(10.0), torch.tensor(1.0))
    assert float(balance.weight) == 20


def test_real_vgg16_weights_load(shared):
    path = shared / "weights" / "vgg16_imagenet_features_fp16.safetensors"
    backbone = Backbone("vgg16", str(path), image_size=None)
    assert backbone.weights.trained
    assert backbone.weights.sha256.startswith(hashlib.sha256(path.read_bytes()).hexdigest())
    flat, edge = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    edge[..., 16:] = 1
    assert float(CrepsLoss(backbone)(4 * edge[None] - 1, 4 * flat[None] - 1)[0]) > 1  # trained features see an edge
