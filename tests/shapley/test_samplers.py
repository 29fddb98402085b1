"""What every sampler has to hold: unbiased, its own for each miner, and drawn by nobody."""

import numpy as np
import pytest

from fedcoin.core.errors import SamplerDoesNotFit
from fedcoin.core.params import MAX_CLIENTS
from fedcoin.core.task import Sampler
from fedcoin.shapley.exact import exact_from_table
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.leaves import MAX_MARGINAL
from fedcoin.shapley.samplers import open_sampler
from tests.support.table_game import MINER, RACE, TableGame, learning_table, random_table

OTHER_MINER = b"\x03" + bytes(range(32))
OTHER_RACE = bytes(32)
ALL = list(Sampler)
SIZES = [1, 2, 3, 4, 5, 6, 8, 12]


def leaves_of(sampler, table, count, race=RACE, miner=MINER):
    return Iterations(sampler, TableGame(table)).leaves(race, miner, range(count))


def exact(table):
    return np.array([float(value) for value in exact_from_table(table)])


@pytest.mark.parametrize("make", [learning_table, random_table])
@pytest.mark.parametrize("clients", SIZES)
@pytest.mark.parametrize("sampler", ALL)
def test_leaves_estimate_the_exact_values(sampler, clients, make):
    """Within 4.5 standard errors of the mean over many iterations, which a bias of a few per cent would leave."""
    table = make(clients, seed=clients)
    leaves = leaves_of(sampler, table, 1500).astype(np.float64)
    # Antithetic leaves come in pairs, those of a pass of EXACT together: blocks are independent enough.
    errors = leaves.std(axis=0, ddof=1) / np.sqrt(len(leaves))
    assert (np.abs(leaves.mean(axis=0) - exact(table)) <= 4.5 * errors + 2).all()


@pytest.mark.parametrize("clients", SIZES)
@pytest.mark.parametrize("sampler", ALL)
def test_every_leaf_divides_what_all_clients_add(sampler, clients):
    table = learning_table(clients, seed=3, empty_value=123_456_789)
    total = int(table[-1] - table[0])
    for leaf in leaves_of(sampler, table, 20):
        assert abs(int(leaf.sum()) - total) <= clients


@pytest.mark.parametrize("clients", [1, 2, 5, 9, 70])
@pytest.mark.parametrize("sampler", [Sampler.PERMUTATION, Sampler.ANTITHETIC, Sampler.HYBRID])
def test_an_iteration_is_the_same_alone_and_among_others(sampler, clients):
    prescribed, values = open_sampler(sampler, clients), {}
    for indices in ([4], [7], [4, 7], range(9)):
        walks = prescribed.walks(RACE, MINER, list(indices))
        rows = [row.tobytes() for row in walks.coalitions()]
        values[tuple(indices)] = rows
    assert values[4,] + values[7,] == values[4, 7]
    assert len(values[tuple(range(9))]) >= 9 * clients // 2
    again = open_sampler(sampler, clients).walks(RACE, MINER, [4, 7])
    assert [row.tobytes() for row in again.coalitions()] == values[4, 7]


@pytest.mark.parametrize("sampler", ALL)
def test_leaves_are_the_same_alone_and_among_others(sampler):
    table = learning_table(9)
    together = leaves_of(sampler, table, 8)
    iterations = Iterations(sampler, TableGame(table))
    for index in (5, 0, 7):
        assert (iterations.leaves(RACE, MINER, [index])[0] == together[index]).all()
    assert iterations.leaves(RACE, MINER, []).shape == (0, 9)


@pytest.mark.parametrize("sampler", ALL)
def test_miners_races_and_iterations_have_coalitions_of_their_own(sampler):
    prescribed = open_sampler(sampler, 12)
    drawn = [
        prescribed.walks(race, miner, [index]).coalitions().tobytes()
        for race in (RACE, OTHER_RACE)
        for miner in (MINER, OTHER_MINER)
        for index in (0, 1, 2, 200, 2**40)
    ]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("clients", [2, 3, 4, 5, 10])
@pytest.mark.parametrize("sampler", ALL)
def test_a_copy_of_another_miners_leaves_shows(sampler, clients):
    """From two clients on, miners' leaves differ; with one there is only one marginal contribution to know."""
    table = random_table(clients, seed=1)
    assert (leaves_of(sampler, table, 30) != leaves_of(sampler, table, 30, miner=OTHER_MINER)).any()


