"""Simulated evaluators: what iterations of the fake game give, each computed once for the whole network."""

from __future__ import annotations

import numpy as np

from fedcoin.consensus.messages import Leaves
from fedcoin.core.estimate import Estimate
from fedcoin.shapley.leaves import LeafLog
from tests.support.game import recompute
from tests.support.trials import AnyLeaves

_CHUNK = 16


class Evaluators:
    """Leaves of everybody."""

    def __init__(self) -> None:
        self._honest: dict[tuple[bytes, bytes], Leaves] = {}
        self._logs: dict[tuple[bytes, bytes], LeafLog] = {}

    def leaves(self, race: bytes, miner: bytes, start: int, count: int, clients: int) -> Leaves:
        """Leaves of iterations `start` up to `start + count` of anyone, int64 [count, K]."""
        end = start + count
        known = self._honest.get((race, miner), np.zeros((0, clients), dtype=np.int64))
        if len(known) < end:
            wanted = range(len(known), -(-end // _CHUNK) * _CHUNK)
            known = np.concatenate([known, recompute(race, miner, wanted, clients)])
            self._honest[race, miner] = known
        return known[start:end]

    def log(self, estimate: Estimate, stored: Leaves) -> LeafLog | None:
        """The leaves that a dishonest miner hands out for an estimate."""
        if len(stored) == 0:
            return None
        log = self._logs.setdefault((estimate.race, estimate.miner), AnyLeaves(len(estimate.total)))
        log.extend(stored[log.time :])
        return log
