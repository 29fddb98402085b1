"""This product's evaluator, fed as a miner feeds it."""

from __future__ import annotations

import hashlib
import time

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Sampler
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.walks import Evaluator, walks_of_permutations

RACE = hashlib.sha256(b"the benchmark's race").digest()
CALL_SECONDS = 1.0
"""About what a miner asks its evaluator for at a time."""
CALL_LIMIT = 256
"""Iterations of one call at most, as in a miner's evaluator."""


def miner_key(number: int) -> bytes:
    """A miner's public key, 33 bytes; which permutations it works on follows from it."""
    return b"\x02" + hashlib.sha256(f"the benchmark's miner {number}".encode()).digest()


class BenchMiner:
    """Iterations of the paper's sampler, one call after another, as many in each as a miner would ask for."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self._iterations = Iterations(Sampler.PERMUTATION, evaluator)
        self._miner = miner_key(0)
        self._next = 0
        self.call = 1
        """Iterations of one call."""
        self._settle()

    def run(self) -> float:
        """One call; seconds per iteration."""
        began = time.perf_counter()
        self._iterations.leaves(RACE, self._miner, range(self._next, self._next + self.call))
        self._next += self.call
        return (time.perf_counter() - began) / self.call

    def _settle(self) -> None:
        """Doubles the call until it is as long as a miner's; that also warms everything up."""
        self.run()
        best = self.run()
        while self.call < CALL_LIMIT and 2 * self.call * best <= CALL_SECONDS:
            self.call = min(2 * self.call, CALL_LIMIT)
            best = min(best, self.run())  # the best, so that a slow moment does not make calls short

    def right_answers(self, orders: NDArray[np.int64], samples: int) -> NDArray[np.int64]:
        """Right answers of all prefixes of the ranks `orders` (int64 [m, K]), int64 [m, K]."""
        values = self.evaluator.values(walks_of_permutations(orders))
        return -(-values * samples // UTILITY_SCALE).reshape(orders.shape)  # utilities are rounded down


def engine_name(evaluator: object) -> str:
    """How the evaluator says that it computes, or its class."""
    name = getattr(evaluator, "engine", None)
    return name if isinstance(name, str) else type(evaluator).__name__