@pytest.mark.parametrize("sampler", ALL)
def test_coalitions_are_chosen_without_a_look_at_values(sampler):
    """Values round differently elsewhere: an auditor must still recompute the same coalitions."""
    asked = []
    for table in (learning_table(8, seed=1), random_table(8, seed=2)):
        game = TableGame(table)
        Iterations(sampler, game).leaves(RACE, MINER, range(6))
        asked.append(game.asked)
    assert asked[0] == asked[1]


@pytest.mark.parametrize("sampler", ALL)
def test_leaves_stay_within_bounds_whatever_utilities_are(sampler):
    """Losses reach ±100 where a hostile update explodes."""
    for clients in (5, 8, 11):
        table = random_table(clients, seed=4, scale=100 * 10**9)
        leaves = leaves_of(sampler, table, 50)
        assert leaves.dtype == np.int64
        assert np.abs(leaves).max() <= MAX_MARGINAL


@pytest.mark.parametrize("sampler", ALL)
def test_equal_clients_of_a_constant_game_get_equal_values(sampler):
    table = np.full(1 << 7, 700_000_000, dtype=np.int64)
    table[0] = 0
    leaves = Iterations(sampler, TableGame(table)).leaves(RACE, MINER, range(70 * 3))
    assert np.abs(leaves.mean(axis=0) - 100_000_000).max() <= 10 * leaves.std() / np.sqrt(len(leaves)) + 2
    if sampler is Sampler.HYBRID:
        assert np.abs(leaves - 100_000_000).max() <= 2


@pytest.mark.parametrize("sampler", ALL)
@pytest.mark.parametrize("clients", [5, 20])
def test_an_iteration_takes_about_k_evaluations(sampler, clients):
    walks = open_sampler(sampler, clients).walks(RACE, MINER, range(40))
    assert 0.5 * clients <= walks.evaluations / 40 <= 2 * clients


def test_an_iteration_of_the_hybrid_takes_about_k_evaluations_for_any_number_of_clients():
    for clients in (5, 7, 10, 19, 20, 21, 60, 61, 100, 181, 333, 541, MAX_CLIENTS):
        walks = open_sampler(Sampler.HYBRID, clients).walks(RACE, MINER, range(12))
        assert 0.6 * clients <= walks.evaluations / 12 <= 1.5 * clients
        assert len(walks.members) / 12 <= 2.5 * clients


@pytest.mark.parametrize("clients", [-1, 0, MAX_CLIENTS + 1])
@pytest.mark.parametrize("sampler", ALL)
def test_no_clients_and_too_many_are_refused(sampler, clients):
    with pytest.raises(SamplerDoesNotFit):
        open_sampler(sampler, clients)


def test_all_coalitions_of_21_clients_are_too_many():
    with pytest.raises(SamplerDoesNotFit, match="20"):
        open_sampler(Sampler.EXACT, 21)


@pytest.mark.parametrize("sampler", ALL)
@pytest.mark.parametrize("bad", [(RACE[1:], MINER, 0), (RACE, MINER[1:], 0), (RACE, MINER, -1), (RACE, MINER, 2**70)])
def test_names_that_cannot_be_are_refused(sampler, bad):
    race, miner, index = bad
    with pytest.raises(ValueError, match=r"bytes|u64"):
        open_sampler(sampler, 6).walks(race, miner, [index])


def test_antithetic_iterations_are_a_permutation_and_its_reverse():
    walks = open_sampler(Sampler.ANTITHETIC, 9).walks(RACE, MINER, range(6))
    orders = walks.members.reshape(6, 9)
    for pair in (0, 2, 4):
        assert (orders[pair + 1] == orders[pair][::-1]).all()
        assert sorted(orders[pair].tolist()) == list(range(9))
    assert len({row.tobytes() for row in orders}) == 6


def test_antithetic_pairs_cancel_what_falls_steadily():
    """v(C) = s·(2K + 1 − s): the marginal contribution falls by the same amount at each place."""
    sizes = np.array([bin(members).count("1") for members in range(1 << 6)])
    leaves = leaves_of(Sampler.ANTITHETIC, sizes * (13 - sizes) * 1000, 20)
    pairs = leaves[0::2] + leaves[1::2]
    assert (pairs == pairs[0, 0]).all()
    assert leaves.std() > 0
