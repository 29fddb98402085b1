"""An FL server as a process: genesis, data folder, listening, miners and worker, put together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from fedcoin import __version__
from fedcoin.core.keys import PrivateKey, format_address
from fedcoin.node.chain_view import ChainView
from fedcoin.node.config import ServerConfig
from fedcoin.node.genesis_file import load_genesis
from fedcoin.node.server import ServerNode
from fedcoin.node.server_handler import ServerRequests
from fedcoin.node.worker import Worker
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.score import Scores
from fedcoin.rpc.server import serve
from fedcoin.store.server_store import ServerStore

log = logging.getLogger("fedcoin.server")


class ServerRole:
    """Runs a ServerNode from its configuration."""

    def __init__(self, config: ServerConfig, key: PrivateKey, now_ms: Callable[[], int]) -> None:
        """`config` has been checked. Nothing is opened before `start`."""
        self._config = config
        self._key = key
        self._now_ms = now_ms
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None
        self.node: ServerNode | None = None
        self.address = config.listen
        """HOST:PORT on which it listens, once it does."""

    async def start(self) -> None:
        """Opens the data folder, listens, and begins to follow the chain.

        Raises MalformedGenesis, DataFolderInUse, WrongChain, StoreCorrupt, PortInUse and the like; what was started by
        then is stopped by `stop`.
        """
        config, stack = self._config, self._stack
        genesis = load_genesis(config.genesis).genesis
        chain = ChainView((), genesis.id())
        store = ServerStore(config.data_folder, genesis.id())
        stack.callback(store.close)
        worker = Worker(config.learning_threads)
        stack.callback(worker.stop)
        node = ServerNode(self._key, chain, store, worker, config.settings, self._now_ms, config.device)
        self.node = node
        server = await serve(
            ServerRequests(node, genesis.params, __version__),
            config.listen,
            tls=config.tls.for_server(),
            limits=config.limits,
            scores=Scores(config.ban_rule, time.monotonic),
        )
        stack.push_async_callback(server.stop, config.stop_grace_ms / 1000)
        self.address = server.address
        source = config.advertise or server.address
        miners = [
            MinerClient(address, tls=config.tls.for_client(), own_address=source, deadlines=config.deadlines)
            for address in config.miners
        ]
        for miner in miners:
            stack.push_async_callback(miner.close)
        chain.connect(miners)
        if config.settings.confirmations > 1 and not genesis.params.heartbeat_ms:
            log.warning("this chain has no heartbeat: waiting for more than 1 confirmation can take long")
        self._running = asyncio.create_task(node.run(), name="server")
        log.info("FL server %s", format_address(self._key.address))

    async def failure(self) -> None:
        """Raises the error that makes it impossible to go on, when there is one; otherwise waits without end."""
        if self._running is not None:
            await asyncio.shield(self._running)
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Stops everything in good order; what was accepted is on the disk."""
        if self.node is not None:
            self.node.stop()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._stack.aclose()
