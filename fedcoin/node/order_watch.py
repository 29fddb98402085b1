"""The orders that name an FL server, as the chain confirms, settles, refunds, and takes back.

Reads only: what to do about it is decided in `fedcoin.node.server`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from fedcoin.core.errors import ChainMoved, FedCoinError, NotFound, OrderNotFound
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import Order
from fedcoin.node.chain_view import BlockSeen, ChainFollower, ChainView
from fedcoin.node.config import ServerSettings
from fedcoin.node.learning_jobs import describe_model
from fedcoin.node.orders_book import OrdersBook, ServedOrder
from fedcoin.node.rounds import Round
from fedcoin.node.worker import Worker
from fedcoin.rpc.views import OrderInfo, OrderPhase, OrderState

log = logging.getLogger("fedcoin.server")


class OrderWatch:
    """Keeps the book in step with the chain."""

    def __init__(
        self,
        address: bytes,
        chain: ChainView,
        book: OrdersBook,
        worker: Worker,
        settings: ServerSettings,
        now_ms: Callable[[], int],
        notify: Callable[[], None],
    ) -> None:
        """`address`: the server's. `notify` is called when an order has changed."""
        self.infos: dict[bytes, OrderInfo] = {}
        """Each order as the chain last said."""
        self.follower = ChainFollower(chain)
        self._address = address
        self._chain = chain
        self._book = book
        self._worker = worker
        self._settings = settings
        self._now_ms = now_ms
        self._notify = notify
        self._read_at: dict[bytes, bytes] = {}

    async def follow(self) -> None:
        """Take in what the chain has done since the last call."""
        if self.follower.height < 0:
            await self._catch_up()
        try:
            seen = await self.follower.advance()
        except ChainMoved:
            await self._catch_up()
            return
        try:
            for item in seen:
                await self._see(item)
        except BaseException:
            self.follower.forget()  # rather look at every order again than miss one
            raise

    async def _catch_up(self) -> None:
        """At the start: every order of the chain that names us."""
        await self.follower.start()
        async for info in self._chain.orders():
            if info.order.server == self._address:
                await self._take(info)

    async def _see(self, seen: BlockSeen) -> None:
        block = seen.block
        for transaction in block.transactions if seen.applied else ():
            body = transaction.body
            if isinstance(body, Order) and body.server == self._address:
                try:
                    await self._take(await self._chain.order(transaction.id(self._chain.chain_id)))
                except OrderNotFound:
                    continue  # the block has been undone meanwhile
        if block.header.kind is RaceKind.TASK and block.task is not None:
            async with self._book.lock:
                round_ = self._book.round(block.task.order, block.task.round)
                if round_ is not None and seen.applied:
                    height = block.header.height
                    await self._book.save_round(replace(round_, settled_block=block.id(), settled_height=height))
                elif round_ is not None and round_.settled_block == block.id():
                    await self._book.save_round(replace(round_, settled_block=b"", settled_height=0))
            served = self._book.orders.get(block.task.order)
            if served is not None and served.phase is OrderPhase.FINISHED and not seen.applied:
                await self.note(served, OrderPhase.MINING, "a settlement was undone by a reorganisation")

    async def _take(self, info: OrderInfo) -> None:
        """Enter an order that the chain knows."""
        self.infos[info.order_id] = info
        known = self._book.orders.get(info.order_id)
        if known is not None:
            if known.phase is OrderPhase.FINISHED and info.state is OrderState.OPEN:
                await self.note(known, OrderPhase.MINING, "a settlement was undone by a reorganisation")
            return
        if info.state is not OrderState.OPEN:
            return  # it ended without us, before this data folder began
        phase, message, size = OrderPhase.WAITING, "", 0
        try:
            size = (await self._worker.run(describe_model, info.order.model)).max_update_bytes
        except FedCoinError as error:
            if error.status == "UNAVAILABLE":
                raise
            phase, message = OrderPhase.FAILED, f"the model is refused: {error}"
        served = ServedOrder(
            info.order_id, info.order, info.requester, info.confirmed_height, size, phase, message, self._now_ms()
        )
        async with self._book.lock:
            await self._book.save_order(served if served.ended else replace(served, ended_at=0))
        log.info("order %s: %d rounds for %d units", info.order_id.hex()[:16], info.order.rounds, info.order.amount)
        self._notify()

    async def refresh(self, served: ServedOrder) -> None:
        """Where the chain is with an order that has not ended; ends it if the chain has."""
        known = self.infos.get(served.order_id)
        if known is None or self._read_at.get(served.order_id) != self.follower.tip:
            known = await self._read(served)
        if known is None:
            return
        info = known
        if info.state is OrderState.REFUNDED:
            await self.note(served, OrderPhase.FAILED, "it expired; the chain has refunded the rounds not settled")
        elif info.state is OrderState.FINISHED:
            if await self.settled_for_good(info, info.order.rounds - 1):
                await self.note(served, OrderPhase.FINISHED, "")
            else:
                await self.note(served, OrderPhase.MINING, "the last settlement waits for confirmations")
        elif self._now_ms() > info.order.expiry + self._settings.expiry_grace_ms:
            await self.note(served, OrderPhase.FAILED, "it has expired; the chain refunds the rounds not settled")

    async def _read(self, served: ServedOrder) -> OrderInfo | None:
        try:
            info = await self._chain.order(served.order_id)
        except NotFound:
            # Its block was undone. The same transaction usually comes back with another block.
            self.infos.pop(served.order_id, None)
            await self.note(served, OrderPhase.WAITING, "the deposit is not on the chain any more")
            return None
        self.infos[served.order_id] = info
        self._read_at[served.order_id] = self.follower.tip
        return info

    async def settled_for_good(self, info: OrderInfo, number: int) -> bool:
        """Whether the block that settled a round has the confirmations that we want."""
        round_ = self._book.round(info.order_id, number)
        if round_ is None or not await self._is_adopted(round_):
            block = await self._chain.find_settlement(info.order_id, number, info.confirmed_height)
            if block is None:
                return False
            height = block.header.height
            if round_ is not None:
                async with self._book.lock:
                    await self._book.save_round(replace(round_, settled_block=block.id(), settled_height=height))
        else:
            height = round_.settled_height
        return self.follower.height - height + 1 >= self._settings.confirmations

    async def _is_adopted(self, round_: Round) -> bool:
        """Whether the block that settled the round, as far as we know, is on the chain."""
        if not round_.settled_block:
            return False
        try:
            return (await self._chain.block(height=round_.settled_height)).id() == round_.settled_block
        except NotFound:
            return False

    async def note(self, served: ServedOrder, phase: OrderPhase, message: str) -> None:
        """Keep and show where an order is, if that is new."""
        async with self._book.lock:
            current = self._book.orders[served.order_id]
            if (current.phase, current.message) == (phase, message):
                return
            changed = replace(current, phase=phase, message=message)
            if changed.ended and not current.ended:
                changed = replace(changed, ended_at=self._now_ms())
                log.info("order %s: %s %s", served.order_id.hex()[:16], phase.name.lower(), message)
            await self._book.save_order(changed)
        self._notify()
