"""Links between simulated nodes: delay, loss, duplication, reordering, cuts that heal, and slow links."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class LinkQuality:
    """Of all links, until faults end."""

    delay_ms: int
    """Typical; each message takes half of it up to three halves, so that messages overtake each other."""
    loss: float
    """Share of messages."""
    duplication: float
    """Share of messages."""


PERFECT = LinkQuality(20, 0.0, 0.0)


class Links:
    """What happens to a message from one node to another."""

    def __init__(self, rng: random.Random, quality: LinkQuality) -> None:
        self.quality = quality
        self._rng = rng
        self._side: dict[int, int] = {}
        """Node → side of the cut; nodes without one are on side 0."""
        self._slow: dict[frozenset[int], int] = {}
        """Pair → its delay is multiplied by so much."""

    def cut(self, side: Collection[int]) -> None:
        """Separates some nodes from all others."""
        self._side = dict.fromkeys(side, 1)

    def heal(self) -> None:
        """Ends the cut."""
        self._side = {}

    def slow(self, one: int, other: int, factor: int) -> None:
        """A link becomes slower."""
        self._slow[frozenset((one, other))] = factor

    def end_faults(self) -> None:
        """All links are fast, whole and without loss from now on."""
        self._side = {}
        self._slow = {}
        self.quality = PERFECT

    def joined(self, one: int, other: int) -> bool:
        """Whether a message would arrive at all."""
        return self._side.get(one, 0) == self._side.get(other, 0)

    def side_of(self, node: int) -> int:
        """0 or 1; all are 0 without a cut."""
        return self._side.get(node, 0)

    def delay(self, sender: int, receiver: int) -> int:
        """Milliseconds that one message takes."""
        factor = self._slow.get(frozenset((sender, receiver)), 1) if self._slow else 1
        return round(self.quality.delay_ms * factor * (0.5 + self._rng.random()))

    def lost(self) -> bool:
        """Whether the next message is lost."""
        return self.quality.loss > 0 and self._rng.random() < self.quality.loss

    def deliveries(self, sender: int, receiver: int) -> Iterator[int]:
        """Delays of the copies of a message that arrive."""
        if not self.joined(sender, receiver):
            return
        quality = self.quality
        copies = 2 if quality.duplication and self._rng.random() < quality.duplication else 1
        for _ in range(copies):
            if not self.lost():
                yield self.delay(sender, receiver)
