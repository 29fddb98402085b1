"""Which leaves convict a miner, and which only the peer that handed them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcoin.consensus.audit import WholeLeaves, fits, judge, judge_proofs, judge_recomputed, whole_size
from fedcoin.consensus.messages import AuditItem, Verdict
from fedcoin.core.estimate import Estimate
from fedcoin.core.merkle import MerkleLog, merkle_root
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.params import MAX_UTILITY, UTILITY_SCALE
from fedcoin.core.task import Aggregation, Baseline, Problem, RaceKind, Sampler, UpdateRef, Utility
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.leaves import LeafLog
from fedcoin.shapley.permutations import permutations
from tests.support.table_game import TableGame, learning_table

CLIENTS, SAMPLES, TIME = 3, 1000, 13
ONE_ANSWER = UTILITY_SCALE // SAMPLES
MODEL = ModelSpec(ModelFamily.LAYERS, "softmax", (2,), 2, (Layer(LayerKind.LINEAR, 2),))
UPDATES = tuple(UpdateRef(bytes([index]) * 32, 1) for index in range(CLIENTS))
PROBLEM = Problem(
    MODEL,
    Aggregation.UNWEIGHTED,
    Utility.ACCURACY,
    Baseline.ZERO,
    Sampler.PERMUTATION,
    b"b" * 32,
    b"e" * 32,
    UPDATES,
)
BLANK = Estimate(RaceKind.TASK, b"t" * 32, b"p" * 32, b"\x02" + b"m" * 32, 0, (), b"", 0, b"")


def honest(time: int = TIME) -> np.ndarray:
    """Leaves of a game in which the first client of an order finds half, the second a third, the last nothing."""
    rows = np.zeros((time, CLIENTS), dtype=np.int64)
    for row, order in zip(rows, permutations(BLANK.race, BLANK.miner, 0, time, CLIENTS), strict=True):
        row[order[0]], row[order[1]] = UTILITY_SCALE // 2, UTILITY_SCALE // 3
    return rows


def item_of(rows: np.ndarray, indices: tuple[int, ...] = (2, 5, 11), whole: bool = True) -> AuditItem:
    """What a miner with these leaves would sign."""
    log = LeafLog(rows.shape[1])
    log.append(rows)
    return AuditItem(replace(BLANK, time=log.time, total=log.total, leaf_root=log.root()), indices, whole)


def verdict(item: AuditItem, leaves: np.ndarray) -> Verdict:
    return judge(item, PROBLEM, leaves, honest()[list(item.indices)], SAMPLES)


def test_honest_leaves_pass_for_every_number_of_them() -> None:
    for time in range(1, 40):
        rows = honest(time)
        assert judge(item_of(rows, (time - 1,)), PROBLEM, rows, rows[-1:], SAMPLES) is Verdict.HONEST


def test_leaf_off_by_rounding_passes_and_by_more_convicts() -> None:
    for answers, expected in ((4, Verdict.HONEST), (6, Verdict.CONVICTED)):
        rows = honest()
        last = permutations(BLANK.race, BLANK.miner, 5, 1, CLIENTS)[0][-1]
        rows[5, last] += answers * ONE_ANSWER
        assert verdict(item_of(rows), rows) is expected


def test_forged_leaf_that_was_not_drawn_goes_unseen() -> None:
    rows = honest()
    rows[4] = 0
    assert verdict(item_of(rows), rows) is Verdict.HONEST
    assert verdict(item_of(rows, (4,)), rows) is Verdict.CONVICTED


def test_total_that_is_not_the_sum_convicts() -> None:
    item = item_of(honest())
    total = (item.estimate.total[0] + 1, *item.estimate.total[1:])
    assert verdict(replace(item, estimate=replace(item.estimate, total=total)), honest()) is Verdict.CONVICTED


def test_leaf_beyond_the_largest_utility_convicts_also_where_the_sum_would_overflow() -> None:
    for value in (2 * MAX_UTILITY + 1, -(2 * MAX_UTILITY) - 1, -(2**63), 2**63 - 1):
        rows = honest()
        rows[3, 1] = value
        root = merkle_root([row.astype(">i8").tobytes() for row in rows])
        total = tuple(int(x) for x in rows.sum(axis=0))
        estimate = replace(BLANK, time=TIME, total=total, leaf_root=root)
        assert verdict(AuditItem(estimate, (0,), True), rows) is Verdict.CONVICTED


def test_leaves_that_are_not_under_the_root_do_not_convict() -> None:
    item, rows = item_of(honest()), honest()
    forged = rows.copy()
    forged[5] = 0
    for handed_out in (forged, rows[:-1], np.concatenate([rows, rows[:1]]), rows[::-1], rows[:0]):
        assert verdict(item, handed_out) is Verdict.UNAVAILABLE


def test_time_that_is_not_the_number_of_leaves_never_passes() -> None:
    item, rows = item_of(honest()), honest()
    for time in (TIME - 1, TIME + 1, 10**6):
        assert verdict(replace(item, estimate=replace(item.estimate, time=time)), rows) is Verdict.UNAVAILABLE


@pytest.mark.parametrize("size", [1, 7, 24, 25, 100, 1000])
def test_pieces_may_break_anywhere(size: int) -> None:
    rows = honest()
    whole = WholeLeaves(item_of(rows))
    data = rows.astype(">i8").tobytes()
    assert all(whole.add(data[start : start + size]) for start in range(0, len(data), size))
    assert whole.verdict() is Verdict.HONEST
    assert whole.rows == {index: tuple(rows[index].tolist()) for index in (2, 5, 11)}


def test_too_many_leaves_are_not_taken() -> None:
    whole = WholeLeaves(item_of(honest()))
    assert whole.add(honest().astype(">i8").tobytes())
    assert not whole.add(bytes(8 * CLIENTS))
    assert whole.verdict() is Verdict.UNAVAILABLE


def test_half_a_leaf_at_the_end_is_not_delivered() -> None:
    whole = WholeLeaves(item_of(honest()))
    assert whole.add(honest().astype(">i8").tobytes() + b"\x00")
    assert whole.verdict() is Verdict.UNAVAILABLE


def proofs_of(rows: np.ndarray, item: AuditItem) -> dict[int, tuple[bytes, list[bytes]]]:
    log = LeafLog(CLIENTS)
    log.append(rows)
    return {index: (log.encoded(index), log.proof(index, log.time)) for index in item.indices}


def test_proven_leaves_are_judged_like_all_of_them() -> None:
    for value, expected in ((0, Verdict.HONEST), (1, Verdict.CONVICTED)):
        rows = honest()
        rows[5, 0] += value * UTILITY_SCALE
        item = item_of(rows, whole=False)
        before, claimed = judge_proofs(item, proofs_of(rows, item))
        assert before is Verdict.HONEST
        computed = honest()[list(item.indices)]
        assert judge_recomputed(item, PROBLEM, claimed, computed, SAMPLES) is expected


def test_missing_or_unproven_leaf_does_not_convict() -> None:
    rows = honest()
    item = item_of(rows, whole=False)
    proofs = proofs_of(rows, item)
    assert judge_proofs(item, {index: proof for index, proof in proofs.items() if index != 5})[0] is Verdict.UNAVAILABLE
    leaf, path = proofs[5]
    for forged in ((bytes(len(leaf)), path), (leaf, path[:-1]), (leaf, []), (b"", path)):
        assert judge_proofs(item, {**proofs, 5: forged})[0] is Verdict.UNAVAILABLE


def test_proven_leaf_of_the_wrong_length_convicts() -> None:
    tree = MerkleLog()
    for leaf in (b"junk", bytes(8 * CLIENTS)):
        tree.append(leaf)
    estimate = replace(BLANK, time=2, total=(0,) * CLIENTS, leaf_root=tree.root())
    item = AuditItem(estimate, (0, 1), whole=False)
    proofs = {index: (leaf, tree.inclusion_proof(index, 2)) for index, leaf in enumerate((b"junk", bytes(8 * CLIENTS)))}
    assert judge_proofs(item, proofs)[0] is Verdict.CONVICTED


def test_estimate_of_another_number_of_clients_does_not_fit() -> None:
    item = item_of(honest())
    assert fits(item, PROBLEM)
    assert not fits(item, replace(PROBLEM, updates=UPDATES[:2]))
    assert not fits(AuditItem(BLANK, (), True), replace(PROBLEM, updates=()))
    assert whole_size(item) == TIME * CLIENTS * 8


@pytest.mark.parametrize("sampler", [sampler for sampler in Sampler if sampler is not Sampler.PERMUTATION])
def test_leaves_of_every_sampler_are_judged_by_its_own_rule(sampler: Sampler) -> None:
    clients = 6  # HYBRID needs five
    updates = tuple(UpdateRef(bytes([index]) * 32, 1) for index in range(clients))
    problem = replace(PROBLEM, sampler=sampler, updates=updates)
    iterations = Iterations(sampler, TableGame(learning_table(clients)))
    honest_rows = iterations.leaves(BLANK.race, BLANK.miner, range(TIME))
    rounded, forged = honest_rows.copy(), honest_rows.copy()
    rounded[5, 2] += ONE_ANSWER // 10
    forged[5, 2] += UTILITY_SCALE // 2
    others = iterations.leaves(BLANK.race, b"\x02" + b"o" * 32, range(TIME))
    for rows, expected in (
        (honest_rows, Verdict.HONEST),
        (rounded, Verdict.HONEST),
        (forged, Verdict.CONVICTED),
        (others, Verdict.CONVICTED),
    ):
        item = item_of(rows)
        computed = honest_rows[list(item.indices)]
        assert judge(item, problem, rows, computed, SAMPLES) is expected
