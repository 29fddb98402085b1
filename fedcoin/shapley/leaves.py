"""Leaves: the K marginal contributions of one iteration (Alg. 1 lines 6–10), and the log that commits to them.

A miner's estimate carries the Merkle root of its leaves, so it cannot invent iterations, and anyone can ask for leaves
and recompute them. Devices round differently, so a recomputed leaf may differ a little; `check_leaf` says how much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.errors import LeafMismatch, MalformedLeaf
from fedcoin.core.merkle import MerkleLog
from fedcoin.core.params import MAX_ITERATIONS, MAX_UTILITY, UTILITY_SCALE
from fedcoin.core.task import Baseline, Utility
from fedcoin.shapley.mean import Total

Leaf = Sequence[int] | NDArray[np.int64]
"""K marginal contributions, times UTILITY_SCALE."""

MAX_MARGINAL = 2 * MAX_UTILITY
"""Largest |marginal contribution|: the difference of two utilities."""

VALUE_SIZE = 8
"""Bytes of one marginal contribution (i64)."""

FREE_SAMPLES = 4
"""Accuracy: right answers that a leaf may differ by, over all prefixes, on whatever evaluation set."""

EVALUATIONS_PER_SAMPLE = 100_000
"""Accuracy: one more right answer may differ for this many evaluated samples (samples × K)."""

BASELINE_SAMPLES = 2
"""Accuracy: right answers that v(∅) itself may differ by, where it is the starting model's."""

LOSS_TOLERANCE = 10_000
"""Negative loss: a prefix may differ by 1/10,000 of max(1, |its utility|)."""


def encode_leaf(marginals: Leaf) -> bytes:
    """K times i64, big-endian. Raises MalformedLeaf for anything but integers within ±MAX_MARGINAL."""
    return _checked_row(marginals).astype(">i8").tobytes()


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
        self.extend(rows if rows.ndim == 2 else _checked_row(leaf)[np.newaxis])

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


def check_leaf(
    claimed: Leaf,
    recomputed: Leaf,
    permutation: Sequence[int],
    utility: Utility,
    samples: int,
    baseline: Baseline = Baseline.ZERO,
) -> None:
    """Raises LeafMismatch unless `claimed` is `recomputed` but for what rounding on another device explains.

    Marginal contributions are summed up along the `permutation`, which gives v of its prefixes (Alg. 1 line 8) less
    v(∅). Let d_j be their differences.

    ACCURACY, evaluated on `samples` samples: Σ |d_j| at most 4 + samples·K // 100,000 right answers, one of them being
    UTILITY_SCALE / samples, and one unit of rounding for each prefix. NEGATIVE_LOSS: each |d_j| at most 1/10,000 of
    max(1, |prefix|).

    With the STARTING_MODEL `baseline` v(∅) is itself computed and shifts all prefixes alike. So for ACCURACY a shift
    common to all of them, of at most 2 + samples // 100,000 right answers, does not count (and another unit of rounding
    for each prefix); for NEGATIVE_LOSS the tolerance doubles.
    """
    prefixes_claimed, prefixes = (_prefixes(leaf, permutation) for leaf in (claimed, recomputed))
    differences: list[int] = (prefixes_claimed - prefixes).tolist()
    if utility is Utility.ACCURACY:
        _check_accuracy(differences, samples, baseline)
    else:
        _check_loss(differences, prefixes.tolist(), baseline)


def _check_accuracy(differences: list[int], samples: int, baseline: Baseline) -> None:
    clients = len(differences)
    shift, rounding = 0, 1
    if baseline is Baseline.STARTING_MODEL:
        most = (BASELINE_SAMPLES + samples // EVALUATIONS_PER_SAMPLE) * UTILITY_SCALE // samples
        # The median makes the sum of absolute differences smallest.
        shift = max(-most, min(most, sorted(differences)[clients // 2]))
        rounding = 2
    off = sum(abs(difference - shift) for difference in differences)
    allowed = FREE_SAMPLES + samples * clients // EVALUATIONS_PER_SAMPLE
    if off * samples > allowed * UTILITY_SCALE + rounding * clients * samples:
        answers = off * samples / UTILITY_SCALE
        raise LeafMismatch(f"the leaf is off by {answers:.1f} right answers, {allowed} are tolerated")


def _check_loss(differences: list[int], prefixes: list[int], baseline: Baseline) -> None:
    times = 2 if baseline is Baseline.STARTING_MODEL else 1
    for position, (difference, prefix) in enumerate(zip(differences, prefixes, strict=True)):
        if abs(difference) * LOSS_TOLERANCE > times * max(UTILITY_SCALE, abs(prefix)):
            off = abs(difference) / UTILITY_SCALE
            raise LeafMismatch(f"the loss of prefix {position + 1} is off by {off:.6f}, more than rounding explains")


def _prefixes(leaf: Leaf, permutation: Sequence[int]) -> NDArray[np.int64]:
    """v(R(1:i)) − v(∅) for i = 1..K. Raises LeafMismatch for a leaf that cannot be one."""
    try:
        row = _checked_row(leaf)
    except MalformedLeaf as error:
        raise LeafMismatch(f"no leaf at all: {error}") from error
    if len(row) != len(permutation):
        raise LeafMismatch(f"a leaf of {len(row)} clients where there are {len(permutation)}")
    return np.cumsum(row[np.asarray(permutation, dtype=np.int64)])


def _checked_row(leaf: Leaf) -> NDArray[np.int64]:
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
