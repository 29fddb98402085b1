"""Leaves: what a miner commits to iteration by iteration (Alg. 1 lines 6–11), and the log that holds them.

Leaf i is the sum of the K marginal contributions of iterations 0 to i, client by client. So the last leaf is the
estimate's `total`, and two neighbouring leaves give the marginal contributions of one iteration, its step. A miner's
estimate carries the Merkle root of its leaves: it cannot invent iterations, anyone can ask for a few leaves and
recompute their steps, and those few leaves are evidence (docs/adr/0009). Devices round differently, so a recomputed
step may differ a little; `tolerance` says how much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.errors import MalformedLeaf
from fedcoin.core.merkle import MerkleLog
from fedcoin.core.params import MAX_ITERATIONS, MAX_UTILITY
from fedcoin.shapley.mean import Total

Marginals = Sequence[int] | NDArray[np.int64]
"""K marginal contributions of one iteration, times UTILITY_SCALE."""

MAX_MARGINAL = 2 * MAX_UTILITY
"""Largest |marginal contribution|: the difference of two utilities."""

VALUE_SIZE = 8
"""Bytes of one value of a leaf (i64)."""

_BLOCK_ROWS = 1024
# Leaves to one array. Pages that are not written yet take no memory.


def encode_leaf(sums: Sequence[int] | NDArray[np.int64]) -> bytes:
    """A leaf of K sums: K times i64, big-endian. Raises MalformedLeaf for anything but 64-bit integers."""
    return _integers(sums).astype(">i8").tobytes()


def decode_leaf(data: bytes, clients: int) -> tuple[int, ...]:
    """The sums of K = `clients` clients, whatever they are. Raises MalformedLeaf for another length."""
    if len(data) != VALUE_SIZE * clients:
        raise MalformedLeaf(f"a leaf of {clients} clients has {VALUE_SIZE * clients} bytes, not {len(data)}")
    values: list[int] = np.frombuffer(data, dtype=">i8").tolist()
    return tuple(values)


def step_between(before: bytes | None, leaf: bytes, index: int, clients: int) -> tuple[int, ...]:
    """The marginal contributions of iteration `index`: leaf `index` less the leaf `before` it (None for the first).

    Raises MalformedLeaf for leaves of another length, a marginal contribution beyond ±MAX_MARGINAL, or a sum beyond
    what its iterations can give. Leaves come from anybody: the differences are of unbounded integers and never wrap.
    """
    sums = decode_leaf(leaf, clients)
    earlier = (0,) * clients if before is None else decode_leaf(before, clients)
    step = tuple(now - then for now, then in zip(sums, earlier, strict=True))
    if any(abs(value) > MAX_MARGINAL for value in step):
        raise MalformedLeaf("a marginal contribution is beyond the largest utility")
    if any(abs(value) > MAX_MARGINAL * (index + 1) for value in sums):
        raise MalformedLeaf(f"{index + 1} iterations cannot sum up to so much")
    return step


class LeafLog:
    """A miner's leaves in one race: `time` and `total` of its estimate, their Merkle tree, and proofs from it."""

    def __init__(self, clients: int) -> None:
        """Starts as Alg. 1 lines 1 and 2 do: S = 0 for K = `clients` clients, time = 0."""
        self.clients = clients
        self.total: Total = (0,) * clients
        self.time = 0
        """Iterations done (Alg. 1 line 12)."""
        self._tree = MerkleLog()
        self._blocks: list[NDArray[np.int64]] = []
        # Leaves as they are encoded (big-endian), _BLOCK_ROWS to an array [_BLOCK_ROWS, K].

    def append(self, marginals: Marginals) -> None:
        """One more iteration, or an array [n, K] of them. Raises MalformedLeaf; then nothing is added."""
        rows = np.asarray(marginals)
        self.extend(rows if rows.ndim == 2 else checked_row(marginals)[np.newaxis])

    def extend(self, rows: NDArray[np.int64]) -> None:
        """Marginal contributions of the next iterations, int64 [n, K] (Alg. 1 lines 11 and 12).

        Raises MalformedLeaf; then nothing is added.
        """
        if rows.ndim != 2 or rows.shape[1] != self.clients:
            raise MalformedLeaf(f"leaves of shape {rows.shape} are not of {self.clients} clients")
        if self.time + len(rows) > MAX_ITERATIONS:
            raise MalformedLeaf(f"a race has at most {MAX_ITERATIONS} iterations")
        _check_values(rows)
        done = 0
        while done < len(rows):
            done += self._fill(rows[done:])

    def _fill(self, rows: NDArray[np.int64]) -> int:
        """Adds as many rows as the last block has room for; returns how many."""
        start = self.time % _BLOCK_ROWS
        if start == 0:
            self._blocks.append(np.empty((_BLOCK_ROWS, self.clients), dtype=">i8"))
        rows = rows[: _BLOCK_ROWS - start]
        sums = np.cumsum(rows, axis=0, dtype=np.int64)
        sums += np.array(self.total, dtype=np.int64)
        self._blocks[-1][start : start + len(rows)] = sums
        data, size = self._blocks[-1][start : start + len(rows)].tobytes(), VALUE_SIZE * self.clients
        self._tree.extend([data[at : at + size] for at in range(0, len(rows) * size, size)])
        self.time += len(rows)
        self.total = tuple(sums[-1].tolist())
        return len(rows)

    def root(self, size: int | None = None) -> bytes:
        """Merkle root of the first `size` leaves (all, if not given)."""
        return self._tree.root(size)

    def encoded(self, index: int) -> bytes:
        """Bytes of leaf `index`. Raises IndexError."""
        if not 0 <= index < self.time:
            raise IndexError(index)
        return self._bytes_of(index)

    def step(self, index: int) -> tuple[int, ...]:
        """The marginal contributions of iteration `index`. Raises IndexError."""
        return step_between(self.encoded(index - 1) if index else None, self.encoded(index), index, self.clients)

    def proof(self, index: int, size: int) -> list[bytes]:
        """Merkle path of leaf `index` in the tree of the first `size` leaves. Raises ValueError."""
        return self._tree.inclusion_proof(index, size)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` leaves extends that of `old`. Raises ValueError."""
        return self._tree.consistency_proof(old, new)

    def _bytes_of(self, index: int) -> bytes:
        data: bytes = self._blocks[index // _BLOCK_ROWS][index % _BLOCK_ROWS].tobytes()
        return data


def checked_row(marginals: Marginals) -> NDArray[np.int64]:
    """Marginal contributions as int64 [K]. Raises MalformedLeaf for anything but integers within ±MAX_MARGINAL."""
    row = _integers(marginals)
    _check_values(row)
    return row.astype(np.int64)


def _integers(values: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    row = np.asarray(values) if len(values) else np.zeros(0, dtype=np.int64)
    if row.ndim != 1:
        raise MalformedLeaf(f"a leaf is one row of integers, not of shape {row.shape}")
    # Integers from 2^63 on are unsigned or objects in numpy.
    if row.dtype.kind not in "iu" or (row.dtype.kind == "u" and row.size and row.max() >= 1 << 63):
        raise MalformedLeaf("a leaf is made of 64-bit integers")
    return row


def _check_values(rows: NDArray[np.int64]) -> None:
    """Raises MalformedLeaf unless these are integers within ±MAX_MARGINAL (which keeps every sum within int64)."""
    if rows.dtype.kind not in "iu":
        raise MalformedLeaf("marginal contributions are 64-bit integers")
    # Compared on both sides, because the absolute value of the smallest int64 is itself.
    if rows.size and (rows.max() > MAX_MARGINAL or rows.min() < -MAX_MARGINAL):
        raise MalformedLeaf("a marginal contribution is beyond the largest utility")
