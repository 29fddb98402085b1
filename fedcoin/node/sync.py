"""Catching up: blocks, tasks, estimates and transactions that a peer has and we lack."""

from __future__ import annotations

import logging

from fedcoin.consensus.messages import ReceiveBlock, ReceiveEstimate, ReceiveTask, ReceiveTransaction
from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError
from fedcoin.node.engine import Engine
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.sync")

BLOCKS_A_CALL = 256
MEMPOOL_A_CALL = 1_000


class Sync:
    """Brings this node up to where a peer is."""

    def __init__(self, engine: Engine, store: ChainStore) -> None:
        self._engine = engine
        self._store = store

    async def catch_up(self, peer: MinerHandler, address: str) -> None:
        """Everything that the peer has: blocks first, since all else hangs on them.

        Raises the error of a peer that cannot be reached, or whose blocks break a rule.
        """
        while await self._blocks(peer, address):
            pass
        for task in await peer.open_tasks():
            await self._offer(ReceiveTask(task, address))
        for estimate in await peer.estimates(b""):
            await self._offer(ReceiveEstimate(estimate, address))
        for transaction in await peer.mempool(MEMPOOL_A_CALL):
            await self._offer(ReceiveTransaction(transaction, address))

    def locator(self) -> list[bytes]:
        """Hashes on our chain from the tip downwards in growing steps, the genesis last."""
        chain = self._engine.posap.chain
        hashes = [chain.tip]
        height, step = chain.height - 1, 1
        while height > 0:
            block_hash = self._store.block_hash_at(height)
            if block_hash is not None:
                hashes.append(block_hash)
            if len(hashes) >= 10:
                step *= 2
            height -= step
        return [*hashes, chain.chain_id]

    async def _blocks(self, peer: MinerHandler, address: str) -> bool:
        """One stretch of blocks. True if there may be more."""
        before = self._engine.posap.chain.height
        previous: Block | None = None
        count = 0
        async for block in peer.blocks_after(self.locator(), BLOCKS_A_CALL):
            if previous is not None:
                await self._engine.feed(ReceiveBlock(previous, address, more_follows=True))
            previous = block
            count += 1
        if previous is not None:
            await self._engine.feed(ReceiveBlock(previous, address, more_follows=count == BLOCKS_A_CALL))
            log.info("%d blocks from %s, height %d", count, address, self._engine.posap.chain.height)
        return count == BLOCKS_A_CALL and self._engine.posap.chain.height > before

    async def _offer(self, event: ReceiveTask | ReceiveEstimate | ReceiveTransaction) -> None:
        try:
            await self._engine.feed(event)
        except FedCoinError as error:
            log.debug("%s from %s: %s", type(event).__name__, event.source, error.code)
