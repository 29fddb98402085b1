"""Alg. 1 lines 4–12 and 16: running mean and averaged S, against exact Shapley values."""

from fractions import Fraction
from itertools import permutations as all_orders

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin.core.errors import SamplerDoesNotFit
from fedcoin.shapley.exact import all_values, exact_from_table, exact_values, exact_values_of
from fedcoin.shapley.mean import add_leaf, averaged
from fedcoin.shapley.permutations import permutations
from tests.support.table_game import TableGame, random_table

RACE = bytes(range(32))
MINER = b"\x02" + bytes(32)


def game(seed: int, clients: int, baseline: int = 0):
    """A random game: v of each coalition, drawn once."""
    values = np.random.default_rng(seed).integers(-(10**9), 10**9, size=1 << clients)
    values[0] = baseline
    return lambda coalition: int(values[sum(1 << i for i in coalition)])


def marginals(utility, order):
    """Alg. 1 lines 6–10 for one rank, with v(∅) in place of the 0 that line 6 implies."""
    leaf = [0] * len(order)
    for place, client in enumerate(order):
        before = sum(leaf[other] for other in order[:place]) + utility(frozenset())
        leaf[client] = utility(frozenset(order[: place + 1])) - before
    return leaf


@pytest.mark.parametrize("clients", [1, 2, 3, 5])
@pytest.mark.parametrize("baseline", [0, 123_456_789])
def test_exact_values_are_the_mean_over_all_permutations(clients, baseline):
    utility = game(clients, clients, baseline)
    leaves = [marginals(utility, order) for order in all_orders(range(clients))]
    mean = [Fraction(sum(column), len(leaves)) for column in zip(*leaves, strict=True)]
    assert exact_values(utility, clients) == mean


def test_exact_values_sum_to_the_value_of_all_clients_less_the_baseline():
    utility = game(9, 6, 77)
    assert sum(exact_values(utility, 6)) == utility(frozenset(range(6))) - 77


def test_clients_that_change_nothing_are_worth_nothing_and_equals_get_the_same():
    values = exact_values(lambda coalition: 10 * len(coalition & {0, 1}), 3)
    assert values == [10, 10, 0]


def test_exact_values_call_each_coalition_once():
    calls = []
    exact_values(lambda coalition: calls.append(coalition) or 0, 4)
    assert len(calls) == len(set(calls)) == 16


@pytest.mark.parametrize("clients", [0, 21])
def test_exact_values_refuse_more_coalitions_than_are_affordable(clients):
    with pytest.raises(SamplerDoesNotFit, match="exact values"):
        exact_values(lambda _: 0, clients)


@pytest.mark.parametrize("clients", [1, 2, 3, 6, 11])
def test_an_evaluator_is_asked_for_each_coalition_once(clients):
    game = TableGame(random_table(clients))
    assert (all_values(game) == game.table).all()
    assert sorted(game.asked) == list(range(1, 1 << clients))


@pytest.mark.parametrize("clients", [1, 4, 8])
def test_exact_values_of_an_evaluator_a_table_and_a_function_are_one(clients):
    table = random_table(clients, seed=clients)
    expected = exact_values(lambda coalition: int(table[sum(1 << i for i in coalition)]), clients)
    assert exact_from_table(table) == exact_values_of(TableGame(table)) == expected


def test_exact_values_of_the_largest_utilities_do_not_overflow():
    table = np.full(1 << 16, 100 * 10**9)
    table[0] = -100 * 10**9
    assert exact_from_table(table) == [Fraction(200 * 10**9, 16)] * 16


@pytest.mark.parametrize("length", [0, 1, 3, 1 << 21])
def test_a_table_that_does_not_hold_all_coalitions_is_refused(length):
    with pytest.raises(SamplerDoesNotFit):
        exact_from_table(np.zeros(length, dtype=np.int64))


def test_alg1_lines_4_to_12_converge_to_the_exact_values():
    utility = game(4, 4)
    exact = exact_values(utility, 4)

    def error(iterations):
        total = (0,) * 4
        for order in permutations(RACE, MINER, 0, iterations, 4).tolist():
            total = add_leaf(total, marginals(utility, order))
        return max(abs(Fraction(t, iterations) - value) for t, value in zip(total, exact, strict=True))

    assert error(4000) < 5 * 10**7  # standard error of about 1.3e7 at the standard deviation of this game
    assert error(4000) < error(40)


@given(st.lists(st.lists(st.integers(-(2**40), 2**40), min_size=3, max_size=3), min_size=1, max_size=20))
def test_alg1_line11_running_mean(leaves):
    """S = (S·time + S_t) / (time + 1), as the paper writes it, equals total / time after every iteration."""
    paper, total = [Fraction(0)] * 3, (0, 0, 0)
    for time, leaf in enumerate(leaves):
        paper = [(s * time + s_t) / (time + 1) for s, s_t in zip(paper, leaf, strict=True)]
        total = add_leaf(total, leaf)
        assert [Fraction(t, time + 1) for t in total] == paper


estimates = st.lists(
    st.tuples(st.tuples(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62)), st.integers(1, 2**20)), min_size=1
)


@given(estimates)
def test_alg1_line16_averaged_s(received):
    """S̄ = Σ time·S / Σ time."""
    total, time = averaged(received)
    for k in range(2):
        weighted = sum(their_time * Fraction(their_total[k], their_time) for their_total, their_time in received)
        assert Fraction(total[k], time) == weighted / sum(their_time for _, their_time in received)


@given(estimates)
def test_alg1_line16_does_not_depend_on_the_order_of_arrival(received):
    assert averaged(received) == averaged(reversed(received))


def test_averaging_does_not_overflow_numpy_integers():
    total, _ = averaged([(np.array([2**62]), 1)] * 4)
    assert total == (2**64,)


def test_nothing_to_average_and_different_sizes_are_refused():
    with pytest.raises(ValueError, match="no estimates"):
        averaged([])
    with pytest.raises(ValueError, match="does not fit"):
        averaged([((1, 2), 1), ((1,), 1)])
