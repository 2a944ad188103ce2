import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from creps.model import Model
from creps.networks.generator import Generator
from creps.settings import InferenceSettings
from creps.synthesis.background import background, dense_ml
from creps.synthesis.options import SynthesisOptions
from creps.synthesis.synthesize import synthesize
from tests.conftest import ball_head
from tests.test_synthesize import plan

SPACING_MM = (2.0, 2.0, 2.0)


class Dense(Generator):
    """Whatever gives signal is denser than air."""

    def forward(self, x):
        return x - 1


def cleared(sct_hu, body):
    """The sCT with air in its background, and how much was cleared."""
    air = background(sct_hu, body, SPACING_MM)
    return np.where(air, np.float32(-1000), sct_hu), dense_ml(sct_hu, air, SPACING_MM)


def patient():
    """A cube of water and its mask."""
    body = np.zeros((40, 60, 60), dtype=bool)
    body[10:30, 20:40, 20:40] = True
    return np.where(body, np.float32(20), np.float32(-1000)), body


@given(seed=st.integers(0, 2**20))
def test_haze_in_the_air_goes_and_the_patient_stays(seed):
    sct_hu, body = patient()
    rng = np.random.default_rng(seed)
    far = ~np.pad(body[3:-3, 3:-3, 3:-3], 3)
    far[4:36, 14:46, 14:46] = False  # more than 10 mm from the body
    haze = far & (rng.random(body.shape) < 0.3)
    hazy = np.where(haze, rng.uniform(-400, 1800, body.shape), sct_hu)
    found, ml = cleared(hazy, body)
    np.testing.assert_array_equal(found, sct_hu)
    assert ml == pytest.approx(haze.sum() * 0.008, abs=1e-3)


def test_what_the_mask_left_out_stays_where_it_is_joined():
    sct_hu, body = patient()
    mask = body.copy()
    mask[:, 30:] = False  # the back of the head is in shadow
    found, ml = cleared(sct_hu, mask)
    np.testing.assert_array_equal(found, sct_hu)
    assert ml == 0


def test_a_thin_bridge_joins_nothing_and_skin_stays():
    sct_hu, body = patient()
    sct_hu[20, 30, 40:55] = 0  # a cable
    sct_hu[15:25, 25:35, 50:58] = 300  # and what it leads to
    sct_hu[10:30, 16:20, 20:40] = -100  # fat that the mask missed
    found, ml = cleared(sct_hu, body)
    assert (found[15:25, 25:35, 50:58] == -1000).all()
    assert (found[10:30, 16:20, 20:40] == -100).all()
    assert ml > 6


def test_only_a_synthesis_of_the_body_is_cleared():
    mr = ball_head(0)[0]
    array = mr.array.copy()
    array[1:4, 1:4, 1:4] = 900  # a bottle in the corner
    for extent, is_air in (("volume", False), ("body", True)):
        settings = InferenceSettings(extent=extent, precision="fp32")
        result = synthesize(Model(plan(), Dense()), mr.with_array(array), settings)
        assert (float(result.sct.array[2, 2, 2]) == -1000) is is_air
        assert (result.record["cleared_ml"] > 0) is is_air


class Uneven(Dense):
    """Overlapping patches of it never agree."""

    def forward(self, x):
        return super().forward(x) + torch.linspace(0, 0.3, x.shape[-1])


def test_air_has_no_spread():
    mr = ball_head(0)[0]
    array = mr.array.copy()
    array[1:4, 1:4, 1:4] = 900
    settings = InferenceSettings(extent="body", precision="fp32")
    result = synthesize(Model(plan(), Uneven()), mr.with_array(array), settings, SynthesisOptions(spread=True))
    assert result.record["cleared_ml"] > 0
    assert result.spread.array[result.sct.array > -1000].max() > 50
    assert not result.spread.array[result.sct.array == -1000].any()
