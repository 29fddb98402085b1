"""Bytes that no client of ours would send, against real servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from fedcoin.core import errors
from fedcoin.core.errors import FedCoinError
from fedcoin.rpc.calls import Deadlines, Retry
from fedcoin.rpc.convert import to_message
from fedcoin.rpc.errors import from_call
from fedcoin.rpc.limits import RULES, Limits, Rule
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.score import BanRule, Scores
from fedcoin.v1 import blob_service_pb2, block_service_pb2, peer_service_pb2, shapley_service_pb2, task_service_pb2
from fedcoin.v1 import transaction_service_pb2 as transaction_pb


@pytest.fixture
async def channel(start: Any, miner: Any) -> AsyncIterator[grpc.aio.Channel]:
    lenient = Scores(BanRule(seconds=0), time.monotonic)
    running = await start(miner, limits=Limits(idle_seconds=0.2), scores=lenient)
    async with grpc.aio.insecure_channel(running.address) as opened:
        yield opened


async def ask(channel: grpc.aio.Channel, method: str, request: bytes, metadata: Any = ()) -> bytes:
    """Sends raw bytes; raises what the answer means."""
    try:
        answer: bytes = await channel.unary_unary(f"/fedcoin.v1.{method}")(request, metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as failure:
        raise from_call(failure, "peer") from None
    return answer


async def send(channel: grpc.aio.Channel, method: str, requests: Any) -> bytes:
    try:
        answer: bytes = await channel.stream_unary(f"/fedcoin.v1.{method}")(requests, timeout=20)
    except grpc.aio.AioRpcError as failure:
        raise from_call(failure, "peer") from None
    return answer


@pytest.mark.parametrize("data", [b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x08", b"\x0a\x02\xc3\x28"])
@pytest.mark.parametrize("method", ["TaskService/PublishTask", "BlockService/PropagateBlock", "PeerService/Announce"])
async def test_bytes_that_are_no_message(channel: grpc.aio.Channel, method: str, data: bytes) -> None:
    with pytest.raises((errors.MalformedEncoding, errors.InvalidPeerAddress)) as caught:
        await ask(channel, method, data)
    assert "Error" not in caught.value.message


@pytest.mark.parametrize(
    "method",
    [
        "TaskService/PublishTask",
        "ShapleyService/SendEstimate",
        "ShapleyService/GetLeaves",
        "BlockService/PropagateBlock",
        "TransactionService/SubmitTransaction",
        "TransactionService/GetTransaction",
        "TransactionService/GetAccount",
        "TransactionService/ListHistory",
        "TransactionService/GetOrder",
        "BlobService/StatBlob",
    ],
)
async def test_empty_requests_are_malformed(channel: grpc.aio.Channel, method: str) -> None:
    with pytest.raises(errors.MalformedEncoding):
        await ask(channel, method, b"")


async def test_oversized_messages_are_refused_before_they_are_parsed(
    channel: grpc.aio.Channel, samples: SimpleNamespace, miner: Any
) -> None:
    request = shapley_service_pb2.SendEstimateRequest(estimate=to_message(samples.ESTIMATE), request_id="x" * 70_000)
    with pytest.raises(errors.RequestTooLarge):
        await ask(channel, "ShapleyService/SendEstimate", request.SerializeToString())
    with pytest.raises(errors.RateLimited, match="larger than max"):
        await ask(channel, "BlockService/PropagateBlock", bytes(17 * 2**20))
    assert miner.received == []


async def test_a_block_with_a_wrong_length_inside(channel: grpc.aio.Channel, samples: SimpleNamespace) -> None:
    request = block_service_pb2.PropagateBlockRequest(block=to_message(samples.BLOCK))
    request.block.certificate[0].signature = b"x"
    with pytest.raises(errors.MalformedEncoding, match=r"Estimate\.signature"):
        await ask(channel, "BlockService/PropagateBlock", request.SerializeToString())


async def test_long_request_ids_are_refused(channel: grpc.aio.Channel, samples: SimpleNamespace) -> None:
    request = task_service_pb2.PublishTaskRequest(task=to_message(samples.TASK), request_id="x" * 65)
    with pytest.raises(errors.RequestIdTooLong):
        await ask(channel, "TaskService/PublishTask", request.SerializeToString())


@pytest.mark.parametrize("address", ["", "host", "host:0", "host:99999", "\x1b[2J:1", "a" * 5000 + ":1"])
async def test_announced_addresses_are_checked(
    channel: grpc.aio.Channel, samples: SimpleNamespace, address: str
) -> None:
    request = peer_service_pb2.AnnounceRequest(address=address, public_key=samples.key("k"))
    with pytest.raises(errors.InvalidPeerAddress):
        await ask(channel, "PeerService/Announce", request.SerializeToString())


@pytest.mark.parametrize(("claim", "source"), [("h.example:7", "h.example:7"), ("nonsense", None), ("h:0", None)])
async def test_a_source_is_an_address_or_none(
    channel: grpc.aio.Channel, samples: SimpleNamespace, miner: Any, claim: str, source: str | None
) -> None:
    request = transaction_pb.SubmitTransactionRequest(transaction=to_message(samples.TRANSFER))
    await ask(channel, "TransactionService/SubmitTransaction", request.SerializeToString(), [("fedcoin-peer", claim)])
    assert miner.received == [(samples.TRANSFER, source)]


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("TransactionService/ListOrders", transaction_pb.ListOrdersRequest(page_token="made up")),
        ("TransactionService/ListAccounts", transaction_pb.ListAccountsRequest(page_token="AAAA")),
        ("TransactionService/ListMempool", transaction_pb.ListMempoolRequest(page_token="AAAA")),
        ("PeerService/ListPeers", peer_service_pb2.ListPeersRequest(page_token="AAAA")),
    ],
)
async def test_made_up_page_tokens(channel: grpc.aio.Channel, method: str, request_: Any) -> None:
    with pytest.raises(errors.InvalidPageToken):
        await ask(channel, method, request_.SerializeToString())


async def test_negative_page_sizes(channel: grpc.aio.Channel) -> None:
    with pytest.raises(errors.InvalidPageSize):
        await ask(
            channel, "TransactionService/ListOrders", transaction_pb.ListOrdersRequest(page_size=-1).SerializeToString()
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"tree_size": 10, "indices": []},
        {"tree_size": 10, "indices": [10]},
        {"tree_size": 2**60, "indices": [0]},
        {"tree_size": 2**20, "indices": list(range(1025))},
    ],
)
async def test_leaves_out_of_range(channel: grpc.aio.Channel, samples: SimpleNamespace, fields: Any) -> None:
    request = shapley_service_pb2.GetLeavesRequest(race=samples.h("race"), miner=samples.key("m"), **fields)
    with pytest.raises(errors.MalformedEncoding):
        await ask(channel, "ShapleyService/GetLeaves", request.SerializeToString())


def header(samples: SimpleNamespace, size: int) -> blob_service_pb2.UploadBlobRequest:
    announced = blob_service_pb2.BlobHeader(digest=samples.h("x"), size=size)
    return blob_service_pb2.UploadBlobRequest(header=announced)


def chunk(data: bytes) -> blob_service_pb2.UploadBlobRequest:
    return blob_service_pb2.UploadBlobRequest(chunk=data)


async def test_uploads_that_do_not_keep_their_word(channel: grpc.aio.Channel, samples: SimpleNamespace) -> None:
    cases: list[tuple[list[Any], type[FedCoinError]]] = [
        ([], errors.TransferCutShort),
        ([chunk(b"x")], errors.MalformedEncoding),
        ([header(samples, 1), header(samples, 1)], errors.MalformedEncoding),
        ([header(samples, 2**63)], errors.BlobTooLarge),
        ([header(samples, 10), chunk(b"x")], errors.TransferCutShort),
        ([header(samples, 10), chunk(b"x" * 11)], errors.BlobMismatch),
        ([header(samples, 10), chunk(b"")], errors.BlobMismatch),
        ([header(samples, 2**21), chunk(bytes(2**20 + 1))], errors.BlobMismatch),
        ([header(samples, 2**22), chunk(bytes(2**21))], errors.RequestTooLarge),
    ]
    for messages, kind in cases:
        with pytest.raises(kind):
            await send(channel, "BlobService/UploadBlob", iter([item.SerializeToString() for item in messages]))
    with pytest.raises(errors.MalformedEncoding):
        await send(channel, "BlobService/UploadBlob", iter([b"\xff\xff"]))


async def test_an_upload_that_stalls_is_ended(channel: grpc.aio.Channel, samples: SimpleNamespace) -> None:
    never = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield header(samples, 10).SerializeToString()
        await never.wait()

    with pytest.raises(errors.RequestTooSlow, match="nothing has arrived"):
        await send(channel, "BlobService/UploadBlob", stalled())


async def test_calls_beyond_the_rate_are_refused(start: Any, miner: Any) -> None:
    now = [0.0]
    running = await start(miner, limits=Limits(calls_per_second=1, call_burst=3), clock=lambda: now[0])
    async with MinerClient(running.address, retry=Retry(1)) as client:
        for _ in range(3):
            await client.status()
        with pytest.raises(errors.RateLimited, match="1 calls a second"):
            await client.status()
        now[0] = 1.0
        await client.status()


async def test_bytes_beyond_the_rate_are_refused(start: Any, miner: Any, samples: SimpleNamespace) -> None:
    running = await start(miner, limits=Limits(bytes_per_second=1, byte_burst=5000), clock=lambda: 0.0)
    async with MinerClient(running.address, retry=Retry(1)) as client:
        await client.receive_block(samples.BLOCK)
        await client.receive_block(samples.BLOCK)
        with pytest.raises(errors.RateLimited, match="MiB a second"):
            await client.receive_block(samples.BLOCK)
    assert len(miner.received) == 2


async def test_one_peer_runs_only_so_many_calls(start: Any, miner: Any, samples: SimpleNamespace) -> None:
    running = await start(miner, limits=Limits(concurrent_per_peer=1))
    async with MinerClient(running.address, retry=Retry(1)) as client:
        watch = client.watch_blocks(0)
        miner.tip.put_nowait(samples.BLOCK)
        await anext(watch)
        with pytest.raises(errors.RateLimited, match="wait for one to end"):
            await client.status()
        await watch.aclose()  # type: ignore[attr-defined]


async def test_slow_handlers_are_ended_on_either_side(start: Any, miner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    async def never() -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("handler")

    miner.status = never
    running = await start(miner)
    async with MinerClient(running.address, deadlines=Deadlines(call=0.1)) as client:
        with pytest.raises(errors.PeerTimeout, match=running.address):
            await client.status()
    monkeypatch.setitem(RULES, "/fedcoin.v1.NodeService/GetStatus", Rule(seconds=0.05))
    async with MinerClient(running.address, retry=Retry(1)) as client:
        with pytest.raises(errors.TimeLimitExceeded):
            await client.status()
    assert ended == ["handler", "handler"]
