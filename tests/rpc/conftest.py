"""Small handlers in memory, and real servers on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from fedcoin.core.block import Block
from fedcoin.core.errors import (
    BlobNotFound,
    BlobNotWanted,
    BlockNotFound,
    LeavesNotFound,
    NotTheRequester,
    OrderNotFound,
    OrderRefused,
)
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.genesis import Genesis
from fedcoin.core.task import Task, UpdateCommitment
from fedcoin.core.transaction import Order, Transaction
from fedcoin.rpc import views
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import RunningServer, serve
from fedcoin.rpc.server_client import ServerClient
from tests.support import rpc_values
from tests.support.rpc_values import (
    AUDIT_BLOCK,
    BLOCK,
    DEPOSIT,
    ESTIMATE,
    GENESIS,
    HISTORY,
    OFFER,
    ORDER_PROGRESS,
    PEERS,
    PROGRESS,
    REGISTRATION,
    SERVER_INFO,
    STATUS,
    TASK,
    TERMS,
    TRANSACTION_INFO,
    TRANSFER,
    UNKNOWN_TRANSACTION,
    account_info,
    case_info,
    h,
    key,
    miner_info,
    order_info,
)


@dataclass
class Blobs:
    """A BlobHandler in memory."""

    held: dict[bytes, bytes] = field(default_factory=dict)
    limit: int = 4 * 2**20

    async def blob_size(self, digest: bytes) -> int | None:
        return len(self.held[digest]) if digest in self.held else None

    async def get_blob(self, digest: bytes) -> bytes:
        if digest not in self.held:
            raise BlobNotFound
        return self.held[digest]

    async def blob_part(self, digest: bytes, start: int) -> bytes:
        return (await self.get_blob(digest))[start : start + 2**22]

    async def expect_blob(self, digest: bytes, size: int) -> bool:
        return digest not in self.held

    async def put_blob(self, digest: bytes, data: bytes) -> None:
        if data.startswith(b"unwanted"):
            raise BlobNotWanted
        self.held[digest] = data

    async def max_blob_bytes(self) -> int:
        return self.limit


@dataclass
class Miner(Blobs):
    """A MinerHandler in memory, which keeps what it is handed."""

    received: list[tuple[Any, str | None]] = field(default_factory=list)
    failure: Exception | None = None
    tip: asyncio.Queue[Block] = field(default_factory=asyncio.Queue)

    async def status(self) -> views.NodeStatus:
        if self.failure is not None:
            raise self.failure
        return STATUS

    async def genesis(self) -> Genesis:
        return GENESIS

    async def peers(self) -> Sequence[views.PeerInfo]:
        return PEERS

    async def announce(self, address: str, public_key: bytes, caller: str = "") -> Sequence[views.PeerInfo]:
        self.received.append(((address, public_key), None))
        return PEERS[:2]

    async def prove(self, nonce: bytes) -> tuple[str, bytes]:
        return "me.example:7070", nonce + nonce

    async def mining(self) -> views.MiningProgress:
        return PROGRESS

    async def task_terms(self) -> views.TaskTerms:
        return TERMS

    async def publish_task(self, task: Task, source: str | None) -> bytes:
        self.received.append((task, source))
        return task.id(h("chain"))

    async def open_tasks(self) -> Sequence[Task]:
        return [TASK, TASK]

    async def receive_estimate(self, estimate: Estimate, source: str | None) -> None:
        self.received.append((estimate, source))

    async def estimates(self, race: bytes) -> Sequence[Estimate]:
        return [ESTIMATE] * (3 if race else 1)

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        if race != h("race"):
            raise LeavesNotFound
        return [LeafProof(index, index.to_bytes(8, "big") * 3, (h("l"), h("r"))) for index in indices]

    async def receive_block(self, block: Block, source: str | None) -> None:
        self.received.append((block, source))

    async def block(self, block_hash: bytes | None, height: int | None) -> Block:
        if block_hash is None and height is None:
            return BLOCK
        if height == 41 or block_hash == h("previous"):
            return AUDIT_BLOCK
        raise BlockNotFound(f"no block at height {height}")

    async def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        self.received.append((tuple(locator), None))
        for _ in range(min(limit, 5)):
            yield BLOCK

    async def watch_blocks(self, from_height: int) -> AsyncIterator[Block]:
        try:
            while True:
                yield await self.tip.get()
        finally:
            self.received.append(("watch ended", None))

    async def receive_transactions(self, transactions: Sequence[Transaction], source: str | None) -> Mapping[int, str]:
        self.received.append((transactions, source))
        return {index: "NONCE_USED" for index, one in enumerate(transactions) if one.nonce == 0}

    async def submit(self, transaction: Transaction, source: str | None) -> bytes:
        self.received.append((transaction, source))
        return transaction.id(h("chain"))

    async def transaction(self, transaction_id: bytes) -> views.TransactionInfo:
        return TRANSACTION_INFO if transaction_id == h("tx") else UNKNOWN_TRANSACTION

    async def account(self, address: bytes) -> views.AccountInfo:
        return account_info(int.from_bytes(address, "big"))

    async def accounts(self, after: bytes, limit: int) -> Sequence[views.AccountInfo]:
        first = int.from_bytes(after, "big") + 1 if after else 0
        return [account_info(index) for index in range(first, min(first + limit, 2300))]

    async def history(self, address: bytes, before: tuple[int, int] | None, limit: int) -> Sequence[views.HistoryEntry]:
        return [entry for entry in HISTORY if before is None or (entry.height, entry.index) < before][:limit]

    async def order(self, order_id: bytes) -> views.OrderInfo:
        if order_id == h("none"):
            raise OrderNotFound
        return order_info(order_id[0])

    async def orders(self, after: bytes, limit: int) -> Sequence[views.OrderInfo]:
        first = after[0] + 1 if after else 0
        return [order_info(index) for index in range(first, min(first + limit, 5))]

    async def miners(self, after: bytes, limit: int) -> Sequence[views.MinerInfo]:
        return [info for info in map(miner_info, range(5)) if info.public_key > after][:limit]

    async def fraud_cases(self, after: bytes, limit: int) -> Sequence[views.FraudCaseInfo]:
        return [info for info in map(case_info, range(3)) if info.case_id > after][:limit]

    async def mempool(self, limit: int) -> Sequence[Transaction]:
        return [TRANSFER, DEPOSIT, REGISTRATION][:limit]


@dataclass
class Server(Blobs):
    """A ServerHandler in memory."""

    received: list[Any] = field(default_factory=list)
    model: bytes = b"model" * 500_000

    async def status(self) -> views.NodeStatus:
        return STATUS

    async def info(self) -> views.ServerInfo:
        return SERVER_INFO

    async def offer_order(self, order: Order) -> None:
        if order.amount == 1:
            raise OrderRefused("1 unit is too little for 1000 rounds")
        self.received.append(order)

    async def order_progress(self, order_id: bytes) -> views.OrderProgress:
        return ORDER_PROGRESS

    async def watch_order(self, order_id: bytes) -> AsyncIterator[views.OrderProgress]:
        yield ORDER_PROGRESS
        yield ORDER_PROGRESS

    async def final_model(self, order_id: bytes, public_key: bytes, requested_at: int, signature: bytes) -> bytes:
        if public_key != key("requester"):
            raise NotTheRequester
        return self.model

    async def join(self, public_key: bytes, samples: int, joined_at: int, signature: bytes) -> None:
        self.received.append((public_key, samples, joined_at, signature))

    async def poll_round(self, public_key: bytes, wait_seconds: float) -> views.RoundOffer | None:
        self.received.append(wait_seconds)
        return OFFER if public_key == key("selected") else None

    async def expect_update(self, commitment: UpdateCommitment, public_key: bytes, signature: bytes, size: int) -> bool:
        return True

    async def submit_update(
        self, commitment: UpdateCommitment, public_key: bytes, signature: bytes, data: bytes
    ) -> None:
        self.received.append((commitment, public_key, signature, data))


class Client:
    """A NodeHandler and nothing else."""

    async def status(self) -> views.NodeStatus:
        return STATUS


@pytest.fixture(scope="session")
def samples() -> SimpleNamespace:
    """The values of every kind, and the handlers above."""
    return SimpleNamespace(**vars(rpc_values), Miner=Miner, Server=Server, Client=Client)


Start = Callable[..., Awaitable[RunningServer]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers on free ports and stops them after the test."""
    running: list[RunningServer] = []

    async def begin(handler: Any, at: str = "127.0.0.1:0", **options: Any) -> RunningServer:
        server = await serve(handler, at, **options)
        running.append(server)
        return server

    yield begin
    for server in running:
        await server.stop(0)


@pytest.fixture
def miner() -> Miner:
    return Miner()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def miner_client(start: Start, miner: Miner) -> AsyncIterator[MinerClient]:
    """A client of a running miner; it says that it listens itself."""
    running = await start(miner)
    async with MinerClient(running.address, own_address="me.example:7070", retry=Retry(1)) as client:
        yield client


@pytest.fixture
async def server_client(start: Start, server: Server) -> AsyncIterator[ServerClient]:
    running = await start(server)
    async with ServerClient(running.address, retry=Retry(1)) as client:
        yield client
