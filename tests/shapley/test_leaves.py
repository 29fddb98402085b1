"""Leaves, the log that commits to them, and how far a recomputed leaf may be off."""

import numpy as np
import pytest

from fedcoin.core.errors import LeafMismatch, MalformedLeaf
from fedcoin.core.merkle import EMPTY_ROOT, merkle_root, verify_consistency, verify_inclusion
from fedcoin.core.params import MAX_ITERATIONS, UTILITY_SCALE
from fedcoin.core.task import Baseline, Utility
from fedcoin.shapley.leaves import MAX_MARGINAL, LeafLog, checked_row, decode_leaf, encode_leaf, step_between
from fedcoin.shapley.tolerance import check_leaf

ROWS = np.random.default_rng(5).integers(-MAX_MARGINAL, MAX_MARGINAL, size=(13, 4), endpoint=True)
SUMS = np.cumsum(ROWS, axis=0)
ORDER = (2, 0, 3, 1)


def filled(rows=ROWS):
    log = LeafLog(rows.shape[1])
    log.extend(rows)
    return log


def test_a_leaf_is_k_big_endian_signed_integers():
    assert encode_leaf([1, -2]) == bytes.fromhex("0000000000000001fffffffffffffffe")
    assert decode_leaf(encode_leaf([1, -2]), 2) == (1, -2)
    assert encode_leaf(np.array([1, -2])) == encode_leaf((1, -2))


@pytest.mark.parametrize("leaf", [[2**63], [2**70], [1.0], [[1]], [-(2**63) - 1]])
def test_what_is_no_row_of_64_bit_integers_is_no_leaf(leaf):
    with pytest.raises(MalformedLeaf):
        encode_leaf(leaf)


@pytest.mark.parametrize("row", [[MAX_MARGINAL + 1], [-MAX_MARGINAL - 1], [-(2**63)], [2**63], [2**70], [1.0], [[1]]])
def test_what_is_no_marginal_contribution_is_refused(row):
    with pytest.raises(MalformedLeaf):
        checked_row(row)


@pytest.mark.parametrize("data", [b"", bytes(15), bytes(17)])
def test_leaf_bytes_of_another_length_are_refused(data):
    with pytest.raises(MalformedLeaf):
        decode_leaf(data, 2)


def test_neighbouring_leaves_give_the_marginal_contributions_of_an_iteration():
    log = filled()
    for index in range(log.time):
        before = log.encoded(index - 1) if index else None
        assert step_between(before, log.encoded(index), index, 4) == log.step(index) == tuple(ROWS[index].tolist())


LOW, HIGH = -(2**63), 2**63 - 1


@pytest.mark.parametrize(
    ("before", "sums", "index"),
    [
        ([0], [MAX_MARGINAL + 1], 1),
        ([0], [-MAX_MARGINAL - 1], 1),
        ([LOW], [HIGH], 2**20),  # wraps to −1
        ([HIGH], [LOW], 2**20),  # wraps to 1
        ([HIGH], [HIGH], 2**20 - 1),  # no step, but more than all iterations together
        ([2 * MAX_MARGINAL], [2 * MAX_MARGINAL + 1], 1),
        (None, [LOW], 0),
        (None, [MAX_MARGINAL + 1], 0),
        ([0, 0], [0], 1),
        ([0], [0, 0], 1),
    ],
)
def test_hostile_neighbours_give_no_step(before, sums, index):
    with pytest.raises(MalformedLeaf):
        step_between(None if before is None else encode_leaf(before), encode_leaf(sums), index, 1)


def test_the_largest_step_is_one():
    assert step_between(encode_leaf([0]), encode_leaf([MAX_MARGINAL]), 1, 1) == (MAX_MARGINAL,)
    assert step_between(encode_leaf([MAX_MARGINAL]), encode_leaf([2 * MAX_MARGINAL]), 1, 1) == (MAX_MARGINAL,)


def test_alg1_lines_1_and_2_an_empty_log_has_zero_total_and_time():
    log = LeafLog(3)
    assert (log.total, log.time, log.root()) == ((0, 0, 0), 0, EMPTY_ROOT)


def test_alg1_lines_11_and_12_total_and_time_count_the_leaves():
    log = LeafLog(4)
    log.append((1, 2, 3, 4))
    log.append(np.array([10, 20, 30, 40]))
    log.append(np.array([[100, 0, 0, -4], [0, 0, 0, -40]]))
    assert (log.total, log.time) == ((111, 22, 33, 0), 4)
    assert all(type(value) is int for value in log.total)


