"""FL clients as a process: keys, data, the server they work for, and the miners that tell what they were paid."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from fedcoin import __version__
from fedcoin.core.keys import PrivateKey, format_address
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.node.chain_view import ChainView
from fedcoin.node.client import ClientEvent, ClientNode, HostedClient, OfferDeclined, PaymentArrived, UpdateHandedIn
from fedcoin.node.config import ClientConfig
from fedcoin.node.data_shares import load_shares
from fedcoin.node.genesis_file import load_genesis
from fedcoin.node.worker import Worker
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.score import Scores
from fedcoin.rpc.server import serve
from fedcoin.rpc.server_client import ServerClient
from fedcoin.rpc.views import NodeStatus

log = logging.getLogger("fedcoin.client")


class ClientRole:
    """Runs a ClientNode from its configuration."""

    def __init__(
        self,
        config: ClientConfig,
        keys: Sequence[PrivateKey],
        now_ms: Callable[[], int],
        report: Callable[[ClientEvent], None] | None = None,
    ) -> None:
        """`config` has been checked; one key for each hosted client. Without `report`, events are logged."""
        self._config = config
        self._keys = tuple(keys)
        self._now_ms = now_ms
        self._report = report or log_event
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None
        self.node: ClientNode | None = None
        self.address = config.listen
        """HOST:PORT on which it listens, once it does."""

    async def start(self) -> None:
        """Reads the data, listens, and begins to ask for work.

        Raises MalformedGenesis, the errors of load_shares, PortInUse and the like; what was started by then is stopped
        by `stop`.
        """
        config, stack = self._config, self._stack
        genesis = load_genesis(config.genesis).genesis
        worker = Worker(config.learning_threads)
        stack.callback(worker.stop)
        indices = range(config.first_share, config.first_share + len(self._keys))
        shares = await worker.run(load_shares, config.data, list(indices))
        hosted = [
            HostedClient(f"client-{index}", key, data)
            for index, key, data in zip(indices, self._keys, shares, strict=True)
        ]
        tls = config.tls.for_client()
        miners = [MinerClient(address, tls=tls, deadlines=config.deadlines) for address in config.miners]
        server = ServerClient(
            config.server, tls=tls, deadlines=config.deadlines, blob_limit=genesis.params.max_blob_bytes
        )
        for peer in (*miners, server):
            stack.push_async_callback(peer.close)
        chain = ChainView(miners, genesis.id())
        node = ClientNode(hosted, server, chain, worker, config.settings, self._now_ms, self._report)
        self.node = node
        status = ClientStatus(self._keys[0], genesis.id(), genesis.params.name, self._now_ms())
        listening = await serve(
            status,
            config.listen,
            tls=config.tls.for_server(),
            limits=config.limits,
            scores=Scores(config.ban_rule, time.monotonic),
        )
        stack.push_async_callback(listening.stop, config.stop_grace_ms / 1000)
        self.address = listening.address
        self._running = asyncio.create_task(node.run(), name="clients")
        for client in hosted:
            log.info("%s: %s, %d samples", client.name, format_address(client.key.address), client.data.samples)

    async def failure(self) -> None:
        """Raises the error that makes it impossible to go on, when there is one; otherwise waits without end."""
        if self._running is not None:
            await asyncio.shield(self._running)
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Stops everything. Nothing is lost: training under way is done again after a restart."""
        if self.node is not None:
            self.node.stop()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._stack.aclose()


class ClientStatus:
    """What a client process answers: that it is there."""

    def __init__(self, key: PrivateKey, chain_id: bytes, network: str, started_at: int) -> None:
        self._status = NodeStatus(
            role="client",
            version=__version__,
            chain_id=chain_id,
            public_key=key.public_key,
            tip=b"",
            height=0,
            state_root=b"",
            peers=0,
            started_at=started_at,
            syncing=False,
            network=network,
        )

    async def status(self) -> NodeStatus:
        """Who it is."""
        return self._status


def log_event(event: ClientEvent) -> None:
    """A line for each thing that happens."""
    if isinstance(event, UpdateHandedIn):
        log.info("%s: update for round %d of order %s", event.client, event.round, event.order.hex()[:16])
    elif isinstance(event, PaymentArrived) and event.entry.payment is not None:
        payment = event.entry.payment
        log.info(
            "%s: %.8f FDC for round %d of order %s, balance %.8f FDC",
            event.client,
            payment.amount / UNITS_PER_FDC,
            payment.round,
            payment.order.hex()[:16],
            event.balance / UNITS_PER_FDC,
        )
    elif isinstance(event, OfferDeclined):
        order = event.order.hex()[:16]
        log.warning("%s: round %d of order %s declined: %s", event.client, event.round, order, event.reason)
