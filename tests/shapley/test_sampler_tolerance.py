"""How far leaves of weighted coalitions may be from their recomputation on another device."""

from fractions import Fraction

import numpy as np
import pytest

from fedcoin.core.errors import LeafMismatch
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Baseline, Sampler, Utility
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.leaves import MAX_MARGINAL
from fedcoin.shapley.samplers import open_sampler
from fedcoin.shapley.samplers.control import FRACTION_BITS
from fedcoin.shapley.samplers.exhaustive import ExhaustiveSampler
from fedcoin.shapley.samplers.hybrid import HybridSampler
from fedcoin.shapley.tolerance import Part, check_weighted_leaf, weighted_tolerance
from tests.support.table_game import MINER, RACE, TableGame, learning_table

SAMPLES = 10_000
ANSWER = UTILITY_SCALE // SAMPLES
CLIENTS = 12
EVERY = list(Sampler)


def passes(sampler, claimed, recomputed, index=0, utility=Utility.ACCURACY, baseline=Baseline.ZERO, samples=SAMPLES):
    try:
        open_sampler(sampler, len(recomputed)).check(
            [int(value) for value in claimed], recomputed.tolist(), RACE, MINER, index, utility, samples, baseline
        )
    except LeafMismatch:
        return False
    return True


def leaves_of(sampler, table):
    return Iterations(sampler, TableGame(table)).leaves(RACE, MINER, range(30))


def elsewhere(table, step, share, seed=0):
    """What another device finds: `share` of all coalitions off by ±`step`."""
    rng = np.random.default_rng(seed)
    off = rng.choice([-1, 0, 1], size=len(table), p=[share / 2, 1 - share, share / 2])
    off[0] = 0
    return table + step * off


@pytest.mark.parametrize("sampler", EVERY)
def test_an_honest_leaf_of_another_device_passes(sampler):
    """One right answer in ten coalitions differs, those of the preparation included."""
    table = learning_table(CLIENTS)
    here, there = leaves_of(sampler, table), leaves_of(sampler, elsewhere(table, ANSWER, 0.1))
    assert (here != there).any()
    assert all(passes(sampler, there[index], here[index], index) for index in range(30))


