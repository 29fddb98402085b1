"""All coalitions, each miner in an order of its own, until the Shapley values are exact (K ≤ 20).

A pass is T ≈ 2^K / K iterations. For each size s the N_s = C(K, s) coalitions are spread evenly over the T iterations:
where there are more coalitions than iterations, each iteration takes the next few; where there are fewer, each
coalition serves several iterations, so that every iteration sees every size. With weights that make up for that, the
mean over a pass is

    φ_i = (v(N) − v(∅)) / K + (1/K) · Σ_s (mean of v over the C ∋ i of size s − mean over the C ∌ i of size s)

exactly, but for the rounding of leaves to integers. Which iteration takes which coalitions is drawn anew for each
pass, uniformly for each iteration by itself, so that every leaf is unbiased.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb, gcd, lcm

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.errors import SamplerDoesNotFit
from fedcoin.core.params import MAX_EXACT_CLIENTS
from fedcoin.shapley.draws import Draws
from fedcoin.shapley.leaves import MAX_MARGINAL
from fedcoin.shapley.samplers.weighted import WeightedSampler
from fedcoin.shapley.tolerance import WHOLE_FREE_SAMPLES, Part
from fedcoin.shapley.walks import Values, Walks, walks_of

_TAG = b"fedcoin/v1/exact"
_FRACTION = 1 << 16
"""Leaves are summed in this fraction of their unit and rounded down once."""

Weighted = tuple[list[int], int, int]
"""The members of a coalition, and its weight as a fraction."""


@dataclass(frozen=True)
class Affine:
    """x ↦ (a·x + b) mod N: a rearrangement of 0…N−1 in which each x goes everywhere with equal probability."""

    size: int
    factor: int
    offset: int

    @classmethod
    def drawn(cls, size: int, draws: Draws) -> Affine:
        """Draws a (again until it has no divisor in common with N), then b."""
        factor = draws.below(size)
        while gcd(factor, size) != 1:
            factor = draws.below(size)
        return cls(size, factor, draws.below(size))

    def __call__(self, place: int) -> int:
        return (self.factor * place + self.offset) % self.size


class ExhaustiveSampler(WeightedSampler):
    """Every coalition, without leaving any out."""

    def __init__(self, clients: int) -> None:
        """Raises SamplerDoesNotFit above MAX_EXACT_CLIENTS clients."""
        if clients > MAX_EXACT_CLIENTS:
            raise SamplerDoesNotFit(
                f"all coalitions are evaluated of {MAX_EXACT_CLIENTS} clients at most, not of {clients}: "
                "choose another sampler"
            )
        self.clients = clients
        self.preparation = walks_of(clients, [range(clients)], [[False] * (clients - 1) + [True]])
        proper = 2**clients - 2
        # With one iteration to a pass all miners' leaves would be the same one.
        self.iterations = 1 if clients == 1 else max(2, -(-proper // clients))
        self._rearrangements = lru_cache(maxsize=1)(self._draw)
        # `leaves` asks for what `walks` has just drawn.
        self._drawn = lru_cache(maxsize=1)(self._draw_all)

    def walks(self, race: bytes, miner: bytes, indices: Sequence[int]) -> Walks:
        """One walk for each coalition: its members in ascending order, marked at the end."""
        iterations = self._drawn(race, miner, tuple(indices))
        orders = [members for coalitions in iterations for members, _, _ in coalitions]
        return walks_of(self.clients, orders, ([False] * (len(order) - 1) + [True] for order in orders))

    def leaves(
        self,
        race: bytes,
        miner: bytes,
        indices: Sequence[int],
        values: Values,
        prepared: Values,
        empty_value: int,
    ) -> NDArray[np.int64]:
        """See the module; v is taken less v(N), which changes no sum and keeps the terms small."""
        clients, whole = self.clients, int(prepared[0])
        result = np.empty((len(indices), clients), dtype=np.int64)
        worths = iter(values.tolist())
        for row, coalitions in zip(result, self._drawn(race, miner, tuple(indices)), strict=True):
            leaf = np.full(clients, _FRACTION * (whole - empty_value) // clients, dtype=object)
            for members, numerator, denominator in coalitions:
                worth = _FRACTION * numerator * (next(worths) - whole)
                outside = worth // (denominator * (clients - len(members)))
                leaf -= outside
                leaf[members] += outside + worth // (denominator * len(members))
            row[:] = np.clip(leaf // _FRACTION, -MAX_MARGINAL, MAX_MARGINAL)
        return result

    def parts(self, race: bytes, miner: bytes, index: int) -> list[Part]:
        """The coalitions, each as the heaviest one; and N, whose value is taken off all others."""
        clients, heaviest = self.clients, Fraction(0)
        coalitions = list(self._coalitions(race, miner, index))
        # In integers, over a common denominator.
        common = lcm(clients, *(d * len(members) * (clients - len(members)) for members, _, d in coalitions))
        whole = [common // clients] * clients
        outside = 0
        for members, numerator, denominator in coalitions:
            heaviest = max(heaviest, Fraction(numerator, denominator))
            weight = numerator * (common // denominator)
            for client in members:
                whole[client] -= weight // len(members) + weight // (clients - len(members))
            outside += weight // (clients - len(members))
        whole = [abs(change + outside) for change in whole]
        return [
            Part(len(coalitions), 2 * heaviest, 2 * heaviest),
            Part(1, Fraction(sum(whole), common), Fraction(max(whole), common), WHOLE_FREE_SAMPLES),
        ]

    def _draw_all(self, race: bytes, miner: bytes, indices: tuple[int, ...]) -> list[list[Weighted]]:
        return [list(self._coalitions(race, miner, index)) for index in indices]

    def _coalitions(self, race: bytes, miner: bytes, index: int) -> Iterator[Weighted]:
        """Those of one iteration."""
        number, place = divmod(index, self.iterations)
        for size, (to_slot, to_rank) in enumerate(self._rearrangements(race, miner, number), start=1):
            count, slots = comb(self.clients, size), self.iterations
            slot = to_slot(place)
            first, last = slot * count // slots, (slot + 1) * count // slots
            if count >= slots:
                for rank in range(first, last):
                    yield combination(to_rank(rank), size), slots, count
            else:
                # This coalition's slots are those that the same number comes out of.
                uses = -(-(first + 1) * slots // count) - -(-first * slots // count)
                yield combination(to_rank(first), size), slots, count * uses

    def _draw(self, race: bytes, miner: bytes, number: int) -> list[tuple[Affine, Affine]]:
        """How a pass rearranges the slots and the coalitions of each size from 1 to K−1."""
        draws = Draws(_TAG, race, miner, number)
        return [
            (Affine.drawn(self.iterations, draws), Affine.drawn(comb(self.clients, size), draws))
            for size in range(1, self.clients)
        ]


def combination(rank: int, size: int) -> list[int]:
    """The members, ascending, of the coalition of `size` clients that has this rank in colexicographic order.

    rank = Σ C(member_j, j) over the members from the smallest, j = 1…size.
    """
    members = []
    for place in range(size, 0, -1):
        member = place - 1
        while comb(member + 1, place) <= rank:
            member += 1
        rank -= comb(member, place)
        members.append(member)
    return members[::-1]
