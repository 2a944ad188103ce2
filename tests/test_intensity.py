import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creps.preprocessing.intensity import hu_to_network, mr_divisor, mr_to_network, network_to_hu


@given(st.floats(-1000, 3000, width=32))
def test_hu_come_back(hu):
    assert network_to_hu(hu_to_network(np.array([hu])))[0] == pytest.approx(hu, abs=2e-4)


def test_the_papers_ranges():
    np.testing.assert_array_equal(hu_to_network(np.array([-3000.0, -1000, 0, 3000, 9000])), [-1, -1, 0, 3, 3])
    np.testing.assert_array_equal(mr_to_network(np.array([-5.0, 0, 500, 2000, 9000]), 1000), [0, 0, 0.5, 2, 2])


@pytest.mark.parametrize("gain", [0.05, 1.0, 40.0])
def test_auto_scale_does_not_depend_on_the_scanners_units(gain):
    rng = np.random.default_rng(0)
    mr, body = rng.uniform(0, 800, (9, 9, 9)) * gain, np.ones((9, 9, 9), bool)
    scaled = mr_to_network(mr, mr_divisor(mr, body, "auto"))
    assert np.percentile(scaled, 99.5) == pytest.approx(2, abs=0.01)
    assert np.median(scaled) == pytest.approx(1, abs=0.1)


def test_a_fixed_scale_is_taken_as_it_is():
    assert mr_divisor(np.ones((2, 2, 2)), np.ones((2, 2, 2), bool), 1000.0) == 1000


def test_nothing_positive_has_no_scale():
    with pytest.raises(ValueError, match="positive"):
        mr_divisor(np.zeros((2, 2, 2)), np.ones((2, 2, 2), bool), "auto")
