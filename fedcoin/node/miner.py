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

from fedcoin.consensus.chain import StoredChain
from fedcoin.consensus.messages import ReceiveTask, ReceiveTransaction, Tick
from fedcoin.consensus.posap import PoSap, PoSapSettings
from fedcoin.core.errors import FedCoinError, StoreUnavailable
from fedcoin.core.keys import PrivateKey, format_address
from fedcoin.core.transaction import MinerRegistration, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.miners import is_miner
from fedcoin.ledger.problems import last_problem
from fedcoin.node.auditor import Auditor
from fedcoin.node.blobs import BlobExchange
from fedcoin.node.config import MinerConfig
from fedcoin.node.engine import Engine
from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.evaluator_protocol import RaceEvaluator
from fedcoin.node.genesis_file import GenesisFile, load_genesis
from fedcoin.node.gossip import Gossip
from fedcoin.node.leaf_server import LeafServer
from fedcoin.node.miner_handler import MinerService
from fedcoin.node.mining import Mining
from fedcoin.node.peers import Peers, callable_address
from fedcoin.node.publishers import Publishers
from fedcoin.node.ray_evaluator import RayEvaluator
from fedcoin.node.sync import Sync
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import serve
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.miner")

TICK_SECONDS = 0.25
TICKS_A_LOOK = 8
"""How often it is looked whether this miner has yet to register."""
TICKS_A_TIDY = 400
"""How often transactions that wait no longer are forgotten."""
KEPT_RACES = 100
"""Races whose leaves are kept, so that a late node can still audit."""


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
        self._address = config.listen

    @property
    def address(self) -> str:
        """HOST:PORT on which it listens."""
        return self._address

    async def start(self) -> None:
        """Opens the chain, starts the evaluator, listens, and connects to peers.

        Raises MalformedGenesis, DataFolderInUse, WrongChain, StoreCorrupt, PortInUse, DeviceUnavailable and the like;
        what was started by then is stopped by `stop`.
        """
        config, stack = self._config, self._stack
        genesis_file = load_genesis(config.genesis)
        params, chain_id = genesis_file.genesis.params, genesis_file.chain_id
        store = ChainStore(config.data_folder, chain_id, params.finality_depth)
        stack.callback(store.close)
        gossip, evaluator = Gossip(), _open_evaluator(config)
        engine = self._engine = self._open_chain(genesis_file, store, gossip)
        stack.push_async_callback(asyncio.to_thread, store.sync)
        stack.push_async_callback(engine.close)
        client = partial(self._client, limit=params.max_blob_bytes)
        publishers = Publishers(client, lambda: {task.id(chain_id) for task in engine.posap.open_tasks()})
        stack.push_async_callback(publishers.close)
        stack.push_async_callback(gossip.close)
        tree = engine.posap.chain.tree
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
        )
        blobs = BlobExchange(store, params.max_blob_bytes, peers.connected, lambda: _wanted_blobs(engine))
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
        server = await serve(service, config.listen, tls=config.tls.for_server())
        stack.push_async_callback(server.stop, config.stop_grace_ms / 1000)
        # Ends the streams that never end, which the server would otherwise wait for.
        stack.push_async_callback(engine.close)
        self._address = server.address
        await evaluator.start(config.threads or None, config.device, config.evaluator_memory_mb)
        peers.start(self._reachable_at or "", config.peers)
        await self._resume(store, engine)
        ticking = asyncio.create_task(self._tick(engine, store), name="tick")
        stack.push_async_callback(_cancelled, ticking)
        log.info("miner %s", format_address(self._key.address))

    async def failure(self) -> None:
        """Raises the error that makes it impossible to go on, when there is one; otherwise waits without end."""
        assert self._engine is not None, "started"
        await asyncio.shield(self._engine.failed)

    async def stop(self) -> None:
        """Stops everything in good order; what was accepted is on the disk. Raises StoreUnavailable if it is not."""
        await self._stack.aclose()

    # --- parts -------------------------------------------------------------------------------------------------------

    def _open_chain(self, genesis_file: GenesisFile, store: ChainStore, gossip: Gossip) -> Engine:
        genesis = genesis_file.genesis
        if store.is_empty:
            store.initialise(genesis_state(genesis).entries())
        for digest, data in genesis_file.blobs.items():
            store.put_blob(digest, data)
        loaded = store.load()
        settings = PoSapSettings(
            mine=self._config.mine,
            audit_share=self._config.audit_share,
            mempool_capacity=self._config.mempool_capacity,
        )
        stored = StoredChain(loaded.tip, loaded.state, tuple(loaded.tree))
        # SystemRandom: nobody may foresee which leaves are audited.
        posap = PoSap(genesis, store, self._key, random.SystemRandom(), settings, stored)
        log.info("chain %s at height %d", genesis.id().hex()[:12], loaded.height)
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
        _drop_gone(store, engine)

    async def _tick(self, engine: Engine, store: ChainStore) -> None:
        height = engine.posap.chain.height
        for number in itertools.count():
            try:
                await engine.feed(Tick())
                if engine.posap.chain.height != height:
                    height = engine.posap.chain.height
                    _tidy(engine, store)
                if number % TICKS_A_LOOK == TICKS_A_LOOK - 1:
                    await self._register(engine)
                if number % TICKS_A_TIDY == TICKS_A_TIDY - 1:
                    _drop_gone(store, engine)
            except FedCoinError as error:
                if engine.failed.done():
                    return
                log.warning("[%s] %s", error.code, error)
            except Exception:
                log.exception("a tick failed")
            await asyncio.sleep(TICK_SECONDS)

    async def _register(self, engine: Engine) -> None:
        """Registers this miner under its configured name, once it can pay the fee."""
        chain, address = engine.posap.chain, self._key.address
        if not self._config.name or not self._config.mine or is_miner(chain.state, self._key.public_key):
            return
        if self._peers is None or self._peers.syncing:
            return
        fee = chain.params.min_fee
        nonce = engine.posap.mempool.pending_nonce(address, chain.state)
        account = get_account(chain.state, address)
        if account.balance < fee or nonce != account.nonce:
            return
        body = MinerRegistration(self._config.name)
        await engine.feed(ReceiveTransaction(sign_transaction(self._key, chain.chain_id, nonce, fee, body)))
        log.info("registering as miner %s", self._config.name)


