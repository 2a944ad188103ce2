from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from creps.metrics.statistics import bootstrap_interval, paired_comparison

DIFFERENCES = st.lists(st.integers(-4, 4), min_size=1, max_size=8)


def test_an_interval_holds_the_mean_and_is_reproducible():
    values = np.random.default_rng(1).normal(60, 10, 40).tolist()
    found = bootstrap_interval(values)
    assert found == bootstrap_interval(values)
    assert found.low < np.mean(values) < found.high
    half = 1.96 * np.std(values, ddof=1) / np.sqrt(40)  # what normal values have
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)
    wider = bootstrap_interval(values, confidence=0.99)
    assert wider.low < found.low
    assert wider.high > found.high


def test_an_interval_of_equal_values_is_a_point():
    found = bootstrap_interval([3.0, 3.0, 3.0])
    assert (found.low, found.high) == (3, 3)


@pytest.mark.parametrize(
    ("values", "message"), [([1.0, 2.0], "at least 3"), ([], "no patient"), ([1.0, 2.0, np.nan], "not finite")]
)
def test_what_has_no_interval(values, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values)


@given(DIFFERENCES)
def test_the_p_value_is_exact_with_ties_and_zeros(differences):
    found = paired_comparison([float(d) for d in differences], [0.0] * len(differences))
    left = np.array([d for d in differences if d], dtype=float)
    assert found.mean_difference == pytest.approx(np.mean(differences))
    assert (found.interval is None) == (len(differences) < 3)
    if len(left) == 0:
        assert found.p_value is None
        return
    ranks = rankdata(np.abs(left))
    sums = [sum(r for r, sign in zip(ranks, signs, strict=True) if sign) for signs in product([0, 1], repeat=len(left))]
    seen, middle = ranks[left > 0].sum(), ranks.sum() / 2
    extreme = sum(abs(s - middle) >= abs(seen - middle) - 1e-9 for s in sums)
    assert found.p_value == pytest.approx(extreme / len(sums))


def test_six_patients_of_one_mind_are_the_fewest_below_5_percent():
    assert paired_comparison([1.0, 2, 3, 4, 5], [0.0] * 5).p_value == 0.0625
    found = paired_comparison([1.0, 2, 3, 4, 5, 6], [0.0] * 6)
    assert found.p_value == 0.03125
    assert found.interval is not None
    assert found.interval.low > 0


def test_many_tied_pairs_say_that_the_test_is_approximate():
    found = paired_comparison([1.0, -1.0] * 10 + [2.0], [0.0] * 21)
    assert "approximate" in found.test
    assert 0 < found.p_value < 1


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_comparison([1.0, 2.0], [1.0])
