"""A cooperative game with known values in place of models, for tests of everything above the evaluator."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from fedcoin.consensus.messages import Leaves, RaceInfo
from fedcoin.core.encoding import tagged_hash
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Aggregation, Baseline, Problem, Sampler, UpdateRef, Utility
from fedcoin.shapley.permutations import permutation

MODEL = ModelSpec(ModelFamily.LAYERS, "softmax", (4,), 2, (Layer(LayerKind.LINEAR, 2),))


def make_problem(clients: int, label: str = "game") -> Problem:
    """A problem whose coalitions are worth what `worth` says."""
    updates = tuple(UpdateRef(tagged_hash(label, bytes([index])), 10 + index) for index in range(clients))
    return Problem(
        MODEL,
        Aggregation.UNWEIGHTED,
        Utility.ACCURACY,
        Baseline.ZERO,
        Sampler.PERMUTATION,
        tagged_hash(label, b"base"),
        tagged_hash(label, b"evaluation"),
        updates,
    )


@lru_cache(maxsize=4096)
def worth(coalition: tuple[int, ...], clients: int) -> int:
    """Saturating: each client finds a share of what the others have missed; the last one spoils what it joins."""
    if not coalition:
        return 0
    found = 1 - prod(1 - 0.6 * (clients - client) / clients for client in coalition if client < clients - 1)
    spoilt = 0.1 if clients - 1 in coalition else 0.0
    return round(UTILITY_SCALE * (found - spoilt))


def play(info: RaceInfo, start: int, count: int) -> Leaves:
    """The leaves of iterations `start` up to `start + count` of a race."""
    return recompute(info.race, info.miner, range(start, start + count), info.problem.clients)


@lru_cache(maxsize=4096)
def marginals(order: tuple[int, ...], clients: int) -> tuple[int, ...]:
    """What each client adds when they join in this order."""
    row = [0] * clients
    before = 0
    for place, client in enumerate(order):
        after = worth(order[: place + 1], clients)
        row[client] = after - before
        before = after
    return tuple(row)


def recompute(race: bytes, miner: bytes, indices: range | tuple[int, ...], clients: int) -> Leaves:
    """The leaves of given iterations of anyone."""
    rows = [marginals(permutation(race, miner, index, clients), clients) for index in indices]
    return np.array(rows, dtype=np.int64).reshape(len(rows), clients)
