"""The preparation in parts."""

from __future__ import annotations

import numpy as np
import pytest

from fedcoin.core.task import Sampler
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.walks import Values, Walks

RACE, MINER, CLIENTS = b"r" * 32, b"\x02" + b"m" * 32, 12
PREPARED = [sampler for sampler in Sampler if sampler in (Sampler.HYBRID, Sampler.EXACT)]


class Game:
    """Weights of the clients, and what pairs of neighbours add; it notes what it is asked."""

    clients = CLIENTS
    empty_value = 17

    def __init__(self) -> None:
        self.asked: list[int] = []

    def values(self, walks: Walks) -> Values:
        self.asked.append(walks.evaluations)
        members = walks.coalitions().astype(np.int64)
        weights = np.arange(1, CLIENTS + 1) ** 3
        return 1000 * (members @ weights + 500 * (members[:, 1:] * members[:, :-1]).sum(axis=1))


@pytest.mark.parametrize("sampler", PREPARED)
def test_leaves_do_not_depend_on_the_parts_of_the_preparation(sampler: Sampler) -> None:
    whole = Iterations(sampler, Game())
    whole.prepare()
    expected = whole.leaves(RACE, MINER, range(9))
    for most in (1, 3, 50, 10**6):
        game = Game()
        iterations = Iterations(sampler, game)
        while not iterations.prepare_some(most):
            assert iterations.preparation.evaluated == sum(game.asked)
        assert sum(game.asked) == len(iterations.preparation.values)
        np.testing.assert_array_equal(iterations.preparation.values, whole.preparation.values)
        np.testing.assert_array_equal(iterations.leaves(RACE, MINER, range(9)), expected)


def test_a_part_has_as_many_evaluations_as_allowed_at_most_or_one_walk() -> None:
    game = Game()
    iterations = Iterations(Sampler.HYBRID, game)
    while not iterations.prepare_some(20):
        pass
    assert max(game.asked) == 20
    assert len(game.asked) < len(iterations.preparation.values) / 10
    game = Game()
    iterations = Iterations(Sampler.HYBRID, game)
    while not iterations.prepare_some(1):
        pass
    longest = max(game.asked)
    assert longest > 1  # walks of pilots, which are not divided
    assert game.asked[: 1 + CLIENTS + CLIENTS * (CLIENTS - 1) // 2] == [1] * (
        1 + CLIENTS + CLIENTS * (CLIENTS - 1) // 2
    )


def test_a_begun_preparation_is_gone_on_with_by_others_and_by_leaves() -> None:
    first = Iterations(Sampler.HYBRID, Game())
    assert not first.prepare_some(30)
    game = Game()
    second = Iterations(Sampler.HYBRID, game, first.preparation)
    leaves = second.leaves(RACE, MINER, [4])
    walks = game.asked.pop()
    assert sum(game.asked) == len(first.preparation.values) - 30
    assert walks < len(first.preparation.values)
    np.testing.assert_array_equal(leaves, Iterations(Sampler.HYBRID, Game()).leaves(RACE, MINER, [4]))


@pytest.mark.parametrize("sampler", [Sampler.PERMUTATION, Sampler.ANTITHETIC])
def test_samplers_without_preparation_are_ready_at_once(sampler: Sampler) -> None:
    game = Game()
    iterations = Iterations(sampler, game)
    assert iterations.preparation.done
    assert iterations.prepare_some(1)
    assert game.asked == []
