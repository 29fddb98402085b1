"""Which leaves convict a miner, and which only the peer that handed them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcoin.consensus.audit import Finding, conclude, fits, judge_proofs, plain_step, wanted_leaves
from fedcoin.consensus.messages import AuditItem, Verdict
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.merkle import MerkleLog
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


def item_of(rows: np.ndarray, indices: tuple[int, ...] = (2, 5, 11)) -> AuditItem:
    """What a miner with these leaves would sign."""
    log = log_of(rows)
    return AuditItem(replace(BLANK, time=log.time, total=log.total, leaf_root=log.root()), indices)


def log_of(rows: np.ndarray) -> LeafLog:
    log = LeafLog(rows.shape[1])
    log.append(rows)
    return log


def handed_out(rows: np.ndarray, item: AuditItem) -> list[LeafProof]:
    """What an honest miner answers to an audit."""
    log = log_of(rows)
    return [LeafProof(index, log.encoded(index), tuple(log.proof(index, log.time))) for index in wanted_leaves(item)]


def finding(item: AuditItem, proofs: list[LeafProof], truth: np.ndarray, problem: Problem = PROBLEM) -> Finding:
    """The whole audit, `truth` being the marginal contributions recomputed."""
    found = judge_proofs(item, proofs)
    if found.verdict is not Verdict.HONEST:
        return found
    return conclude(item, problem, proofs, found.steps, truth[list(item.indices)], SAMPLES)


def verdict(item: AuditItem, rows: np.ndarray) -> Verdict:
    return finding(item, handed_out(rows, item), honest()).verdict


def test_an_audit_needs_the_drawn_leaves_the_last_and_those_before_them() -> None:
    assert wanted_leaves(item_of(honest(), (2, 5, 6))) == (1, 2, 4, 5, 6, 11, 12)
    assert wanted_leaves(item_of(honest(), (0,))) == (0, 11, 12)
    assert wanted_leaves(item_of(honest(1), (0,))) == (0,)


def test_honest_leaves_pass_for_every_number_of_them() -> None:
    for time in range(1, 40):
        rows = honest(time)
        for index in {0, time // 2, time - 1}:
            item = item_of(rows, (index,))
            assert finding(item, handed_out(rows, item), rows) == Finding(
                Verdict.HONEST, {index: tuple(rows[index].tolist())}
            )


def off_by(answers: int, iteration: int = 5) -> np.ndarray:
    """Honest but for one iteration, whose last prefix is so many right answers too high."""
    rows = honest()
    last = permutations(BLANK.race, BLANK.miner, iteration, 1, CLIENTS)[0][-1]
    rows[iteration, last] += answers * ONE_ANSWER
    return rows


@pytest.mark.parametrize(
    ("answers", "expected", "provable"),
    [
        (4, Verdict.HONEST, False),
        (6, Verdict.CONVICTED, False),
        (8, Verdict.CONVICTED, False),
        (9, Verdict.CONVICTED, True),
    ],
)
def test_a_step_off_by_rounding_passes_by_more_convicts_and_by_twice_as_much_is_evidence(
    answers: int, expected: Verdict, provable: bool
) -> None:
    rows = off_by(answers)
    item = item_of(rows)
    proofs = handed_out(rows, item)
    found = finding(item, proofs, honest())
    assert found.verdict is expected
    by_index = {proof.index: proof for proof in proofs}
    assert found.evidence == ((by_index[4], by_index[5]) if provable else None)


def test_of_two_forged_steps_the_provable_one_is_evidence() -> None:
    rows = off_by(6, 2) + off_by(20, 11) - honest()
    item = item_of(rows)
    found = finding(item, handed_out(rows, item), honest())
    assert found.evidence is not None
    assert found.evidence[1].index == 11


def test_the_first_leaf_has_none_before_it() -> None:
    rows = off_by(20, 0)
    item = item_of(rows, (0,))
    found = finding(item, handed_out(rows, item), honest())
    assert found.evidence is not None
    assert (found.evidence[0], found.evidence[1].index) == (None, 0)


def test_forged_step_that_was_not_drawn_goes_unseen() -> None:
    rows = honest()
    rows[4] = 0
    assert verdict(item_of(rows), rows) is Verdict.HONEST
    assert verdict(item_of(rows, (4,)), rows) is Verdict.CONVICTED


def test_total_that_is_not_the_last_leaf_convicts_whatever_was_drawn() -> None:
    rows = honest()
    item = item_of(rows, (3,))
    total = (item.estimate.total[0] + 1, *item.estimate.total[1:])
    item = replace(item, estimate=replace(item.estimate, total=total))
    found = finding(item, handed_out(rows, item), honest())
    assert found.verdict is Verdict.CONVICTED
    assert found.evidence is not None
    assert [proof.index for proof in found.evidence if proof] == [11, 12]


def raw(leaves: list[bytes], indices: tuple[int, ...], total: tuple[int, ...]) -> tuple[AuditItem, list[LeafProof]]:
    """An estimate over whatever leaves, and what is handed out of them."""
    tree = MerkleLog()
    for leaf in leaves:
        tree.append(leaf)
    estimate = replace(BLANK, time=len(leaves), total=total, leaf_root=tree.root())
    item = AuditItem(estimate, indices)
    proofs = [
        LeafProof(index, leaves[index], tuple(tree.inclusion_proof(index, len(leaves))))
        for index in wanted_leaves(item)
    ]
    return item, proofs


@pytest.mark.parametrize("value", [2 * MAX_UTILITY + 1, -(2 * MAX_UTILITY) - 1, -(2**63), 2**63 - 1])
def test_step_beyond_the_largest_utility_convicts_also_where_differences_would_wrap(value: int) -> None:
    sums = np.zeros((4, CLIENTS), dtype=np.int64)
    sums[2, 1] = value
    sums[3, 1] = value - 1 if value > 0 else value + 1
    item, proofs = raw([row.astype(">i8").tobytes() for row in sums], (2,), tuple(sums[3].tolist()))
    found = judge_proofs(item, proofs)
    assert found.verdict is Verdict.CONVICTED
    assert found.evidence is not None
    assert found.evidence[1].index == 2


def test_leaf_of_the_wrong_length_convicts() -> None:
    zero = bytes(8 * CLIENTS)
    for position in range(3):
        leaves = [zero, zero, zero]
        leaves[position] = b"junk"
        item, proofs = raw(leaves, (1,), (0,) * CLIENTS)
        assert judge_proofs(item, proofs).verdict is Verdict.CONVICTED


def test_missing_or_unproven_leaves_do_not_convict() -> None:
    rows = honest()
    item = item_of(rows)
    proofs = handed_out(rows, item)
    for position, proof in enumerate(proofs):
        rest = proofs[:position] + proofs[position + 1 :]
        for handed in (
            rest,
            [*rest, replace(proof, leaf=bytes(len(proof.leaf)))],
            [*rest, replace(proof, leaf=b"")],
            [*rest, replace(proof, path=proof.path[:-1])],
            [*rest, replace(proof, path=())],
            [*rest, replace(proof, index=proof.index + 100)],
        ):
            assert judge_proofs(item, handed).verdict is Verdict.UNAVAILABLE


def test_leaves_of_another_log_do_not_convict() -> None:
    item = item_of(honest())
    forged = honest()
    forged[5] = 0
    for rows in (forged, honest(TIME + 1), honest()[::-1]):
        assert verdict(item, rows) is Verdict.UNAVAILABLE


def test_time_that_is_not_the_number_of_leaves_never_passes() -> None:
    rows = honest()
    item = item_of(rows, (2, 5))
    log = log_of(rows)
    for time in (TIME - 1, TIME + 1, 10**6):
        claimed = replace(item, estimate=replace(item.estimate, time=time))
        known = [index for index in wanted_leaves(claimed) if index < TIME]
        proofs = [LeafProof(index, log.encoded(index), tuple(log.proof(index, TIME))) for index in known]
        assert judge_proofs(claimed, proofs).verdict is Verdict.UNAVAILABLE


def test_a_plain_step_needs_no_evaluator() -> None:
    rows = honest()
    item = item_of(rows)
    proofs = {proof.index: proof for proof in handed_out(rows, item)}
    assert plain_step(item.estimate, proofs[4], proofs[5]) == tuple(rows[5].tolist())
    assert plain_step(item.estimate, proofs[11], proofs[12]) == tuple(rows[12].tolist())
    false_total = replace(item.estimate, total=(0,) * CLIENTS)
    assert plain_step(false_total, proofs[11], proofs[12]) is None
    assert plain_step(false_total, proofs[4], proofs[5]) == tuple(rows[5].tolist())


def test_estimate_of_another_number_of_clients_does_not_fit() -> None:
    item = item_of(honest())
    assert fits(item, PROBLEM)
    assert not fits(item, replace(PROBLEM, updates=UPDATES[:2]))
    assert not fits(AuditItem(BLANK, ()), replace(PROBLEM, updates=()))


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
        found = finding(item, handed_out(rows, item), honest_rows, problem)
        assert (found.verdict, found.evidence is not None) == (expected, expected is Verdict.CONVICTED)
