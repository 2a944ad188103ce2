"""The U-Net and its classes of HU."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from creps.inference.executor import Executor
from creps.networks.build import build_generator
from creps.networks.folded import FoldedUNet
from creps.networks.hu_classes import CENTRES_HU, HuClasses
from creps.networks.sub_pixel import from_blocks, to_blocks
from creps.networks.unet import UNetGenerator
from creps.settings import UNetSettings, load_settings
from creps.training.run.train import train
from tests.conftest import TINY

CLASSES = HuClasses()
SMALL = {"generator.kind": "unet", "generator.width": 8, "generator.levels": 2}
WITHOUT_RESIDUAL = {name: value for name, value in TINY.items() if not name.startswith(("generator.", "nce."))}


def logits_of(value, sharpness=200.0):
    """Logits of a distribution at one value in network units."""
    return -sharpness * (torch.tensor(value)[:, None] - CLASSES.centres).abs()


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(CENTRES_HU))
def test_a_sure_voxel_has_the_value_of_its_class(hu):
    logits = logits_of([hu / 1000], 1e5)
    assert float(CLASSES.mean(logits)) == pytest.approx(hu / 1000, abs=1e-4)
    assert float(CLASSES.deviation(logits)) == pytest.approx(0, abs=1e-3)
    place = CENTRES_HU.index(hu)
    low = CENTRES_HU[max(0, place - 1)] / 2000 + hu / 2000
    high = CENTRES_HU[min(len(CENTRES_HU) - 1, place + 1)] / 2000 + hu / 2000
    assert low <= float(CLASSES.median(logits)) <= high


def test_mean_median_and_deviation_of_a_known_distribution():
    """Two classes, 30 % at -100 HU and 70 % at 300 HU, counted by hand."""
    shares = torch.full((len(CENTRES_HU),), 1e-12)
    shares[CENTRES_HU.index(-100)], shares[CENTRES_HU.index(300)] = 0.3, 0.7
    logits = shares.log()
    assert float(CLASSES.mean(logits)) == pytest.approx(0.3 * -0.1 + 0.7 * 0.3, abs=1e-5)
    assert float(CLASSES.deviation(logits)) == pytest.approx(0.4 * np.sqrt(0.3 * 0.7), abs=1e-4)
    # 300 HU spreads evenly from 250 to 375; the median is at (.5 - .3) / .7 of that
    assert float(CLASSES.median(logits)) == pytest.approx(0.25 + 0.125 * 0.2 / 0.7, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1.0, 3.0))
def test_the_cross_entropy_is_least_where_the_mean_is_the_ct(value):
    ct = torch.full((1,), value)
    told = torch.zeros(1, len(CENTRES_HU), requires_grad=True)
    optimizer = torch.optim.LBFGS([told], lr=0.5, max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = CLASSES.mean_and_cross_entropy(told, ct)[1].mean()
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(closure)
    assert float(CLASSES.mean(told.detach())) == pytest.approx(value, abs=0.02)


@pytest.mark.parametrize("classes", [True, False])
def test_bone_counts_as_often_as_it_is_told(classes):
    torch.manual_seed(0)
    generator = UNetGenerator(width=4, levels=2, fine=4, classes=classes)
    mr, ct = torch.rand(1, 1, 16, 16, 16), torch.zeros(1, 1, 16, 16, 16)
    ct[:, :, :4] = 0.5
    parts = [generator.distance(mr, ct.where(kept, torch.tensor(0.0))).item() for kept in (ct > 1, ct > 0)]
    assert parts[0] != parts[1]
    errors, truth = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, 0.14, 0.12])
    assert float(generator.weighted_mean(errors, truth)) == pytest.approx(7 / 3)
    generator.bone_weight = 3.0
    assert float(generator.weighted_mean(errors, truth)) == pytest.approx((1 + 3 * 2 + 4) / 5)
    assert generator.distance(mr, ct).item() != parts[1]


def test_blocks_come_back_and_hold_their_neighbours():
    image = torch.arange(4 * 6 * 8, dtype=torch.float32).reshape(1, 1, 4, 6, 8)
    blocks = to_blocks(image)
    assert torch.equal(from_blocks(blocks), image)
    assert torch.equal(blocks[0, :, 1, 2, 3].sort().values, image[0, 0, 2:4, 4:6, 6:8].flatten().sort().values)


@pytest.mark.parametrize("size", [(24, 24, 24), (7, 13, 9), (16, 33, 20)])
@pytest.mark.parametrize("classes", [True, False])
def test_any_size_keeps_its_shape_and_is_finite(size, classes):
    network = build_generator(UNetSettings(width=8, levels=3, classes=classes))
    mr = torch.rand(2, 1, *size)
    with torch.no_grad():
        sct = network(mr)
    assert sct.shape == mr.shape
    assert torch.isfinite(sct).all()
    assert network.yields_spread == classes
    if not classes:
        with pytest.raises(NotImplementedError, match="no spread"):
            network.with_spread(mr)
        return
    both = network.with_spread(mr)
    torch.testing.assert_close(both[:, :1], sct)
    own = network.classes.deviation(network.logits(mr).detach().movedim(1, -1))
    torch.testing.assert_close(both[:, 1], own)
    assert float(sct.min()) >= -1 or not classes


def woken(network):
    """The residual branches start at zero; nothing would be seen of them."""
    for name, weights in network.named_parameters():
        if name.endswith("second.weight"):
            torch.nn.init.kaiming_uniform_(weights)
    return network.eval()


@pytest.mark.parametrize("levels", [2, 3])
def test_the_reach_bounds_what_a_voxel_sees(levels):
    torch.manual_seed(0)
    network = woken(UNetGenerator(8, levels=levels, classes=False))
    side = network.stride * (2 * network.reach // network.stride + 4)
    mr = torch.rand(1, 1, 16, 16, side, requires_grad=True)
    for centre in (side // 2, side // 2 + network.stride - 1):
        (seen,) = torch.autograd.grad(network(mr)[0, 0, 8, 8, centre], mr)
        places = seen[0, 0].abs().amax(dim=(0, 1)).nonzero()[:, 0]
        assert centre - network.reach <= int(places.min())
        assert int(places.max()) <= centre + network.reach
        assert int(places.max() - places.min()) > network.reach  # not bounded by far too much
        assert 0 < network.halo <= network.reach


def test_predictions_move_with_the_image_by_the_stride_and_do_not_depend_on_the_rest():
    torch.manual_seed(0)
    network = woken(UNetGenerator(8, levels=2))
    mr = torch.rand(1, 1, 16, 16, 160)
    with torch.no_grad():
        whole, part = network(mr), network(mr[..., 8:152])
    inner = slice(network.reach, 144 - network.reach)
    torch.testing.assert_close(part[..., inner], whole[..., 8:152][..., inner], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(24, 24, 24), (7, 13, 9), (23, 20, 18)])
@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("slab", [3000, 1 << 20])
def test_the_fast_form_is_the_generator(monkeypatch, size, classes, slab):
    torch.manual_seed(0)
    network, mr = woken(UNetGenerator(8, levels=3, classes=classes)), 2 * torch.rand(2, 1, *size)
    for parameter in network.parameters():  # biases and scales too are not what they start as
        parameter.data += 0.05 * torch.randn_like(parameter)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    monkeypatch.setattr("creps.networks.folded.unet.SLAB_VOXELS", slab)
    fast, halved = (network.folded(dtype) for dtype in (torch.float32, torch.bfloat16))
    with torch.no_grad():
        expected = network.with_spread(mr) if classes else network(mr)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(mr)
    assert fast.yields_spread == classes
    torch.testing.assert_close(fast(mr), expected[:, :1], atol=1e-4, rtol=1e-4)
    if classes:
        torch.testing.assert_close(fast.with_spread(mr), expected, atol=1e-4, rtol=1e-4)
    error, usual = ((found - expected[:, :1]).abs().mean() for found in (halved(mr), rounded))
    assert error < 1.5 * usual
    torch.testing.assert_close(dict(network.state_dict()), before)  # its own weights are as they were


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20))
def test_classes_read_in_turn_are_the_median_and_the_deviation(seed, sharpness):
    logits = sharpness * torch.randn(300, len(CENTRES_HU), generator=torch.Generator().manual_seed(seed))
    median, deviation = CLASSES.read(logits.T.contiguous(), spread=True)
    shares = logits.softmax(dim=-1)
    sure = shares.gather(-1, (shares.cumsum(dim=-1) < 0.5).sum(dim=-1, keepdim=True))[:, 0] > 1e-3
    torch.testing.assert_close(median[sure], CLASSES.median(logits)[sure], atol=1e-4, rtol=0)
    torch.testing.assert_close(deviation, CLASSES.deviation(logits), atol=3e-3, rtol=1e-3)
    assert torch.equal(CLASSES.read(logits.T.contiguous())[0], median)


def test_the_executor_runs_the_fast_form_with_the_spread_and_without():
    network = woken(UNetGenerator(8, levels=2))
    for spread in (False, True):
        executor = Executor(network, precision="fp32", spread=spread)
        assert isinstance(executor.network, FoldedUNet)
        values = executor.start(np.random.default_rng(0).random((1, 8, 8, 8), np.float32)).result()
        assert values.shape == ((1, 2, 8, 8, 8) if spread else (1, 8, 8, 8))


def test_zero_padding_is_not_imaged_air():
    torch.manual_seed(0)
    network = woken(UNetGenerator(8, levels=2))
    mr = torch.rand(1, 1, 16, 16, 32)
    with torch.no_grad():
        alone, beside_air = network(mr), network(torch.cat([mr, torch.zeros_like(mr)], dim=-1))
    assert (alone[..., -1] - beside_air[..., 31]).abs().max() > 1e-3


def test_the_loss_counts_the_body_what_is_near_it_and_some_of_the_air():
    from creps.networks.unet import AIR_STEP, NEAR_VOXELS, _counted

    ct = torch.full((2, 1, 24, 24, 24), -1.0)
    ct[1, 0, 10:14, 10:14, 10:14] = 0.0
    counted = torch.zeros(ct.numel(), dtype=torch.bool)
    counted[_counted(ct)] = True
    counted = counted.reshape(ct.shape)
    assert int(counted[0].sum()) == (24 // AIR_STEP) ** 3
    near = slice(10 - NEAR_VOXELS, 14 + NEAR_VOXELS)
    assert counted[1, 0, near, near, near].all()


def test_gradients_are_finite_in_bfloat16_where_a_level_is_shallow():
    """The CPU's bfloat16 weight gradient is undefined where a kernel is deeper than its input."""
    for seed in range(3):
        torch.manual_seed(seed)
        network = UNetGenerator(8, levels=4)
        with torch.autocast("cpu", torch.bfloat16):
            loss = network.distance(torch.rand(1, 1, 16, 32, 32), torch.rand(1, 1, 16, 32, 32))
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_a_u_net_is_trained_saved_and_synthesizes(cohort, tmp_path):
    from creps import load

    changes = {"recipe": "anatomy", "training.steps": 30, "training.learning_rate": 3e-3, "training.validate_every": 30}
    changes |= {"training.bone_weight": 1}
    chosen = load_settings(prepared=cohort.settings(), overrides=WITHOUT_RESIDUAL | SMALL | changes)
    train(cohort, tmp_path / "run", chosen)
    lines = (tmp_path / "run" / "curves.csv").read_text().splitlines()
    column = lines[0].split(",").index("simulated")
    values = [float(line.split(",")[column]) for line in lines[1:]]
    assert np.mean(values[-5:]) < 0.8 * values[0]
    model = load(tmp_path / "run" / "model")
    case = cohort.cases("mr", "train")[0]
    from creps.volume import Volume

    mr = Volume(cohort.array(case) * case.mr_divisor, case.spacing_mm)
    sct = model.synthesize(mr, force=True).sct
    assert sct.shape == mr.shape
    assert sct.array.std() > 50


class Convolutions(TorchDispatchMode):
    """Notes the shapes of the weights that are convolved with, in either direction."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            backward = func is torch.ops.aten.convolution_backward.default
            self.weights.append(tuple(args[2 if backward else 1].shape))
        return func(*args, **(kwargs or {}))


def test_the_head_is_no_convolution_when_it_learns():
    """Backward, one over single voxels in float32 took longer than all the rest of a step."""
    network = woken(UNetGenerator(8, levels=2)).train()
    with Convolutions() as noted:
        network.distance(torch.rand(1, 1, 16, 16, 16), torch.rand(1, 1, 16, 16, 16)).backward()
    assert len(noted.weights) > 10
    assert all(weight[0] != len(network.classes) for weight in noted.weights)
    assert network.head.weight.grad.abs().sum() > 0