def test_a_leaf_is_the_sum_of_its_iterations_and_all_before_and_the_last_is_the_total():
    log = filled()
    assert [decode_leaf(log.encoded(index), 4) for index in range(13)] == [tuple(row) for row in SUMS.tolist()]
    assert log.total == decode_leaf(log.encoded(12), 4)


def test_a_log_is_the_same_however_its_rows_come():
    rows = np.random.default_rng(6).integers(-9, 9, size=(2_500, 3))
    at_once, in_parts = LeafLog(3), LeafLog(3)
    at_once.extend(rows)
    for part in (rows[:1], rows[1:1_030], rows[1_030:1_030], rows[1_030:2_048], rows[2_048:]):
        in_parts.extend(part)
    assert (in_parts.root(), in_parts.total, in_parts.time) == (at_once.root(), at_once.total, 2_500)
    assert all(in_parts.step(index) == tuple(rows[index].tolist()) for index in (0, 1_023, 1_024, 2_047, 2_048, 2_499))


def test_the_root_is_the_merkle_root_of_the_encoded_leaves():
    log = filled()
    assert log.root() == merkle_root(encode_leaf(row) for row in SUMS)
    assert log.root(5) == merkle_root(encode_leaf(row) for row in SUMS[:5])


def test_every_leaf_of_every_size_has_a_proof():
    log = filled()
    for size in range(1, log.time + 1):
        for index in range(size):
            verify_inclusion(log.encoded(index), index, size, log.proof(index, size), log.root(size))


def test_a_later_estimate_provably_extends_an_earlier_one():
    log = filled()
    for old in range(1, log.time + 1):
        verify_consistency(old, log.root(old), log.time, log.root(), log.consistency(old, log.time))


@pytest.mark.parametrize("index", [-1, 13])
def test_a_leaf_that_is_not_there_is_refused(index):
    with pytest.raises(IndexError):
        filled().encoded(index)


@pytest.mark.parametrize("rows", [ROWS[:, :3], ROWS.astype(float), ROWS[0], np.full((1, 4), MAX_MARGINAL + 1)])
def test_rows_that_are_no_leaves_leave_the_log_as_it_was(rows):
    log = filled()
    before = (log.root(), log.total, log.time)
    with pytest.raises(MalformedLeaf):
        log.extend(rows)
    assert (log.root(), log.total, log.time) == before


def test_a_race_has_a_bounded_number_of_iterations():
    """So that no total of a race can exceed int64."""
    assert MAX_MARGINAL * MAX_ITERATIONS < 2**63
    log = LeafLog(1)
    with pytest.raises(MalformedLeaf):
        log.extend(np.zeros((MAX_ITERATIONS + 1, 1), dtype=np.int64))


# --- tolerance -------------------------------------------------------------------------------------------------------

SAMPLES = 1000
SAMPLE = UTILITY_SCALE // SAMPLES
TRUE = [40 * SAMPLE, 10 * SAMPLE, 700 * SAMPLE, -30 * SAMPLE]


def shifted(prefix_differences, order=ORDER, leaf=TRUE):
    """`leaf` with its utilities of the prefixes along `order` changed by these differences."""
    changed = list(leaf)
    for place, client in enumerate(order):
        changed[client] += prefix_differences[place] - (prefix_differences[place - 1] if place else 0)
    return changed


def accepts(
    claimed,
    recomputed=TRUE,
    order=ORDER,
    utility=Utility.ACCURACY,
    samples=SAMPLES,
    baseline=Baseline.ZERO,
    factor=1,
):
    try:
        check_leaf(claimed, recomputed, order, utility, samples, baseline, factor)
    except LeafMismatch:
        return False
    return True


def test_an_equal_leaf_passes():
    assert accepts(TRUE)


def test_accuracy_tolerates_four_right_answers_over_all_prefixes_and_no_more():
    assert accepts(shifted([SAMPLE, -SAMPLE, 0, 2 * SAMPLE]))
    assert not accepts(shifted([SAMPLE, -SAMPLE, SAMPLE, 2 * SAMPLE]))


def test_accuracy_differences_are_counted_on_prefixes_not_on_marginals():
    """One prefix off by 2 changes two marginal contributions by 2: that is two answers, not four."""
    assert accepts(shifted([0, 2 * SAMPLE, 0, 2 * SAMPLE]))
    assert sum(abs(a - b) for a, b in zip(shifted([0, 2 * SAMPLE, 0, 2 * SAMPLE]), TRUE, strict=True)) == 6 * SAMPLE