def _open_evaluator(config: MinerConfig) -> RaceEvaluator:
    if config.evaluator == "ray":
        return RayEvaluator(config.ray_address, config.ray_workers)
    return EvaluatorProcess()


def _task_of(engine: Engine, race: bytes) -> bytes:
    found = engine.posap.races.get(race)
    return found.terms.task_hash if found is not None else b""


def _wanted_blobs(engine: Engine) -> set[bytes]:
    posap = engine.posap
    problems = [*(task.problem for task in posap.open_tasks()), last_problem(posap.chain.state)]
    return {digest for problem in problems for digest in problem.blobs}


def _tidy(engine: Engine, store: ChainStore) -> None:
    """Forgets leaves and tasks that nobody will ask for any more."""
    store.drop_leaves(KEPT_RACES)
    tree, tip = engine.posap.chain.tree, engine.posap.chain.height
    for task in store.tasks():
        if not tree.contains(task.parent) or tree.height(task.parent) < tip - KEPT_RACES:
            store.delete_task(task.id(engine.posap.chain.chain_id))


def _drop_gone(store: ChainStore, engine: Engine) -> None:
    """Forgets transactions that wait no longer: replaced, or made invalid by the chain."""
    mempool, chain_id = engine.posap.mempool, engine.posap.chain.chain_id
    waiting = (transaction.id(chain_id) for transaction in store.pending())
    store.drop_pending([name for name in waiting if mempool.get(name) is None])


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