@pytest.mark.parametrize("sampler", EVERY)
def test_an_honest_loss_of_another_device_passes(sampler):
    table = -2 * UTILITY_SCALE + learning_table(CLIENTS)
    table[0] = 0
    here, there = leaves_of(sampler, table), leaves_of(sampler, elsewhere(table, UTILITY_SCALE // 100_000, 1.0))
    assert (here != there).any()
    assert all(passes(sampler, there[index], here[index], index, Utility.NEGATIVE_LOSS) for index in range(30))


@pytest.mark.parametrize("sampler", EVERY)
def test_a_starting_model_that_scores_differently_passes(sampler):
    table = learning_table(CLIENTS, empty_value=500_000_000)
    other = table.copy()
    other[0] += 2 * ANSWER
    here, there = leaves_of(sampler, table), leaves_of(sampler, other)
    assert all(
        passes(sampler, there[index], here[index], index, baseline=Baseline.STARTING_MODEL) for index in range(30)
    )


def test_an_honest_leaf_passes_where_v_of_all_clients_differs():
    """EXACT takes v(N) off every coalition's value, so that one answer of it moves the leaf by up to 13 in all."""
    for clients in (1, 2, 3, 5, 8, 10, 13):
        table = learning_table(clients) // ANSWER * ANSWER
        other = table.copy()
        other[-1] += 2 * ANSWER
        here, there = (
            Iterations(Sampler.EXACT, TableGame(game)).leaves(RACE, MINER, range(60)) for game in (table, other)
        )
        for index in range(60):
            assert passes(Sampler.EXACT, there[index], here[index], index)


@pytest.mark.parametrize("clients", [2, 3, 6, 10])
def test_what_v_of_all_clients_may_move_is_known_exactly(clients):
    """`tolerance` has a unit of that value in it with the gain that a leaf has, for losses its largest element."""
    zero, table = np.zeros(1 << clients, dtype=np.int64), np.zeros(1 << clients, dtype=np.int64)
    table[-1] = UTILITY_SCALE
    leaves = Iterations(Sampler.EXACT, TableGame(table)).leaves(RACE, MINER, range(20))
    sampler = ExhaustiveSampler(clients)
    for index, leaf in enumerate(leaves):
        coalitions, whole = sampler.parts(RACE, MINER, index)
        assert float(whole.gain) == pytest.approx(np.abs(leaf).sum() / UTILITY_SCALE, abs=1e-6)
        assert float(whole.client_gain) == pytest.approx(np.abs(leaf).max() / UTILITY_SCALE, abs=1e-6)
        bound = sampler.tolerance(
            zero[np.newaxis, :clients], RACE, MINER, [index], Utility.ACCURACY, 1000, Baseline.ZERO
        )
        assert bound == int((4 * coalitions.gain + 2 * whole.gain) * UTILITY_SCALE / 1000) + 2 * clients


@pytest.mark.parametrize("clients", [5, 6, 7, 8, 10])
@pytest.mark.parametrize("samples", [20, 100, 360])
def test_one_answer_of_any_coalition_passes_on_few_samples(clients, samples):
    """Of N, of another that the leaf evaluates, even by several walks."""
    answer = UTILITY_SCALE // samples
    table = learning_table(clients) // answer * answer
    sampler = open_sampler(Sampler.HYBRID, clients)
    prepared = sampler.preparation.coalitions() @ (1 << np.arange(clients))
    here = Iterations(Sampler.HYBRID, TableGame(table)).leaves(RACE, MINER, range(20))
    for index in range(20):
        used = set((sampler.walks(RACE, MINER, [index]).coalitions() @ (1 << np.arange(clients))).tolist())
        for members in [(1 << clients) - 1, *sorted(used - set(prepared.tolist()))[:4]]:
            other = table.copy()
            other[members] += answer
            there = Iterations(Sampler.HYBRID, TableGame(other)).leaves(RACE, MINER, [index])[0]
            assert passes(Sampler.HYBRID, there, here[index], index, samples=samples)


@pytest.mark.parametrize("clients", [6, 10])
@pytest.mark.parametrize("samples", [100, 360, 1000])
def test_a_leaf_of_what_all_miners_share_is_refused(clients, samples):
    """HYBRID's exact part alone, for which no iteration has to be evaluated: at least 19 times of 20."""
    answer, sampler, passing = UTILITY_SCALE // samples, HybridSampler(clients), 0
    for seed in range(5):
        chance = np.random.default_rng(seed).normal(size=1 << clients) * 0.09 / np.sqrt(samples)
        table = np.rint((learning_table(clients, seed) + chance * UTILITY_SCALE) / answer).astype(np.int64) * answer
        table[0] = 0
        game = TableGame(table)
        exact = sampler._prepare(game.values(sampler.preparation), 0).exact >> FRACTION_BITS
        here = Iterations(Sampler.HYBRID, game).leaves(RACE, MINER, range(20))
        passing += sum(passes(Sampler.HYBRID, exact, here[index], index, samples=samples) for index in range(20))
    assert passing <= 5


@pytest.mark.parametrize("clients", [5, 8])
def test_pairs_that_are_worth_the_same_refuse_nobody(clients):
    """Clients and pairs at chance level: what the slope is must not hang on single right answers."""
    refused = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        sizes = np.array([members.bit_count() for members in range(1 << clients)])
        chance = rng.normal(size=1 << clients) * ANSWER
        table = np.where(sizes <= 2, 98_000_000 + 2 * chance, 150_000_000 * np.sqrt(sizes) + 100 * chance)
        table = table.astype(np.int64) // ANSWER * ANSWER
        table[0] = 0
        games = [table, elsewhere(table, ANSWER, 0.1, seed)]
        here, there = (Iterations(Sampler.HYBRID, TableGame(game)).leaves(RACE, MINER, range(10)) for game in games)
        refused += sum(not passes(Sampler.HYBRID, there[index], here[index], index) for index in range(10))
    assert refused == 0


@pytest.mark.parametrize("sampler", EVERY)
def test_a_leaf_that_favours_a_client_is_refused(sampler):
    """By a twentieth of what all clients together add, at the expense of the others."""
    here = leaves_of(sampler, learning_table(CLIENTS))
    gain = int(here[0].sum()) // 20
    for index in range(30):
        forged = here[index] - gain // (CLIENTS - 1)
        forged[index % CLIENTS] += gain + gain // (CLIENTS - 1)
        assert not passes(sampler, forged, here[index], index)


@pytest.mark.parametrize("sampler", EVERY)
def test_leaves_that_were_not_computed_are_refused(sampler):
    """Nothing at all, the mean of many leaves, another iteration's leaf, another miner's."""
    table = learning_table(CLIENTS)
    here = leaves_of(sampler, table)
    other = Iterations(sampler, TableGame(table)).leaves(RACE, b"\x03" + MINER[1:], range(30))
    for forged in (np.zeros(CLIENTS), here.mean(axis=0), here[1], other[0], here[0][:-1], [MAX_MARGINAL + 1] * CLIENTS):
        assert not passes(sampler, forged, here[0])


# --- the bound itself ------------------------------------------------------------------------------------------------

PARTS = [
    Part(30, Fraction(1, 2), Fraction(1, 2)),
    Part(10, Fraction(4), Fraction(4)),
]  # 10,000 samples: (4 + 3)/2 + 4·(4 + 1) = 23.5 right answers
LEAF = [40 * ANSWER, 10 * ANSWER, 700 * ANSWER, -30 * ANSWER]


def accepts(differences, utility=Utility.ACCURACY, baseline=Baseline.ZERO, leaf=LEAF, parts=PARTS, samples=SAMPLES):
    claimed = [value + difference for value, difference in zip(leaf, differences, strict=True)]
    try:
        check_weighted_leaf(claimed, leaf, parts, len(leaf), utility, samples, baseline)
    except LeafMismatch:
        return False
    return True


def test_accuracy_counts_all_differences_together():
    half = ANSWER // 2
    assert accepts([10 * ANSWER, -10 * ANSWER, 3 * ANSWER + half, 8])
    assert not accepts([10 * ANSWER, -10 * ANSWER, 3 * ANSWER + half, 9])
    assert accepts([23 * ANSWER + half + 8, 0, 0, 0])
    assert not accepts([0, 0, 0, -23 * ANSWER - half - 9])


def test_accuracy_of_a_computed_baseline_may_be_off_by_two_answers_more():
    assert not accepts([25 * ANSWER, 0, 0, 0])
    assert accepts([25 * ANSWER, 0, 0, 0], baseline=Baseline.STARTING_MODEL)
    assert not accepts([26 * ANSWER, 0, 0, 0], baseline=Baseline.STARTING_MODEL)


@pytest.mark.parametrize(
    ("samples", "answers"), [(1, 4.5), (100, 4.5), (101, 9), (300, 13.5), (301, 18), (3333, 18), (10_000, 23.5)]
)
def test_few_samples_leave_less_room(samples, answers):
    """One answer of each part for each 100 samples begun, four at most: times 1/2 and 4."""
    for room, passing in ((0, True), (9, False)):
        difference = int(answers * UTILITY_SCALE / samples) + 8 + room
        assert accepts([difference, 0, 0, 0], samples=samples) is passing


def test_a_part_allows_a_single_answer_of_any_coalition():
    """Where its coalitions count 1/2 but may be the same one three times."""
    part = Part(9, Fraction(1, 2), Fraction(1, 2), single=Fraction(3, 2))
    for samples, answers in ((100, 1.5), (300, 1.5), (301, 2)):
        for room, passing in ((0, True), (9, False)):
            difference = int(answers * UTILITY_SCALE / samples) + 8 + room
            assert accepts([difference, 0, 0, 0], samples=samples, parts=[part]) is passing


def test_loss_counts_each_client_by_itself():
    leaf = [UTILITY_SCALE, -2 * UTILITY_SCALE, 0, 0]
    most = 3 * UTILITY_SCALE // 10_000 * 9 // 2 + 2
    for place in range(4):
        for sign in (-1, 1):
            differences = [0, 0, 0, 0]
            differences[place] = sign * most
            assert accepts(differences, Utility.NEGATIVE_LOSS, leaf=leaf)
            differences[place] += sign
            assert not accepts(differences, Utility.NEGATIVE_LOSS, leaf=leaf)
            assert accepts(differences, Utility.NEGATIVE_LOSS, Baseline.STARTING_MODEL, leaf=leaf)


@pytest.mark.parametrize("baseline", list(Baseline))
@pytest.mark.parametrize("utility", list(Utility))
def test_the_tolerance_of_a_total_is_that_of_its_leaves(utility, baseline):
    """Differences that all leaves pass with, all in the same direction, are within it; not much more is."""
    leaves = np.array([LEAF, LEAF[::-1], [UTILITY_SCALE, 0, 0, 0]])
    bound = weighted_tolerance(leaves, PARTS, utility, SAMPLES, baseline)
    widest = 0
    for leaf in leaves.tolist():
        low, high = 0, 10**12
        while high - low > 1:
            middle = (low + high) // 2
            differences = [middle, 0, 0, 0] if utility is Utility.ACCURACY else [middle] * 4
            low, high = (middle, high) if accepts(differences, utility, baseline, leaf) else (low, middle)
        widest += low if utility is Utility.ACCURACY else 4 * low
    assert widest <= bound <= widest + 100
