"""The paper's sampler: one permutation an iteration, and all its prefixes (Alg. 1 lines 5–9)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.task import Baseline, Utility
from fedcoin.shapley.permutations import permutation
from fedcoin.shapley.tolerance import check_leaf, permutation_tolerance
from fedcoin.shapley.walks import Values, Walks, walks_of_permutations


class PermutationSampler:
    """Plain Monte Carlo over permutations."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.preparation = walks_of_permutations(np.zeros((0, clients), dtype=np.int64))
        # `leaves` asks for what `walks` has just drawn.
        self._orders = lru_cache(maxsize=1)(self._draw)

    def order(self, race: bytes, miner: bytes, index: int) -> Sequence[int]:
        """R of iteration `index`."""
        return permutation(race, miner, index, self.clients)

    def orders(self, race: bytes, miner: bytes, indices: Sequence[int]) -> NDArray[np.int64]:
        """The permutations of iterations `indices`, int64 [n, K]. Do not change the result."""
        return self._orders(race, miner, tuple(indices))

    def _draw(self, race: bytes, miner: bytes, indices: tuple[int, ...]) -> NDArray[np.int64]:
        rows = [self.order(race, miner, index) for index in indices]
        return np.array(rows, dtype=np.int64).reshape(len(rows), self.clients)

    def walks(self, race: bytes, miner: bytes, indices: Sequence[int]) -> Walks:
        """One walk an iteration, marked at every step."""
        return walks_of_permutations(self.orders(race, miner, indices))

    def leaves(
        self,
        race: bytes,
        miner: bytes,
        indices: Sequence[int],
        values: Values,
        prepared: Values,
        empty_value: int,
    ) -> NDArray[np.int64]:
        """Client R(i) gets v(R(1:i)) − v(R(1:i−1)), the first one v({R(1)}) − v(∅): a row sums to v(all) − v(∅)."""
        return marginals(self.orders(race, miner, indices), values, empty_value)

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
        """See `check_leaf`. Raises LeafMismatch."""
        check_leaf(claimed, recomputed, self.order(race, miner, index), utility, samples, baseline, factor)

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
        """See `permutation_tolerance`."""
        return permutation_tolerance(self.orders(race, miner, indices), recomputed, utility, samples, baseline)


def marginals(orders: NDArray[np.int64], values: Values, empty_value: int) -> NDArray[np.int64]:
    """Marginal contributions along permutations: int64 [n, K], column k for client k.

    `orders` are permutations, int64 [n, K]; `values` the utilities of all their prefixes, [n · K].
    """
    count, clients = orders.shape
    chain = np.concatenate([np.full((count, 1), empty_value), values.reshape(count, clients)], axis=1)
    result = np.empty((count, clients), dtype=np.int64)
    np.put_along_axis(result, orders, np.diff(chain, axis=1), axis=1)
    return result
