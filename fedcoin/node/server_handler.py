"""What an FL server answers: requesters (offers, progress, the final model), clients (joining, rounds, updates), blobs.

Everything that arrives is hostile until checked: cheap rules first, then sizes, signatures, and the content last.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from fedcoin.core.errors import (
    BlobMismatch,
    BlobNotFound,
    BlobNotWanted,
    BlobTooLarge,
    LimitExceeded,
    ModelNotReady,
    NotTheRequester,
    OrderRefused,
    RoundNotOpen,
    UnknownOrder,
    UpdateDigestWrong,
    UpdateTooLarge,
)
from fedcoin.core.keys import address_of, format_address, verify_signature
from fedcoin.core.params import UTILITY_SCALE, ChainParams
from fedcoin.core.task import UpdateCommitment
from fedcoin.core.transaction import Order
from fedcoin.ledger.prices import round_prices
from fedcoin.ledger.transactions import verify_order_terms
from fedcoin.node.auth import JoinRequest, ModelRequest, verify_join, verify_model_request
from fedcoin.node.learning_jobs import check_update, describe_model
from fedcoin.node.orders_book import ServedOrder, waiting_orders
from fedcoin.node.rounds import Round, RoundPhase, Submission, check_hand_in, hand_in
from fedcoin.node.server import ServerNode
from fedcoin.rpc.views import (
    NodeStatus,
    OrderPhase,
    OrderProgress,
    RoundOffer,
    RoundReport,
    ServerInfo,
)

MAX_POLL_SECONDS = 30.0
_CHECKS_AT_ONCE = 8
_WATCH_SECONDS = 15.0


class ServerRequests:
    """Implements rpc.handlers.ServerHandler."""

    def __init__(self, node: ServerNode, params: ChainParams, version: str) -> None:
        self._node = node
        self._params = params
        self._version = version
        self._checks = asyncio.Semaphore(_CHECKS_AT_ONCE)
        self._reports: dict[tuple[bytes, int], tuple[Round, RoundReport]] = {}

    # --- everyone ----------------------------------------------------------------------------------------------------

    async def status(self) -> NodeStatus:
        """Who we are, and which tip we know."""
        node = self._node
        return NodeStatus(
            role="server",
            version=self._version,
            chain_id=node.chain.chain_id,
            public_key=node.key.public_key,
            tip=node.watch.follower.tip,
            height=max(0, node.watch.follower.height),
            state_root=b"",
            peers=len(node.chain.miners),
            started_at=node.started_at,
            syncing=node.watch.follower.height < 0,
            network=self._params.name,
        )

    async def info(self) -> ServerInfo:
        """What requesters and clients should know."""
        node = self._node
        return ServerInfo(
            address=node.key.address,
            public_key=node.key.public_key,
            chain_id=node.chain.chain_id,
            clients=len(node.clients.present(node.now_ms())),
            open_orders=len(waiting_orders(node.book.orders.values())),
            max_rounds=node.settings.max_rounds,
            settings=node.settings.training,
        )

    async def blob_size(self, digest: bytes) -> int | None:
        """Of a blob that may be had."""
        return self._node.book.blob_size(digest) if digest in self._node.book.public else None

    async def get_blob(self, digest: bytes) -> bytes:
        """Starting models, and what published tasks name. Raises BlobNotFound."""
        data = self._node.book.blob(digest) if digest in self._node.book.public else None
        if data is None:
            raise BlobNotFound(f"no blob {digest.hex()} is to be had here")
        return data

    async def blob_part(self, digest: bytes, start: int) -> bytes:
        """Raises BlobNotFound."""
        data = self._node.book.blob_part(digest, start) if digest in self._node.book.public else b""
        if not data:
            raise BlobNotFound(f"no blob {digest.hex()} is to be had here")
        return data

    async def max_blob_bytes(self) -> int:
        """Of an evaluation set."""
        return self._params.max_blob_bytes

    # --- requesters --------------------------------------------------------------------------------------------------

    async def offer_order(self, order: Order) -> None:
        """Would we run it? Its evaluation set is then waited for. Raises OrderRefused and the ledger's errors."""
        node, settings = self._node, self._node.settings
        if order.server != node.key.address:
            raise OrderRefused(f"it names another server; this one is {format_address(node.key.address)}")
        verify_order_terms(order)
        if order.rounds > settings.max_rounds:
            raise OrderRefused(f"{order.rounds} rounds are too many; this server runs {settings.max_rounds} at most")
        com_price = sum(prices.com for prices in round_prices(order))
        if com_price < settings.min_com_price:
            raise OrderRefused(f"a ComPrice of {com_price} units is too low; it takes {settings.min_com_price}")
        if order.expiry <= node.now_ms():
            raise OrderRefused("it has expired already: choose a later expiry")
        if len(waiting_orders(node.book.orders.values())) >= settings.max_waiting_orders:
            raise OrderRefused("too many orders wait already: try again later")
        facts = await node.worker.run(describe_model, order.model)
        if facts.max_update_bytes > self._params.max_blob_bytes:
            raise OrderRefused(
                f"updates of this model have up to {facts.max_update_bytes} bytes, the chain allows "
                f"{self._params.max_blob_bytes}"
            )
        digest = order.evaluation_set
        async with node.book.lock:
            if digest not in node.book.offers and len(node.book.offers) >= settings.max_offers:
                raise LimitExceeded("too many evaluation sets are awaited already: try again later")
            await node.book.save_offer(digest, node.now_ms())

    async def expect_blob(self, digest: bytes, size: int) -> bool:
        """Raises BlobNotWanted, BlobTooLarge."""
        book = self._node.book
        wanted = {item.order.evaluation_set for item in waiting_orders(book.orders.values())} | set(book.offers)
        if digest not in wanted:
            raise BlobNotWanted("no order here has this evaluation set: offer the order first")
        if size > self._params.max_blob_bytes:
            raise BlobTooLarge(f"{size} bytes, {self._params.max_blob_bytes} are allowed")
        return book.blob_size(digest) is None

    async def put_blob(self, digest: bytes, data: bytes) -> None:
        """The evaluation set of an order offered or confirmed. Raises BlobNotWanted, BlobTooLarge, BlobMismatch."""
        needed = await self.expect_blob(digest, len(data))
        if hashlib.sha256(data).digest() != digest:
            raise BlobMismatch
        if needed:
            book = self._node.book
            async with book.lock:
                await book.save_blob(digest, data)
            self._node.notify()

    async def order_progress(self, order_id: bytes) -> OrderProgress:
        """Raises UnknownOrder."""
        return self._progress(self._served(order_id))

    async def watch_order(self, order_id: bytes) -> AsyncIterator[OrderProgress]:
        """Each change until the order has ended. Raises UnknownOrder."""
        shown: OrderProgress | None = None
        while True:
            served = self._served(order_id)
            progress = self._progress(served)
            if progress != shown:
                shown = progress
                yield progress
            if served.ended or self._node.stopping:
                return
            await self._node.changed.wait(_WATCH_SECONDS)

    async def final_model(self, order_id: bytes, public_key: bytes, requested_at: int, signature: bytes) -> bytes:
        """The model of the last round. Raises UnknownOrder, NotTheRequester, ModelNotReady, RequestExpired."""
        node = self._node
        served = self._served(order_id)
        if address_of(public_key) != served.requester:
            raise NotTheRequester
        request = ModelRequest(order_id, requested_at)
        verify_model_request(public_key, node.chain.chain_id, request, signature, node.now_ms())
        digest = node.book.final_model(served)
        if served.phase is not OrderPhase.FINISHED or digest is None:
            why = served.message or "wait until it has ended"
            raise ModelNotReady(f"the order is {served.phase.name.lower()}: {why}")
        data = node.book.blob(digest)
        if data is None:
            raise ModelNotReady("the model is missing in the server's data folder")
        return data

    # --- clients -----------------------------------------------------------------------------------------------------

    async def join(self, public_key: bytes, samples: int, joined_at: int, signature: bytes) -> None:
        """A client is there. Raises RequestExpired, InvalidSignature, ClientInvalid, TooManyClients."""
        node = self._node
        request = JoinRequest(node.key.public_key, samples, joined_at)
        verify_join(public_key, node.chain.chain_id, request, signature, node.now_ms())
        node.clients.join(public_key, samples, joined_at, node.now_ms())
        node.notify()

    async def poll_round(self, public_key: bytes, wait_seconds: float) -> RoundOffer | None:
        """The round that the client is wanted for, within `wait_seconds` or 30 at most. Raises ClientNotJoined."""
        node = self._node
        loop = asyncio.get_running_loop()
        # min() of a NaN would be NaN, and such a wait endless.
        end = loop.time() + (min(wait_seconds, MAX_POLL_SECONDS) if wait_seconds > 0 else 0.0)
        while True:
            node.clients.require(public_key, node.now_ms())
            offer = self._offer(public_key)
            left = end - loop.time()
            if offer is not None or left <= 0 or node.stopping:
                return offer
            await node.changed.wait(left)

    async def expect_update(self, commitment: UpdateCommitment, public_key: bytes, signature: bytes, size: int) -> bool:
        """All that can be judged before the bytes come: only a selected client's own word takes memory here."""
        node = self._node
        served = self._served(commitment.order)
        submission = Submission(public_key, commitment.digest, commitment.samples, signature)
        if not check_hand_in(self._round(commitment), submission, commitment, node.now_ms()):
            return False
        if size > served.max_update_bytes:
            raise UpdateTooLarge(f"{size} bytes; an update of this model has {served.max_update_bytes} at most")
        verify_signature(public_key, commitment.id(node.chain.chain_id), signature)
        return True

    async def submit_update(
        self, commitment: UpdateCommitment, public_key: bytes, signature: bytes, data: bytes
    ) -> None:
        """A client's update for the open round. Raises what is wrong with it; the same again is accepted."""
        if not await self.expect_update(commitment, public_key, signature, len(data)):
            return
        node = self._node
        served = self._served(commitment.order)
        submission = Submission(public_key, commitment.digest, commitment.samples, signature)
        if hashlib.sha256(data).digest() != commitment.digest:
            raise UpdateDigestWrong
        async with self._checks:
            await node.worker.run(check_update, data, served.order.model)
        async with node.book.lock:
            before = self._round(commitment)  # it may have been closed while we looked
            round_ = hand_in(before, submission, commitment, node.now_ms())
            if round_ is not before:
                await node.book.save_submission(round_, submission, data)
        node.notify()

    # --- views -------------------------------------------------------------------------------------------------------

    def _served(self, order_id: bytes) -> ServedOrder:
        served = self._node.book.orders.get(order_id)
        if served is None:
            raise UnknownOrder(f"this server runs no order {order_id.hex()}; it takes what the chain has confirmed")
        return served

    def _round(self, commitment: UpdateCommitment) -> Round:
        round_ = self._node.book.round(commitment.order, commitment.round)
        if round_ is None:
            raise RoundNotOpen(f"round {commitment.round} has not begun")
        return round_

    def _offer(self, public_key: bytes) -> RoundOffer | None:
        node = self._node
        for served in waiting_orders(node.book.orders.values()):
            round_ = node.book.open_round(served.order_id)
            if round_ is None or public_key not in round_.selected or round_.submission(public_key) is not None:
                continue
            if node.now_ms() > round_.deadline:
                continue
            return RoundOffer(
                order_id=served.order_id,
                round=round_.number,
                model=served.order.model,
                base_model=round_.base_model,
                settings=node.settings.training,
                train_price=round_prices(served.order)[round_.number].train,
                deadline=round_.deadline,
            )
        return None

    def _progress(self, served: ServedOrder) -> OrderProgress:
        node = self._node
        rounds = node.book.rounds.get(served.order_id, {})
        last = max(rounds) if rounds else 0
        info = node.watch.infos.get(served.order_id)
        number = min(info.rounds_settled, served.order.rounds - 1) if info is not None else last
        current = rounds.get(number)
        return OrderProgress(
            order_id=served.order_id,
            phase=served.phase,
            round=number,
            rounds=served.order.rounds,
            updates=len(current.submissions) if current is not None else 0,
            clients=len(current.selected) if current is not None else 0,
            message=served.message,
            reports=tuple(self._report(rounds[index]) for index in sorted(rounds)),
        )

    def _report(self, round_: Round) -> RoundReport:
        """Made once for each change of the round: hashing its task is not for every question."""
        key = (round_.order, round_.number)
        known = self._reports.get(key)
        if known is None or known[0] is not round_:
            known = self._reports[key] = (round_, self._make_report(round_))
        return known[1]

    def _make_report(self, round_: Round) -> RoundReport:
        closed = round_.phase is not RoundPhase.OPEN
        keys = [item.public_key for item in round_.submissions] if closed else list(round_.selected)
        return RoundReport(
            round=round_.number,
            clients=tuple(address_of(key) for key in keys),
            accuracy=round_.accuracy / UTILITY_SCALE,
            task=round_.task.id(self._node.chain.chain_id) if round_.task is not None else b"",
            block=round_.settled_block,
            model=round_.model,
        )
