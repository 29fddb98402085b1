"""A requester (Alg. 3): offers an order, deposits V, follows the order to its end, fetches the model and its bill."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from fedcoin.core.block import Block
from fedcoin.core.errors import (
    BlobMismatch,
    BlobNotWanted,
    ChainMoved,
    ConfigInvalid,
    FedCoinError,
    NotFound,
    UnknownOrder,
)
from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import Order, PaymentKind, Transaction, sign_transaction
from fedcoin.node.auth import ModelRequest, sign_model_request
from fedcoin.node.bill import Bill, make_bill
from fedcoin.node.chain_view import ChainView, is_unreachable
from fedcoin.rpc.handlers import ServerHandler
from fedcoin.rpc.views import OrderInfo, OrderPhase, OrderProgress, OrderState, TransactionState

log = logging.getLogger("fedcoin.requester")

QUIET_MS = 3_000
"""Two blocks of one height may tie for about two seconds; by then the chain stands by one of them."""


@dataclass(frozen=True)
class OfferAccepted:
    """The server would run the order, and has its evaluation set."""

    order: Order


@dataclass(frozen=True)
class DepositSent:
    """The signed ORDER transaction is with a miner. Its id is the order's."""

    transaction: Transaction
    order_id: bytes


@dataclass(frozen=True)
class DepositConfirmed:
    """V is in the order's escrow."""

    info: OrderInfo


@dataclass(frozen=True)
class ServerProgress:
    """The server's word on how far it is."""

    progress: OrderProgress


@dataclass(frozen=True)
class RoundsSettled:
    """The chain has settled this many rounds."""

    info: OrderInfo


@dataclass(frozen=True)
class OrderEnded:
    """The chain has settled all rounds, or refunded what was left; and the server, if it finished, has the model."""

    info: OrderInfo


OrderEvent = OfferAccepted | DepositSent | DepositConfirmed | ServerProgress | RoundsSettled | OrderEnded


