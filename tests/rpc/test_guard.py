"""Who gets in: bans, places, subscriptions, and callers that never say what they want."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import struct
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from fedcoin.core import errors
from fedcoin.rpc import quiet
from fedcoin.rpc.budget import Budget
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.errors import from_call
from fedcoin.rpc.limits import CONNECTION_SECONDS, DEFAULT_RULE, RULES, Allowances, Limits, Pace, Rule
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.score import POINTS, BanRule, Scores
from fedcoin.v1 import blob_service_pb2

STATUS = "/fedcoin.v1.NodeService/GetStatus"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def opening(path: str, stream: int) -> bytes:
    """The headers of a gRPC call whose message is yet to come."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return frame(1, 4, stream, block)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")


async def until_ended(reader: asyncio.StreamReader, streams: int) -> None:
    """Reads frames until so many streams have ended."""
    ended: set[int] = set()
    async with asyncio.timeout(60):
        while len(ended) < streams:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == 3 or (head[3] in {0, 1} and head[4] & 1):
                ended.add(int.from_bytes(head[5:], "big"))


async def test_callers_that_never_send_their_message_hold_no_place_for_long(
    start: Any, miner: Any, samples: SimpleNamespace
) -> None:
    """gRPC itself would hold these calls until the caller goes, and refuse everybody else."""
    running = await start(miner, limits=Limits(concurrent=40, concurrent_per_peer=20, idle_seconds=0.3))
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(PREFACE + b"".join(opening(STATUS, 1 + 2 * number) for number in range(60)))
    await until_ended(reader, 40)  # those beyond the limit of one peer, at once
    async with MinerClient(running.address, retry=Retry(1)) as client:
        assert await client.status() == samples.STATUS
    await until_ended(reader, 20)  # the others, when nothing has come for a while
    writer.write(opening(STATUS, 1001))
    await until_ended(reader, 1)
    writer.close()
    async with MinerClient(running.address, retry=Retry(1)) as client:
        assert await client.status() == samples.STATUS


async def test_a_banned_caller_is_refused_with_a_reason_until_the_ban_is_over(
    start: Any, miner: Any, samples: SimpleNamespace
) -> None:
    now = [0.0]
    scores = Scores(BanRule(threshold=20, seconds=30), lambda: now[0])
    running = await start(miner, scores=scores)
    async with grpc.aio.insecure_channel(running.address) as channel:

        async def call(method: str, data: bytes) -> Any:
            try:
                return await channel.unary_unary(method)(data, timeout=20)
            except grpc.aio.AioRpcError as failure:
                raise from_call(failure, "it") from None

        for _ in range(4):
            with pytest.raises(errors.MalformedEncoding):
                await call("/fedcoin.v1.BlockService/PropagateBlock", b"\xff\xff")
        for _ in range(3):
            with pytest.raises(errors.PeerBanned, match="come back in 30 s") as caught:
                await call(STATUS, b"")
            assert caught.value.reported
        # Others on this machine are other callers.
        async with MinerClient(running.address, retry=Retry(1)) as client:
            assert await client.status() == samples.STATUS
        now[0] = 30.0
        await call(STATUS, b"")


async def test_what_another_node_reports_is_not_the_callers_fault(start: Any, miner: Any) -> None:
    miner.failure = errors.InvalidSignature("as a peer of ours says")
    miner.failure.reported = True
    scores = Scores(BanRule(threshold=1), lambda: 0.0)
    running = await start(miner, scores=scores)
    async with MinerClient(running.address, retry=Retry(1)) as client:
        for _ in range(3):
            with pytest.raises(errors.InvalidSignature):
                await client.status()
    assert len(scores) == 0


