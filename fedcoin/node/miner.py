"""The miner: the one place where its parts are wired together."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from fedcoin.consensus.chain import StoredChain
from fedcoin.consensus.messages import ReceiveTask, ReceiveTransaction, Tick
from fedcoin.consensus.posap import PoSap, PoSapSettings
from fedcoin.core.errors import FedCoinError, StoreUnavailable
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import RaceKind, race_id
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
from fedcoin.node.genesis_file import GenesisFile, load_genesis
from fedcoin.node.gossip import Gossip
from fedcoin.node.leaf_server import LeafServer
from fedcoin.node.miner_handler import MinerService
from fedcoin.node.mining import Mining
from fedcoin.node.peers import Peers
from fedcoin.node.sync import Sync
from fedcoin.rpc.handlers import BlobHandler
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import RunningServer, serve
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.miner")

TICK_SECONDS = 0.25
KEPT_RACES = 100
"""Races whose leaves are kept, so that a late node can still audit."""
KEPT_PUBLISHERS = 64


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class MinerNode:
    """A full node: chain, peers, mempool, evaluator."""

    def __init__(self, config: MinerConfig, key: PrivateKey) -> None:
        """`config` has been checked. Nothing is opened before `start`."""
        self._config = config
        self._key = key
        self._store: ChainStore | None = None
        self._server: RunningServer | None = None
        self._peers: Peers | None = None
        self._mining: Mining | None = None
        self._engine: Engine | None = None
        self._gossip = Gossip()
        self._evaluator = EvaluatorProcess()
        self._ticking: asyncio.Task[None] | None = None
        self._publishers: OrderedDict[bytes, MinerClient] = OrderedDict()

    @property
    def address(self) -> str:
        """HOST:PORT on which it listens."""
        return self._server.address if self._server is not None else self._config.listen

    async def start(self) -> None:
        """Opens the chain, starts the evaluator, listens, and connects to peers.

        Raises MalformedGenesis, DataFolderInUse, WrongChain, StoreCorrupt, PortInUse, DeviceUnavailable and the like; what
        was started by then is stopped by `stop`.
        """
        genesis_file = load_genesis(self._config.genesis)
        genesis = genesis_file.genesis
        chain_id = genesis.id()
        self._store = store = ChainStore(self._config.data_folder, chain_id, genesis.params.finality_depth)
        engine = self._open_chain(genesis_file, store)
        self._engine = engine
        blobs = BlobExchange(
            store, genesis.params.max_blob_bytes, lambda: self._require_peers().connected(), self._wanted_blobs
        )
        leaves = LeafServer(store)
        auditor = Auditor(self._evaluator, lambda miner: self._require_peers().of_miner(miner), blobs.fetch)
        batch_seconds = self._config.estimate_interval_ms / 1000
        self._mining = mining = Mining(
            engine, self._evaluator, auditor, blobs, store, self._publishers_of, batch_seconds
        )
        engine.attach(mining)
        self._peers = peers = Peers(
            self._client,
            self._gossip,
            Sync(engine, store),
            store,
            chain_id,
            self._key.public_key,
            self._config.max_peers,
            now_ms,
            engine.posap.chain.tree.contains,
        )
        service = MinerService(
            engine, store, peers, mining, blobs, leaves, lambda: self._evaluator.device, self._note_publisher, now_ms()
        )
        self._server = await serve(service, self._config.listen, tls=self._config.tls.for_server())
        await self._evaluator.start(self._config.threads or None, self._config.device)
        peers.start(self._config.advertise or self._server.address, self._config.peers)
        await self._resume(store, engine)
        self._ticking = asyncio.create_task(self._tick(engine, store), name="tick")

    async def failure(self) -> None:
        """Raises the error that makes it impossible to go on, when there is one; otherwise waits without end."""
        assert self._engine is not None, "started"
        assert self._engine.failed is not None, "started"
        await asyncio.shield(self._engine.failed)

    async def stop(self) -> None:
        """Stops everything in good order; what was accepted is on the disk."""
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(self._config.stop_grace_ms / 1000)
        if self._mining is not None:
            await self._mining.close()
        await self._gossip.close()
        if self._peers is not None:
            await self._peers.close()
        await asyncio.gather(*(client.close() for client in self._publishers.values()), return_exceptions=True)
        await self._evaluator.stop()
        if self._store is not None:
            await asyncio.to_thread(self._store.sync)
            self._store.close()
            self._store = None

    # --- parts -------------------------------------------------------------------------------------------------------

    def _open_chain(self, genesis_file: GenesisFile, store: ChainStore) -> Engine:
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
        return Engine(posap, store, self._gossip, now_ms)

    def _client(self, address: str) -> MinerClient:
        tls = self._config.tls.for_client()
        return MinerClient(address, tls=tls, own_address=self._config.advertise or self.address)

    def _require_peers(self) -> Peers:
        assert self._peers is not None, "made before anything asks"
        return self._peers

    # --- who has blobs -----------------------------------------------------------------------------------------------

    def _note_publisher(self, task: bytes, address: str) -> None:
        if task not in self._publishers:
            self._publishers[task] = self._client(address)
        while len(self._publishers) > KEPT_PUBLISHERS:
            _, client = self._publishers.popitem(last=False)
            asyncio.get_running_loop().create_task(client.close())

    def _publishers_of(self, race: bytes) -> Iterable[BlobHandler]:
        assert self._engine is not None, "made before anything asks"
        chain = self._engine.posap.chain
        return [
            client for task, client in self._publishers.items() if race_id(RaceKind.TASK, task, chain.tip) == race
        ]

    def _wanted_blobs(self) -> set[bytes]:
        assert self._engine is not None, "made before anything asks"
        posap = self._engine.posap
        problems = [task.problem for task in posap.open_tasks()] + [last_problem(posap.chain.state)]
        return {digest for problem in problems for digest in problem.blobs}

    # --- life --------------------------------------------------------------------------------------------------------

    async def _resume(self, store: ChainStore, engine: Engine) -> None:
        """Takes up again what was accepted before a restart."""
        events: Sequence[ReceiveTask | ReceiveTransaction] = [
            *(ReceiveTransaction(transaction) for transaction in store.pending()),
            *(ReceiveTask(task) for task in store.tasks()),
        ]
        for event in events:
            try:
                await engine.feed(event)
            except FedCoinError as error:
                log.debug("not taken up again: %s", error.code)

    async def _tick(self, engine: Engine, store: ChainStore) -> None:
        height = engine.posap.chain.height
        while True:
            try:
                await engine.feed(Tick())
                if engine.posap.chain.height != height:
                    height = engine.posap.chain.height
                    self._tidy(engine, store)
                    await self._register(engine)
            except StoreUnavailable:
                return  # The engine has seen it and the node stops.
            except FedCoinError as error:
                log.warning("[%s] %s", error.code, error)
            await asyncio.sleep(TICK_SECONDS)

    def _tidy(self, engine: Engine, store: ChainStore) -> None:
        """Forgets leaves and tasks that nobody will ask for any more."""
        store.drop_leaves(KEPT_RACES)
        tree, tip = engine.posap.chain.tree, engine.posap.chain.height
        for task in store.tasks():
            if not tree.contains(task.parent) or tree.height(task.parent) < tip - KEPT_RACES:
                store.delete_task(task.id(engine.posap.chain.chain_id))

    async def _register(self, engine: Engine) -> None:
        """Registers this miner under its configured name, once it can pay the fee."""
        chain, address = engine.posap.chain, self._key.address
        if not self._config.name or not self._config.mine or is_miner(chain.state, self._key.public_key):
            return
        fee = chain.params.min_fee
        nonce = engine.posap.mempool.pending_nonce(address, chain.state)
        account = get_account(chain.state, address)
        if account.balance < fee or nonce != account.nonce:
            return
        body = MinerRegistration(self._config.name)
        await engine.feed(ReceiveTransaction(sign_transaction(self._key, chain.chain_id, nonce, fee, body)))
        log.info("registering as miner %s", self._config.name)
