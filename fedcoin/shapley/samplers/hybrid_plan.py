"""What an iteration of the hybrid sampler evaluates, by K alone.

The sizes from 3 to K−1 are divided into tiers (3…10, 11…30, 31…90, …; a last tier that would be short joins the one
before). Each tier gets about K divided by the number of tiers of an iteration's evaluations: as many walks as they pay
for, or where a tier is too long for even one, a single walk that is marked only on a strip of the tier, drawn anew in
every iteration. So the smaller a coalition's size the more often it is sampled, because there the residual varies most
(Neyman allocation) and a walk is cheapest.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

FIRST_SIZE = 3
"""Smaller coalitions are evaluated all, in the preparation."""

LEAST_CLIENTS = 5
"""With fewer there is next to nothing left to sample: every miner would have the same leaves."""

_FIRST_TIER = 10
_RATIO = 3


@dataclass(frozen=True)
class Strip:
    """Walks of `last` clients, evaluated from size `first` on."""

    first: int
    last: int

    @property
    def evaluations(self) -> int:
        """Marks of one walk."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Tier:
    """Sizes that are sampled alike."""

    strips: tuple[Strip, ...]
    """One, or several of which each iteration draws one."""
    walks: int
    """Of an iteration through that strip."""

    @property
    def weight(self) -> tuple[int, int]:
        """What a walk counts, as a fraction: one over the expected number of walks through its strip."""
        return len(self.strips), self.walks

    @property
    def sizes(self) -> range:
        """All its sizes."""
        return range(self.strips[0].first, self.strips[-1].last + 1)


def plan(clients: int) -> tuple[Tier, ...]:
    """The tiers for K = `clients` ≥ LEAST_CLIENTS clients, by ascending size."""
    bounds = [FIRST_SIZE - 1]
    bound = _FIRST_TIER
    while 2 * bound < clients:
        bounds.append(bound)
        bound *= _RATIO
    bounds.append(clients - 1)
    spans = [(low + 1, high) for low, high in pairwise(bounds)]
    return tuple(_tier(first, last, clients, len(spans)) for first, last in spans)


def _tier(first: int, last: int, clients: int, tiers: int) -> Tier:
    sizes = last - first + 1
    wanted = tiers * sizes
    walks = (2 * clients + wanted) // (2 * wanted)
    if walks >= 1:
        return Tier((Strip(first, last),), walks)
    parts = (2 * wanted + clients) // (2 * clients)
    edges = [first + part * sizes // parts for part in range(parts + 1)]
    return Tier(tuple(Strip(low, high - 1) for low, high in pairwise(edges)), 1)
