"""Hands out this miner's own leaves to auditors, with Merkle paths or in one stretch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from fedcoin.core.errors import LeavesNotFound
from fedcoin.rpc.views import LeafProof
from fedcoin.shapley.leaves import LeafLog
from fedcoin.store.chain_store import ChainStore

PIECE_BYTES = 256 << 10
MAX_INDICES = 1_024
"""Leaves with paths in one answer."""
_CACHED_RACES = 3


class LeafServer:
    """Reads leaves from the store; keeps the Merkle logs of the last few races at hand."""

    def __init__(self, store: ChainStore) -> None:
        self._store = store
        self._logs: OrderedDict[bytes, LeafLog] = OrderedDict()

    def proofs(self, race: bytes, tree_size: int, indices: Sequence[int]) -> list[LeafProof]:
        """Leaves with their paths in the tree of the first `tree_size`. Raises LeavesNotFound."""
        log = self._log(race, tree_size)
        if len(indices) > MAX_INDICES or any(not 0 <= index < tree_size for index in indices):
            raise LeavesNotFound(f"ask for at most {MAX_INDICES} leaves, each below the size of the tree")
        return [LeafProof(index, log.encoded(index), tuple(log.proof(index, tree_size))) for index in indices]

    def pieces(self, race: bytes, start: int, count: int) -> Iterator[bytes]:
        """Leaves `start` up to `start + count`, several to a piece. Raises LeavesNotFound."""
        log = self._log(race, start + count)
        leaves_a_piece = max(1, PIECE_BYTES // (8 * log.clients))
        for first in range(start, start + count, leaves_a_piece):
            last = min(first + leaves_a_piece, start + count)
            yield b"".join(log.encoded(index) for index in range(first, last))

    def _log(self, race: bytes, size: int) -> LeafLog:
        """The log of a race with `size` leaves at least, grown by what the store has got since."""
        held = self._store.leaf_count(race)
        if not 0 < size <= held:
            raise LeavesNotFound(f"this miner has {held} leaves of that race")
        log = self._logs.pop(race, None)
        known = log.time if log is not None else 0
        if log is None or known < size:
            rows = self._store.leaves(race, known)
            log = log or LeafLog(rows.shape[1])
            log.extend(rows)
        self._logs[race] = log
        while len(self._logs) > _CACHED_RACES:
            self._logs.popitem(last=False)
        return log
