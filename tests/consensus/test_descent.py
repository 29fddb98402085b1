"""The step that is most out of the ordinary is found with few leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcoin.consensus.descent import PARTS, Descent
from fedcoin.core.errors import InvalidMerkleProof, LeavesNotFound
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.merkle import MerkleLog
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import RaceKind
from fedcoin.shapley.leaves import LeafLog

BLANK = Estimate(RaceKind.TASK, b"t" * 32, b"p" * 32, b"\x02" * 33, 0, (), b"", 0, b"")
CLIENTS = 10


def marginals(time: int, seed: int) -> np.ndarray:
    """Of a game whose leaves vary by more than what they are on average, int64 [time, CLIENTS]."""
    values = np.random.default_rng(seed).normal(0.05, 0.1, (time, CLIENTS))
    return (values * UTILITY_SCALE).astype(np.int64)


def searched(rows: np.ndarray) -> tuple[int, int, int]:
    """(the step found, leaves fetched, looks)."""
    log = LeafLog(rows.shape[1])
    log.extend(rows)
    estimate = replace(BLANK, time=log.time, total=log.total, leaf_root=log.root())
    descent, fetched, looks = Descent(estimate), 0, 0
    while wanted := descent.wanted():
        descent.take(
            {index: LeafProof(index, log.encoded(index), tuple(log.proof(index, log.time))) for index in wanted}
        )
        fetched, looks = fetched + len(wanted), looks + 1
    return descent.index, fetched, looks


# Of two steps neither is farther from their mean than the other; an audit draws both.
@pytest.mark.parametrize("time", [1, 3, 15, 16, 17, 256, 257, 5_000])
def test_one_large_step_is_found_wherever_it_is(time: int) -> None:
    for place in {0, time // 3, time // 2, time - 1}:
        rows = marginals(time, place)
        rows[place, 1] += 60 * UTILITY_SCALE
        rows[place, 2] -= 60 * UTILITY_SCALE
        assert searched(rows)[0] == place


def test_a_step_that_moves_the_mean_by_its_standard_error_alone_is_found_mostly() -> None:
    """No forgery that decides a race is smaller: D is about so much."""
    time, found = 2_000, 0
    for seed in range(40):
        rows = marginals(time, seed)
        place = seed * 49
        rows[place] += (np.array([1, -1] * 5) * 0.1 * np.sqrt(time) * UTILITY_SCALE).astype(np.int64)
        found += searched(rows)[0] == place
    assert found >= 36


def test_few_leaves_and_looks_are_enough() -> None:
    index, fetched, looks = searched(marginals(70_000, 1))
    assert 0 <= index < 70_000
    assert looks <= 5
    assert fetched <= 5 * PARTS


def test_a_leaf_of_the_wrong_length_is_what_was_looked_for() -> None:
    log = LeafLog(2)
    log.append([[1, 2]] * 40)
    leaves = [log.encoded(index) for index in range(40)]
    leaves[6] = leaves[6][:-1]
    tree = MerkleLog()
    tree.extend(leaves)
    descent = Descent(replace(BLANK, time=40, total=log.total, leaf_root=tree.root()))
    while wanted := descent.wanted():
        assert 6 in wanted
        descent.take(
            {index: LeafProof(index, leaves[index], tuple(tree.inclusion_proof(index, 40))) for index in wanted}
        )
    assert descent.index == 6


def test_leaves_that_are_missing_or_of_another_tree_are_refused() -> None:
    log = LeafLog(2)
    log.append([[1, 2]] * 8)
    descent = Descent(replace(BLANK, time=8, total=log.total, leaf_root=log.root()))
    proofs = {index: LeafProof(index, log.encoded(index), tuple(log.proof(index, 8))) for index in descent.wanted()}
    with pytest.raises(LeavesNotFound):
        descent.take({index: proof for index, proof in proofs.items() if index != 3})
    with pytest.raises(InvalidMerkleProof):
        descent.take(proofs | {3: replace(proofs[3], leaf=proofs[4].leaf)})
