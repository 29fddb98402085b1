"""Servers that withhold blobs, hand out a model that no evaluator bears, or publish too much: the chain goes on."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedcoin.core.errors import FedCoinError, TooManyTasks
from fedcoin.core.genesis import Allocation
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import Order, Transfer, sign_transaction
from fedcoin.node import mining as mining_module
from fedcoin.node.config import MinerConfig
from fedcoin.node.genesis_file import make_genesis, write_genesis
from fedcoin.node.miner import MinerNode, now_ms
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.views import TransactionState
from tests.adversaries.conftest import Gained
from tests.adversaries.hostile_server import HostileServer
from tests.support.network import PARAMS
from tests.support.tiny_federation import EVALUATION_SET

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]

KEYS = [PrivateKey(bytes([0x21 + index]) * 32) for index in range(2)]
USER, SERVER = PrivateKey(b"\x77" * 32), PrivateKey(b"\x78" * 32)
HOUR = 3_600_000


class Miners:
    """Two whole miners, with evaluators, and what attacker and user do to them."""

    def __init__(self, nodes: list[MinerNode], chain_id: bytes) -> None:
        self.nodes = nodes
        self.chain_id = chain_id
        self.clients = [MinerClient(node.address, retry=Retry(2)) for node in nodes]
        self.server = HostileServer(SERVER, chain_id)

    async def pay(self, key: PrivateKey) -> None:
        """A payment of `key` is submitted and confirmed."""
        first = self.clients[0]
        nonce = (await first.account(key.address)).pending_nonce
        paid = await first.submit(sign_transaction(key, self.chain_id, nonce, 1, Transfer(KEYS[0].address, 1)))
        await self.confirmed(paid)

    async def confirmed(self, transaction: bytes) -> None:
        async def seen() -> bool:
            found = [await client.transaction(transaction) for client in self.clients]
            return all(each.state is TransactionState.CONFIRMED for each in found)

        await until(seen)

    async def order(self) -> tuple[bytes, Order]:
        """An order of the server's own is on the chain."""
        signed = self.server.order(SERVER, 0, 1, now_ms() + HOUR)
        order_id = await self.clients[0].submit(signed)
        await self.confirmed(order_id)
        assert isinstance(signed.body, Order)
        return order_id, signed.body

    async def racing(self, kind: RaceKind) -> bool:
        return all([(await client.mining()).kind == kind for client in self.clients])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(150):
        while True:
            try:
                if await condition():
                    return
            except FedCoinError:
                pass
            await asyncio.sleep(0.1)


@pytest.fixture
async def miners(tmp_path: Path) -> AsyncIterator[Miners]:
    allocations = [Allocation(key.address, UNITS_PER_FDC) for key in (USER, SERVER)]
    params = replace(PARAMS, name="hostile", max_blob_bytes=1 << 20)
    made = make_genesis(params, allocations, [key.public_key for key in KEYS], now_ms() - 1000)
    write_genesis(tmp_path / "genesis.json", made)
    nodes: list[MinerNode] = []
    for index, key in enumerate(KEYS):
        config = MinerConfig(
            genesis=tmp_path / "genesis.json",
            key_file=tmp_path / "unused",
            data_folder=tmp_path / f"m{index}",
            peers=tuple(node.address for node in nodes),
            threads=1,
            device="cpu",
            estimate_interval_ms=200,
            stop_grace_ms=500,
        )
        nodes.append(MinerNode(config, key))
        await nodes[-1].start()
    miners = Miners(nodes, made.chain_id)
    yield miners
    await asyncio.gather(*(client.close() for client in miners.clients))
    await asyncio.gather(*(node.stop() for node in nodes))


async def test_the_chain_goes_on_whatever_a_server_publishes(
    miners: Miners, gained: Gained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining_module, "PATIENCE_SECONDS", 1.0)
    order_id, order = await miners.order()
    await beyond_its_rights(miners, order_id, order, gained)
    await useless(miners, order_id, order, gained)


async def useless(miners: Miners, order_id: bytes, order: Order, gained: Gained) -> None:
    """Tasks within all rules, and nobody can work on them."""
    first = miners.clients[0]

    # Updates that are nowhere.
    withheld = await miners.server.task(first, order_id, order, (b"base", b"one", b"two"))
    await first.publish_task(withheld)
    await until(lambda: miners.racing(RaceKind.TASK))
    await miners.pay(USER)

    # Everything is there, and no evaluator can open it.
    blobs = (b"no base", b"no update", b"nor this")
    junk = await miners.server.task(first, order_id, order, blobs)
    await first.publish_task(junk)
    for data in (*blobs, EVALUATION_SET):
        digest = hashlib.sha256(data).digest()
        assert digest in junk.problem.blobs
        for client in miners.clients:
            await client.put_blob(digest, data)
    await miners.pay(USER)
    gained("a server that withholds blobs, or hands out junk", "its own order waits; payments are confirmed")


async def beyond_its_rights(miners: Miners, order_id: bytes, order: Order, gained: Gained) -> None:
    """Tasks for others' orders or on other terms, and too many."""
    first = miners.clients[0]
    task = await miners.server.task(first, order_id, order, (b"base", b"one", b"two"))
    stranger = HostileServer(USER, miners.chain_id)
    refusals = {
        "by another server": stranger.sign(task, server=USER.public_key),
        "at another price": miners.server.sign(task, train_price=task.train_price + 1),
        "of a round to come": miners.server.sign(task, round=1),
        "with another model": miners.server.sign(task, problem=replace(task.problem, evaluation_set=bytes(32))),
        "easier than the chain says": miners.server.sign(task, difficulty=task.difficulty + 1),
        "beyond its order": miners.server.sign(task, expiry=order.expiry + 1),
        "of a client twice": miners.server.sign(task, contributors=(task.contributors[0],) * 2),
        "of updates its clients did not sign": miners.server.sign(task, contributors=task.contributors[::-1]),
    }
    for what, message in refusals.items():
        with pytest.raises(FedCoinError):
            await first.publish_task(message)
        assert await first.open_tasks() == [], what
    taken = 0
    for number in range(50):
        try:
            await first.publish_task(miners.server.sign(task, opened_at=task.opened_at + number))
            taken += 1
        except TooManyTasks:
            continue
    assert taken == len(await first.open_tasks()) == 4
    await miners.pay(USER)
    gained("a server with 50 tasks for one round", f"{taken} are taken, of which miners work on one")
