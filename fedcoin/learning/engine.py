"""What evaluates coalitions: several engines behind one interface, the fastest that can serve a game is taken."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt

from fedcoin.shapley.walks import Walks


class EngineDoesNotFit(Exception):
    """An engine cannot serve a game (its layers, device, numbers or memory); the next one is tried.

    It is caught where an engine is chosen and never reaches a user, so it is no FedCoinError.
    """


class Engine(Protocol):
    """Scores the coalitions of one Game."""

    @property
    def name(self) -> str:
        """For logs and benchmarks, such as `native-avx512`, `running-sums` or `batched`."""
        ...

    def scores(self, walks: Walks) -> npt.NDArray[Any]:
        """The score of each marked coalition in order, [evaluations].

        For Utility.ACCURACY the number of right answers, int64; for Utility.NEGATIVE_LOSS the sum of the samples'
        cross-entropies, clipped as `scoring.sum_loss` does, float64. A score depends on the members of its walk so far
        and their order only, not on other walks, threads or the memory limit.
        """
        ...
