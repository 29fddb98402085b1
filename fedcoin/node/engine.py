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
from fedcoin.core.errors import StoreUnavailable
from fedcoin.core.keys import address_of, format_address
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import RaceKind
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
        self.posap = posap
        self._store = store
        self._gossip = gossip
        self._now_ms = now_ms
        self._lock = asyncio.Lock()
        self._new_tip = asyncio.Event()
        self._miner: Miner | None = None
        self.failed: asyncio.Future[None] | None = None
        """Ends with the error when the store no longer takes what must be stored; the node must stop then."""

    def attach(self, miner: Miner) -> None:
        """Who works on races and audits; it needs the engine, so it comes later."""
        self._miner = miner
        self.failed = asyncio.get_running_loop().create_future()

    async def feed(self, event: Input) -> None:
        """One step. Raises the FedCoinError of bad input; the chain is then as before."""
        async with self._lock:
            effects = self.posap.step(event, self._now_ms())
            try:
                for effect in effects:
                    await self._perform(effect)
            except StoreUnavailable as error:
                # The state machine is ahead of the disk now. To go on would be to announce what a restart forgets.
                if self.failed is not None and not self.failed.done():
                    self.failed.set_exception(error)
                raise

    async def wait_for_tip(self) -> None:
        """Returns when the tip has changed."""
        await self._new_tip.wait()

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
            _log_block(applied.block)
        self._new_tip.set()
        self._new_tip = asyncio.Event()


def _log_block(block: Block) -> None:
    header = block.header
    measured = distance(
        header.winner_total, header.winner_time, header.averaged_total, header.averaged_time, _norm_of(block)
    )
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


def _norm_of(block: Block) -> int:
    return block.task.norm if block.task is not None and block.header.kind is RaceKind.TASK else 2
