"""The miner: the one place where its parts are wired together."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from fedcoin.consensus.messages import ReceiveTask, ReceiveTransaction, Tick
from fedcoin.consensus.posap import PoSap, PoSapSettings
from fedcoin.core.errors import FedCoinError, StoreUnavailable
from fedcoin.core.keys import PrivateKey, format_address
from fedcoin.node.address_book import callable_address
from fedcoin.node.auditor import Auditor
from fedcoin.node.blobs import BlobExchange
from fedcoin.node.config import MinerConfig
from fedcoin.node.engine import Engine
from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.evaluator_protocol import RaceEvaluator
from fedcoin.node.genesis_file import GenesisFile, load_genesis
from fedcoin.node.gossip import Gossip
from fedcoin.node.housekeeping import drop_gone, tidy, wanted_blobs
from fedcoin.node.leaf_server import LeafServer
from fedcoin.node.miner_handler import MinerService
from fedcoin.node.mining import Mining
from fedcoin.node.peers import Peers
from fedcoin.node.publishers import Publishers
from fedcoin.node.ray_evaluator import RayEvaluator
from fedcoin.node.recovery import Opened, open_data, restore
from fedcoin.node.registration import Registration
from fedcoin.node.sync import Sync
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.score import Scores
from fedcoin.rpc.server import serve
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.miner")

TICK_SECONDS = 0.25
TICKS_A_LOOK = 8
"""How often it is looked whether this miner has yet to register."""
TICKS_A_TIDY = 400
"""How often transactions that wait no longer are forgotten."""


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class MinerNode:
    """A full node: chain, peers, mempool, evaluator."""

    def __init__(self, config: MinerConfig, key: PrivateKey) -> None:
        """`config` has been checked. Nothing is opened before `start`."""
        self._config = config
        self._key = key
        self._stack = AsyncExitStack()
        """What has been started, to be stopped in reverse order."""
        self._engine: Engine | None = None
        self._peers: Peers | None = None
        self._evaluating: asyncio.Task[None] | None = None
        """The start of the evaluator, which takes seconds; the node is up meanwhile."""
        self._address = config.listen

    @property
    def address(self) -> str:
        """HOST:PORT on which it listens."""
        return self._address

    async def start(self) -> None:
        """Opens the chain, listens, begins to start the evaluator, and connects to peers.

        Raises MalformedGenesis, DataFolderInUse, WrongChain, StoreCorrupt, PortInUse and the like; what was started by
        then is stopped by `stop`.
        """
        config, stack = self._config, self._stack
        genesis_file = load_genesis(config.genesis)
        params, chain_id = genesis_file.genesis.params, genesis_file.chain_id
        opened = open_data(config.data_folder, genesis_file, mine=config.mine)
        store = opened.store
        stack.callback(store.close)
        gossip, evaluator = Gossip(), _open_evaluator(config)
        engine = self._engine = self._open_chain(genesis_file, opened, gossip)
        stack.push_async_callback(asyncio.to_thread, store.sync)
        stack.push_async_callback(engine.close)
        client = partial(self._client, limit=params.max_blob_bytes)
        publishers = Publishers(client, lambda: {task.id(chain_id) for task in engine.posap.open_tasks()})
        stack.push_async_callback(publishers.close)
        stack.push_async_callback(gossip.close)
        tree, scores = engine.posap.chain.tree, Scores(config.ban_rule, time.monotonic)
        peers = self._peers = Peers(
            client,
            gossip,
            Sync(engine, store),
            store,
            chain_id,
            self._key.public_key,
            config.max_peers,
            now_ms,
            tree.contains,
            scores,
        )
        blobs = BlobExchange(
            store,
            params.max_blob_bytes,
            peers.connected,
            lambda: wanted_blobs(engine),
            config.blob_budget_mb << 20,
        )
        auditor = Auditor(evaluator, peers.of_miner, blobs.fetch)
        mining = Mining(
            engine,
            evaluator,
            auditor,
            blobs,
            store,
            lambda race: publishers.of(_task_of(engine, race)),
            config.estimate_interval_ms / 1000,
        )
        engine.attach(mining)
        stack.push_async_callback(evaluator.stop)
        stack.push_async_callback(mining.close)
        stack.push_async_callback(peers.close)
        service = MinerService(
            engine, store, peers, mining, blobs, LeafServer(store), lambda: evaluator.device, publishers.note, now_ms()
        )
        server = await serve(service, config.listen, tls=config.tls.for_server(), limits=config.limits, scores=scores)
        stack.push_async_callback(server.stop, config.stop_grace_ms / 1000)
        # Ends the streams that never end, which the server would otherwise wait for.
        stack.push_async_callback(engine.close)
        self._address = server.address
        starting = evaluator.start(config.threads or None, config.device, config.evaluator_memory_mb)
        self._evaluating = asyncio.create_task(starting, name="start of the evaluator")
        stack.push_async_callback(_cancelled, self._evaluating)
        await restore(engine, opened)
        peers.start(self._reachable_at or "", config.peers)
        await self._resume(store, engine)
        ticking = asyncio.create_task(self._tick(engine, store, blobs), name="tick")
        stack.push_async_callback(_cancelled, ticking)
        log.info("miner %s", format_address(self._key.address))

    async def failure(self) -> None:
        """Raises the error that makes it impossible to go on, when there is one; otherwise waits without end.

        DeviceUnavailable and EvaluatorFailed come from the start of the evaluator.
        """
        assert self._engine is not None, "started"
        assert self._evaluating is not None, "started"
        await asyncio.wait({self._engine.failed, self._evaluating}, return_when=asyncio.FIRST_COMPLETED)
        if self._evaluating.done():
            self._evaluating.result()
        await asyncio.shield(self._engine.failed)

    async def stop(self) -> None:
        """Stops everything in good order; what was accepted is on the disk. Raises StoreUnavailable if it is not."""
        await self._stack.aclose()

    # --- parts -------------------------------------------------------------------------------------------------------

    def _open_chain(self, genesis_file: GenesisFile, opened: Opened, gossip: Gossip) -> Engine:
        genesis, store = genesis_file.genesis, opened.store
        for digest, data in genesis_file.blobs.items():
            store.put_blob(digest, data)
        settings = PoSapSettings(
            mine=self._config.mine,
            audit_share=self._config.audit_share,
            mempool_capacity=self._config.mempool_capacity,
        )
        # SystemRandom: nobody may foresee which leaves are audited.
        posap = PoSap(genesis, store, self._key, random.SystemRandom(), settings, opened.chain)
        log.info("chain %s at height %d", genesis.id().hex()[:12], opened.height)
        return Engine(posap, store, gossip, now_ms)

    @property
    def _reachable_at(self) -> str | None:
        """Where others reach us, if we know."""
        address = self._config.advertise or self._address
        return address if callable_address(address) else None

    def _client(self, address: str, limit: int) -> MinerClient:
        tls, deadlines = self._config.tls.for_client(), self._config.deadlines
        return MinerClient(address, tls=tls, own_address=self._reachable_at, deadlines=deadlines, blob_limit=limit)

    # --- life --------------------------------------------------------------------------------------------------------

    async def _resume(self, store: ChainStore, engine: Engine) -> None:
        """Takes up again what was accepted before a restart, and forgets what has become invalid."""
        if self._reachable_at is None:
            log.warning("listening on %s tells nobody where to reach this miner: set advertise", self._address)
        pending = sorted(store.pending(), key=lambda transaction: (transaction.sender, transaction.nonce))
        events: Sequence[ReceiveTask | ReceiveTransaction] = [
            *(ReceiveTransaction(transaction) for transaction in pending),
            *(ReceiveTask(task) for task in store.tasks()),
        ]
        for event in events:
            try:
                await engine.feed(event)
            except StoreUnavailable:
                raise
            except FedCoinError as error:
                log.debug("not taken up again: %s", error.code)
        drop_gone(store, engine)

    async def _tick(self, engine: Engine, store: ChainStore, blobs: BlobExchange) -> None:
        height = engine.posap.chain.height
        registration = Registration(engine, self._key, self._config.name if self._config.mine else "")
        for number in itertools.count():
            try:
                engine.look_for_damage()
                await engine.feed(Tick())
                if engine.posap.chain.height != height:
                    height = engine.posap.chain.height
                    tidy(engine, store, blobs)
                looks = number % TICKS_A_LOOK == TICKS_A_LOOK - 1
                if looks and self._peers is not None and not self._peers.syncing:
                    await registration.look()
                if number % TICKS_A_TIDY == TICKS_A_TIDY - 1:
                    drop_gone(store, engine)
            except FedCoinError as error:
                if engine.failed.done():
                    return
                log.warning("[%s] %s", error.code, error)
            except Exception:
                log.exception("a tick failed")
            await asyncio.sleep(TICK_SECONDS)


def _open_evaluator(config: MinerConfig) -> RaceEvaluator:
    if config.evaluator == "ray":
        return RayEvaluator(config.ray_address, config.ray_workers)
    return EvaluatorProcess()


def _task_of(engine: Engine, race: bytes) -> bytes:
    found = engine.posap.races.get(race)
    return found.terms.task_hash if found is not None else b""


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
