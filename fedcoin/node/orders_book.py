"""What an FL server must not forget: its orders, their rounds, and which evaluation sets it waits for.

Everything is on disk, synced, before anybody hears of it; memory is a copy. Blobs are written before the records that
name them, and each record stands for itself, so a crash between two writes leaves a blob that nobody names at worst.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fedcoin.core.encoding import HASH_SIZE, Struct, enum, raw, text, u64
from fedcoin.core.errors import MalformedEncoding, StoreCorrupt
from fedcoin.core.keys import ADDRESS_SIZE
from fedcoin.core.transaction import ORDER, Order
from fedcoin.node.json_values import from_json, to_json
from fedcoin.node.rounds import ROUND, SUBMISSION, Round, RoundPhase, Submission, in_order
from fedcoin.rpc.views import OrderPhase
from fedcoin.store.server_store import ServerStore

OFFER_LIFETIME_MS = 24 * 3600 * 1000
"""An evaluation set that was announced is waited for, and kept without a deposit, this long."""
_ENDED = (OrderPhase.FINISHED, OrderPhase.FAILED)
_OFFERS = "offers"

T = TypeVar("T")


@dataclass(frozen=True)
class ServedOrder:
    """An order that names this server, as the server keeps it."""

    order_id: bytes
    order: Order
    requester: bytes
    """Address."""
    confirmed_height: int
    max_update_bytes: int
    """The most that an update of its model may have; 0 if the model is refused."""
    phase: OrderPhase
    message: str
    """Why it waits or has failed, for people."""
    ended_at: int = 0
    """Milliseconds since 1970; 0 before."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is done for it."""
        return self.phase in _ENDED


SERVED_ORDER = Struct(
    ServedOrder,
    "fedcoin/v1/server-order",
    order_id=raw(HASH_SIZE),
    order=ORDER.codec,
    requester=raw(ADDRESS_SIZE),
    confirmed_height=u64,
    max_update_bytes=u64,
    phase=enum(OrderPhase),
    message=text(2000),
    ended_at=u64,
)


