"""Every RPC of a miner, through MinerClient, over a real connection."""

from __future__ import annotations

import asyncio
import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from fedcoin.core import errors
from fedcoin.rpc.blobs import CHUNK_BYTES
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.views import TransactionState

SOURCE = "me.example:7070"


async def test_node_and_peers(samples: SimpleNamespace, miner: Any, miner_client: MinerClient) -> None:
    assert await miner_client.status() == samples.STATUS
    assert await miner_client.peers() == samples.PEERS
    assert await miner_client.announce("host:7", samples.key("k")) == samples.PEERS[:2]
    assert miner.received == [(("host:7", samples.key("k")), None)]
    assert await miner_client.genesis() == samples.GENESIS


async def test_tasks(samples: SimpleNamespace, miner: Any, miner_client: MinerClient) -> None:
    assert await miner_client.task_terms() == samples.TERMS
    assert await miner_client.publish_task(samples.TASK) == samples.TASK.id(samples.h("chain"))
    assert miner.received == [(samples.TASK, SOURCE)]
    assert await miner_client.open_tasks() == [samples.TASK, samples.TASK]


async def test_estimates_and_mining(samples: SimpleNamespace, miner: Any, miner_client: MinerClient) -> None:
    await miner_client.receive_estimate(samples.ESTIMATE)
    assert miner.received == [(samples.ESTIMATE, SOURCE)]
    assert await miner_client.estimates(b"") == [samples.ESTIMATE]
    assert await miner_client.estimates(samples.h("race")) == [samples.ESTIMATE] * 3
    assert await miner_client.mining() == samples.PROGRESS


async def test_leaves(samples: SimpleNamespace, miner: Any, miner_client: MinerClient) -> None:
    race, key = samples.h("race"), samples.key("m")
    indices = list(range(300, 0, -1))
    proofs = await miner_client.leaves(race, key, 500, indices)
    assert proofs == await miner.leaves(race, key, 500, indices)
    with pytest.raises(errors.LeavesNotFound):
        await miner_client.leaves(samples.h("other"), key, 5, [0])


async def test_blocks(samples: SimpleNamespace, miner: Any, miner_client: MinerClient) -> None:
    await miner_client.receive_block(samples.BLOCK)
    assert miner.received == [(samples.BLOCK, SOURCE)]
    assert await miner_client.block() == samples.BLOCK
    assert await miner_client.block(height=41) == samples.AUDIT_BLOCK
    assert await miner_client.block(samples.h("previous")) == samples.AUDIT_BLOCK
    with pytest.raises(errors.BlockNotFound, match="no block at height 0"):
        await miner_client.block(height=0)
    locator = [samples.h("a"), samples.h("b")]
    assert [block async for block in miner_client.blocks_after(locator, 3)] == [samples.BLOCK] * 3
    assert miner.received[-1] == (tuple(locator), None)


async def test_watching_ends_on_both_sides(samples: SimpleNamespace, miner: Any, miner_client: MinerClient) -> None:
    watch = miner_client.watch_blocks(3)
    for block in (samples.BLOCK, samples.AUDIT_BLOCK):
        miner.tip.put_nowait(block)
        assert await anext(watch) == block
    await watch.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while ("watch ended", None) not in miner.received:
            await miner_client.status()


@pytest.mark.parametrize("name", ["TRANSFER", "DEPOSIT", "REGISTRATION"])
async def test_submit(samples: SimpleNamespace, miner: Any, miner_client: MinerClient, name: str) -> None:
    transaction = getattr(samples, name)
    assert await miner_client.submit(transaction) == transaction.id(samples.h("chain"))
    assert miner.received == [(transaction, SOURCE)]


async def test_ledger_lookups(samples: SimpleNamespace, miner_client: MinerClient) -> None:
    assert await miner_client.transaction(samples.h("tx")) == samples.TRANSACTION_INFO
    assert (await miner_client.transaction(samples.h("other"))).state is TransactionState.UNKNOWN
    assert await miner_client.account((7).to_bytes(20, "big")) == samples.account_info(7)
    assert await miner_client.order(bytes([3]) * 32) == samples.order_info(3)
    with pytest.raises(errors.OrderNotFound):
        await miner_client.order(samples.h("none"))
    assert await miner_client.mempool() == [samples.TRANSFER, samples.DEPOSIT, samples.REGISTRATION]
    assert await miner_client.mempool(2) == [samples.TRANSFER, samples.DEPOSIT]


