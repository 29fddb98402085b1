"""Small coalitions exactly, the others sampled by size, with a control variate from the small ones.

The Shapley value of client i is (v(N) − v(∅)) / K + (1/K) · Σ_{s=1…K−1} (mean of v over the coalitions of size s with
i, less the mean over those without i). Sizes 1 and 2 are evaluated completely, in the preparation. Of the others an
iteration samples a few by walks (`hybrid_plan`), and only what a control variate does not explain of their values
counts (`control`). Let r(s) be that residual of a walk's first s clients. It goes to all clients:

- the share λ = 2/s of it equally, +λ·r(s)/s to those who have joined and −λ·r(s)/(K−s) to the others. This uses a
  coalition for all clients and has the least variance for coalitions that are independent of each other;
- the rest as in Alg. 1, + to the client that came last and − to the one that comes next. This makes use of the
  likeness of a walk's coalitions, which grows with their size. The first size of a walk has nobody to come last and
  the last one nobody to come next: there it is shared as well.

Either way those who have joined get r(s) in all and the others −r(s), each place equally likely: an unbiased estimate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from fedcoin.shapley.draws import Draws
from fedcoin.shapley.leaves import MAX_MARGINAL
from fedcoin.shapley.samplers.control import FRACTION_BITS, Slope, exact_part, fit, pair_means
from fedcoin.shapley.samplers.hybrid_plan import Strip, Tier, plan
from fedcoin.shapley.samplers.weighted import WeightedSampler
from fedcoin.shapley.tolerance import Part
from fedcoin.shapley.walks import Values, Walks

_TAG = b"fedcoin/v1/hybrid"
_PILOT_TAG = b"fedcoin/v1/pilot"
PILOTS = 8
"""Iterations of nobody, to which the control variate is fitted."""

FEW_CLIENTS = 9
"""Up to here several walks go through all sizes, and often through the same coalitions."""

_NOBODY = (bytes(32), bytes(33))
_MOST_GATHERED = 1 << 22
"""Pair values looked up at a time."""


@dataclass(frozen=True)
class _Walk:
    """One walk of an iteration."""

    tier: int
    strip: Strip
    members: list[int]


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What follows from the preparation's values and v(∅)."""

    values: Values
    empty_value: int
    pairs: Values
    slopes: list[Slope]
    exact: NDArray[np.int64]


