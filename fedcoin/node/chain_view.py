"""The chain as servers, clients and requesters see it: through one or more miners, with failover.

Whoever has no chain of its own trusts what a miner says about balances and orders; a second miner is for when the first
does not answer. A miner on another chain is never asked.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fedcoin.core.block import Block
from fedcoin.core.errors import ChainMoved, FedCoinError, NoMinerReachable, NotFound, WrongGenesis
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import Transaction
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.views import (
    AccountInfo,
    HistoryEntry,
    NodeStatus,
    OrderInfo,
    TaskTerms,
    TransactionInfo,
    TransactionState,
)

log = logging.getLogger("fedcoin.chain")

T = TypeVar("T")

_PAGE = 100
_TRY_ANOTHER = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})


def is_unreachable(error: BaseException) -> bool:
    """Whether another miner, or another time, may do better."""
    if isinstance(error, FedCoinError):
        return error.status in _TRY_ANOTHER
    return isinstance(error, OSError | TimeoutError)


class ChainView:
    """Asks the current miner; if it does not answer, the next one."""

    def __init__(self, miners: Sequence[MinerHandler], chain_id: bytes) -> None:
        """`miners`: RPC clients, or handlers in this process; the preferred first."""
        self.miners = tuple(miners)
        self.chain_id = chain_id
        self._current = 0
        self._checked: set[int] = set()

    def connect(self, miners: Sequence[MinerHandler]) -> None:
        """Ask these from now on: a node knows its own address, which miners are told, only once it listens."""
        self.miners = tuple(miners)
        self._current = 0
        self._checked.clear()

    async def call(self, ask: Callable[[MinerHandler], Awaitable[T]]) -> T:
        """The answer of the first miner that gives one. Raises its FedCoinError, or NoMinerReachable."""
        failures: list[str] = []
        for _ in self.miners:
            index = self._current
            try:
                await self._check(index)
                return await ask(self.miners[index])
            except (FedCoinError, OSError, TimeoutError) as error:
                if not is_unreachable(error) and not isinstance(error, WrongGenesis):
                    raise
                failures.append(f"miner {index + 1}: {error}")
                self._checked.discard(index)
                if self._current == index:
                    self._current = (index + 1) % len(self.miners)
        raise NoMinerReachable("no miner answers: " + "; ".join(failures))

    async def _check(self, index: int) -> None:
        """Raises WrongGenesis unless the miner runs our chain; asked once per connection."""
        if index in self._checked:
            return
        status = await self.miners[index].status()
        if status.chain_id != self.chain_id:
            raise WrongGenesis(
                f"it runs chain {status.chain_id.hex()[:16]}…, ours is {self.chain_id.hex()[:16]}…: "
                "give all nodes the same genesis file"
            )
        self._checked.add(index)

    async def status(self) -> NodeStatus:
        """Of the miner that is asked."""
        return await self.call(lambda miner: miner.status())

    async def block(self, block_hash: bytes | None = None, height: int | None = None) -> Block:
        """As MinerHandler.block."""
        return await self.call(lambda miner: miner.block(block_hash, height))

    async def order(self, order_id: bytes) -> OrderInfo:
        """Raises OrderNotFound."""
        return await self.call(lambda miner: miner.order(order_id))

    async def account(self, address: bytes) -> AccountInfo:
        """Balance and nonces."""
        return await self.call(lambda miner: miner.account(address))

    async def transaction(self, transaction_id: bytes) -> TransactionInfo:
        """Where a transaction stands."""
        return await self.call(lambda miner: miner.transaction(transaction_id))

    async def history(self, address: bytes, before: tuple[int, int] | None, limit: int) -> Sequence[HistoryEntry]:
        """As MinerHandler.history."""
        return await self.call(lambda miner: miner.history(address, before, limit))

    async def orders(self) -> AsyncIterator[OrderInfo]:
        """All orders of the chain, page by page."""
        after = b""
        while True:
            start = after
            page = await self.call(lambda miner, start=start: miner.orders(start, _PAGE))  # type: ignore[misc]
            for info in page:
                yield info
            if not page:
                return
            after = page[-1].order_id

    async def submit(self, transaction: Transaction) -> bytes:
        """Hands a signed transaction in; once more after a failure changes nothing. Returns its id."""
        transaction_id = transaction.id(self.chain_id)

        async def ask(miner: MinerHandler) -> bytes:
            try:
                known = await miner.transaction(transaction_id)
            except NotFound:
                return await miner.submit(transaction, None)
            if known.state is TransactionState.UNKNOWN:
                return await miner.submit(transaction, None)
            return transaction_id

        return await self.call(ask)

    async def anchor(self, order_id: bytes) -> tuple[TaskTerms, OrderInfo]:
        """What a task needs of the tip, and the order as of the same tip of the same miner. Raises ChainMoved."""

        async def ask(miner: MinerHandler) -> tuple[TaskTerms, OrderInfo]:
            terms = await miner.task_terms()
            info = await miner.order(order_id)
            if (await miner.task_terms()).tip != terms.tip:
                raise ChainMoved
            return terms, info

        return await self.call(ask)

    async def find_settlement(self, order_id: bytes, round_: int, lowest: int) -> Block | None:
        """The adopted block that settles a round, looked for from the tip down to height `lowest`."""
        height = (await self.status()).height
        for at in range(height, lowest - 1, -1):
            block = await self.block(height=at)
            if block.header.kind is RaceKind.TASK and block.task and block.task.order == order_id:
                if block.task.round == round_:
                    return block
                if block.task.round < round_:
                    return None
        return None


@dataclass(frozen=True)
class BlockSeen:
    """A block that joined the adopted chain, or left it."""

    block: Block
    applied: bool
    """False: undone by a reorganisation."""


class ChainFollower:
    """Reads the adopted chain block by block, and notices when blocks leave it."""

    def __init__(self, chain: ChainView, keep: int = 1000) -> None:
        self._chain = chain
        self._known: deque[tuple[int, bytes, Block | None]] = deque(maxlen=keep)

    @property
    def height(self) -> int:
        """Of the last block that was reported; -1 before the start."""
        return self._known[-1][0] if self._known else -1

    @property
    def tip(self) -> bytes:
        """Its hash; empty before the start."""
        return self._known[-1][1] if self._known else b""

    async def start(self) -> None:
        """Begin after the present tip."""
        status = await self._chain.status()
        self._known.clear()
        self._known.append((status.height, status.tip, None))

    def forget(self) -> None:
        """As before the start."""
        self._known.clear()

    async def advance(self) -> list[BlockSeen]:
        """What has changed since the last call, oldest first; empty if nothing has.

        Raises ChainMoved if the chain changed below everything that is remembered: then start anew.
        """
        status = await self._chain.status()
        if status.tip == self.tip:
            return []
        seen: list[BlockSeen] = []
        while self._known:
            height, block_hash, block = self._known[-1]
            if height <= status.height and await self._hash_at(height) == block_hash:
                break
            self._known.pop()
            if block is not None:
                seen.append(BlockSeen(block, False))
        if not self._known:
            raise ChainMoved("the chain was reorganised below what this node remembers")
        while self.height < status.height:
            try:
                block = await self._chain.block(height=self.height + 1)
            except NotFound:
                break  # reorganised meanwhile: the next call sees it
            if block.header.previous != self.tip:
                break
            self._known.append((block.header.height, block.id(), block))
            seen.append(BlockSeen(block, True))
        return seen

    async def _hash_at(self, height: int) -> bytes:
        if height == 0:
            return self._chain.chain_id
        try:
            return (await self._chain.block(height=height)).id()
        except NotFound:
            return b""
