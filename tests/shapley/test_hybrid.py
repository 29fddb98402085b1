"""The hybrid sampler: its plan, its control variate, and that sampling adds nothing on average."""

from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest

from fedcoin.core.params import MAX_CLIENTS
from fedcoin.core.task import Sampler
from fedcoin.shapley.exact import exact_from_table
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.samplers import open_sampler
from fedcoin.shapley.samplers.control import FLAT, FRACTION_BITS, STEEPEST, Slope, exact_part, fit, pair_means
from fedcoin.shapley.samplers.hybrid import HybridSampler, spread
from fedcoin.shapley.samplers.hybrid_plan import LEAST_CLIENTS, Strip, Tier, plan
from fedcoin.shapley.samplers.permutation import PermutationSampler
from tests.support.table_game import MINER, RACE, TableGame, learning_table, random_table

UNIT = 1 << FRACTION_BITS


def position(members):
    return sum(1 << int(client) for client in members)


# --- plan ------------------------------------------------------------------------------------------------------------


def test_100_clients_have_three_tiers():
    assert plan(100) == (
        Tier((Strip(3, 10),), 4),
        Tier((Strip(11, 30),), 2),
        Tier((Strip(31, 64), Strip(65, 99)), 1),
    )


def test_the_tiers_cover_each_sampled_size_once_for_any_number_of_clients():
    for clients in range(LEAST_CLIENTS, MAX_CLIENTS + 1):
        tiers = plan(clients)
        sizes = [size for tier in tiers for strip in tier.strips for size in range(strip.first, strip.last + 1)]
        assert sizes == list(range(3, clients))
        assert [size for tier in tiers for size in tier.sizes] == sizes
        assert all(tier.walks == 1 or len(tier.strips) == 1 for tier in tiers)


def test_fewer_than_five_clients_are_sampled_by_permutations():
    assert [type(open_sampler(Sampler.HYBRID, clients)) for clients in (1, 4, 5)] == [
        PermutationSampler,
        PermutationSampler,
        HybridSampler,
    ]


# --- walks -----------------------------------------------------------------------------------------------------------


def test_each_size_is_evaluated_as_often_as_its_weight_says():
    """The mean number of coalitions of a size times its tier's weight is 1."""
    sampler = HybridSampler(100)
    count = 200
    sizes = Counter(sampler.walks(RACE, MINER, range(count)).coalitions().sum(axis=1).tolist())
    for tier in sampler.tiers:
        numerator, denominator = tier.weight
        for size in tier.sizes:
            expected = count * denominator / numerator
            slack = 0 if numerator == 1 else 5 * np.sqrt(count * (1 - 1 / numerator) / numerator)
            assert abs(sizes[size] - expected) <= slack
    assert min(sizes) == 3
    assert max(sizes) == 99


def test_walks_of_an_iteration_share_no_clients_as_long_as_there_are_enough():
    """So that each client joins about equally often: four walks of 10 clients and two of 30 make up a permutation."""
    walks = HybridSampler(100).walks(RACE, MINER, [3])
    assert sorted(walks.members[:100].tolist()) == list(range(100))


def test_the_preparation_is_the_same_for_everybody_and_holds_all_small_coalitions():
    first, second = HybridSampler(7), HybridSampler(7)
    first.walks(RACE, MINER, [0])
    rows = [tuple(np.flatnonzero(row).tolist()) for row in first.preparation.coalitions()]
    expected = [tuple(range(7)), *((i,) for i in range(7)), *combinations(range(7), 2)]
    assert rows[: len(expected)] == expected
    assert [len(row) for row in rows[len(expected) :]] == [3, 4, 5, 6] * 16
    assert (first.preparation.members == second.preparation.members).all()


# --- control variate -------------------------------------------------------------------------------------------------


