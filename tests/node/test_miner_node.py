"""Whole miners in one process: real RPCs, RocksDB and evaluators on a tiny chain."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedcoin.core.errors import (
    BlobNotWanted,
    BlobTooLarge,
    DataFolderInUse,
    DeviceUnavailable,
    FedCoinError,
    MalformedGenesis,
    NonceUsed,
    PortInUse,
    StoreUnavailable,
    WrongChain,
)
from fedcoin.core.genesis import Allocation
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.transaction import Transaction, Transfer, sign_transaction
from fedcoin.node.config import MinerConfig
from fedcoin.node.genesis_file import GenesisFile, make_genesis, write_genesis
from fedcoin.node.miner import MinerNode, now_ms
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.views import TransactionState
from fedcoin.store.chain_store import ChainStore
from tests.support.network import PARAMS

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(120)]

KEYS = [PrivateKey(bytes([0x21 + index]) * 32) for index in range(3)]
USER = PrivateKey(b"\x77" * 32)
MAX_BLOB = 1 << 16
BLOB_PARAMS = replace(PARAMS, max_blob_bytes=MAX_BLOB, name="tiny")


@pytest.fixture(scope="module")
def genesis(tmp_path_factory: pytest.TempPathFactory) -> GenesisFile:
    miners = [key.public_key for key in KEYS]
    made = make_genesis(BLOB_PARAMS, [Allocation(USER.address, UNITS_PER_FDC)], miners, now_ms() - 1000)
    write_genesis(tmp_path_factory.getbasetemp() / "tiny.json", made)
    return made


class Village:
    """Miners in folders under one roof."""

    def __init__(self, folder: Path, genesis: GenesisFile, path: Path) -> None:
        self.folder = folder
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.path = path
        self.nodes: list[MinerNode] = []
        self.clients: list[MinerClient] = []

    def node(self, index: int, *peers: str, **changes: object) -> MinerNode:
        config = MinerConfig(
            genesis=self.path,
            key_file=self.folder / "unused",
            data_folder=self.folder / f"m{index}",
            peers=peers,
            threads=1,
            device="cpu",
            estimate_interval_ms=200,
            stop_grace_ms=500,
        )
        return MinerNode(replace(config, **changes), KEYS[index])  # type: ignore[arg-type]

    async def start(self, index: int, *peers: str, **changes: object) -> tuple[MinerNode, MinerClient]:
        node = self.node(index, *peers, **changes)
        self.nodes.append(node)
        await node.start()
        client = MinerClient(node.address)
        self.clients.append(client)
        return node, client

    def pay(self, nonce: int, amount: int = 7) -> Transaction:
        return sign_transaction(USER, self.chain_id, nonce, 1, Transfer(KEYS[0].address, amount))

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self.clients))
        await asyncio.gather(*(node.stop() for node in self.nodes))


@pytest.fixture
async def village(
    tmp_path: Path, genesis: GenesisFile, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Village]:
    made = Village(tmp_path, genesis, tmp_path_factory.getbasetemp() / "tiny.json")
    yield made
    await made.close()


async def until(condition: Callable[[], object], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.05)


async def confirmed(client: MinerClient, transaction_id: bytes) -> bool:
    try:
        return (await client.transaction(transaction_id)).state is TransactionState.CONFIRMED
    except FedCoinError:
        return False


async def agree(*clients: MinerClient) -> bool:
    found = [await client.status() for client in clients]
    return len({(status.tip, status.state_root) for status in found}) == 1


async def test_a_payment_is_mined_a_late_node_agrees_and_a_restart_goes_on(village: Village) -> None:
    alpha, first = await village.start(0)
    beta, second = await village.start(1, alpha.address)
    await until(lambda: _peers(first, 1))

    # A payment, submitted to one, is confirmed on all.
    paid = await first.submit(village.pay(0))
    assert paid == await first.submit(village.pay(0)), "handing the same in again is fine"
    await until(lambda: confirmed(first, paid))
    await until(lambda: confirmed(second, paid))
    await until(lambda: agree(first, second))
    assert (await second.account(KEYS[0].address)).balance >= 7
    with pytest.raises(NonceUsed):
        await second.submit(village.pay(0, amount=8))

    # Blobs: nobody fills the folder with what no task needs.
    with pytest.raises(BlobNotWanted):
        await first.put_blob(hashlib.sha256(b"junk").digest(), b"junk")
    large = bytes(MAX_BLOB + 1)
    with pytest.raises(BlobTooLarge):
        await first.put_blob(hashlib.sha256(large).digest(), large)
    evaluation_set = village.genesis.genesis.problem.evaluation_set
    assert await second.get_blob(evaluation_set) == village.genesis.blobs[evaluation_set]

    # A third node, started late with an empty folder, that only knows beta: it learns of alpha and catches up.
    gamma, third = await village.start(2, beta.address, mine=False)
    await until(lambda: agree(first, second, third))
    await until(lambda: _peers(third, 2))
    watch = third.watch_blocks(1)
    assert (await anext(watch)).header.height == 1

    # The status is cheap also under load, and answers while mining.
    began = time.monotonic()
    await asyncio.gather(*(third.status() for _ in range(200)))
    assert time.monotonic() - began < 5

    # Alpha is gone; what waits at beta is still there after a restart of beta, and is mined when alpha is back.
    listened = alpha.address
    await alpha.stop()
    waiting = await second.submit(village.pay(1))
    await until(lambda: _iterations(second))
    before = await second.status()
    mined = await second.mining()
    beta_address = beta.address
    began = time.monotonic()
    await beta.stop()
    assert time.monotonic() - began < 10
    store = ChainStore(village.folder / "m1", village.chain_id, BLOB_PARAMS.finality_depth)
    assert [transaction.id(village.chain_id) for transaction in store.pending()] == [waiting]
    assert store.leaf_count(mined.race) >= mined.iterations > 0
    store.close()
    beta, second = await village.start(1, listened, listen=beta_address)
    after = await second.status()
    assert (after.tip, after.state_root, after.height) == (before.tip, before.state_root, before.height)
    assert (await second.transaction(waiting)).state is TransactionState.PENDING
    await until(lambda: _iterations(second))
    assert (await second.mining()).iterations >= mined.iterations, "it extends what it has announced"
    alpha, first = await village.start(0, listen=listened)
    await until(lambda: confirmed(first, waiting))
    await until(lambda: confirmed(third, waiting))
    await until(lambda: agree(first, second, third))
    assert (await third.account(USER.address)).nonce == 2

    # Watchers do not hold up a stop.
    began = time.monotonic()
    await gamma.stop()
    assert time.monotonic() - began < 8
    with contextlib.suppress(FedCoinError):
        async for block in watch:
            assert block.header.height > 1


async def _peers(client: MinerClient, count: int) -> bool:
    return (await client.status()).peers >= count


async def _iterations(client: MinerClient) -> bool:
    return (await client.mining()).iterations > 0


async def test_a_peer_of_another_genesis_is_refused_and_both_live_on(
    village: Village, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "fedcoin.peers")
    other = make_genesis(
        replace(BLOB_PARAMS, name="other"), village.genesis.genesis.allocations, [key.public_key for key in KEYS], 1
    )
    write_genesis(village.folder / "other.json", other)
    alpha, first = await village.start(0)
    _, second = await village.start(1, alpha.address, genesis=village.folder / "other.json")
    await until(lambda: any("WRONG_GENESIS" in record.getMessage() for record in caplog.records))
    told = next(record.getMessage() for record in caplog.records if "WRONG_GENESIS" in record.getMessage())
    assert alpha.address in told
    assert "tiny" in told
    assert (await first.status()).peers == (await second.status()).peers == 0
    # Whatever is signed for one chain is nothing on the other.
    with pytest.raises(FedCoinError) as caught:
        await second.submit(village.pay(0))
    assert caught.value.code == "INVALID_SIGNATURE"


async def test_a_full_disk_is_a_failure_of_the_node(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    node, client = await village.start(0)

    def full(self: ChainStore, transaction: Transaction) -> None:
        raise StoreUnavailable("no space left on device")

    monkeypatch.setattr(ChainStore, "put_pending", full)
    with pytest.raises(FedCoinError):
        await client.submit(village.pay(0))
    with pytest.raises(StoreUnavailable, match="no space"):
        await asyncio.wait_for(node.failure(), 10)
    monkeypatch.undo()
    with pytest.raises(FedCoinError):
        await client.submit(village.pay(0))


# --- starts that fail ------------------------------------------------------------------------------------------------


async def fails(node: MinerNode, expected: type[FedCoinError]) -> str:
    async def life() -> None:
        await node.start()
        await asyncio.wait_for(node.failure(), 60)

    try:
        with pytest.raises(expected) as caught:
            await life()
    finally:
        await node.stop()
    return caught.value.message


def reopen(village: Village, index: int) -> None:
    """The data folder is free."""
    ChainStore(village.folder / f"m{index}", village.chain_id, BLOB_PARAMS.finality_depth).close()


async def test_a_port_in_use_leaves_nothing_behind(village: Village) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert address in await fails(village.node(0, listen=address), PortInUse)
    reopen(village, 0)


async def test_a_folder_in_use_or_of_another_chain_is_refused(village: Village) -> None:
    store = ChainStore(village.folder / "m0", village.chain_id, BLOB_PARAMS.finality_depth)
    assert "m0" in await fails(village.node(0), DataFolderInUse)
    store.close()
    other = make_genesis(
        replace(BLOB_PARAMS, name="other"), [Allocation(USER.address, 1)], [key.public_key for key in KEYS], 1
    )
    write_genesis(village.folder / "other.json", other)
    assert "m0" in await fails(village.node(0, genesis=village.folder / "other.json"), WrongChain)
    reopen(village, 0)


async def test_a_damaged_genesis_is_told_in_a_sentence(village: Village) -> None:
    (village.folder / "broken.json").write_text('{"format": "fedcoin-genesis"')
    assert "broken.json" in await fails(village.node(1, genesis=village.folder / "broken.json"), MalformedGenesis)
    assert not (village.folder / "m1").exists()


async def test_an_evaluator_that_does_not_start_leaves_nothing_behind(village: Village) -> None:
    node = village.node(0, device="cuda:99")
    await fails(node, DeviceUnavailable)
    reopen(village, 0)
    host, port = node.address.split(":")
    with socket.socket() as probe:
        probe.bind((host, int(port)))


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.5])
async def test_a_start_that_is_cancelled_leaves_nothing_behind(village: Village, delay: float) -> None:
    node = village.node(0)
    starting = asyncio.create_task(node.start())
    await asyncio.sleep(delay)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await node.stop()
    reopen(village, 0)
