"""What a simulated node's store holds, and what of it is left after a crash.

The store writes in order and waits for the disk where a block is adopted (SPEC 19). When a process is killed, all that
it has written is still there; when the power fails, what was written after the last wait may be gone, the latest first.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from fedcoin.consensus.messages import AdoptChain, Leaves
from fedcoin.core.block import Block
from fedcoin.core.genesis import Genesis
from fedcoin.core.task import Task
from fedcoin.core.transaction import Transaction
from tests.support.memory_storage import MemoryStorage


class Disk(MemoryStorage):
    """A store that can lose power."""

    def __init__(self, genesis: Genesis) -> None:
        super().__init__(genesis)
        self._chain_id = genesis.id()
        self.waiting: dict[bytes, Transaction] = {}
        """Transaction id → transaction that is on no adopted block."""
        self.undo_writes: list[Callable[[], object]] = []
        """Takes back what was written since the disk was last waited for, the earliest first."""

    def put_block(self, block: Block) -> None:
        block_hash = block.id()
        if block_hash not in self.blocks:
            self.blocks[block_hash] = block
            self.undo_writes.append(lambda: self.blocks.pop(block_hash))

    def put_task(self, task: Task) -> None:
        self.tasks.append(task)
        self.undo_writes.append(lambda: self.tasks.remove(task))

    def put_pending(self, transaction: Transaction) -> None:
        txid = transaction.id(self._chain_id)
        if txid not in self.waiting:
            self.waiting[txid] = transaction
            self.undo_writes.append(lambda: self.waiting.pop(txid, None))

    def put_leaves(self, race: bytes, start: int, rows: Leaves) -> None:
        known = self.leaves.get(race)
        assert start == (0 if known is None else len(known)), "leaves come in order"
        self.leaves[race] = rows if known is None else np.concatenate([known, rows])
        self.undo_writes.append(lambda: self._cut_leaves(race, start))

    def adopt(self, effect: AdoptChain) -> None:
        """One atomic write, then the disk is waited for: all earlier writes are safe too."""
        super().adopt(effect)
        for block in effect.undone:
            self.waiting |= {transaction.id(self._chain_id): transaction for transaction in block.transactions}
        for applied in effect.applied:
            for transaction in applied.block.transactions:
                self.waiting.pop(transaction.id(self._chain_id), None)
        self.undo_writes.clear()

    def lose_power(self, rng: random.Random) -> None:
        """The latest writes are gone, none to all of those that the disk was not waited for."""
        for _ in range(rng.randint(0, len(self.undo_writes))):
            self.undo_writes.pop()()
        self.undo_writes.clear()

    def _cut_leaves(self, race: bytes, count: int) -> None:
        if count:
            self.leaves[race] = self.leaves[race][:count]
        else:
            self.leaves.pop(race)
