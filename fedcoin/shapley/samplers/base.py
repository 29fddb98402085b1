"""What every sampler offers.

Which coalitions are evaluated depends on the race, the miner, the index and K only, never on values, because values
may round differently on another device. A leaf is an unbiased estimate of all K Shapley values by itself, and its
evaluations are about K in number for every sampler, so that `time` measures the same work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.task import Baseline, Utility
from fedcoin.shapley.walks import Values, Walks


class CoalitionSampler(Protocol):
    """A sampler for K clients."""

    @property
    def preparation(self) -> Walks:
        """Coalitions on which every leaf builds: the same for all miners and iterations; none for some samplers."""
        ...

    def walks(self, race: bytes, miner: bytes, indices: Sequence[int]) -> Walks:
        """What iterations `indices` of a miner in a race evaluate, iteration after iteration."""
        ...

    def leaves(
        self,
        race: bytes,
        miner: bytes,
        indices: Sequence[int],
        values: Values,
        prepared: Values,
        empty_value: int,
    ) -> NDArray[np.int64]:
        """The leaves, int64 [n, K], from the values of `walks`, those of `preparation`, and v(∅)."""
        ...

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
        """Raises LeafMismatch unless `claimed` is `recomputed` but for what rounding on another device explains.

        Both are marginal contributions of iteration `index`. What is tolerated counts `factor` times.
        """
        ...

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
        """How far a total may be off: at most this is Σ_k |Σ (claimed − recomputed)_k| over leaves that `check` passes.

        `recomputed` are the leaves of iterations `indices`, int64 [n, K]. For whoever has a miner's total, but not its
        leaves.
        """
        ...
