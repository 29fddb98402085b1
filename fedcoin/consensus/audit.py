"""Judging an estimate by its leaves: is it what Alg. 1 lines 4–12 give its miner, iteration by iteration?

An estimate is signed and binds its miner to `time`, `total` and the Merkle root of its leaves. Leaves themselves are
not signed and may come from anybody, so only those that lead to the root speak against the miner; others speak against
whoever handed them out, and count as not delivered. With leaves that do lead to the root, the miner is convicted if

- a leaf has the wrong length or is beyond the largest utility (`MalformedLeaf`),
- all of them do not sum to `total`,
- one at a privately drawn index is not what its iteration gives, but for rounding (the sampler's `check`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fedcoin.consensus.messages import AuditItem, Leaves, Verdict
from fedcoin.core.errors import InvalidMerkleProof, LeafMismatch, MalformedLeaf
from fedcoin.core.merkle import EMPTY_ROOT, leaf_hash, node_hash, verify_inclusion
from fedcoin.core.task import Problem
from fedcoin.shapley.leaves import MAX_MARGINAL, VALUE_SIZE, decode_leaf
from fedcoin.shapley.samplers import open_sampler

Rows = Mapping[int, tuple[int, ...]]
"""Leaves by index: marginal contributions, times UTILITY_SCALE."""

Proof = tuple[bytes, Sequence[bytes]]
"""A leaf's bytes with its Merkle path."""


def whole_size(item: AuditItem) -> int:
    """Bytes of all leaves of an estimate: time · K · 8."""
    return item.estimate.time * len(item.estimate.total) * VALUE_SIZE


def fits(item: AuditItem, problem: Problem) -> bool:
    """Whether an estimate can belong to the problem at all: it has iterations, and a sum for each client."""
    return item.estimate.time > 0 and len(item.estimate.total) == problem.clients > 0


class WholeLeaves:
    """Takes all leaves of an estimate piece by piece, in order. Keeps only those that are to be recomputed."""

    def __init__(self, item: AuditItem) -> None:
        self._estimate = item.estimate
        self._wanted = sorted(set(item.indices))
        self._size = len(item.estimate.total) * VALUE_SIZE
        self._rest = b""
        self._count = 0
        self._peaks: list[tuple[int, bytes]] = []
        self._sum = np.zeros(len(item.estimate.total), dtype=np.int64)
        self._within = True
        self.rows: dict[int, tuple[int, ...]] = {}
        """Leaves at the item's indices, as far as they have come."""

    def add(self, piece: bytes) -> bool:
        """Takes the next bytes. False: there is more than the estimate has leaves for; nothing more need be fetched."""
        data = self._rest + piece
        count = len(data) // self._size
        if self._count + count > self._estimate.time:
            self._count = self._estimate.time + 1
            return False
        rows = np.frombuffer(data, dtype=">i8", count=count * len(self._sum)).reshape(count, len(self._sum))
        rows = rows.astype(np.int64)
        for index in range(count):
            self._append(leaf_hash(data[index * self._size : (index + 1) * self._size]))
        for index in self._wanted:
            if self._count <= index < self._count + count:
                self.rows[index] = tuple(rows[index - self._count].tolist())
        # Values out of bounds could overflow the sum; they are judged by themselves.
        if rows.size and (rows.max() > MAX_MARGINAL or rows.min() < -MAX_MARGINAL):
            self._within = False
        self._sum += rows.sum(axis=0)
        self._count += count
        self._rest = data[count * self._size :]
        return True

    def verdict(self) -> Verdict:
        """HONEST: nothing against the miner so far. UNAVAILABLE: these are not the leaves that it has signed for."""
        if self._count != self._estimate.time or self._rest or self._root() != self._estimate.leaf_root:
            return Verdict.UNAVAILABLE
        if not self._within or tuple(self._sum.tolist()) != self._estimate.total:
            return Verdict.CONVICTED
        return Verdict.HONEST

    def _append(self, node: bytes) -> None:
        """Adds a leaf's hash to the roots of the complete subtrees, from the left, as (height, root)."""
        height = 0
        while self._peaks and self._peaks[-1][0] == height:
            node = node_hash(self._peaks.pop()[1], node)
            height += 1
        self._peaks.append((height, node))

    def _root(self) -> bytes:
        """RFC 6962 §2.1: the subtrees joined from the right."""
        if not self._peaks:
            return EMPTY_ROOT
        *others, (_, node) = self._peaks
        for _, left in reversed(others):
            node = node_hash(left, node)
        return node


def judge_proofs(item: AuditItem, proofs: Mapping[int, Proof]) -> tuple[Verdict, Rows]:
    """Leaves with Merkle paths, for an audit that does not fetch all of them: the verdict so far, and the leaves.

    HONEST: all indices are there and nothing speaks against the miner so far.
    """
    estimate = item.estimate
    rows: dict[int, tuple[int, ...]] = {}
    malformed = False
    for index in item.indices:
        if index not in proofs:
            return Verdict.UNAVAILABLE, {}
        leaf, path = proofs[index]
        try:
            verify_inclusion(leaf, index, estimate.time, path, estimate.leaf_root)
        except InvalidMerkleProof:
            return Verdict.UNAVAILABLE, {}
        try:
            rows[index] = decode_leaf(leaf, len(estimate.total))
        except MalformedLeaf:
            malformed = True
    return (Verdict.CONVICTED, {}) if malformed else (Verdict.HONEST, rows)


def judge_recomputed(item: AuditItem, problem: Problem, rows: Rows, recomputed: Leaves, samples: int) -> Verdict:
    """Leaves that lead to the estimate's root, against what the item's indices give (in their order, int64 [n, K]).

    `samples`: of the evaluation set. HONEST, or CONVICTED if one differs by more than rounding explains. Raises
    SamplerDoesNotFit for a problem that nobody can work on.
    """
    estimate = item.estimate
    sampler = open_sampler(problem.sampler, problem.clients)
    for index, computed in zip(item.indices, recomputed, strict=True):
        try:
            sampler.check(
                rows[index],
                computed.tolist(),
                estimate.race,
                estimate.miner,
                index,
                problem.utility,
                samples,
                problem.baseline,
            )
        except LeafMismatch:
            return Verdict.CONVICTED
    return Verdict.HONEST


def judge(item: AuditItem, problem: Problem, leaves: NDArray[np.int64], recomputed: Leaves, samples: int) -> Verdict:
    """All leaves of an estimate (int64 [time, K]) at once, and those at the item's indices recomputed."""
    whole = WholeLeaves(item)
    whole.add(leaves.astype(">i8").tobytes())
    verdict = whole.verdict()
    if verdict is not Verdict.HONEST:
        return verdict
    return judge_recomputed(item, problem, whole.rows, recomputed, samples)
