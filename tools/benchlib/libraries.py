"""pyDVL and shapiq playing the same game: their permutation samplers, with Algorithm 1's v(C) as the utility.

Neither has a way to be told that coalitions grow by one client, so their time is the utility's. They are used from one
process with all threads in torch, as Algorithm 1 is; the libraries' own bookkeeping is part of what is measured. Both
are needed by the benchmark alone (extra `bench`).
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchlib.algorithm1 import Algorithm1

LIBRARIES = ("pydvl", "shapiq")


def installed(library: str) -> bool:
    """Whether the library is there."""
    return find_spec(library) is not None


def pydvl_iteration(game: Algorithm1, seed: int) -> NDArray[np.float64]:
    """Shapley values in right answers from one permutation of pyDVL's sampler, [K]: K utilities."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pydvl.valuation import Dataset, MaxSamples, PermutationSampler, ShapleyValuation
        from pydvl.valuation.utility.base import UtilityBase

    class RightAnswers(UtilityBase):
        """v(C) of clients in place of data points."""

        def __call__(self, sample: Any) -> float:
            return 0.0 if sample is None or not len(sample.subset) else float(game.value(sample.subset))

        def with_dataset(self, data: Any, copy: bool = True) -> Any:
            self._training_data = data
            return self

    clients = Dataset(x=np.arange(game.clients).reshape(-1, 1), y=np.zeros(game.clients))
    sampler = PermutationSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        valuation = ShapleyValuation(RightAnswers(), sampler, is_done=MaxSamples(sampler, 1), progress=False)
        result = valuation.fit(clients).result
    return np.asarray(result.values, dtype=np.float64)


def shapiq_iteration(game: Algorithm1, seed: int) -> NDArray[np.float64]:
    """Shapley values in right answers from one permutation of shapiq's sampler, [K].

    K + 1 calls, of which the first two are the empty and the grand coalition and the former costs nothing.
    """
    from shapiq import Game, PermutationSamplingSV

    class RightAnswers(Game):
        """v(C) of rows of members."""

        def value_function(self, coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
            rows = [np.flatnonzero(row) for row in coalitions]
            return np.array([float(game.value(members)) if len(members) else 0.0 for members in rows])

    play = RightAnswers(n_players=game.clients, normalize=False)
    approximator = PermutationSamplingSV(n=game.clients, random_state=seed)
    values = approximator.approximate(budget=game.clients + 1, game=play, batch_size=1)
    return np.array([values[(client,)] for client in range(game.clients)], dtype=np.float64)


ITERATIONS = {"pydvl": pydvl_iteration, "shapiq": shapiq_iteration}