class HybridSampler(WeightedSampler):
    """For LEAST_CLIENTS clients or more."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.tiers: tuple[Tier, ...] = plan(clients)
        # `leaves` asks for what `walks` has just drawn.
        self._drawn = lru_cache(maxsize=1)(self._draw_all)
        self._ready: _Prepared | None = None

    @cached_property
    def preparation(self) -> Walks:
        """N, each client, each pair (ascending), and the pilot iterations."""
        clients = self.clients
        pairs = np.column_stack(np.triu_indices(clients, 1)).reshape(-1)
        members = np.concatenate([np.arange(clients), np.arange(clients), pairs]).astype(np.int32)
        lengths = np.concatenate([[clients], np.ones(clients, np.int64), np.full(len(pairs) // 2, 2)])
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        marks = np.zeros(len(members), dtype=np.bool_)
        marks[starts[1:] - 1] = True
        return _joined(Walks(clients, members, starts, marks), self._walks(self._pilots))

    @cached_property
    def _pilots(self) -> list[_Walk]:
        return [walk for index in range(PILOTS) for walk in self._draw(_PILOT_TAG, *_NOBODY, index)]

    def walks(self, race: bytes, miner: bytes, indices: Sequence[int]) -> Walks:
        """Each iteration's walks, tier after tier."""
        return self._walks([walk for iteration in self._drawn(race, miner, tuple(indices)) for walk in iteration])

    def leaves(
        self,
        race: bytes,
        miner: bytes,
        indices: Sequence[int],
        values: Values,
        prepared: Values,
        empty_value: int,
    ) -> NDArray[np.int64]:
        """See the module. A row sums to v(N) − v(∅), but for rounding."""
        ready = self._prepare(prepared, empty_value)
        rows: list[int] = []
        walks: list[_Walk] = []
        for row, iteration in enumerate(self._drawn(race, miner, tuple(indices))):
            rows += [row] * len(iteration)
            walks += iteration
        sums = np.repeat(ready.exact[np.newaxis], len(indices), axis=0)
        for tier, strip, which, members, worths in self._groups(walks, values):
            fitted = ready.slopes[tier]
            means = pair_means(members, ready.pairs, strip.first)
            residuals = (worths << FRACTION_BITS) - means * fitted.slope - fitted.offset
            numerator, denominator = self.tiers[tier].weight
            shares = spread(residuals * numerator // denominator, members, strip, self.clients)
            np.add.at(sums, np.array(rows)[which], shares)
        return np.clip(sums >> FRACTION_BITS, -MAX_MARGINAL, MAX_MARGINAL)

    def parts(self, race: bytes, miner: bytes, index: int) -> list[Part]:
        """One for each tier.

        Up to FEW_CLIENTS there is one tier only. Several walks of an iteration may then evaluate the same coalition,
        and v(N), which counts 1/K for each client, may count more than the coalition of a walk.
        """
        parts = []
        for tier in self.tiers:
            gain = Fraction(2 * tier.weight[0], tier.weight[1])
            single = Fraction(0)
            if self.clients <= FEW_CLIENTS:
                single = max(Fraction(1), gain * self._meetings(race, miner, index))
            evaluations = max(strip.evaluations for strip in tier.strips) * tier.walks
            parts.append(Part(evaluations, gain, gain, single=single))
        return parts

    def _meetings(self, race: bytes, miner: bytes, index: int) -> int:
        """How many walks of an iteration evaluate the same coalition, at most."""
        counts = Counter(
            frozenset(walk.members[:size])
            for walk in self._draw(_TAG, race, miner, index)
            for size in range(walk.strip.first, walk.strip.last + 1)
        )
        return max(counts.values())

    def _draw_all(self, race: bytes, miner: bytes, indices: tuple[int, ...]) -> list[list[_Walk]]:
        return [self._draw(_TAG, race, miner, index) for index in indices]

    def _draw(self, tag: bytes, race: bytes, miner: bytes, index: int) -> list[_Walk]:
        """The walks of an iteration: cut from one permutation, then from the next when too few clients are left."""
        draws = Draws(tag, race, miner, index)
        walks: list[_Walk] = []
        left: list[int] = []
        for number, tier in enumerate(self.tiers):
            strip = tier.strips[draws.below(len(tier.strips))] if len(tier.strips) > 1 else tier.strips[0]
            for _ in range(tier.walks):
                if len(left) < strip.last:
                    left = draws.permutation(self.clients)
                walks.append(_Walk(number, strip, left[: strip.last]))
                left = left[strip.last :]
        return walks

    def _walks(self, walks: Sequence[_Walk]) -> Walks:
        lengths = [len(walk.members) for walk in walks]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        members = np.array([client for walk in walks for client in walk.members], dtype=np.int32)
        marks = np.ones(len(members), dtype=np.bool_)
        for start, walk in zip(starts.tolist(), walks, strict=False):
            marks[start : start + walk.strip.first - 1] = False
        return Walks(self.clients, members, starts, marks)

    def _groups(
        self, walks: Sequence[_Walk], values: Values
    ) -> Iterator[tuple[int, Strip, NDArray[np.int64], NDArray[np.int64], Values]]:
        """Walks of equal strips together: tier, strip, which walks, their members [m, L], their values [m, marks]."""
        ends = np.cumsum([walk.strip.evaluations for walk in walks])
        same: dict[tuple[int, Strip], list[int]] = {}
        for number, walk in enumerate(walks):
            same.setdefault((walk.tier, walk.strip), []).append(number)
        for (tier, strip), numbers in same.items():
            most = max(1, _MOST_GATHERED // strip.last**2)
            for begin in range(0, len(numbers), most):
                which = np.array(numbers[begin : begin + most], dtype=np.int64)
                members = np.array([walks[number].members for number in which], dtype=np.int64)
                places = ends[which, None] - strip.evaluations + np.arange(strip.evaluations)
                yield tier, strip, which, members, values[places]

    def _prepare(self, prepared: Values, empty_value: int) -> _Prepared:
        ready = self._ready
        if ready is None or ready.empty_value != empty_value or not np.array_equal(ready.values, prepared):
            ready = self._ready = self._fitted(prepared.copy(), empty_value)
        return ready

    def _fitted(self, prepared: Values, empty_value: int) -> _Prepared:
        clients = self.clients
        count = 1 + clients + clients * (clients - 1) // 2
        pairs = np.zeros((clients, clients), dtype=np.int64)
        pairs[np.triu_indices(clients, 1)] = prepared[1 + clients : count]
        pairs += pairs.T
        seen: list[tuple[list[int], list[int]]] = [([], []) for _ in self.tiers]
        for tier, strip, _, members, worths in self._groups(self._pilots, prepared[count:]):
            seen[tier][0].extend(pair_means(members, pairs, strip.first).ravel().tolist())
            seen[tier][1].extend(worths.ravel().tolist())
        slopes = [fit(means, worths) for means, worths in seen]
        singles: list[int] = prepared[1 : 1 + clients].tolist()
        exact = exact_part(singles, pairs, int(prepared[0]), empty_value, self.tiers, slopes)
        return _Prepared(prepared, empty_value, pairs, slopes, exact)


def spread(residuals: Values, members: NDArray[np.int64], strip: Strip, clients: int) -> NDArray[np.int64]:
    """What walks add to the leaves, int64 [m, K].

    `residuals` of the walks' coalitions of sizes strip.first to strip.last, int64 [m, sizes]; `members` int64 [m,
    strip.last]. Divisions round down.
    """
    sizes = np.arange(strip.first, strip.last + 1)
    shared = 2 * residuals // sizes
    newest = residuals - shared
    newest[:, 0] = 0
    next_one = residuals - shared
    next_one[:, -1] = 0
    inside = shared // sizes
    inside[:, 0] = residuals[:, 0] // strip.first
    outside = shared // (clients - sizes)
    outside[:, -1] = residuals[:, -1] // (clients - strip.last)
    # Place t (from 0) of a walk is inside the sizes above t, outside of the others.
    steps = np.zeros((len(residuals), strip.last), dtype=np.int64)
    steps[:, strip.first - 1 :] = inside[:, ::-1].cumsum(axis=1)[:, ::-1] + newest
    steps[:, : strip.first - 1] = inside.sum(axis=1, keepdims=True)
    steps[:, strip.first :] -= outside[:, :-1].cumsum(axis=1) + next_one[:, :-1]
    result = np.repeat(-outside.sum(axis=1, keepdims=True), clients, axis=1)
    np.put_along_axis(result, members, steps, axis=1)
    return result


def _joined(*parts: Walks) -> Walks:
    """All walks of several."""
    starts = [np.zeros(1, dtype=np.int64)]
    for part in parts:
        starts.append(part.starts[1:] + starts[-1][-1])
    return Walks(
        parts[0].clients,
        np.concatenate([part.members for part in parts]),
        np.concatenate(starts),
        np.concatenate([part.marks for part in parts]),
    )
