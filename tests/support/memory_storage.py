"""What a node's store holds, in dictionaries."""

from __future__ import annotations

import numpy as np

from fedcoin.consensus.chain import StoredChain
from fedcoin.consensus.messages import AdoptChain, Leaves
from fedcoin.core.block import Block
from fedcoin.core.genesis import Genesis
from fedcoin.core.task import Task
from fedcoin.core.transaction import Transaction
from fedcoin.ledger.genesis import genesis_state


class MemoryStorage:
    """What the store would hold."""

    def __init__(self, genesis: Genesis) -> None:
        self.blocks: dict[bytes, Block] = {}
        """In the order in which they came."""
        self.undo: dict[bytes, dict[bytes, bytes | None]] = {}
        self.tip = genesis.id()
        self.state = genesis_state(genesis)
        self.leaves: dict[bytes, Leaves] = {}
        self.tasks: list[Task] = []
        self.pending: list[Transaction] = []

    def stored_chain(self) -> StoredChain:
        """What a node goes on from."""
        tree = tuple((key, block.header.previous, block.header.height) for key, block in self.blocks.items())
        return StoredChain(self.tip, self.state.entries(), tree)

    def adopt(self, effect: AdoptChain) -> None:
        for block in effect.undone:
            self.state.apply(self.undo[block.id()])
            self.tip = block.header.previous
        for applied in effect.applied:
            self.undo[applied.block.id()] = dict(applied.undo)
            self.state.apply(applied.changes)
            self.tip = applied.block.id()

    def put_leaves(self, race: bytes, start: int, rows: Leaves) -> None:
        known = self.leaves.get(race)
        assert start == (0 if known is None else len(known)), "leaves come in order"
        self.leaves[race] = rows if known is None else np.concatenate([known, rows])

    def get_block(self, block_hash: bytes) -> Block | None:
        return self.blocks.get(block_hash)

    def get_undo(self, block_hash: bytes) -> dict[bytes, bytes | None] | None:
        return self.undo.get(block_hash)
