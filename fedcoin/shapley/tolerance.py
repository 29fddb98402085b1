"""How far a leaf may be from its recomputation: devices round differently, and nothing else is forgiven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.errors import LeafMismatch, MalformedLeaf
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Baseline, Utility
from fedcoin.shapley.leaves import Marginals, checked_row

FREE_SAMPLES = 4
"""Accuracy: right answers that a leaf may differ by, over all prefixes, on whatever evaluation set."""

WHOLE_FREE_SAMPLES = 2
"""Accuracy of weighted leaves: the same of v(N), where it has a part of its own."""

SAMPLES_PER_FREE = 100
"""Accuracy of weighted leaves: one of the free answers for each so many samples, begun ones included.

On fewer samples fewer answers differ, and each is worth more: four of 20 are as much as a leaf varies by, so that one
passed of which nothing was computed but what all miners share.
"""

EVALUATIONS_PER_SAMPLE = 100_000
"""Accuracy: one more right answer may differ for this many evaluated samples (samples × K)."""

BASELINE_SAMPLES = 2
"""Accuracy: right answers that v(∅) itself may differ by, where it is the starting model's."""

LOSS_TOLERANCE = 10_000
"""Negative loss: a prefix may differ by 1/10,000 of max(1, |its utility|)."""


def check_leaf(
    claimed: Marginals,
    recomputed: Marginals,
    permutation: Sequence[int],
    utility: Utility,
    samples: int,
    baseline: Baseline = Baseline.ZERO,
    factor: int = 1,
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

    All that is tolerated counts `factor` times.
    """
    prefixes_claimed, prefixes = (_prefixes(leaf, permutation) for leaf in (claimed, recomputed))
    differences: list[int] = (prefixes_claimed - prefixes).tolist()
    if utility is Utility.ACCURACY:
        _check_accuracy(differences, samples, baseline, factor)
    else:
        _check_loss(differences, prefixes.tolist(), baseline, factor)


def _check_accuracy(differences: list[int], samples: int, baseline: Baseline, factor: int) -> None:
    clients = len(differences)
    shift, rounding = 0, 1
    if baseline is Baseline.STARTING_MODEL:
        most = factor * (BASELINE_SAMPLES + samples // EVALUATIONS_PER_SAMPLE) * UTILITY_SCALE // samples
        # The median makes the sum of absolute differences smallest.
        shift = max(-most, min(most, sorted(differences)[clients // 2]))
        rounding = 2
    off = sum(abs(difference - shift) for difference in differences)
    allowed = factor * (FREE_SAMPLES + samples * clients // EVALUATIONS_PER_SAMPLE)
    if off * samples > allowed * UTILITY_SCALE + factor * rounding * clients * samples:
        answers = off * samples / UTILITY_SCALE
        raise LeafMismatch(f"the leaf is off by {answers:.1f} right answers, {allowed} are tolerated")


def _check_loss(differences: list[int], prefixes: list[int], baseline: Baseline, factor: int) -> None:
    times = factor * (2 if baseline is Baseline.STARTING_MODEL else 1)
    for position, (difference, prefix) in enumerate(zip(differences, prefixes, strict=True)):
        if abs(difference) * LOSS_TOLERANCE > times * max(UTILITY_SCALE, abs(prefix)):
            off = abs(difference) / UTILITY_SCALE
            raise LeafMismatch(f"the loss of prefix {position + 1} is off by {off:.6f}, more than rounding explains")


@dataclass(frozen=True)
class Part:
    """Evaluated coalitions of a leaf that count alike."""

    evaluations: int
    """How many."""
    gain: Fraction
    """Σ_i |change of the leaf's value of client i| at most, for a change of one of their utilities by one."""
    client_gain: Fraction
    """The same of one client."""
    free: int = FREE_SAMPLES
    """Accuracy: right answers that their values may differ by on a large evaluation set, however few they are."""
    single: Fraction = Fraction(0)
    """Accuracy: the leaf may differ by so many right answers at least, for one answer of the coalition that moves it
    most."""


def check_weighted_leaf(
    claimed: Marginals,
    recomputed: Marginals,
    parts: Sequence[Part],
    clients: int,
    utility: Utility,
    samples: int,
    baseline: Baseline,
    factor: int = 1,
) -> None:
    """Raises LeafMismatch unless `claimed` is `recomputed` but for what rounding on another device explains.

    For samplers whose leaves are weighted sums of utilities, from which the utilities cannot be read off. Let d_i be
    the difference of client i's value.

    ACCURACY, evaluated on `samples` samples: Σ |d_i| at most Σ over the parts of gain · (free + samples·evaluations //
    100,000) right answers, or of the part's `single` where that is more, and two units of rounding for each client.
    free is one for each 100 samples begun, but not above the part's. NEGATIVE_LOSS: each |d_i| at most 1/10,000 of
    max(1, Σ |value of a client|), times the sum of the gains for one client, and two units of rounding.

    With the STARTING_MODEL `baseline` v(∅) is itself computed: 2 + samples // 100,000 more right answers, or twice the
    tolerance of losses.

    All that is tolerated counts `factor` times.
    """
    rows = [_row(leaf, clients) for leaf in (claimed, recomputed)]
    differences = [abs(one - other) for one, other in zip(rows[0].tolist(), rows[1].tolist(), strict=True)]
    if utility is Utility.ACCURACY:
        answers = factor * _answers(parts, samples, baseline)
        off = sum(differences)
        if (off - 2 * factor * clients) * samples > answers * UTILITY_SCALE:
            wrong = off * samples / UTILITY_SCALE
            raise LeafMismatch(f"the leaf is off by {wrong:.1f} right answers, {float(answers):.1f} are tolerated")
        return
    times = factor * (2 if baseline is Baseline.STARTING_MODEL else 1)
    scale = max(UTILITY_SCALE, sum(abs(value) for value in rows[1].tolist()))
    for client, difference in enumerate(differences):
        if (difference - 2 * factor) * LOSS_TOLERANCE > times * scale * _gain(parts):
            raise LeafMismatch(
                f"the value of client {client} is off by {difference / UTILITY_SCALE:.6f}, more than rounding explains"
            )


def permutation_tolerance(
    orders: NDArray[np.int64], leaves: NDArray[np.int64], utility: Utility, samples: int, baseline: Baseline
) -> int:
    """A bound of Σ_k |Σ (claimed − recomputed)_k| over leaves that `check_leaf` passes, each with its order.

    `leaves` are the recomputed ones, both int64 [n, K]. Each prefix counts twice, because a marginal contribution is
    the difference of two.
    """
    count, clients = leaves.shape
    shifted = baseline is Baseline.STARTING_MODEL
    if utility is Utility.ACCURACY:
        answers = FREE_SAMPLES + samples * clients // EVALUATIONS_PER_SAMPLE
        shift = BASELINE_SAMPLES + samples // EVALUATIONS_PER_SAMPLE if shifted else 0
        return count * ((2 * answers + shift) * UTILITY_SCALE // samples + 2 * clients * (2 if shifted else 1))
    prefixes = np.abs(np.cumsum(np.take_along_axis(leaves, orders, axis=1), axis=1))
    return 2 * (2 if shifted else 1) * int((np.maximum(prefixes, UTILITY_SCALE) // LOSS_TOLERANCE + 1).sum())


def weighted_tolerance(
    leaves: NDArray[np.int64], parts: Sequence[Part], utility: Utility, samples: int, baseline: Baseline
) -> int:
    """A bound of Σ_k |Σ (claimed − recomputed)_k| over leaves that `check_weighted_leaf` passes.

    `leaves` are the recomputed ones, int64 [n, K]; `parts` are of each of them, at most.
    """
    count, clients = leaves.shape
    if utility is Utility.ACCURACY:
        answers = _answers(parts, samples, baseline)
        return count * (int(answers * UTILITY_SCALE / samples) + 2 * clients)
    times = 2 if baseline is Baseline.STARTING_MODEL else 1
    scale = int(np.maximum(np.abs(leaves).sum(axis=1), UTILITY_SCALE).sum())
    return clients * (int(times * scale * _gain(parts) / LOSS_TOLERANCE) + 2 * count)


def _gain(parts: Sequence[Part]) -> Fraction:
    """Of all parts together, for one client."""
    return sum((part.client_gain for part in parts), Fraction())


def _answers(parts: Sequence[Part], samples: int, baseline: Baseline) -> Fraction:
    """Accuracy: right answers that the values of a weighted leaf may differ by in all."""
    answers = Fraction()
    for part in parts:
        free = min(part.free, -(-samples // SAMPLES_PER_FREE))
        answers += max(part.single, part.gain * (free + samples * part.evaluations // EVALUATIONS_PER_SAMPLE))
    if baseline is Baseline.STARTING_MODEL:
        answers += BASELINE_SAMPLES + samples // EVALUATIONS_PER_SAMPLE
    return answers


def _prefixes(leaf: Marginals, permutation: Sequence[int]) -> NDArray[np.int64]:
    """v(R(1:i)) − v(∅) for i = 1..K. Raises LeafMismatch for a leaf that cannot be one."""
    return np.cumsum(_row(leaf, len(permutation))[np.asarray(permutation, dtype=np.int64)])


def _row(leaf: Marginals, clients: int) -> NDArray[np.int64]:
    """Raises LeafMismatch for a leaf that cannot be one of so many clients."""
    try:
        row = checked_row(leaf)
    except MalformedLeaf as error:
        raise LeafMismatch(f"no leaf at all: {error}") from error
    if len(row) != clients:
        raise LeafMismatch(f"a leaf of {len(row)} clients where there are {clients}")
    return row