async def test_subscriptions_leave_room_for_other_calls(start: Any, miner: Any, samples: SimpleNamespace) -> None:
    running = await start(miner, limits=Limits(long_per_peer=2, long=3))

    async def one_block(from_height: int) -> AsyncIterator[Any]:
        yield samples.BLOCK
        await asyncio.Event().wait()

    miner.watch_blocks = one_block

    async def watch(client: MinerClient) -> Any:
        blocks = client.watch_blocks(0)
        await anext(blocks)
        return blocks

    async with MinerClient(running.address, retry=Retry(1)) as client:
        held = [await watch(client), await watch(client)]
        with pytest.raises(errors.RateLimited, match="subscriptions"):
            await watch(client)
        assert await client.status() == samples.STATUS
        await held.pop().aclose()
        async with asyncio.timeout(60):
            while len(held) < 2:  # the place is free once the server has heard of it
                with contextlib.suppress(errors.RateLimited):
                    held.append(await watch(client))
        for blocks in held:
            await blocks.aclose()


def test_the_limit_of_subscriptions_is_over_all_peers() -> None:
    allowances = Allowances(Limits(long_per_peer=2, long=3), lambda: 0.0)
    watching = Rule(seconds=None)
    ends = [allowances.admit(f"ipv4:10.0.0.{number // 2}:1", "watch", watching)[1] for number in range(3)]
    # One that has none yet is not charged for what the others hold.
    for peer in ("ipv4:10.0.0.0:1", "ipv4:10.0.0.9:1"):
        with pytest.raises(errors.NodeBusy, match="subscriptions"):
            allowances.admit(peer, "watch", watching)
    ends[2]()
    allowances.admit("ipv4:10.0.0.9:1", "watch", watching)


def test_a_costly_rpc_has_a_limit_of_its_own() -> None:
    allowances = Allowances(Limits(), lambda: 0.0)
    propagate = "/fedcoin.v1.BlockService/PropagateBlock"
    rule = RULES[propagate]
    ends = [allowances.admit("ipv4:10.0.0.1:1", propagate, rule)[1] for _ in range(rule.concurrent or 0)]
    with pytest.raises(errors.RateLimited, match="of this RPC"):
        allowances.admit("ipv4:10.0.0.1:1", propagate, rule)
    allowances.admit("ipv4:10.0.0.1:1", STATUS, DEFAULT_RULE)
    allowances.admit("ipv4:10.0.0.2:1", propagate, rule)
    ends[0]()
    allowances.admit("ipv4:10.0.0.1:1", propagate, rule)


def test_one_address_calls_over_so_many_connections_only() -> None:
    now = [0.0]
    allowances = Allowances(Limits(connections_per_peer=2), lambda: now[0])
    for port in (1, 2, 1, 2):
        allowances.admit(f"ipv4:10.0.0.1:{port}", STATUS, DEFAULT_RULE)
    with pytest.raises(errors.RateLimited, match="connections"):
        allowances.admit("ipv4:10.0.0.1:3", STATUS, DEFAULT_RULE)
    allowances.admit("ipv4:10.0.0.2:3", STATUS, DEFAULT_RULE)
    now[0] = CONNECTION_SECONDS + 1  # the two have been quiet
    allowances.admit("ipv4:10.0.0.1:3", STATUS, DEFAULT_RULE)


async def test_connections_beyond_the_limit_are_closed(start: Any, miner: Any) -> None:
    running = await start(miner, limits=Limits(connections=3))
    held = []
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(PREFACE)
        await reader.readexactly(9)
        held.append(writer)
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        assert await reader.read(1) == b""
    for one in (*held, writer):
        one.close()