async def test_lists_run_over_pages(samples: SimpleNamespace, miner_client: MinerClient) -> None:
    everybody = await miner_client.accounts(b"", 5000)
    assert everybody == [samples.account_info(index) for index in range(2300)]
    assert await miner_client.accounts(everybody[9].address, 3) == everybody[10:13]
    assert await miner_client.history(samples.address("z")) == samples.HISTORY
    assert await miner_client.history(samples.address("z"), (9, 1), 1) == samples.HISTORY[1:2]
    assert await miner_client.miners() == [samples.miner_info(index) for index in range(5)]
    assert await miner_client.miners(samples.miner_info(3).public_key) == [samples.miner_info(4)]
    assert await miner_client.fraud_cases() == [samples.case_info(index) for index in range(3)]
    assert await miner_client.fraud_cases(bytes([1]) * 32, 1) == [samples.case_info(2)]
    assert await miner_client.orders() == [samples.order_info(index) for index in range(5)]
    assert await miner_client.orders(bytes([2]) * 32) == [samples.order_info(3), samples.order_info(4)]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 17])
async def test_blobs_travel_both_ways(miner: Any, miner_client: MinerClient, size: int) -> None:
    data = bytes(size)
    digest = hashlib.sha256(data).digest()
    assert await miner_client.blob_size(digest) is None
    await miner_client.put_blob(digest, data)
    assert miner.held == {digest: data}
    assert await miner_client.blob_size(digest) == size
    assert await miner_client.get_blob(digest) == data
    assert await miner_client.max_blob_bytes() == miner.limit


async def test_blobs_that_are_refused(samples: SimpleNamespace, miner: Any, miner_client: MinerClient) -> None:
    with pytest.raises(errors.BlobNotFound):
        await miner_client.get_blob(samples.h("none"))
    with pytest.raises(errors.BlobMismatch):
        await miner_client.put_blob(samples.h("wrong"), b"data")
    with pytest.raises(errors.BlobTooLarge):
        await miner_client.put_blob(samples.h("large"), bytes(miner.limit + 1))
    unwanted = b"unwanted" * 10
    with pytest.raises(errors.BlobNotWanted):
        await miner_client.put_blob(hashlib.sha256(unwanted).digest(), unwanted)
    assert miner.held == {}


async def test_a_peer_cannot_hand_out_wrong_or_too_large_blobs(
    samples: SimpleNamespace, miner: Any, miner_client: MinerClient
) -> None:
    miner.held[samples.h("x")] = b"something else"
    with pytest.raises(errors.BlobMismatch):
        await miner_client.get_blob(samples.h("x"))
    with pytest.raises(errors.BlobTooLarge):
        await miner_client.get_blob(samples.h("x"), limit=5)


async def test_peers_that_answer_more_than_asked_are_caught(
    samples: SimpleNamespace, miner: Any, miner_client: MinerClient
) -> None:
    async def many(locator: Any, limit: int) -> Any:
        while True:
            yield samples.AUDIT_BLOCK

    miner.blocks_after = many
    with pytest.raises(errors.MalformedEncoding, match="more than the 2 blocks"):
        [block async for block in miner_client.blocks_after([], 2)]


async def test_a_failing_node_tells_its_peer_nothing(
    miner: Any, miner_client: MinerClient, caplog: pytest.LogCaptureFixture
) -> None:
    miner.failure = RuntimeError("secret path /home/x")
    with pytest.raises(errors.FedCoinError) as caught:
        await miner_client.status()
    assert caught.value.code == "INTERNAL"
    assert "secret" not in caught.value.message
    assert "secret path" in caplog.text
    miner.failure = errors.StoreCorrupt("/home/x is broken")
    with pytest.raises(errors.FedCoinError) as caught:
        await miner_client.status()
    assert "/home/x" not in caught.value.message
