"""Iterations of Alg. 1 (lines 4–10) for one problem: from an iteration's index to its leaf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.task import Sampler
from fedcoin.shapley.samplers import open_sampler
from fedcoin.shapley.walks import Evaluator, Values, Walks

_PART = 4096


@dataclass(eq=False)
class Preparation:
    """What is evaluated of a sampler's preparation. It grows, and outlives its Iterations if somebody keeps it."""

    values: Values
    """Of all its coalitions, int64 [evaluations]; those to come are 0."""
    evaluated: int = 0
    """How many of them are there."""
    walks: int = 0
    """That these make."""

    @property
    def done(self) -> bool:
        """Whether all values are there."""
        return self.evaluated == len(self.values)


class Iterations:
    """The leaves that a sampler prescribes, evaluated."""

    def __init__(self, sampler: Sampler, evaluator: Evaluator, preparation: Preparation | None = None) -> None:
        """For the K clients of `evaluator`. Raises SamplerDoesNotFit if the sampler cannot serve so many clients.

        `preparation`: of earlier Iterations with an equal sampler and evaluator, to go on from.
        """
        self._evaluator = evaluator
        self._sampler = open_sampler(sampler, evaluator.clients)
        self._given = preparation

    @property
    def clients(self) -> int:
        """K."""
        return self._evaluator.clients

    @cached_property
    def preparation(self) -> Preparation:
        """How far the preparation is."""
        return self._given or Preparation(np.zeros(self._walks.evaluations, dtype=np.int64))

    def prepare(self) -> None:
        """Evaluates what every leaf builds on, unless that was done; `leaves` does so by itself."""
        while not self.prepare_some():
            pass

    def prepare_some(self, evaluations: int = _PART) -> bool:
        """Does a part of `prepare`: whole walks, of so many evaluations at most if one walk has no more.

        Whether nothing is left to do. The values are the same whatever the parts. (At K = 1,024 there are half a
        million, between which an evaluator may have something more urgent to do.)
        """
        state = self.preparation
        if not state.done:
            end = int(np.searchsorted(self._ends, state.evaluated + evaluations, side="right")) - 1
            end = max(end, state.walks + 1)
            stop = int(self._ends[end])
            state.values[state.evaluated : stop] = self._evaluator.values(self._walks.part(state.walks, end))
            state.walks, state.evaluated = end, stop
        return state.done

    def leaves(self, race: bytes, miner: bytes, indices: Sequence[int]) -> NDArray[np.int64]:
        """The leaves of iterations `indices` of a miner in a race, int64 [n, K], times UTILITY_SCALE."""
        self.prepare()
        walks = self._sampler.walks(race, miner, indices)
        values = self._evaluator.values(walks)
        return self._sampler.leaves(race, miner, indices, values, self.preparation.values, self._evaluator.empty_value)

    @cached_property
    def _walks(self) -> Walks:
        return self._sampler.preparation

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """Evaluations of the preparation before each walk, and of all of them, [walks + 1]."""
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self._walks.marks)])[self._walks.starts]
