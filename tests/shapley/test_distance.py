"""Alg. 1 line 17: ‖S − S̄‖_p ≤ D, decided exactly."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin.core.params import UTILITY_SCALE
from fedcoin.shapley.distance import distance, within_distance

times = st.integers(1, 2**20)
vectors = st.integers(1, 8).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-(2**50), 2**50), min_size=n, max_size=n)] * 2)
)


def fractions(a, time_a, b, time_b):
    return [abs(Fraction(x, time_a) - Fraction(y, time_b)) for x, y in zip(a, b, strict=True)]


@given(vectors, times, times, st.sampled_from([0, 1, 2, 3, 7]), st.integers(0, 2**51))
def test_alg1_line17_cross_multiplication_agrees_with_fractions(pair, time_a, time_b, norm, difficulty):
    differences = fractions(pair[0], time_a, pair[1], time_b)
    if norm == 0:
        expected = max(differences) <= difficulty
    else:
        expected = sum(d**norm for d in differences) <= Fraction(difficulty) ** norm
    assert within_distance(pair[0], time_a, pair[1], time_b, norm, difficulty) == expected


@given(vectors, times, times)
def test_alg1_line17_the_maximum_norm_turns_at_exactly_d(pair, time_a, time_b):
    exact = max(fractions(pair[0], time_a, pair[1], time_b))
    ceiling = -(-exact.numerator // exact.denominator)
    assert within_distance(pair[0], time_a, pair[1], time_b, 0, ceiling)
    if ceiling > 0:
        assert not within_distance(pair[0], time_a, pair[1], time_b, 0, ceiling - 1)


def test_alg1_line17_no_greater_than_d_includes_equality():
    assert within_distance([3, 0], 1, [0, 4], 1, norm=2, difficulty=5)
    assert not within_distance([3, 0], 1, [0, 4], 1, norm=2, difficulty=4)
    assert not within_distance([30_001, 0], 10_000, [0, 4], 1, norm=2, difficulty=5)


def test_a_distance_that_floats_cannot_tell_from_d_is_decided():
    big = 2**60
    assert within_distance([big * 10**6], 10**6, [0], 1, norm=2, difficulty=big)
    assert not within_distance([big * 10**6 + 1], 10**6, [0], 1, norm=2, difficulty=big)


def test_numpy_totals_do_not_overflow():
    assert not within_distance(np.array([2**62]), 2**20, np.array([-(2**62)]), 2**20, norm=2, difficulty=2**40)


def test_norm_255_of_1024_clients_is_affordable():
    assert not within_distance([2**62] * 1024, 2**20, [-(2**62)] * 1024, 2**20 - 1, norm=255, difficulty=1)


@given(vectors, times, times, st.sampled_from([0, 1, 2, 5]))
def test_the_distance_that_people_read_is_the_exact_one(pair, time_a, time_b, norm):
    differences = [float(d) / UTILITY_SCALE for d in fractions(pair[0], time_a, pair[1], time_b)]
    expected = max(differences) if norm == 0 else float(np.linalg.norm(differences, ord=norm))
    assert distance(pair[0], time_a, pair[1], time_b, norm) == pytest.approx(expected, rel=1e-9)


def test_the_distance_is_in_real_units():
    assert distance([3 * UTILITY_SCALE, 0], 1, [0, 8 * UTILITY_SCALE], 2, 2) == pytest.approx(5.0)
    assert distance([5, 5], 5, [7, 7], 7, 2) == 0.0


@pytest.mark.parametrize("bad", [([1], 0, [1], 1), ([1], 1, [1], 0), ([1, 2], 1, [1], 1)])
def test_averages_over_nothing_and_different_sizes_are_refused(bad):
    with pytest.raises(ValueError, match="distance"):
        within_distance(*bad, 2, 1)