class Requester:
    """Acts for one account that pays for models."""

    def __init__(
        self, key: PrivateKey, chain: ChainView, server: ServerHandler, now_ms: Callable[[], int], poll_ms: int = 500
    ) -> None:
        """`poll_ms`: pause between two looks at chain and server while an order is followed."""
        self._key = key
        self._chain = chain
        self._server = server
        self._now_ms = now_ms
        self._poll_seconds = poll_ms / 1000

    async def place_order(
        self, order: Order, evaluation_set: bytes, fee: int, confirmations: int = 1
    ) -> AsyncIterator[OrderEvent]:
        """Offer, upload, deposit, then `follow`. If the server refuses, nothing has been paid.

        Raises OrderRefused, ConfigInvalid (a set that is not the order's), the ledger's errors, NoMinerReachable.
        """
        await self.offer(order, evaluation_set)
        yield OfferAccepted(order)
        transaction = await self.deposit(order, fee)
        order_id = transaction.id(self._chain.chain_id)
        yield DepositSent(transaction, order_id)
        async for event in self.follow(order_id, confirmations):
            yield event

    async def offer(self, order: Order, evaluation_set: bytes) -> None:
        """Ask the server, and hand it the evaluation set. Raises as place_order."""
        if hashlib.sha256(evaluation_set).digest() != order.evaluation_set:
            raise ConfigInvalid("the order names another evaluation set than the one given")
        info = await self._server.info()
        if info.chain_id != self._chain.chain_id or info.address != order.server:
            raise ConfigInvalid("the FL server that answers is not the one that the order names, or of another chain")
        await self._server.offer_order(order)
        await self._server.put_blob(order.evaluation_set, evaluation_set)

    async def deposit(self, order: Order, fee: int) -> Transaction:
        """Sign the ORDER transaction and hand it to a miner. Raises the ledger's errors, NoMinerReachable."""
        account = await self._chain.account(self._key.address)
        transaction = sign_transaction(self._key, self._chain.chain_id, account.pending_nonce, fee, order)
        await self._chain.submit(transaction)
        return transaction

    async def follow(self, order_id: bytes, confirmations: int = 1) -> AsyncIterator[OrderEvent]:
        """What happens to an order from its deposit to its end. Miners and servers that are away are waited for."""
        confirmed = False
        settled = -1
        shown: OrderProgress | None = None
        while True:
            info = await self._order(order_id)
            progress = await self._progress(order_id)
            if progress is not None and progress != shown:
                shown = progress
                yield ServerProgress(progress)
            if info is not None and not confirmed and info.confirmations >= confirmations:
                confirmed = True
                yield DepositConfirmed(info)
            if info is not None and confirmed and info.rounds_settled != settled:
                if settled >= 0 or info.rounds_settled:
                    yield RoundsSettled(info)
                settled = info.rounds_settled
            if info is not None and self._has_ended(info, shown):
                yield OrderEnded(info)
                return
            await asyncio.sleep(self._poll_seconds)

    async def fetch_model(self, order_id: bytes) -> bytes:
        """The final model, as safetensors. Raises ModelNotReady, NotTheRequester, BlobMismatch."""
        now = self._now_ms()
        signature = sign_model_request(self._key, self._chain.chain_id, ModelRequest(order_id, now))
        data = await self._server.final_model(order_id, self._key.public_key, now, signature)
        reports = (await self._server.order_progress(order_id)).reports
        if reports and reports[-1].model and hashlib.sha256(data).digest() != reports[-1].model:
            raise BlobMismatch("the model that arrived is not the one that the server reported")
        return data

    async def bill(self, order_id: bytes) -> Bill:
        """What the order has cost so far, from the chain's blocks. Raises OrderNotFound, BillInconsistent."""
        return await fetch_bill(self._chain, order_id)

    async def final_bill(self, order_id: bytes, quiet_ms: int = QUIET_MS) -> Bill:
        """The bill, once the chain has stood by it for `quiet_ms`. Raises OrderNotFound, BillInconsistent."""
        bill: Bill | None = None
        while True:
            with suppress(ChainMoved):
                again = await self.bill(order_id)
                if again == bill:
                    return again
                bill = again
            await asyncio.sleep(quiet_ms / 1000)

    async def upload_again(self, order: Order, evaluation_set: bytes) -> None:
        """For a server that lost the evaluation set, or was not there when it was offered."""
        with suppress(BlobNotWanted):
            await self._server.put_blob(order.evaluation_set, evaluation_set)

    async def _order(self, order_id: bytes) -> OrderInfo | None:
        try:
            return await self._chain.order(order_id)
        except NotFound:
            return None  # not confirmed yet
        except (FedCoinError, OSError, TimeoutError) as error:
            if not is_unreachable(error):
                raise
            log.warning("%s", error)
            return None

    async def _progress(self, order_id: bytes) -> OrderProgress | None:
        try:
            return await self._server.order_progress(order_id)
        except UnknownOrder:
            return None
        except (FedCoinError, OSError, TimeoutError) as error:
            if not is_unreachable(error):
                raise
            log.warning("%s", error)
            return None

    @staticmethod
    def _has_ended(info: OrderInfo, progress: OrderProgress | None) -> bool:
        if info.state is OrderState.REFUNDED:
            return True
        return info.state is OrderState.FINISHED and progress is not None and progress.phase is OrderPhase.FINISHED


async def fetch_bill(chain: ChainView, order_id: bytes) -> Bill:
    """The bill of any order, for anybody. Raises OrderNotFound, BillInconsistent, ChainMoved."""
    info = await chain.order(order_id)
    blocks: list[Block] = []
    previous: bytes | None = None
    tip = (await chain.status()).height
    for height in range(info.confirmed_height, tip + 1):
        block = await chain.block(height=height)
        if previous is not None and block.header.previous != previous:
            raise ChainMoved  # a bill must not mix two branches
        previous = block.id()
        own = [payment for payment in block.payments if payment.order == order_id]
        if own:
            blocks.append(block)
        refunded = any(payment.kind is PaymentKind.REFUND for payment in own)
        settled = block.task.round + 1 if block.task is not None and block.task.order == order_id else 0
        if refunded or settled == info.order.rounds:
            break
    return make_bill(order_id, info.order, info.requester, blocks, chain.chain_id)


async def wait_for_transaction(chain: ChainView, transaction_id: bytes, confirmations: int, poll_ms: int = 500) -> None:
    """Returns when a transaction has that many confirmations."""
    while True:
        with suppress(NotFound):
            info = await chain.transaction(transaction_id)
            if info.state is TransactionState.CONFIRMED and info.confirmations >= confirmations:
                return
        await asyncio.sleep(poll_ms / 1000)
