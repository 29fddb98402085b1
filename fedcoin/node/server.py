"""The FL server's loop: it follows the chain, runs one order at a time (Observations 1 and 2), and settles its rounds.

What to do next is always read off the chain and the book, never off where the loop was: the round to work on is the
first one that the chain has not settled. So a restart, another miner, or a reorganisation that takes a settlement back
need no code of their own.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from fedcoin.core.errors import ChainMoved, FedCoinError, StoreCorrupt, StoreUnavailable
from fedcoin.core.keys import PrivateKey
from fedcoin.node import rounds as round_rules
from fedcoin.node.chain_view import ChainView
from fedcoin.node.clients_list import ClientsList
from fedcoin.node.config import ServerSettings
from fedcoin.node.learning_jobs import aggregate, check_evaluation_set, starting_model
from fedcoin.node.order_watch import OrderWatch
from fedcoin.node.orders_book import OrdersBook, ServedOrder, waiting_orders
from fedcoin.node.pulse import Pulse
from fedcoin.node.rounds import Round, RoundPhase
from fedcoin.node.task_publisher import TaskAnnouncer, anchored
from fedcoin.node.worker import Worker
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.views import OrderInfo, OrderPhase, OrderState
from fedcoin.store.server_store import ServerStore

log = logging.getLogger("fedcoin.server")

_PRUNE_MS = 60_000


class ServerNode:
    """An FL server. `ServerRequests` answers RPCs about it."""

    def __init__(
        self,
        key: PrivateKey,
        chain: ChainView,
        store: ServerStore,
        worker: Worker,
        settings: ServerSettings,
        now_ms: Callable[[], int],
        device: str = "auto",
    ) -> None:
        """`device`: where accuracies are measured. Miners learn from the RPC clients in `chain` where we listen."""
        self.key = key
        self.chain = chain
        self.settings = settings
        self.worker = worker
        self.now_ms = now_ms
        self.started_at = now_ms()
        self.book = OrdersBook(store)
        self.clients = ClientsList(settings.rounds.heard_within_ms, settings.max_clients)
        self._device = device
        self.watch = OrderWatch(key.address, chain, self.book, worker, settings, now_ms, self.notify)
        self._announcer = TaskAnnouncer(chain, self.book.blob, now_ms)
        self._checked_sets: set[bytes] = set()
        self.changed = Pulse()
        """Fires when something that callers watch has changed."""
        self._wake = asyncio.Event()
        self._pruned: tuple[int, int] = (-1, 0)
        self._stopping = False

    # --- signals -----------------------------------------------------------------------------------------------------

    def notify(self) -> None:
        """Something that callers watch has changed; the loop has something to do."""
        self.changed.fire()
        self._wake.set()

    @property
    def stopping(self) -> bool:
        """Whether callers that wait should be let go."""
        return self._stopping

    async def run(self) -> None:
        """Works until `stop`. Failures of miners and the like are logged and tried again.

        Raises StoreUnavailable, StoreCorrupt.
        """
        watcher = asyncio.create_task(self._watch())
        try:
            while not self._stopping:
                self._wake.clear()
                try:
                    await self.step()
                except (StoreUnavailable, StoreCorrupt):
                    raise  # what cannot be kept must not be announced
                except (FedCoinError, OSError, TimeoutError) as error:
                    log.warning("%s", error)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.settings.poll_ms / 1000):
                        await self._wake.wait()
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            await self._announcer.stop()

    def stop(self) -> None:
        """Ends `run` and everybody's waiting."""
        self._stopping = True
        self.notify()

    async def _watch(self) -> None:
        """Wakes the loop when a miner has a new tip."""
        while True:
            try:
                height = max(0, self.watch.follower.height) + 1
                miner = await self.chain.call(_itself)
                async for _ in miner.watch_blocks(height):
                    self._wake.set()
            except (FedCoinError, OSError, TimeoutError) as error:
                log.debug("watching blocks: %s", error)
            await asyncio.sleep(self.settings.poll_ms / 1000)

    # --- one step ----------------------------------------------------------------------------------------------------

    async def step(self) -> None:
        """Look at the chain, then do what the order at the head of the queue needs."""
        await self.watch.follow()
        for served in waiting_orders(self.book.orders.values()):
            await self.watch.refresh(served)
        active = await self._pick()
        if active is not None:
            await self._drive(active, self.watch.infos[active.order_id])
        await self._prune()

    async def _prune(self) -> None:
        """Drop old blobs when another order has ended, and once a minute."""
        ended = sum(item.ended for item in self.book.orders.values())
        if self._pruned[0] == ended and self.now_ms() - self._pruned[1] < _PRUNE_MS:
            return
        async with self.book.lock:
            await self.book.prune(self.settings.keep_orders, self.now_ms())
        self._pruned = (ended, self.now_ms())

    async def _pick(self) -> ServedOrder | None:
        """The order to work on: one that is under way, else the first that can begin."""
        waiting = [
            item
            for item in waiting_orders(self.book.orders.values())
            if item.order_id in self.watch.infos and self.watch.infos[item.order_id].state is OrderState.OPEN
        ]
        active = next((item for item in waiting if self.book.rounds.get(item.order_id)), None)
        for served in waiting:
            if served is active:
                continue
            obstacle = await self._obstacle(served)
            current = self.book.orders[served.order_id]
            if current.ended:
                continue
            if obstacle is None and active is None:
                active = served
                continue
            await self.watch.note(current, OrderPhase.WAITING, obstacle or "another order is being run first")
        return active

    async def _obstacle(self, served: ServedOrder) -> str | None:
        """Why an order cannot begin yet; a bad evaluation set ends it."""
        missing = self.settings.confirmations - self.watch.infos[served.order_id].confirmations
        if missing > 0:
            return f"{missing} more confirmations of the deposit are waited for"
        digest = served.order.evaluation_set
        if digest not in self._checked_sets:
            data = self.book.blob(digest)
            if data is None:
                return "the evaluation set has not been uploaded"
            try:
                await self.worker.run(check_evaluation_set, data, served.order.model)
            except FedCoinError as error:
                if error.status == "UNAVAILABLE":
                    raise
                await self.watch.note(served, OrderPhase.FAILED, f"the evaluation set is refused: {error}")
                return "refused"
            self._checked_sets.add(digest)
        if self.now_ms() > served.order.expiry:
            return "it has expired"
        present = len(self.clients.present(self.now_ms()))
        if present < served.order.min_clients:
            return f"{present} of {served.order.min_clients} clients are there"
        return None

    # --- the order under way -----------------------------------------------------------------------------------------

    async def _drive(self, served: ServedOrder, info: OrderInfo) -> None:
        number = info.rounds_settled
        round_ = self.book.round(served.order_id, number)
        if round_ is None:
            round_ = await self._open(served, number)
        if round_ is not None and round_.phase is RoundPhase.OPEN:
            round_ = await self._collect(served, round_)
        if round_ is not None and round_.phase is RoundPhase.CLOSED:
            round_ = await self._aggregate(served, round_)
        if round_ is not None and round_.phase is RoundPhase.AGGREGATED:
            await self._publish(served, number)

    async def _open(self, served: ServedOrder, number: int) -> Round | None:
        if number > 0 and not await self.watch.settled_for_good(self.watch.infos[served.order_id], number - 1):
            text = f"settlement of round {number - 1} waits for confirmations"
            await self.watch.note(served, OrderPhase.MINING, text)
            return None
        present = self.clients.present(self.now_ms())
        least = served.order.min_clients
        if len(present) < least:
            await self.watch.note(served, OrderPhase.WAITING, f"{len(present)} of {least} clients are there")
            return None
        before = self.book.round(served.order_id, number - 1)
        blobs: Mapping[bytes, bytes] = {}
        if number == 0:
            seed = int.from_bytes(served.order_id[:8], "big") >> 1
            data = await self.worker.run(starting_model, served.order.model, seed)
            base = hashlib.sha256(data).digest()
            blobs = {base: data}
        elif before is not None and before.model:
            base = before.model
        else:
            await self.watch.note(served, OrderPhase.FAILED, f"this server has lost the model of round {number - 1}")
            return None
        async with self.book.lock:
            round_ = round_rules.open_round(
                served.order_id,
                number,
                base,
                present,
                least,
                self.settings.rounds,
                self.now_ms(),
                served.order.sampler.most_clients,
            )
            await self.book.save_round(round_, blobs)
        log.info("order %s round %d: %d clients", served.order_id.hex()[:16], number, len(round_.selected))
        await self.watch.note(served, OrderPhase.TRAINING, "")
        self.notify()
        return round_

    async def _collect(self, served: ServedOrder, round_: Round) -> Round:
        least = served.order.min_clients
        async with self.book.lock:
            round_ = self.book.rounds[served.order_id][round_.number]
            changed = round_rules.close_if_due(round_, least, self.now_ms())
            if round_rules.needs_reopening(changed, least, self.now_ms()):
                present = self.clients.present(self.now_ms())
                most = served.order.sampler.most_clients
                changed = round_rules.reopen(round_, present, least, self.settings.rounds, self.now_ms(), most)
                log.info("order %s round %d is reopened", served.order_id.hex()[:16], round_.number)
            if changed is not round_:
                await self.book.save_round(changed)
                self.notify()
        await self.watch.note(served, OrderPhase.TRAINING, "")
        return changed

    async def _aggregate(self, served: ServedOrder, round_: Round) -> Round:
        order = served.order
        updates = [self._held(item.digest) for item in round_.submissions]
        samples = [item.samples for item in round_.submissions]
        model, accuracy = await self.worker.run(
            aggregate, order.model, updates, samples, order.aggregation, self._held(order.evaluation_set), self._device
        )
        digest = hashlib.sha256(model).digest()
        async with self.book.lock:
            round_ = round_rules.aggregated(self.book.rounds[served.order_id][round_.number], digest, accuracy)
            await self.book.save_round(round_, {digest: model})
        log.info("order %s round %d: accuracy %.4f", served.order_id.hex()[:16], round_.number, accuracy / 1e9)
        self.notify()
        return round_

    async def _publish(self, served: ServedOrder, number: int) -> None:
        try:
            terms, info = await self.chain.anchor(served.order_id)
        except ChainMoved:
            return
        self.watch.infos[served.order_id] = info
        if info.state is not OrderState.OPEN or info.rounds_settled != number:
            return  # settled meanwhile: never publish it again
        if max(self.now_ms(), terms.timestamp) >= served.order.expiry:
            await self.watch.note(served, OrderPhase.MINING, "it has expired; the chain refunds the rounds not settled")
            return
        async with self.book.lock:
            before = self.book.rounds[served.order_id][number]
            round_ = anchored(self.key, self.chain.chain_id, served.order, before, terms, self.now_ms())
            if round_ is not before:
                await self.book.save_round(round_)  # first: what miners are told is never forgotten
        await self.watch.note(served, OrderPhase.MINING, "")
        if round_.task is not None:
            await self._announcer.announce(round_.task)

    def _held(self, digest: bytes) -> bytes:
        data = self.book.blob(digest)
        if data is None:
            raise StoreCorrupt(f"blob {digest.hex()} is missing in the data folder: restore a copy of it")
        return data


async def _itself(miner: MinerHandler) -> MinerHandler:
    return miner
