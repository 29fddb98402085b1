"""The consensus state machine at work: feeds it, and performs what it answers, one step at a time and in order."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Protocol

from fedcoin.consensus.messages import (
    AdoptChain,
    Effect,
    Input,
    NotProsecuted,
    ReceiveBlock,
    ReceiveEstimate,
    ReceiveTask,
    ReceiveTransaction,
    SendBlock,
    SendEstimate,
    SendTask,
    SendTransaction,
    StartAudit,
    StartRace,
    StartTrial,
    StopRace,
    StoreBlock,
    StoreLeaves,
)
from fedcoin.consensus.posap import PoSap
from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError, NodeBusy, StoreCorrupt, StoreUnavailable
from fedcoin.core.keys import address_of, format_address
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.node.gossip import Gossip
from fedcoin.node.prosecution_log import log_convictions, log_not_prosecuted, log_prosecution
from fedcoin.shapley.distance import distance
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.signed import SignedBlock

log = logging.getLogger("fedcoin.miner")

GROUP = 64
"""Transactions of one step: some 5 ms, during which no call is answered."""

WAITING: dict[type, int] = {ReceiveBlock: 64, ReceiveTask: 64, ReceiveEstimate: 2_000, ReceiveTransaction: 2_000}
"""Inputs of each kind from others that wait for their step at most; a peer's next sync makes up for what is refused."""


class Miner(Protocol):
    """Works on races, audits and trials."""

    def start_race(self, effect: StartRace) -> None: ...
    def stop_race(self) -> None: ...
    def start_audit(self, effect: StartAudit) -> None: ...
    def start_trial(self, effect: StartTrial) -> None: ...


