"""Relaying: bounded outboxes for each peer, so that a slow peer holds up nobody and memory stays flat."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError, Unavailable
from fedcoin.core.estimate import Estimate
from fedcoin.core.task import Task
from fedcoin.core.transaction import Transaction
from fedcoin.rpc.handlers import MinerHandler

log = logging.getLogger("fedcoin.gossip")

LIMITS = {"block": 64, "task": 64, "estimate": 2_000, "transaction": 2_000}
"""Messages of each kind waiting for one peer, the urgent kinds first; beyond it the oldest are dropped, and the peer's
next sync makes up for them."""
_LANES: tuple[tuple[str, ...], ...] = (("block", "task", "estimate"), ("transaction",))
"""What is sent one after another. Transactions, of which anybody can send many, never stand before a block."""

Send = Callable[[MinerHandler], Awaitable[object]]


class Outbox:
    """What one peer has not been sent yet. A later message under the same key replaces the earlier one."""

    def __init__(self, client: MinerHandler, address: str, on_failure: Callable[[str], None]) -> None:
        """`on_failure`: told the address when the peer cannot be reached; what waits for it is dropped then."""
        self._client = client
        self._address = address
        self._on_failure = on_failure
        self._waiting: dict[str, OrderedDict[bytes, Send]] = {kind: OrderedDict() for kind in LIMITS}
        self._wake = {kinds: asyncio.Event() for kinds in _LANES}
        self._tasks = [asyncio.create_task(self._run(kinds), name=f"outbox {address}") for kinds in _LANES]

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, kind: str, key: bytes, send: Send) -> None:
        """Queues a message."""
        waiting = self._waiting[kind]
        waiting[key] = send
        while len(waiting) > LIMITS[kind]:
            waiting.popitem(last=False)
        for kinds, wake in self._wake.items():
            if kind in kinds:
                wake.set()

    async def close(self) -> None:
        """Drops what is waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, kinds: tuple[str, ...]) -> None:
        wake = self._wake[kinds]
        while True:
            await wake.wait()
            kind = next((kind for kind in kinds if self._waiting[kind]), None)
            if kind is None:
                wake.clear()
                continue
            _, send = self._waiting[kind].popitem(last=False)
            try:
                await send(self._client)
            except Unavailable:
                for waiting in self._waiting.values():
                    waiting.clear()
                self._on_failure(self._address)
            except FedCoinError as error:
                # The peer may be ahead, behind or on another branch: not an error of ours.
                log.debug("%s did not take our %s: %s", self._address, kind, error.code)
            except Exception:
                log.exception("sending a %s to %s failed", kind, self._address)


class Gossip:
    """Broadcasts to all connected peers but the one that a message came from."""

    def __init__(self) -> None:
        self._outboxes: dict[str, Outbox] = {}
        self.on_failure: Callable[[str], None] = lambda address: None
        """Called with a peer's address when it cannot be reached."""

    def connect(self, address: str, client: MinerHandler) -> None:
        """Starts relaying to a peer."""
        if address not in self._outboxes:
            self._outboxes[address] = Outbox(client, address, self.on_failure)

    async def disconnect(self, address: str) -> None:
        """Stops relaying to a peer."""
        outbox = self._outboxes.pop(address, None)
        if outbox is not None:
            await outbox.close()

    async def close(self) -> None:
        """Stops relaying."""
        for address in list(self._outboxes):
            await self.disconnect(address)

    def send_block(self, block: Block, skip: str | None) -> None:
        """Alg. 1 line 19."""
        self._put("block", block.id(), lambda peer: peer.receive_block(block, None), skip)

    def send_estimate(self, estimate: Estimate, skip: str | None) -> None:
        """Alg. 1 line 13. A later estimate of the same miner replaces one that is still waiting."""
        key = estimate.miner + estimate.race
        self._put("estimate", key, lambda peer: peer.receive_estimate(estimate, None), skip)

    def send_task(self, task: Task, skip: str | None) -> None:
        """A Shapley task."""
        self._put("task", task.signature, lambda peer: peer.publish_task(task, None), skip)

    def send_transaction(self, transaction: Transaction, skip: str | None) -> None:
        """A transaction."""
        self._put("transaction", transaction.signature, lambda peer: peer.submit(transaction, None), skip)

    def _put(self, kind: str, key: bytes, send: Send, skip: str | None) -> None:
        for address, outbox in self._outboxes.items():
            if address != skip:
                outbox.put(kind, key, send)
