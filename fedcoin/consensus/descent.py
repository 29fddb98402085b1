"""Where in a miner's leaves is the step most out of the ordinary? An audit recomputes that one besides those drawn.

A forger moves S by most if a single step holds all that it adds, and a single step is rarely drawn. But leaves are
sums, so two of them say what all iterations between them give together. Divide the iterations into parts, go on into
the part whose sum is farthest from what so many iterations give on average, and a large step is found after a few
looks: what chance moves a part by grows with the root of its length only. Whatever is found is recomputed like any
drawn step, so nobody is convicted for being out of the ordinary (docs/adr/0009).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from fedcoin.core.errors import LeavesNotFound, MalformedLeaf
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.merkle import verify_inclusion
from fedcoin.shapley.leaves import decode_leaf

PARTS = 16
"""Parts that each look divides iterations into: five looks at most for MAX_ITERATIONS."""


class Descent:
    """The search in one estimate, whose `time` is positive. Ask for `wanted` leaves and `take` them until none is."""

    def __init__(self, estimate: Estimate) -> None:
        self._estimate = estimate
        self._low, self._high = -1, estimate.time - 1
        """The step lies above leaf `low` and not above leaf `high`."""
        self._sums: dict[int, tuple[int, ...]] = {
            -1: (0,) * len(estimate.total),
            estimate.time - 1: estimate.total,
        }
        """Leaves by index. That the last one is the total is for others to judge."""

    @property
    def index(self) -> int:
        """The iteration, once nothing is wanted any more."""
        return self._high

    def wanted(self) -> tuple[int, ...]:
        """Leaves to be fetched next, ascending; none at the end."""
        span = self._high - self._low
        parts = min(PARTS, span)
        return tuple(self._low + span * part // parts for part in range(1, parts))

    def take(self, proofs: Mapping[int, LeafProof]) -> None:
        """The leaves that are `wanted`, by index.

        Raises LeavesNotFound if one is missing, InvalidMerkleProof if one does not lead to the estimate's root.
        """
        estimate, wanted = self._estimate, self.wanted()
        for index in wanted:
            if index not in proofs:
                raise LeavesNotFound(f"leaf {index} was asked for and is missing")
            proof = proofs[index]
            verify_inclusion(proof.leaf, index, estimate.time, proof.path, estimate.leaf_root)
            try:
                self._sums[index] = decode_leaf(proof.leaf, len(estimate.total))
            except MalformedLeaf:
                self._low, self._high = index - 1, index  # that is no leaf at all
                return
        bounds = (self._low, *wanted, self._high)
        self._low, self._high = max(pairwise(bounds), key=self._deviation)

    def _deviation(self, part: tuple[int, int]) -> int:
        """How far the sum of a part is from its share of the total, over all clients, times `time`."""
        low, high = part
        ends = zip(self._sums[low], self._sums[high], self._estimate.total, strict=True)
        return sum(abs((now - then) * self._estimate.time - total * (high - low)) for then, now, total in ends)
