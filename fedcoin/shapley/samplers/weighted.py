"""What samplers have in common whose leaves are weighted sums of utilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.task import Baseline, Utility
from fedcoin.shapley.tolerance import Part, check_weighted_leaf, weighted_tolerance


class WeightedSampler(ABC):
    """Checks leaves by how much each evaluated coalition can move them."""

    clients: int
    """K."""

    @abstractmethod
    def parts(self, race: bytes, miner: bytes, index: int) -> list[Part]:
        """What an iteration's leaf is a sum of."""

    def check(
        self,
        claimed: Sequence[int],
        recomputed: Sequence[int],
        race: bytes,
        miner: bytes,
        index: int,
        utility: Utility,
        samples: int,
        baseline: Baseline,
        factor: int = 1,
    ) -> None:
        """See `check_weighted_leaf`. Raises LeafMismatch."""
        parts = self.parts(race, miner, index)
        check_weighted_leaf(claimed, recomputed, parts, self.clients, utility, samples, baseline, factor)

    def tolerance(
        self,
        recomputed: NDArray[np.int64],
        race: bytes,
        miner: bytes,
        indices: Sequence[int],
        utility: Utility,
        samples: int,
        baseline: Baseline,
    ) -> int:
        """See `weighted_tolerance`; each leaf has parts of its own."""
        return sum(
            weighted_tolerance(leaf[np.newaxis], self.parts(race, miner, index), utility, samples, baseline)
            for leaf, index in zip(recomputed, indices, strict=True)
        )