def test_accuracy_tolerates_one_unit_of_rounding_for_each_prefix():
    assert accepts(shifted([4 * SAMPLE + 1, -1, 1, -1]))
    assert not accepts(shifted([4 * SAMPLE + 1, -1, 1, -2]))


def test_accuracy_tolerance_grows_with_the_samples_evaluated():
    samples = 100_000  # × 4 clients: 4 + 4 answers
    sample = UTILITY_SCALE // samples
    assert accepts(shifted([8 * sample, 0, 0, 0]), samples=samples)
    assert not accepts(shifted([9 * sample, 0, 0, 0]), samples=samples)


def test_the_order_of_the_permutation_matters():
    claimed = shifted([4 * SAMPLE, 0, 0, 0])
    assert accepts(claimed)
    assert not accepts(claimed, order=(0, 1, 2, 3))


def test_a_starting_model_that_scores_differently_shifts_all_prefixes_alike():
    two = [2 * SAMPLE] * 4
    assert not accepts(shifted(two))
    assert accepts(shifted(two), baseline=Baseline.STARTING_MODEL)
    assert accepts(shifted([6 * SAMPLE, *two[1:]]), baseline=Baseline.STARTING_MODEL)
    assert not accepts(shifted([7 * SAMPLE, *two[1:]]), baseline=Baseline.STARTING_MODEL)
    assert not accepts(shifted([-4 * SAMPLE] * 4), baseline=Baseline.STARTING_MODEL)


def test_loss_tolerates_a_ten_thousandth_of_one_or_of_the_utility():
    small = UTILITY_SCALE // 10_000
    loss = [-2 * UTILITY_SCALE, UTILITY_SCALE // 2, UTILITY_SCALE, UTILITY_SCALE // 4]
    order = (0, 1, 2, 3)  # prefixes: −2, −1.5, −0.5, −0.25

    def check(differences):
        return accepts(shifted(differences, order, loss), loss, order, Utility.NEGATIVE_LOSS)

    assert check([2 * small, 3 * small // 2, small, -small])
    for place, limit in enumerate([2 * small, 3 * small // 2, small, small]):
        differences = [0, 0, 0, 0]
        differences[place] = limit + 1
        assert not check(differences), place


def test_loss_tolerance_doubles_where_the_baseline_is_computed_too():
    small = UTILITY_SCALE // 10_000
    kind = {"utility": Utility.NEGATIVE_LOSS, "baseline": Baseline.STARTING_MODEL}
    assert accepts(shifted([2 * small] * 4), **kind)
    assert not accepts(shifted([2 * small + 1, 0, 0, 0]), **kind)


@pytest.mark.parametrize("baseline", Baseline)
def test_a_factor_multiplies_all_that_is_tolerated(baseline):
    """Accuracy: 4 answers and 1 unit a prefix; the common shift of 2 answers, and 2 units, with STARTING_MODEL."""
    shift, units = (2, 2) if baseline is Baseline.STARTING_MODEL else (0, 1)
    for factor in (1, 2, 3):
        common = [factor * shift * SAMPLE] * 4
        largest = common[0] + 4 * factor * SAMPLE + 4 * factor * units
        assert accepts(shifted([largest, *common[1:]]), baseline=baseline, factor=factor)
        assert not accepts(shifted([largest + 1, *common[1:]]), baseline=baseline, factor=factor)


def test_a_factor_multiplies_the_tolerance_of_losses():
    small = UTILITY_SCALE // 10_000
    for factor in (1, 2):
        kind = {"utility": Utility.NEGATIVE_LOSS, "factor": factor}
        assert accepts(shifted([0, 0, factor * small, 0]), **kind)
        assert not accepts(shifted([0, 0, factor * small + 1, 0]), **kind)


@pytest.mark.parametrize("claimed", [[1, 2, 3], [1, 2, 3, 4, 5], [2**70, 0, 0, 0], [-(2**63), 0, 0, 0], []])
def test_what_cannot_be_a_leaf_does_not_match(claimed):
    assert not accepts(claimed)


def test_a_forged_leaf_does_not_match():
    assert not accepts([value + UTILITY_SCALE // 50 for value in TRUE])
    assert not accepts([0, 0, 0, 0])
