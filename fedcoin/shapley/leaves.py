"""Leaves: the K marginal contributions of one iteration (Alg. 1 lines 6–10), and the log that commits to them.

A miner's estimate carries the Merkle root of its leaves, so it cannot invent iterations, and anyone can ask for leaves
and recompute them. Devices round differently, so a recomputed leaf may differ a little; `tolerance` says how much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.errors import MalformedLeaf
from fedcoin.core.merkle import MerkleLog
from fedcoin.core.params import MAX_ITERATIONS, MAX_UTILITY
from fedcoin.shapley.mean import Total

Leaf = Sequence[int] | NDArray[np.int64]
"""K marginal contributions, times UTILITY_SCALE."""

MAX_MARGINAL = 2 * MAX_UTILITY
"""Largest |marginal contribution|: the difference of two utilities."""

VALUE_SIZE = 8
"""Bytes of one marginal contribution (i64)."""


def encode_leaf(marginals: Leaf) -> bytes:
    """K times i64, big-endian. Raises MalformedLeaf for anything but integers within ±MAX_MARGINAL."""
    return checked_row(marginals).astype(">i8").tobytes()


def decode_leaf(data: bytes, clients: int) -> tuple[int, ...]:
    """The marginal contributions of K = `clients` clients. Raises MalformedLeaf for another length or out of bounds."""
    if len(data) != VALUE_SIZE * clients:
        raise MalformedLeaf(f"a leaf of {clients} clients has {VALUE_SIZE * clients} bytes, not {len(data)}")
    leaf: list[int] = np.frombuffer(data, dtype=">i8").tolist()
    if any(abs(value) > MAX_MARGINAL for value in leaf):
        raise MalformedLeaf("a marginal contribution is beyond the largest utility")
    return tuple(leaf)


class LeafLog:
    """A miner's leaves in one race: `time` and `total` of its estimate, their Merkle tree, and proofs from it."""

    def __init__(self, clients: int) -> None:
        """Starts as Alg. 1 lines 1 and 2 do: S = 0 for K = `clients` clients, time = 0."""
        self.clients = clients
        self.total: Total = (0,) * clients
        self._tree = MerkleLog()
        self._encoded: list[bytes] = []

    @property
    def time(self) -> int:
        """Iterations done (Alg. 1 line 12)."""
        return len(self._encoded)

    def append(self, leaf: Leaf) -> None:
        """One more iteration, or an array [n, K] of them. Raises MalformedLeaf; then nothing is added."""
        rows = np.asarray(leaf)
        self.extend(rows if rows.ndim == 2 else checked_row(leaf)[np.newaxis])

    def extend(self, rows: NDArray[np.int64]) -> None:
        """Iterations in order, int64 [n, K] (Alg. 1 lines 11 and 12). Raises MalformedLeaf; then nothing is added."""
        if rows.ndim != 2 or rows.shape[1] != self.clients:
            raise MalformedLeaf(f"leaves of shape {rows.shape} are not of {self.clients} clients")
        if self.time + len(rows) > MAX_ITERATIONS:
            raise MalformedLeaf(f"a race has at most {MAX_ITERATIONS} iterations")
        _check_values(rows)
        for row in rows.astype(">i8"):
            encoded = row.tobytes()
            self._encoded.append(encoded)
            self._tree.append(encoded)
        sums: list[int] = rows.sum(axis=0, dtype=np.int64).tolist()
        self.total = tuple(a + b for a, b in zip(self.total, sums, strict=True))

    def root(self, size: int | None = None) -> bytes:
        """Merkle root of the first `size` leaves (all, if not given)."""
        return self._tree.root(size)

    def encoded(self, index: int) -> bytes:
        """Bytes of leaf `index`. Raises IndexError."""
        if index < 0:
            raise IndexError(index)
        return self._encoded[index]

    def leaf(self, index: int) -> tuple[int, ...]:
        """Leaf `index`. Raises IndexError."""
        return decode_leaf(self.encoded(index), self.clients)

    def rows(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Leaves `start` up to `stop` (the end, if not given), int64 [n, K]."""
        data = b"".join(self._encoded[start:stop])
        return np.frombuffer(data, dtype=">i8").reshape(-1, self.clients).astype(np.int64)

    def proof(self, index: int, size: int) -> list[bytes]:
        """Merkle path of leaf `index` in the tree of the first `size` leaves. Raises ValueError."""
        return self._tree.inclusion_proof(index, size)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` leaves extends that of `old`. Raises ValueError."""
        return self._tree.consistency_proof(old, new)


def checked_row(leaf: Leaf) -> NDArray[np.int64]:
    """A leaf as int64 [K]. Raises MalformedLeaf for anything but one row of integers within ±MAX_MARGINAL."""
    row = np.asarray(leaf) if len(leaf) else np.zeros(0, dtype=np.int64)
    if row.ndim != 1:
        raise MalformedLeaf(f"a leaf is one row of integers, not of shape {row.shape}")
    _check_values(row)
    return row.astype(np.int64)


def _check_values(rows: NDArray[np.int64]) -> None:
    """Raises MalformedLeaf unless these are integers within ±MAX_MARGINAL (which keeps every sum within int64)."""
    if rows.dtype.kind not in "iu":
        raise MalformedLeaf("marginal contributions are 64-bit integers")
    # Compared on both sides, because the absolute value of the smallest int64 is itself.
    if rows.size and (rows.max() > MAX_MARGINAL or rows.min() < -MAX_MARGINAL):
        raise MalformedLeaf("a marginal contribution is beyond the largest utility")