class OrdersBook:
    """Orders, rounds and offers, kept in step with the store. Whoever changes something holds `lock`."""

    def __init__(self, store: ServerStore) -> None:
        """Reads everything back. Raises StoreCorrupt."""
        self._store = store
        self.lock = asyncio.Lock()
        self.orders = {key: _decode(SERVED_ORDER, record) for key, record in store.orders().items()}
        self.rounds: dict[bytes, dict[int, Round]] = {}
        for order_id in self.orders:
            self.rounds[order_id] = {
                number: self._with_submissions(_decode(ROUND, record))
                for number, record in store.rounds(order_id).items()
            }
        self.offers = {bytes.fromhex(digest): int(at) for digest, at in (store.get_meta(_OFFERS) or {}).items()}
        """Digests of announced evaluation sets, and when they were."""
        self.public: set[bytes] = set()
        """Digests of blobs that anybody may have."""
        for of_order in list(self.rounds.values()):
            for round_ in list(of_order.values()):
                self._show(round_)

    def round(self, order_id: bytes, number: int) -> Round | None:
        """A round that has been opened."""
        return self.rounds.get(order_id, {}).get(number)

    def open_round(self, order_id: bytes) -> Round | None:
        """The round of an order that takes updates, if one does."""
        return next((item for item in self.rounds.get(order_id, {}).values() if item.phase is RoundPhase.OPEN), None)

    def blob(self, digest: bytes) -> bytes | None:
        """A blob, whoever may have it."""
        return self._store.get_blob(digest)

    def blob_size(self, digest: bytes) -> int | None:
        """Its size, or None where it is not held."""
        return self._store.blob_size(digest)

    def blob_part(self, digest: bytes, start: int) -> bytes:
        """A piece of it from byte `start` on; none where it is not held."""
        return self._store.blob_part(digest, start)

    def final_model(self, order: ServedOrder) -> bytes | None:
        """Digest of the model of the last round, once that is aggregated."""
        last = self.round(order.order_id, order.order.rounds - 1)
        return last.model if last is not None and last.model else None

    async def save_order(self, order: ServedOrder) -> None:
        """Keep it, then show it."""
        await self._write(lambda: self._store.put_order(order.order_id, to_json(SERVED_ORDER, order)))
        self.orders[order.order_id] = order
        self.rounds.setdefault(order.order_id, {})

    async def save_round(self, round_: Round, blobs: Mapping[bytes, bytes] | None = None) -> None:
        """Keep a round (its submissions are kept already) with blobs that it names, then show it."""

        def write() -> None:
            for digest, data in (blobs or {}).items():
                self._store.put_blob(digest, data)
            self._store.put_round(round_.order, round_.number, to_json(ROUND, replace(round_, submissions=())))

        await self._write(write)
        self._show(round_)

    async def save_submission(self, round_: Round, submission: Submission, data: bytes) -> None:
        """Keep one more update; `round_` is the round that has it."""

        def write() -> None:
            self._store.put_blob(submission.digest, data)
            record = to_json(SUBMISSION, submission)
            self._store.put_update(round_.order, round_.number, submission.public_key, record)

        await self._write(write)
        self._show(round_)

    async def save_offer(self, digest: bytes, now_ms: int) -> None:
        """Wait for an evaluation set."""
        await self._save_offers({**self.offers, digest: now_ms})

    async def save_blob(self, digest: bytes, data: bytes) -> None:
        """Keep a blob whose digest has been checked."""
        await self._write(lambda: self._store.put_blob(digest, data))

    async def prune(self, keep_orders: int, now_ms: int) -> None:
        """Drop offers that are too old, and the blobs of all but the `keep_orders` orders that ended last.

        Final models stay.
        """
        ended = sorted((item for item in self.orders.values() if item.ended), key=lambda item: item.ended_at)
        old = {item.order_id for item in ended[: max(0, len(ended) - keep_orders)]}
        offers = {digest: at for digest, at in self.offers.items() if now_ms - at <= OFFER_LIFETIME_MS}
        kept = {digest for item in ended if (digest := self.final_model(item))} | set(offers)
        kept |= {digest for order_id in self.orders if order_id not in old for digest in self._digests(order_id)}
        doomed = {digest for order_id in old for digest in self._digests(order_id)} | (set(self.offers) - set(offers))
        doomed = {digest for digest in doomed - kept if self._store.blob_size(digest) is not None}
        if len(offers) != len(self.offers):
            await self._save_offers(offers)
        if doomed:

            def write() -> None:
                for digest in doomed:
                    self._store.delete_blob(digest)

            await self._write(write)

    async def _save_offers(self, offers: dict[bytes, int]) -> None:
        await self._write(lambda: self._store.put_meta(_OFFERS, {digest.hex(): at for digest, at in offers.items()}))
        self.offers = offers

    async def _write(self, write: Callable[[], None]) -> None:
        def run() -> None:
            write()
            self._store.sync()

        await asyncio.to_thread(run)

    def _with_submissions(self, round_: Round) -> Round:
        records = self._store.updates(round_.order, round_.number)
        return in_order(round_, [_decode(SUBMISSION, record) for record in records.values()])

    def _show(self, round_: Round) -> None:
        self.rounds.setdefault(round_.order, {})[round_.number] = round_
        # Starting models go to clients; updates and the evaluation set are revealed with the task, not before.
        self.public.add(round_.base_model)
        if round_.task is not None:
            self.public.update(round_.task.problem.blobs)

    def _digests(self, order_id: bytes) -> set[bytes]:
        found = {self.orders[order_id].order.evaluation_set}
        for round_ in self.rounds.get(order_id, {}).values():
            found |= {round_.base_model, *(item.digest for item in round_.submissions)}
            found |= {round_.model} if round_.model else set()
        return found


def waiting_orders(orders: Iterable[ServedOrder]) -> list[ServedOrder]:
    """Those that have not ended, the first confirmed first."""
    return sorted((item for item in orders if not item.ended), key=lambda item: (item.confirmed_height, item.order_id))


def _decode(struct: Struct[T], record: dict[str, Any]) -> T:
    try:
        return from_json(struct, record)
    except MalformedEncoding as error:
        raise StoreCorrupt(f"a stored record is damaged ({error}): restore a copy of the data folder") from error
