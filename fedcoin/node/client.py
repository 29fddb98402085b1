"""FL clients (§3, §4): several in one process, each with its own key and data.

A client joins, trains when it is selected, hands its signed update in, and sees on the chain what it was paid. A server
that is away is waited for; training is deterministic, so an update handed in twice is the same one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fedcoin.core.encoding import tagged_hash
from fedcoin.core.errors import (
    BlobMismatch,
    ClientNotJoined,
    ClientNotSelected,
    FedCoinError,
    OfferUnacceptable,
    RoundNotOpen,
    UpdateTooLarge,
    WrongGenesis,
)
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import UpdateCommitment
from fedcoin.core.transaction import PaymentKind
from fedcoin.ledger.prices import round_prices
from fedcoin.node.auth import JoinRequest, sign_join
from fedcoin.node.chain_view import ChainView, is_unreachable
from fedcoin.node.config import ClientSettings
from fedcoin.node.learning_jobs import ClientData, describe_model, train
from fedcoin.node.worker import Worker
from fedcoin.rpc.handlers import ServerHandler
from fedcoin.rpc.views import HistoryEntry, OrderState, RoundOffer, ServerInfo

log = logging.getLogger("fedcoin.client")

_PAGE = 50
_PAUSE_MS = 100
# A server that answers "no work" at once must not make us ask without pause.


@dataclass(frozen=True, eq=False)
class HostedClient:
    """One FL client of this process."""

    name: str
    """For people."""
    key: PrivateKey
    data: ClientData


@dataclass(frozen=True)
class UpdateHandedIn:
    """A client's finished work on a round."""

    client: str
    order: bytes
    round: int
    digest: bytes
    train_price: int
    """Units for all clients of the round."""


@dataclass(frozen=True)
class PaymentArrived:
    """A client's share p_i of a round (Alg. 3 line 12) is on the chain."""

    client: str
    entry: HistoryEntry
    balance: int
    """Units, now."""


@dataclass(frozen=True)
class OfferDeclined:
    """A client does not take part in a round."""

    client: str
    order: bytes
    round: int
    reason: str


ClientEvent = UpdateHandedIn | PaymentArrived | OfferDeclined

_Work = tuple[bytes, int, bytes]
"""Order, round, starting model."""