async def test_an_upload_that_trickles_is_ended(start: Any, miner: Any, samples: SimpleNamespace) -> None:
    """A byte now and then keeps within every pause; the average is what counts."""
    running = await start(miner, limits=Limits(slow_seconds=0.2, slowest=10_000))
    pause = asyncio.Event()

    async def trickle() -> AsyncIterator[Any]:
        header = blob_service_pb2.BlobHeader(digest=samples.h("x"), size=2**20)
        yield blob_service_pb2.UploadBlobRequest(header=header).SerializeToString()
        while True:
            yield blob_service_pb2.UploadBlobRequest(chunk=b"x").SerializeToString()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pause.wait(), 0.02)

    async with grpc.aio.insecure_channel(running.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.stream_unary("/fedcoin.v1.BlobService/UploadBlob")(trickle(), timeout=60)
    assert isinstance(from_call(caught.value, "it"), errors.RequestTooSlow)


async def test_a_caller_that_does_not_read_its_answer_gives_its_place_back(start: Any, miner: Any) -> None:
    data = bytes(4 * 2**20)
    digest = hashlib.sha256(data).digest()
    miner.held[digest] = data
    scores = Scores(None, lambda: 0.0)
    running = await start(miner, limits=Limits(idle_seconds=0.3, concurrent_per_peer=1), scores=scores)
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    request = blob_service_pb2.DownloadBlobRequest(digest=digest).SerializeToString()
    message = b"\x00" + struct.pack(">I", len(request)) + request
    writer.write(PREFACE + opening("/fedcoin.v1.BlobService/DownloadBlob", 1) + frame(0, 1, 1, message))
    async with asyncio.timeout(60):
        while not len(scores):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    host, port = writer.get_extra_info("sockname")
    assert scores.points(f"ipv4:{host}:{port}") == POINTS["REQUEST_TOO_SLOW"]
    writer.close()


async def test_callers_that_go_away_do_not_fill_the_log(
    start: Any, miner: Any, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytes(4 * 2**20)
    digest = hashlib.sha256(data).digest()
    miner.held[digest] = data
    running = await start(miner)
    request = blob_service_pb2.DownloadBlobRequest(digest=digest).SerializeToString()
    message = b"\x00" + struct.pack(">I", len(request)) + request
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(PREFACE + opening("/fedcoin.v1.BlobService/DownloadBlob", 1) + frame(0, 1, 1, message))
            writer.write(opening(STATUS, 3) + frame(0, 1, 3, b"\x00" * 5))
            await writer.drain()
            await asyncio.sleep(0)
            writer.transport.abort()
        async with MinerClient(running.address, retry=Retry(1)) as client:
            await client.status()
        await running.stop(0)
    assert [record.getMessage() for record in caplog.records] == []


def test_what_grpc_says_of_its_own_faults_is_kept() -> None:
    def record(error: BaseException | None) -> logging.LogRecord:
        facts = (type(error), error, None) if error is not None else None
        return logging.LogRecord(quiet.LOGGER, logging.ERROR, "", 0, "text", (), facts)

    gone = type("ExecuteBatchError", (Exception,), {})("x")
    assert [quiet.CallerGone().filter(record(error)) for error in (gone, asyncio.CancelledError())] == [False, False]
    assert [quiet.CallerGone().filter(record(error)) for error in (None, ValueError("x"))] == [True, True]


def test_the_pace_of_a_stream_is_its_average() -> None:
    pace = Pace(Limits(slow_seconds=10, slowest=100))
    pace.add(1, 10.0)
    with pytest.raises(errors.RequestTooSlow):
        pace.add(1, 0.1)
    good = Pace(Limits(slow_seconds=10, slowest=100))
    for _ in range(100):
        good.add(100, 1.0)


async def test_memory_of_transfers_is_shared_out_in_turn() -> None:
    budget = Budget(10)
    order: list[str] = []
    release = {name: asyncio.Event() for name in ("a", "b", "c", "d")}

    async def hold(name: str, amount: int) -> None:
        async with budget.take(amount):
            order.append(name)
            await release[name].wait()

    first, second = asyncio.create_task(hold("a", 6)), asyncio.create_task(hold("b", 6))
    third, fourth = asyncio.create_task(hold("c", 1)), asyncio.create_task(hold("d", 100))
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["a"], "a small one does not pass one that has waited longer"
    second.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["a", "c"]
    for event in release.values():
        event.set()
    await asyncio.gather(first, third, fourth)
    assert order == ["a", "c", "d"]
