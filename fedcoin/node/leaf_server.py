"""Hands out this miner's own leaves to auditors, with Merkle paths."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from fedcoin.core.errors import LeavesNotFound
from fedcoin.core.fraud import LeafProof
from fedcoin.shapley.leaves import LeafLog
from fedcoin.store.chain_store import ChainStore

MAX_INDICES = 1_024
"""Leaves with paths in one answer."""
_CACHED_VALUES = 1 << 24
# Values of the leaves that stay in memory, of all races together (one race may have more).
_VALUES_A_SLICE = 1 << 16
# Values of leaves that are read and hashed before other work has its turn.


class LeafServer:
    """Reads leaves from the store; keeps the Merkle logs of the last races that were asked for at hand."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store
        self._logs: OrderedDict[bytes, LeafLog] = OrderedDict()
        self._building = asyncio.Lock()

    async def proofs(self, race: bytes, tree_size: int, indices: Sequence[int]) -> list[LeafProof]:
        """Leaves with their paths in the tree of the first `tree_size`. Raises LeavesNotFound."""
        if len(indices) > MAX_INDICES or any(not 0 <= index < tree_size for index in indices):
            raise LeavesNotFound(f"ask for at most {MAX_INDICES} leaves, each below the size of the tree")
        held = self._store.leaf_count(race)
        if not 0 < tree_size <= held:
            raise LeavesNotFound(f"this miner has {held} leaves of that race")
        log = self._logs.get(race)
        if log is None or log.time < tree_size:
            # One at a time, so that whoever asks for all races in turn takes the memory of one.
            async with self._building:
                log = await self._grown(race, tree_size)
        return [LeafProof(index, log.encoded(index), tuple(log.proof(index, tree_size))) for index in indices]

    async def _grown(self, race: bytes, size: int) -> LeafLog:
        """The log of a race with `size` leaves at least, grown by what the store has got since."""
        log = self._logs.pop(race, None)
        while log is None or log.time < size:
            rows = self._store.leaves(race, log.time if log else 0, _VALUES_A_SLICE // log.clients if log else 1)
            if not len(rows):
                raise LeavesNotFound("the leaves of that race have just been dropped")
            log = log or LeafLog(rows.shape[1])
            log.extend(rows)
            await asyncio.sleep(0)
        self._logs[race] = log
        while len(self._logs) > 1 and sum(known.time * known.clients for known in self._logs.values()) > _CACHED_VALUES:
            self._logs.popitem(last=False)
        return log
