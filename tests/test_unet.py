"""The U-Net and its classes of HU."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from creps.networks.build import build_generator
from creps.networks.hu_classes import CENTRES_HU, HuClasses
from creps.networks.unet import UNetGenerator, _from_blocks, _to_blocks
from creps.settings import UNetSettings, load_settings
from creps.training.run.train import train
from tests.conftest import TINY

CLASSES = HuClasses()
SMALL = {"generator.kind": "unet", "generator.width": 8, "generator.levels": 2}
WITHOUT_RESIDUAL = {name: value for name, value in TINY.items() if not name.startswith(("generator.", "nce."))}


def logits_of(value, sharpness=200.0):
    """Logits of a distribution at one value in network units."""
    distance = (torch.tensor(value).reshape(1, 1, 1, 1, -1) - CLASSES.centres.reshape(1, -1, 1, 1, 1)).abs()
    return -sharpness * distance


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
    shares = torch.full((1, len(CENTRES_HU), 1, 1, 1), 1e-12)
    shares[0, CENTRES_HU.index(-100)], shares[0, CENTRES_HU.index(300)] = 0.3, 0.7
    logits = shares.log()
    assert float(CLASSES.mean(logits)) == pytest.approx(0.3 * -0.1 + 0.7 * 0.3, abs=1e-5)
    assert float(CLASSES.deviation(logits)) == pytest.approx(0.4 * np.sqrt(0.3 * 0.7), abs=1e-4)
    # 300 HU spreads evenly from 250 to 375; the median is at (.5 - .3) / .7 of that
    assert float(CLASSES.median(logits)) == pytest.approx(0.25 + 0.125 * 0.2 / 0.7, abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1.0, 3.0))
def test_the_cross_entropy_is_least_where_the_mean_is_the_ct(value):
    ct = torch.full((1, 1, 1, 1, 1), value)
    told = torch.zeros(1, len(CENTRES_HU), 1, 1, 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([told], lr=0.5, max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = CLASSES.cross_entropy(told, ct)
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(closure)
    assert float(CLASSES.mean(told.detach())) == pytest.approx(value, abs=0.02)


def test_blocks_come_back_and_hold_their_neighbours():
    image = torch.arange(4 * 6 * 8, dtype=torch.float32).reshape(1, 1, 4, 6, 8)
    blocks = _to_blocks(image)
    assert torch.equal(_from_blocks(blocks), image)
    assert torch.equal(blocks[0, :, 1, 2, 3].sort().values, image[0, 0, 2:4, 4:6, 6:8].flatten().sort().values)


@pytest.mark.parametrize("size", [(24, 24, 24), (7, 13, 9), (16, 33, 20)])
@pytest.mark.parametrize("classes", [True, False])
def test_any_size_keeps_its_shape_and_is_finite(size, classes):
    network = build_generator(UNetSettings(width=8, levels=3, classes=classes))
    mr = torch.rand(2, 1, *size)
    with torch.no_grad():
        sct, spread = network(mr), network.spread(mr)
    assert sct.shape == mr.shape
    assert torch.isfinite(sct).all()
    assert (spread is not None) == classes
    assert float(sct.min()) >= -1 or not classes


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
