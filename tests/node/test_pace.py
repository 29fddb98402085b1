"""How many iterations go together, for evaluations of known cost."""

from __future__ import annotations

from itertools import pairwise

import pytest

from fedcoin.node.pace import Pace


def counts(fixed: float, each: float, seconds: float, calls: int, first: float = 0.0, limit: int = 10_000) -> list[int]:
    """Iterations of each of some calls where n of them cost fixed + n · each; the very first one costs `first` more."""
    pace, found = Pace(), []
    for _ in range(calls):
        found.append(pace.count(seconds, limit))
        pace.took(found[-1], fixed + each * found[-1] + first)
        first = 0.0
    return found


def test_what_costs_the_same_each_fills_the_time() -> None:
    assert counts(0.0, 0.1, 1.05, 4) == [1, 10, 10, 10]
    assert counts(0.0, 0.0, 1.0, 3) == [1, 256, 256], "not more, however cheap"
    assert counts(0.0, 0.1, 1.05, 3, limit=4) == [1, 4, 4]


@pytest.mark.parametrize("fixed", [0.9, 5.0, 100.0])
def test_a_large_fixed_cost_is_shared_by_many(fixed: float) -> None:
    found = counts(fixed, fixed / 1000, 1.0, 14)
    assert found[:2] == [1, 1]
    assert all(after >= before for before, after in pairwise(found))
    assert found[-1] == 256


def test_doubling_ends_where_it_no_longer_pays() -> None:
    found = counts(2.0, 0.5, 1.0, 20)
    assert found[-10:] == [found[-1]] * 10
    assert 2 <= found[-1] <= 8
    assert 2.0 + 0.5 * found[-1] <= 3 * (2.0 + 0.5), "and a call takes not much longer than for one"


@pytest.mark.parametrize("first", [0.0, 50.0])
def test_slow_iterations_without_a_fixed_cost_are_tried_together_once(first: float) -> None:
    assert counts(0.0, 10.0, 1.0, 8, first) == [1, 1, 2, 1, 1, 1, 1, 1]


def test_time_that_is_left_must_suffice_for_what_goes_together() -> None:
    pace = Pace()
    assert pace.fits(0.0), "nothing is known yet"
    for _ in range(12):
        count = pace.count(1.0, 10_000)
        pace.took(count, 5.0 + count / 1000)
    assert pace.count(1.0, 10_000) == 256
    assert not pace.fits(5.0)
    assert pace.fits(5.3)
    assert pace.count(1.0, 3) == 3


def test_more_or_fewer_may_go_together() -> None:
    for most in (1, 100, 1 << 14):
        pace = Pace(most)
        for _ in range(20):
            pace.took(pace.count(1.0, 1 << 20), 5.0)
        assert pace.count(1.0, 1 << 20) == most
