"""Our own leaves, so that a restart goes on with a race and auditors can ask for them (Alg. 1 lines 6–10)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.encoding import HASH_SIZE, Struct, u16, u64
from fedcoin.core.errors import StoreCorrupt
from fedcoin.store.database import Batch, Database
from fedcoin.store.identity import decoded
from fedcoin.store.layout import LEAVES

Leaves = NDArray[np.int64]
"""Marginal contributions [iterations, K], times UTILITY_SCALE."""

_RACE, _NOTE, _LEAF = b"r", b"n", b"l"
_VALUE = 8


@dataclass(frozen=True)
class _Note:
    sequence: int
    clients: int


_NOTE_LAYOUT = Struct(_Note, "fedcoin/store/race", sequence=u64, clients=u16)


class LeafTable:
    """Leaves of the races that this miner has worked on."""

    _db: Database

    def put_leaves(self, race: bytes, start: int, rows: Leaves) -> None:
        """Keeps rows `start` up to `start + len(rows)` of a race, int64 [n, K]. Rows that are there are skipped.

        Raises ValueError for rows that leave a gap or are not of the race's K.
        """
        count, clients = rows.shape
        held = self.leaf_count(race)
        note = self._note(race)
        if start > held or (note is not None and note.clients != clients):
            raise ValueError(f"leaves {start} of {clients} clients do not follow the {held} that are stored")
        if start + count <= held:
            return
        batch = Batch()
        if note is None:
            last = self._db.prefixed(LEAVES, _RACE, limit=1, reverse=True)
            sequence = int.from_bytes(last[0][0][1:], "big") + 1 if last else 0
            batch.put(LEAVES, _RACE + u64.write(sequence), race)
            batch.put(LEAVES, _NOTE + race, _NOTE_LAYOUT.encode(_Note(sequence, clients)))
        batch.put(LEAVES, _LEAF + race + u64.write(held), rows[held - start :].astype(">i8").tobytes())
        self._db.write(batch)

    def leaf_count(self, race: bytes) -> int:
        """How many leaves of a race are stored."""
        note = self._note(race)
        last = self._db.prefixed(LEAVES, _LEAF + race, limit=1, reverse=True) if note else []
        if not last or note is None:
            return 0
        return _first(last[0][0]) + len(last[0][1]) // (_VALUE * note.clients)

    def leaves(self, race: bytes, start: int = 0, count: int | None = None) -> Leaves:
        """Leaves `start` up to `start + count` (to the end), int64 [n, K]; fewer where fewer are there. [0, 0] if none.

        Raises StoreCorrupt.
        """
        note = self._note(race)
        if note is None:
            return np.zeros((0, 0), dtype=np.int64)
        stop = self.leaf_count(race) if count is None else min(start + count, self.leaf_count(race))
        prefix = _LEAF + race
        holding = self._db.scan(LEAVES, prefix, prefix + u64.write(start + 1), limit=1, reverse=True)
        if not holding or start >= stop:
            return np.zeros((0, note.clients), dtype=np.int64)
        first = _first(holding[0][0])
        pairs = self._db.scan(LEAVES, holding[0][0], prefix + u64.write(stop))
        data = b"".join(data for _, data in pairs)
        rows = np.frombuffer(data, dtype=">i8")
        if len(rows) < (stop - first) * note.clients or len(rows) % note.clients:
            raise StoreCorrupt("stored leaves are incomplete: restore a copy, or remove the folder and sync again")
        table = rows.reshape(-1, note.clients)[start - first : stop - first]
        return np.ascontiguousarray(table, dtype=np.int64)

    def races(self) -> list[bytes]:
        """Races with stored leaves, oldest first."""
        return [race for _, race in self._db.prefixed(LEAVES, _RACE)]

    def drop_leaves(self, keep: int) -> None:
        """Forgets the leaves of all races but the newest `keep`."""
        pairs = self._db.prefixed(LEAVES, _RACE)
        for key, race in pairs[: max(0, len(pairs) - keep)]:
            batch = Batch()
            batch.delete(LEAVES, key)
            batch.delete(LEAVES, _NOTE + race)
            for leaf, _ in self._db.prefixed(LEAVES, _LEAF + race):
                batch.delete(LEAVES, leaf)
            self._db.write(batch)

    def _note(self, race: bytes) -> _Note | None:
        data = self._db.get(LEAVES, _NOTE + race)
        return None if data is None else decoded(_NOTE_LAYOUT, data, "note on a race")


def _first(key: bytes) -> int:
    """Index of the first leaf under a key."""
    return int.from_bytes(key[1 + HASH_SIZE :], "big")
