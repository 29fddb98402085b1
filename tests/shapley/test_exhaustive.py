"""All coalitions in an order of the miner's own (Sampler.EXACT)."""

from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest

from fedcoin.core.task import Sampler
from fedcoin.shapley.draws import Draws
from fedcoin.shapley.exact import exact_from_table
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.samplers.exhaustive import Affine, ExhaustiveSampler, combination
from tests.support.table_game import MINER, RACE, TableGame, random_table


@pytest.mark.parametrize("clients", range(1, 11))
def test_the_mean_of_a_pass_is_exact(clients):
    """Whatever the miner, the race, and the pass; a leaf is rounded to one unit."""
    table = random_table(clients, seed=clients)
    exact = np.array([float(value) for value in exact_from_table(table)])
    passes = ExhaustiveSampler(clients).iterations
    for miner, number in ((MINER, 0), (MINER, 1), (b"\x03" + MINER[1:], 7)):
        indices = range(number * passes, (number + 1) * passes)
        leaves = Iterations(Sampler.EXACT, TableGame(table)).leaves(RACE, miner, indices)
        assert np.abs(leaves.mean(axis=0) - exact).max() <= 2


@pytest.mark.parametrize("clients", [1, 2, 3, 4, 7, 10])
def test_a_pass_evaluates_every_coalition(clients):
    game = TableGame(random_table(clients))
    sampler = ExhaustiveSampler(clients)
    Iterations(Sampler.EXACT, game).leaves(RACE, MINER, range(sampler.iterations))
    counts = Counter(game.asked)
    assert sorted(counts) == list(range(1, 1 << clients))
    for members, count in counts.items():
        size = members.bit_count()
        fewest = sampler.iterations // comb(clients, size)
        if size < clients:
            assert max(1, fewest) <= count <= fewest + 1 if fewest else count == 1


@pytest.mark.parametrize("clients", [4, 9, 13])
def test_every_iteration_sees_every_size(clients):
    sampler = ExhaustiveSampler(clients)
    for index in (0, 1, sampler.iterations - 1, sampler.iterations, 2**40):
        sizes = set(sampler.walks(RACE, MINER, [index]).coalitions().sum(axis=1).tolist())
        assert sizes == set(range(1, clients))


def test_each_leaf_is_unbiased_by_itself():
    """The first leaf of a pass, over many passes."""
    table = random_table(5, seed=8)
    exact = np.array([float(value) for value in exact_from_table(table)])
    passes = ExhaustiveSampler(5).iterations
    leaves = (
        Iterations(Sampler.EXACT, TableGame(table)).leaves(RACE, MINER, range(0, 3000 * passes, passes)).astype(float)
    )
    errors = leaves.std(axis=0, ddof=1) / np.sqrt(len(leaves))
    assert (np.abs(leaves.mean(axis=0) - exact) <= 4.5 * errors).all()
    assert leaves.std(axis=0).min() > 0


def test_coalitions_are_numbered_in_colexicographic_order():
    for clients, size in ((6, 3), (5, 1), (4, 4), (20, 2)):
        ordered = sorted(combinations(range(clients), size), key=lambda members: members[::-1])
        assert [tuple(combination(rank, size)) for rank in range(comb(clients, size))] == ordered


@pytest.mark.parametrize("size", [1, 2, 12, 97])
def test_a_rearrangement_goes_everywhere_once(size):
    for index in range(20):
        moved = Affine.drawn(size, Draws(b"test", RACE, MINER, index))
        assert sorted(moved(place) for place in range(size)) == list(range(size))


def test_a_place_is_moved_everywhere_with_equal_probability():
    counts = Counter(Affine.drawn(12, Draws(b"test", RACE, MINER, index))(5) for index in range(6000))
    assert set(counts) == set(range(12))
    assert max(abs(count - 500) for count in counts.values()) <= 5 * np.sqrt(500)


def test_20_clients_are_served():
    sampler = ExhaustiveSampler(20)
    assert sampler.iterations == -(-(2**20 - 2) // 20)
    walks = sampler.walks(RACE, MINER, range(30))
    assert walks.evaluations / 30 <= 2 * 20
