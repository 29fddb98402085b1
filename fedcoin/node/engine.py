"""The consensus state machine at work: feeds it, and performs what it answers, one step at a time and in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from fedcoin.consensus.messages import (
    AdoptChain,
    Effect,
    Input,
    SendBlock,
    SendEstimate,
    SendTask,
    SendTransaction,
    StartAudit,
    StartRace,
    StopRace,
    StoreBlock,
    StoreLeaves,
)
from fedcoin.consensus.posap import PoSap
from fedcoin.core.block import Block
from fedcoin.core.errors import StoreCorrupt, StoreUnavailable
from fedcoin.core.keys import address_of, format_address
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.node.gossip import Gossip
from fedcoin.shapley.distance import distance
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.miner")


class Miner(Protocol):
    """Works on races and audits."""

    def start_race(self, effect: StartRace) -> None: ...
    def stop_race(self) -> None: ...
    def start_audit(self, effect: StartAudit) -> None: ...


class Engine:
    """Owns the state machine. Everything that changes the chain goes through `feed`."""

    def __init__(self, posap: PoSap, store: ChainStore, gossip: Gossip, now_ms: Callable[[], int]) -> None:
        """To be made where an event loop runs."""
        self.posap = posap
        self._store = store
        self._gossip = gossip
        self._now_ms = now_ms
        self._lock = asyncio.Lock()
        self._new_tip = asyncio.Event()
        self._miner: Miner | None = None
        self._closed = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Ends with the error when the state machine and the disk no longer agree; the node must stop then."""
        self.failed.add_done_callback(lambda future: future.cancelled() or future.exception())  # never "not retrieved"

    @property
    def closed(self) -> bool:
        """Whether the node is stopping."""
        return self._closed

    def attach(self, miner: Miner) -> None:
        """Who works on races and audits; it needs the engine, so it comes later."""
        self._miner = miner

    async def feed(self, event: Input) -> None:
        """One step. Raises the FedCoinError of bad input; the chain is then as before.

        A step that has begun is finished, also when the caller is cancelled meanwhile: by its own effects (the race it
        works on is over), or because a peer has hung up. Raises StoreUnavailable once the node stops or has failed.
        """
        await self._lock.acquire()
        step = asyncio.create_task(self._step(event), name="step")
        step.add_done_callback(lambda _: self._lock.release())
        await asyncio.shield(step)

    async def close(self) -> None:
        """Waits for the step that runs and takes no more; whoever waits for a tip is let go."""
        async with self._lock:
            self._closed = True
        self._announce_tip()

    def tip_event(self) -> asyncio.Event:
        """Is set when the tip changes after this call, or the node stops."""
        return self._new_tip

    async def _step(self, event: Input) -> None:
        if self._closed or self.failed.done():
            raise StoreUnavailable("the node is stopping")
        try:
            effects = self.posap.step(event, self._now_ms())
        except (StoreUnavailable, StoreCorrupt) as error:
            self._fail(error)
            raise
        try:
            for effect in effects:
                await self._perform(effect)
        except Exception as error:
            # The state machine is ahead of the disk now. To go on would be to announce what a restart forgets.
            self._fail(error)
            raise

    def _fail(self, error: Exception) -> None:
        log.error("the node cannot go on: %s", error)
        if not self.failed.done():
            self.failed.set_exception(error)

    def _announce_tip(self) -> None:
        self._new_tip.set()
        self._new_tip = asyncio.Event()

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case AdoptChain():
                await self._adopt(effect)
            case StoreBlock():
                self._store.put_block(effect.block)
            case StoreLeaves():
                self._store.put_leaves(effect.race, effect.start, effect.leaves)
            case SendBlock():
                self._gossip.send_block(effect.block, effect.skip)
            case SendEstimate():
                self._gossip.send_estimate(effect.estimate, effect.skip)
            case SendTask():
                self._store.put_task(effect.task)
                self._gossip.send_task(effect.task, effect.skip)
            case SendTransaction():
                self._store.put_pending(effect.transaction)
                self._gossip.send_transaction(effect.transaction, effect.skip)
            case StartRace() if self._miner:
                self._miner.start_race(effect)
            case StopRace() if self._miner:
                self._miner.stop_race()
            case StartAudit() if self._miner:
                self._miner.start_audit(effect)

    async def _adopt(self, effect: AdoptChain) -> None:
        self._store.write_adoption(effect)
        # In a thread, because waiting for the disk must not hold up the loop.
        await asyncio.to_thread(self._store.sync)
        for block in effect.undone:
            log.warning("undone block %d %s", block.header.height, block.id().hex()[:12])
        for applied in effect.applied:
            _log_block(applied.block, self.posap.chain.params.norm)
        self._announce_tip()


def _log_block(block: Block, norm: int) -> None:
    header = block.header
    measured = distance(header.winner_total, header.winner_time, header.averaged_total, header.averaged_time, norm)
    log.info(
        "block %d %s %s winner=%s iterations=%d distance=%.5f D=%.5f transactions=%d payments=%d",
        header.height,
        header.kind.name,
        block.id().hex()[:12],
        format_address(address_of(header.winner)),
        header.winner_time,
        measured,
        header.difficulty / UTILITY_SCALE,
        len(block.transactions),
        len(block.payments),
    )