class ClientNode:
    """Runs the clients of one process against one server."""

    def __init__(
        self,
        clients: Sequence[HostedClient],
        server: ServerHandler,
        chain: ChainView,
        worker: Worker,
        settings: ClientSettings,
        now_ms: Callable[[], int],
        report: Callable[[ClientEvent], None] = lambda event: None,
    ) -> None:
        """`report` is told what happens. All training goes through `worker`, one client at a time."""
        self.clients = tuple(clients)
        self.balances: dict[bytes, int] = {}
        """Units by the client's address, as last seen."""
        self._server = server
        self._chain = chain
        self._worker = worker
        self._settings = settings
        self._now_ms = now_ms
        self._report = report
        self._info: ServerInfo | None = None
        self._joined: dict[bytes, int] = {}
        self._trained: dict[bytes, tuple[_Work, bytes]] = {}
        """By client: the last update, in case handing it in must be repeated."""
        self._declined: dict[bytes, _Work] = {}
        self._since: dict[bytes, int] = {}
        self._paid: dict[bytes, set[tuple[bytes, int]]] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Works until `stop`."""
        loops = [self._forever(self.work_once, client) for client in self.clients]
        loops += [self._forever(self._look_and_wait, client) for client in self.clients]
        await asyncio.gather(*loops)

    def stop(self) -> None:
        """Ends `run` when what is under way has ended."""
        self._stopping.set()

    async def _forever(self, work: Callable[[HostedClient], Awaitable[None]], client: HostedClient) -> None:
        pause = self._settings.retry_ms
        while not self._stopping.is_set():
            try:
                await work(client)
                pause = self._settings.retry_ms
            except (FedCoinError, OSError, TimeoutError) as error:
                log.warning("%s: %s", client.name, error)
                self._info = None  # another server may answer at this address by now
                await self._sleep(pause)
                pause = min(2 * pause, self._settings.max_retry_ms)

    async def _sleep(self, milliseconds: int) -> None:
        try:
            async with asyncio.timeout(milliseconds / 1000):
                await self._stopping.wait()
        except TimeoutError:
            pass

    # --- training ----------------------------------------------------------------------------------------------------

    async def work_once(self, client: HostedClient) -> None:
        """Join if that is due, ask for work, and do it if there is some."""
        public_key = client.key.public_key
        info = await self._server_info()
        if self._now_ms() - self._joined.get(public_key, 0) >= self._settings.join_interval_ms:
            await self._join(client, info)
        try:
            offer = await self._server.poll_round(public_key, self._settings.poll_wait_seconds)
        except ClientNotJoined:
            self._joined.pop(public_key, None)  # the server was started anew
            await self._sleep(_PAUSE_MS)
            return
        work = None if offer is None else (offer.order_id, offer.round, offer.base_model)
        if offer is None or work is None or self._declined.get(public_key) == work:
            await self._sleep(_PAUSE_MS)
            return
        try:
            data = await self._update_for(client, info, offer, work)
        except FedCoinError as error:
            if is_unreachable(error) or error.status == "NOT_FOUND":
                raise  # our miner may lag behind: ask again
            self._declined[public_key] = work
            self._report(OfferDeclined(client.name, offer.order_id, offer.round, str(error)))
            return
        await self._hand_in(client, offer, data)

    async def _server_info(self) -> ServerInfo:
        if self._info is None:
            info = await self._server.info()
            if info.chain_id != self._chain.chain_id:
                raise WrongGenesis("the FL server runs another chain: give all nodes the same genesis file")
            self._info = info
            self._joined.clear()
        return self._info

    async def _join(self, client: HostedClient, info: ServerInfo) -> None:
        now = self._now_ms()
        request = JoinRequest(info.public_key, client.data.samples, now)
        signature = sign_join(client.key, self._chain.chain_id, request)
        await self._server.join(client.key.public_key, client.data.samples, now, signature)
        self._joined[client.key.public_key] = now

    async def _update_for(self, client: HostedClient, info: ServerInfo, offer: RoundOffer, work: _Work) -> bytes:
        """The client's update for the round, trained now or before. Raises OfferUnacceptable and training's errors."""
        before = self._trained.get(client.key.public_key)
        if before is not None and before[0] == work:
            return before[1]
        await self._check_offer(info, offer)
        facts = await self._worker.run(describe_model, offer.model)
        size = await self._server.blob_size(offer.base_model)
        if size is not None and size > facts.max_update_bytes:
            raise UpdateTooLarge(f"the starting model has {size} bytes instead of {facts.max_update_bytes} at most")
        base = await self._server.get_blob(offer.base_model)
        if hashlib.sha256(base).digest() != offer.base_model:
            raise BlobMismatch
        bound = offer.order_id + offer.round.to_bytes(2, "big") + client.key.public_key
        seed = int.from_bytes(tagged_hash("fedcoin/v1/training-seed", bound)[:8], "big") >> 1
        data = await self._worker.run(
            train, offer.model, base, client.data, offer.settings, seed, self._settings.device
        )
        self._trained[client.key.public_key] = (work, data)
        return data

    async def _check_offer(self, info: ServerInfo, offer: RoundOffer) -> None:
        """The server's word against the chain's, and our own limits. Raises OfferUnacceptable, OrderNotFound."""
        settings = offer.settings
        if not 1 <= settings.iterations <= self._settings.max_epochs or settings.batch_size < 1:
            raise OfferUnacceptable(f"{settings.iterations} passes over the data, {self._settings.max_epochs} at most")
        if not (math.isfinite(settings.learning_rate) and settings.learning_rate > 0):
            raise OfferUnacceptable(f"a learning rate of {settings.learning_rate}")
        known = await self._chain.order(offer.order_id)
        order = known.order
        if order.server != info.address or order.model != offer.model or known.state is not OrderState.OPEN:
            raise OfferUnacceptable("the chain has no open order of this server with this model under that id")
        if not known.rounds_settled <= offer.round < order.rounds:
            raise OfferUnacceptable(f"round {offer.round} pays nothing: {known.rounds_settled} rounds are settled")
        price = round_prices(order)[offer.round].train
        if price != offer.train_price or price < self._settings.min_train_price:
            raise OfferUnacceptable(f"the round's TrainPrice is {price} units on the chain")

    async def _hand_in(self, client: HostedClient, offer: RoundOffer, data: bytes) -> None:
        digest = hashlib.sha256(data).digest()
        commitment = UpdateCommitment(offer.order_id, offer.round, offer.base_model, digest, client.data.samples)
        signature = client.key.sign(commitment.id(self._chain.chain_id))
        try:
            await self._server.submit_update(commitment, client.key.public_key, signature, data)
        except (RoundNotOpen, ClientNotSelected) as error:
            log.info("%s: round %d went on without us: %s", client.name, offer.round, error)
            return
        self._report(UpdateHandedIn(client.name, offer.order_id, offer.round, digest, offer.train_price))

    # --- payments ----------------------------------------------------------------------------------------------------

    async def look_once(self, client: HostedClient) -> None:
        """Report payments for rounds that have arrived since the first look."""
        address = client.key.address
        account = await self._chain.account(address)
        first = address not in self._since
        if first:
            self._since[address], self._paid[address] = account.height, set()
        before, self.balances[address] = self.balances.get(address), account.balance
        if first or before == account.balance:
            return
        arrived: list[HistoryEntry] = []
        page = await self._chain.history(address, None, _PAGE)
        while page:
            arrived += [entry for entry in page if entry.height > self._since[address]]
            last = page[-1]
            if last.height <= self._since[address]:
                break
            page = await self._chain.history(address, (last.height, last.index), _PAGE)
        for entry in reversed(arrived):
            payment = entry.payment
            if payment is None or payment.kind is not PaymentKind.CLIENT or payment.payee != address:
                continue
            # A reorganisation moves a payment to another block; it is still the same one.
            if (payment.order, payment.round) not in self._paid[address]:
                self._paid[address].add((payment.order, payment.round))
                self._report(PaymentArrived(client.name, entry, account.balance))

    async def _look_and_wait(self, client: HostedClient) -> None:
        await self.look_once(client)
        await self._sleep(self._settings.balance_interval_ms)