def test_the_fit_is_least_squares():
    x, y = np.array([100, 200, 400, 700]) * 10**6, np.array([1000, 1190, 1620, 2210]) * 10**6
    slope, offset = np.polyfit(x, y, 1)
    fitted = fit(x.tolist(), y.tolist())
    assert fitted.slope / UNIT == pytest.approx(slope, rel=1e-4)
    assert fitted.offset / UNIT == pytest.approx(offset, rel=1e-4)


def test_the_slope_of_pairs_that_hardly_differ_is_drawn_to_0():
    """A spread of FLAT halves it; what lies far below, such as one right answer of 10,000, decides nothing."""
    for spread_of_pairs, share in ((100 * FLAT, 1 - 1e-4), (FLAT, 0.5), (FLAT // 10, 0.01), (FLAT // 1000, 0)):
        x = [300_000_000 - spread_of_pairs, 300_000_000 + spread_of_pairs] * 4
        slope = fit(x, [2 * value for value in x]).slope / UNIT
        assert slope == pytest.approx(2 * share, abs=5e-4)


@pytest.mark.parametrize(
    ("means", "values", "slope"),
    [
        ([], [], Slope(0, 0)),
        ([5], [9], Slope(9 * UNIT, 0)),
        ([5, 5], [9, 11], Slope(10 * UNIT, 0)),
        ([0, 10**8], [0, 10**11], Slope((10**11 * UNIT - STEEPEST * 10**8) // 2, STEEPEST)),
        ([10**8, 0], [0, 10**11], Slope((10**11 * UNIT + STEEPEST * 10**8) // 2, -STEEPEST)),
    ],
)
def test_a_slope_that_is_undetermined_or_too_steep_is_bounded(means, values, slope):
    assert fit(means, values) == slope


def test_pair_means_are_those_of_each_prefix():
    pairs = np.array([[0, 10, 20, 30], [10, 0, 40, 50], [20, 40, 0, 61], [30, 50, 61, 0]])
    members = np.array([[2, 0, 3], [1, 3, 0]])
    assert pair_means(members, pairs, 2).tolist() == [[20, (20 + 61 + 30) // 3], [50, (50 + 10 + 30) // 3]]


def test_the_exact_part_is_the_shapley_value_of_small_coalitions_and_of_g():
    """A game that is g on all other sizes has nothing left to sample."""
    clients, slopes = 8, [Slope(-UNIT // 7, UNIT // 3)]
    tiers = plan(clients)
    table = learning_table(clients, seed=5, empty_value=77)
    pairs = np.zeros((clients, clients), dtype=np.int64)
    for one, other in combinations(range(clients), 2):
        pairs[one, other] = pairs[other, one] = table[position((one, other))]
    for size in tiers[0].sizes:
        for members in combinations(range(clients), size):
            mean = np.mean([pairs[pair] for pair in combinations(members, 2)])
            table[position(members)] = round(mean * slopes[0].slope / UNIT + slopes[0].offset / UNIT)
    singles = [int(table[1 << client]) for client in range(clients)]
    exact = exact_part(singles, pairs, int(table[-1]), int(table[0]), tiers, slopes)
    expected = [float(value) for value in exact_from_table(table)]
    assert np.abs(exact / UNIT - expected).max() <= 2


def test_what_the_pairs_explain_completely_needs_no_sampling():
    """Each pair adds something, the mean over pairs counts: every single leaf is exact."""
    clients = 9
    pair_worth = np.random.default_rng(2).integers(0, 10**9, size=(clients, clients))
    table = np.zeros(1 << clients, dtype=np.int64)
    for members in range(1, 1 << clients):
        inside = [client for client in range(clients) if members >> client & 1]
        worths = [int(pair_worth[pair]) for pair in combinations(inside, 2)]
        table[members] = sum(worths) // len(worths) if worths else 5 * inside[0]
    leaves = Iterations(Sampler.HYBRID, TableGame(table)).leaves(RACE, MINER, range(20))
    exact = np.array([float(value) for value in exact_from_table(table)])
    # A slope of 1 is fitted but for 1/2^16.
    assert np.abs(leaves - exact).max() <= 10**9 / 2**15


# --- unbiasedness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strip", [Strip(3, 4), Strip(3, 5), Strip(4, 5), Strip(3, 3), Strip(5, 5)])
def test_the_mean_over_all_walks_is_exact(strip):
    """All 720 orders of six clients, values that no control variate explains."""
    clients = 6
    table = random_table(clients, seed=9, scale=2**40)
    orders = np.array(list(permutations(range(clients))))
    members = orders[:, : strip.last]
    prefixes = np.cumsum(1 << members, axis=1)[:, strip.first - 1 :]
    mean = spread(table[prefixes], members, strip, clients).mean(axis=0)
    # Only the sizes of the strip count; with v = 0 elsewhere these are the Shapley values of what remains.
    sizes = np.array([members.bit_count() for members in range(1 << clients)])
    alone = np.where((sizes >= strip.first) & (sizes <= strip.last), table, 0)
    exact = np.array([float(value) for value in exact_from_table(alone)])
    assert np.abs(mean - exact).max() <= 2 * clients


def test_one_walk_shares_out_its_residuals_as_the_specification_says():
    """K = 7, sizes 3 to 5: 1/3 of r(3) to each member; r(4): 1/8 to each, 1/2 more to the fourth; and so on."""
    residuals = np.array([[840 * 64, 0, 0], [0, 840 * 64, 0], [0, 0, 840 * 64]])
    members = np.array([[0, 1, 2, 3, 4]] * 3)
    third, fourth, fifth = spread(residuals, members, Strip(3, 5), 7) / (840 * 64)
    out = 2 / 3 / 4
    assert third == pytest.approx([1 / 3] * 3 + [-out - 1 / 3] + [-out] * 3, abs=1e-4)
    out = 1 / 2 / 3
    assert fourth == pytest.approx([1 / 8] * 3 + [1 / 8 + 1 / 2] + [-out - 1 / 2] + [-out] * 2, abs=1e-4)
    assert fifth == pytest.approx([2 / 25] * 4 + [2 / 25 + 3 / 5] + [-1 / 2] * 2, abs=1e-4)


def test_a_hundred_clients_with_known_values_are_estimated():
    """v(C) = h(|C|) · Σ of the members' worths: no table of 2^100, but the values have a closed form."""
    clients = 100
    rng = np.random.default_rng(3)
    worth, heights = rng.random(clients), np.concatenate([[0], 0.5 + rng.random(clients)]) / np.arange(1, clients + 2)

    class Additive:
        empty_value = 0

        def __init__(self):
            self.clients = clients

        def values(self, walks):
            rows = [part.coalitions() for part in (walks.part(i, i + 1) for i in range(len(walks)))]
            members = np.concatenate(rows) if rows else np.zeros((0, clients))
            return np.rint(1e9 * heights[members.sum(axis=1)] * (members @ worth)).astype(np.int64)

    sizes = np.arange(clients)
    others = (worth.sum() - worth) / (clients - 1)
    exact = np.array(
        [
            np.mean(heights[sizes + 1] * (w + sizes * o) - heights[sizes] * sizes * o)
            for w, o in zip(worth, others, strict=True)
        ]
    )
    leaves = Iterations(Sampler.HYBRID, Additive()).leaves(RACE, MINER, range(150)) / 1e9
    errors = leaves.std(axis=0, ddof=1) / np.sqrt(len(leaves))
    assert (np.abs(leaves.mean(axis=0) - exact) <= 4.5 * errors).all()


@pytest.mark.parametrize("seed", range(4))
def test_it_varies_less_than_permutations_on_games_like_learning(seed):
    table = learning_table(10, seed=seed)
    variances = [
        Iterations(sampler, TableGame(table)).leaves(RACE, MINER, range(300)).astype(float).var(axis=0).sum()
        for sampler in (Sampler.HYBRID, Sampler.PERMUTATION)
    ]
    assert variances[0] < variances[1] / 10