class Engine:
    """Owns the state machine. Everything that changes the chain goes through `feed`."""

    def __init__(self, posap: PoSap, store: ChainStore, gossip: Gossip, now_ms: Callable[[], int]) -> None:
        """To be made where an event loop runs."""
        self.posap = posap
        self._store = store
        self._gossip = gossip
        self._now_ms = now_ms
        self._lock = asyncio.Lock()
        self._waiting: Counter[type] = Counter()
        """Inputs that wait for the lock, by kind."""
        self._new_tip = asyncio.Event()
        self._signed = SignedBlock(store.path)
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
        """Who works on races, audits and trials; it needs the engine, so it comes later."""
        self._miner = miner

    async def feed(self, event: Input) -> None:
        """One step. Raises the FedCoinError of bad input; the chain is then as before.

        A step that has begun is finished, also when the caller is cancelled meanwhile: by its own effects (the race it
        works on is over), or because a peer has hung up. Raises StoreUnavailable once the node stops or has failed, and
        NodeBusy if too many of its kind wait already.
        """
        await self._turn(type(event), 1)
        await self._finished(self._step(event))

    async def feed_all(self, transactions: Sequence[ReceiveTransaction]) -> dict[int, FedCoinError]:
        """Transactions in order, a group of them at a time with one write to the disk. Returns the errors of bad ones,
        by index. Raises StoreUnavailable and NodeBusy as `feed` does.

        Between two groups others get their turn, so a peer's heap of transactions holds up no block.
        """
        errors: dict[int, FedCoinError] = {}
        for start in range(0, len(transactions), GROUP):
            group = transactions[start : start + GROUP]
            await self._turn(ReceiveTransaction, len(group))
            await self._finished(self._step_all(group, start, errors))
        return errors

    async def settled(self) -> None:
        """Returns when no step is half done: what has left the mempool for a block can be found in the store then."""
        async with self._lock:
            return

    async def close(self) -> None:
        """Waits for the step that runs and takes no more; whoever waits for a tip is let go."""
        async with self._lock:
            self._closed = True
        self._announce_tip()

    def tip_event(self) -> asyncio.Event:
        """Is set when the tip changes after this call, or the node stops."""
        return self._new_tip

    async def _turn(self, kind: type, count: int) -> None:
        """Takes the lock, in turn. Raises NodeBusy if too many inputs of a kind wait for theirs already."""
        if self._waiting[kind] >= WAITING.get(kind, math.inf):
            raise NodeBusy
        self._waiting[kind] += count
        try:
            await self._lock.acquire()
        finally:
            self._waiting[kind] -= count

    async def _finished(self, step: Coroutine[None, None, None]) -> None:
        """Runs a step to its end, also when the caller is cancelled meanwhile, and gives the lock back."""
        task = asyncio.create_task(step, name="step")
        task.add_done_callback(lambda _: self._lock.release())
        await asyncio.shield(task)

    async def _step(self, event: Input) -> None:
        await self._perform_all(self._effects(event))

    async def _step_all(self, events: Sequence[Input], first: int, errors: dict[int, FedCoinError]) -> None:
        effects: list[Effect] = []
        try:
            for index, event in enumerate(events, first):
                try:
                    effects += self._effects(event)
                except (StoreUnavailable, StoreCorrupt):
                    raise
                except FedCoinError as error:
                    errors[index] = error
        finally:
            # What was taken in before the store failed is in the state machine, so its effects are due.
            await self._perform_all(effects)

    def _effects(self, event: Input) -> list[Effect]:
        if self._closed or self.failed.done():
            raise StoreUnavailable("the node is stopping")
        try:
            return self.posap.step(event, self._now_ms())
        except (StoreUnavailable, StoreCorrupt) as error:
            self._fail(error)
            raise
        except FedCoinError:
            raise
        except Exception as error:
            # A fault of ours: what the step had changed by then is unknown, and its effects are lost.
            self._fail(error)
            raise

    async def _perform_all(self, effects: Sequence[Effect]) -> None:
        try:
            for relayed, group in itertools.groupby(effects, lambda effect: isinstance(effect, SendTransaction)):
                if relayed:
                    self._relay([effect for effect in group if isinstance(effect, SendTransaction)])
                    continue
                for effect in group:
                    await self._perform(effect)
        except Exception as error:
            # The state machine is ahead of the disk now. To go on would be to announce what a restart forgets.
            self._fail(error)
            raise

    def _relay(self, effects: Sequence[SendTransaction]) -> None:
        """One write for all: writing each would take longer than all the rest that is done for it."""
        self._store.put_pending(*(effect.transaction for effect in effects))
        for effect in effects:
            log_prosecution(effect.transaction, self.posap.key.public_key)
            self._gossip.send_transaction(effect.transaction, effect.skip)

    def _fail(self, error: Exception) -> None:
        log.error("the node cannot go on: %s", error)
        if isinstance(error, StoreCorrupt):
            with suppress(StoreUnavailable):
                self._store.mark_damaged(str(error))
        if not self.failed.done():
            self.failed.set_exception(error)

    def look_for_damage(self) -> None:
        """Fails if a read by whomever has found the database damaged: a restart can repair it, going on cannot."""
        if self._store.damage is not None and not self.failed.done():
            self._fail(self._store.damage)

    def _announce_tip(self) -> None:
        self._new_tip.set()
        self._new_tip = asyncio.Event()

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case AdoptChain():
                await self._adopt(effect)
            case StoreBlock():
                if effect.signed:
                    self._signed.keep(effect.block)  # here and now: nothing may show the block before
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
            case StartRace() if self._miner:
                self._miner.start_race(effect)
            case StopRace() if self._miner:
                self._miner.stop_race()
            case StartAudit() if self._miner:
                self._miner.start_audit(effect)
            case StartTrial() if self._miner:
                self._miner.start_trial(effect)
            case NotProsecuted():
                log_not_prosecuted(effect)

    async def _adopt(self, effect: AdoptChain) -> None:
        # In a thread, because neither a thousand transactions nor waiting for the disk must hold up the loop.
        await asyncio.to_thread(self._store.adopt, effect)
        for block in effect.undone:
            log.warning("undone block %d %s", block.header.height, block.id().hex()[:12])
        for applied in effect.applied:
            _log_block(applied.block, self.posap.chain.params.norm)
            log_convictions(applied)
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
