"""The parts of a miner on a real store, without a network and without an evaluator."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from fedcoin.consensus.chain import StoredChain
from fedcoin.consensus.messages import ReceiveBlock, ReceiveTransaction
from fedcoin.consensus.posap import PoSap, PoSapSettings
from fedcoin.core.block import Block
from fedcoin.core.errors import PeerUnreachable
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import Transaction, Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.genesis import genesis_state
from fedcoin.node.auditor import Auditor
from fedcoin.node.blobs import BlobExchange
from fedcoin.node.engine import Engine
from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.gossip import Gossip
from fedcoin.node.leaf_server import LeafServer
from fedcoin.node.miner_handler import MinerService
from fedcoin.node.mining import Mining
from fedcoin.node.peers import Peers
from fedcoin.node.sync import Sync
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.store.chain_store import ChainStore
from tests.support.blocks import adopted
from tests.support.network import MINERS, REQUESTER, START, Network

NOW = START + 3_600_000
FOLLOWER = PrivateKey(b"\x0f" * 32)


def _nobody(address: str) -> MinerClient:
    raise PeerUnreachable(address)


class Parts:
    """A miner that follows the chain and does not mine. To be made where an event loop runs."""

    def __init__(self, folder: Path, genesis: Genesis, connect: Callable[[str], MinerClient] = _nobody) -> None:
        """`connect`: a client for an address, or what stands for one."""
        self.store = ChainStore(folder, genesis.id(), genesis.params.finality_depth)
        if self.store.is_empty:
            self.store.initialise(genesis_state(genesis).entries())
        loaded = self.store.load()
        stored = StoredChain(loaded.tip, loaded.state, tuple(loaded.tree))
        settings = PoSapSettings(mine=False, patience_ms=-1)
        self.posap = PoSap(genesis, self.store, FOLLOWER, random.Random(1), settings, stored)
        self.gossip = Gossip()
        self.engine = Engine(self.posap, self.store, self.gossip, lambda: NOW)
        self.sync = Sync(self.engine, self.store)
        self.peers = Peers(
            connect, self.gossip, self.sync, self.store, genesis.id(), FOLLOWER.public_key, 8, lambda: NOW, self.knows
        )
        evaluator = EvaluatorProcess()
        blobs = BlobExchange(self.store, 1 << 20, list, set)
        auditor = Auditor(evaluator, lambda miner: [], blobs.fetch)
        mining = Mining(self.engine, evaluator, auditor, blobs, self.store, lambda race: [], 1.0)
        self.publishers: list[tuple[bytes, str]] = []
        self.service = MinerService(
            self.engine,
            self.store,
            self.peers,
            mining,
            blobs,
            LeafServer(self.store),
            lambda: "cpu",
            lambda task, address: self.publishers.append((task, address)),
            NOW,
        )

    def knows(self, block_hash: bytes) -> bool:
        return self.posap.chain.tree.contains(block_hash)

    async def adopt(self, blocks: list[Block]) -> None:
        for block in blocks:
            await self.engine.feed(ReceiveBlock(block))

    async def close(self) -> None:
        await self.engine.close()
        await self.gossip.close()
        await self.peers.close()
        self.store.close()


def transfer(chain_id: bytes, nonce: int, amount: int = 1) -> Transaction:
    return sign_transaction(REQUESTER, chain_id, nonce, 1, Transfer(MINERS[0].address, amount))


def make_chain(genesis: Genesis, length: int, seed: int = 1) -> list[Block]:
    """Valid blocks with a transfer each, made by three simulated miners. Another seed makes another branch."""
    network = Network(genesis, nodes=3, seed=seed)
    chain = network.nodes[0].posap.chain
    while min(network.heights()) < length:
        height = max(network.heights())
        nonce = get_account(chain.state, REQUESTER.address).nonce
        network.feed(network.nodes[0], ReceiveTransaction(transfer(network.chain_id, nonce, seed)))
        network.run(lambda: min(network.heights()) > height)  # noqa: B023
    return adopted(chain)[:length]
