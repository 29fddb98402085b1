"""Catching up: blocks, tasks, estimates and transactions that a peer has and we lack."""

from __future__ import annotations

import logging
import time

from fedcoin.consensus.messages import ReceiveBlock, ReceiveEstimate, ReceiveTask, ReceiveTransaction
from fedcoin.core.block import Block
from fedcoin.core.errors import BlocksOutOfOrder, FedCoinError, StoreUnavailable, UnknownParent
from fedcoin.node.engine import Engine
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.sync")

BLOCKS_A_CALL = 256
MEMPOOL_A_CALL = 1_000
MAX_MOVES = 3
"""How often the peer's chain may be reorganised under us in one visit; the next visit goes on."""


class Sync:
    """Brings this node up to where a peer is."""

    def __init__(self, engine: Engine, store: ChainStore) -> None:
        self._engine = engine
        self._store = store
        # Enough to overtake our own tip from the deepest fork that we would follow.
        self._stretch = max(BLOCKS_A_CALL, engine.posap.chain.params.finality_depth + 2)
        self.raised_at = float("-inf")
        """When a block of a peer last raised our chain: seconds, monotonic."""

    async def catch_up(self, peer: MinerHandler, address: str, *, transactions: bool) -> None:
        """Everything that the peer has: blocks first, since all else hangs on them; waiting `transactions` if asked.

        Raises the error of a peer that cannot be reached, or whose blocks break a rule. What came before is kept.
        """
        moves = 0
        while True:
            try:
                if not await self._blocks(peer, address):
                    break
            except UnknownParent:
                moves += 1
                if moves > MAX_MOVES:
                    raise
        for task in await peer.open_tasks():
            await self._offer(ReceiveTask(task, address))
        for estimate in await peer.estimates(b""):
            await self._offer(ReceiveEstimate(estimate, address))
        if transactions:
            waiting = await peer.mempool(MEMPOOL_A_CALL)
            await self._engine.feed_all([ReceiveTransaction(transaction, address) for transaction in waiting])

    def locator(self) -> list[bytes]:
        """Hashes on our chain: the last ten from the tip downwards, then in doubling steps, the genesis last."""
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
        return hashes if hashes[-1] == chain.chain_id else [*hashes, chain.chain_id]

    async def _blocks(self, peer: MinerHandler, address: str) -> bool:
        """One stretch of blocks. True if there may be more."""
        chain = self._engine.posap.chain
        before = chain.height
        previous: Block | None = None
        count = new = 0
        async for block in peer.blocks_after(self.locator(), self._stretch):
            if chain.height > before:
                self.raised_at = time.monotonic()
            if previous is not None:
                if block.header.previous != previous.id():
                    # A child was promised: without it, blocks that nobody audits could be heaped up here.
                    raise BlocksOutOfOrder(f"{address} hands out blocks that do not follow one another")
                await self._engine.feed(ReceiveBlock(previous, address, more_follows=True))
            previous = block
            count += 1
            new += not chain.tree.contains(block.id())
        more = count >= self._stretch
        if previous is not None:
            await self._engine.feed(ReceiveBlock(previous, address, more_follows=more))
        if new:
            log.info("%d blocks from %s, height %d", new, address, chain.height)
        # A stretch that does not raise us is of no use to us, however many more the peer offers.
        return more and chain.height > before

    async def _offer(self, event: ReceiveTask | ReceiveEstimate) -> None:
        try:
            await self._engine.feed(event)
        except StoreUnavailable:
            raise
        except FedCoinError as error:
            log.debug("%s from %s: %s", type(event).__name__, event.source, error.code)
