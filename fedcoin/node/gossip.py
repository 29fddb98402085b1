"""Relaying: bounded outboxes for each peer, so that a slow peer holds up nobody and memory stays flat."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError, NodeBusy, RateLimited, TimestampInFuture, Unavailable
from fedcoin.core.estimate import Estimate
from fedcoin.core.task import Task
from fedcoin.core.transaction import TRANSACTION, Transaction
from fedcoin.rpc.handlers import MinerHandler

log = logging.getLogger("fedcoin.gossip")

LIMITS = {"block": 64, "task": 64, "estimate": 2_000, "transaction": 2_000}
"""Messages of each kind waiting for one peer, the urgent kinds first; beyond it the oldest are dropped, and the peer's
next sync makes up for them."""
_URGENT = ("block", "task", "estimate")
"""What is sent one after another. Transactions, of which anybody can send many, have a lane of their own."""
GATHER_SECONDS = 0.1
"""How long transactions are gathered for one message. A call for each would cost more than all else that is done for
it."""
RELAYED = 256
"""Transactions of one message at most, as `fedcoin.rpc.limits` has it."""
RELAYED_BYTES = 2**19
"""And their canonical encodings: half of what a peer takes, which leaves room for protobuf's own."""
PAUSE_SECONDS = 1.0
"""After a peer has said that it takes no more for now."""

Send = Callable[[MinerHandler], Awaitable[object]]


class Outbox:
    """What one peer has not been sent yet. A later message under the same key replaces the earlier one."""

    def __init__(self, client: MinerHandler, address: str, on_failure: Callable[[str], None]) -> None:
        """`on_failure`: told the address when the peer cannot be reached; what waits for it is dropped then."""
        self._client = client
        self._address = address
        self._on_failure = on_failure
        self._waiting: dict[str, OrderedDict[bytes, Send]] = {kind: OrderedDict() for kind in _URGENT}
        self._transactions: OrderedDict[bytes, Transaction] = OrderedDict()
        self._wake, self._wake_transactions = asyncio.Event(), asyncio.Event()
        lanes = (self._run(), self._run_transactions())
        self._tasks = [asyncio.create_task(lane, name=f"outbox {address}") for lane in lanes]

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) + len(self._transactions)

    def put(self, kind: str, key: bytes, send: Send) -> None:
        """Queues a block, task or estimate."""
        waiting = self._waiting[kind]
        waiting[key] = send
        while len(waiting) > LIMITS[kind]:
            waiting.popitem(last=False)
        self._wake.set()

    def put_transaction(self, transaction: Transaction) -> None:
        """Queues a transaction."""
        self._transactions[transaction.signature] = transaction
        while len(self._transactions) > LIMITS["transaction"]:
            self._transactions.popitem(last=False)
        self._wake_transactions.set()

    async def close(self) -> None:
        """Drops what is waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            kind = next((kind for kind in _URGENT if self._waiting[kind]), None)
            if kind is None:
                self._wake.clear()
                continue
            _, send = self._waiting[kind].popitem(last=False)
            await self._send(kind, send)

    async def _run_transactions(self) -> None:
        while True:
            await self._wake_transactions.wait()
            if len(self._transactions) < RELAYED:
                await asyncio.sleep(GATHER_SECONDS)
            batch = self._next_transactions()
            if not batch:
                self._wake_transactions.clear()
            elif not await self._send("transaction", partial(_relay, batch)):
                # They come first again, unless so many have come since that they would be the first to go.
                room = LIMITS["transaction"] - len(self._transactions)
                for transaction in batch[::-1][: max(0, room)]:
                    self._transactions[transaction.signature] = transaction
                    self._transactions.move_to_end(transaction.signature, last=False)
                await asyncio.sleep(PAUSE_SECONDS)

    def _next_transactions(self) -> list[Transaction]:
        batch: list[Transaction] = []
        size = 0
        while self._transactions and len(batch) < RELAYED:
            size += len(TRANSACTION.encode(next(iter(self._transactions.values()))))
            if batch and size > RELAYED_BYTES:
                break
            batch.append(self._transactions.popitem(last=False)[1])
        return batch

    async def _send(self, kind: str, send: Send) -> bool:
        """False if the peer takes no more for now."""
        try:
            await send(self._client)
        except (RateLimited, NodeBusy):
            return False
        except Unavailable:
            for waiting in self._waiting.values():
                waiting.clear()
            self._transactions.clear()
            self._on_failure(self._address)
        except FedCoinError as error:
            # The peer may be ahead, behind or on another branch: not an error of ours. A clock that is off may be ours.
            level = logging.WARNING if isinstance(error, TimestampInFuture) else logging.DEBUG
            log.log(level, "%s did not take our %s: [%s] %s", self._address, kind, error.code, error)
        except Exception:
            log.exception("sending a %s to %s failed", kind, self._address)
        return True


async def _relay(batch: Sequence[Transaction], peer: MinerHandler) -> None:
    await peer.receive_transactions(batch, None)


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
        for address, outbox in self._outboxes.items():
            if address != skip:
                outbox.put_transaction(transaction)

    def _put(self, kind: str, key: bytes, send: Send, skip: str | None) -> None:
        for address, outbox in self._outboxes.items():
            if address != skip:
                outbox.put(kind, key, send)
