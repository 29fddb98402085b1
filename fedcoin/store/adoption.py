"""What a change of tip writes: the one batch in which blocks leave and join the adopted chain."""

from __future__ import annotations

from collections.abc import Mapping

from fedcoin.consensus.messages import AppliedBlock
from fedcoin.core.block import Block
from fedcoin.core.encoding import u64
from fedcoin.core.errors import StoreCorrupt
from fedcoin.core.transaction import TRANSACTION
from fedcoin.store.database import DEFAULT, Batch
from fedcoin.store.history import movements
from fedcoin.store.layout import (
    HEIGHTS,
    HISTORY,
    LOCATION,
    PENDING,
    STATE,
    TIP,
    TIP_KEY,
    TRANSACTIONS,
    UNDO,
    UNDO_DATA,
    StateEntry,
    Tip,
    TransactionLocation,
)


class AdoptionWriter:
    """Collects the changes of one adoption in a batch: first `undo` for each block, then `apply`, then `finish`."""

    def __init__(self, batch: Batch, chain_id: bytes, finality_depth: int, miner_bond: int) -> None:
        self._batch = batch
        self._chain_id = chain_id
        self._depth = finality_depth
        self._miner_bond = miner_bond
        self._highest = 0
        self._state: dict[bytes, bytes | None] = {}
        self._undo: dict[int, tuple[bytes, bytes]] = {}

    def undo(self, tip: Tip, block: Block, undo: Mapping[bytes, bytes | None] | None) -> Tip:
        """Takes the tip `block` off. Returns the tip below. Raises StoreCorrupt."""
        if block.id() != tip.block or undo is None:
            raise StoreCorrupt(f"block {tip.block.hex()} cannot be undone: restore a copy, or sync again")
        self._highest = max(self._highest, tip.height)
        self._state.update(undo)
        self._batch.delete(UNDO, tip.block)
        self._batch.delete(HEIGHTS, u64.write(tip.height))
        names = [transaction.id(self._chain_id) for transaction in block.transactions]
        for name, transaction in zip(names, block.transactions, strict=True):
            self._batch.delete(TRANSACTIONS, name)
            self._batch.put(PENDING, name, TRANSACTION.encode(transaction))
        for key, _ in movements(block, tip.block, names, self._miner_bond):
            self._batch.delete(HISTORY, key)
        return Tip(block.header.previous, tip.height - 1)

    def apply(self, tip: Tip, applied: AppliedBlock) -> Tip:
        """Puts a block on top. Returns the new tip. Raises StoreCorrupt."""
        block = applied.block
        if block.header.previous != tip.block or block.header.height != tip.height + 1:
            raise StoreCorrupt(f"the stored tip {tip.block.hex()} is not the one that blocks were adopted on: restart")
        tip = Tip(block.id(), block.header.height)
        self._state.update(applied.changes)
        entries = tuple(StateEntry(key, value) for key, value in applied.undo.items())
        self._undo[tip.height] = (tip.block, UNDO_DATA.write(entries))
        self._batch.put(HEIGHTS, u64.write(tip.height), tip.block)
        names = [transaction.id(self._chain_id) for transaction in block.transactions]
        for index, name in enumerate(names):
            location = TransactionLocation(tip.block, tip.height, index)
            self._batch.put(TRANSACTIONS, name, LOCATION.encode(location))
            self._batch.delete(PENDING, name)
        for key, value in movements(block, tip.block, names, self._miner_bond):
            self._batch.put(HISTORY, key, value)
        return tip

    def finalised(self, fork: Tip, tip: Tip) -> range:
        """Heights at or below the fork whose blocks the new tip puts out of reach of any reorganisation."""
        before = max(self._highest, fork.height)
        return range(max(1, before - self._depth + 1), min(fork.height, tip.height - self._depth) + 1)

    def finish(self, fork: Tip, tip: Tip, finalised: Mapping[int, bytes | None]) -> None:
        """Writes state, undo data and tip; forgets the undo data of `finalised` (hashes by height)."""
        for key, value in self._state.items():
            if value is None:
                self._batch.delete(STATE, key)
            else:
                self._batch.put(STATE, key, value)
        for height, (name, data) in self._undo.items():
            if height > tip.height - self._depth:
                self._batch.put(UNDO, name, data)
        for block in finalised.values():
            if block is not None:
                self._batch.delete(UNDO, block)
        self._batch.put(DEFAULT, TIP_KEY, TIP.encode(tip))
