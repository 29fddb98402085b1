"""Bytes are judged before they become objects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from fedcoin.core.errors import MalformedEncoding, RequestTooLarge
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.convert import to_message
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.wire import SMALL, check_fields, reader
from fedcoin.v1.block_service_pb2 import PropagateBlockRequest


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def many_empty_transactions(count: int) -> bytes:
    block = b"\x32\x00" * count
    return b"\x0a" + varint(len(block)) + block


def test_a_message_of_millions_of_empty_parts_is_not_parsed() -> None:
    parsed: list[int] = []

    class Spy:
        DESCRIPTOR = PropagateBlockRequest.DESCRIPTOR

        def parse(self, data: bytes) -> None:
            parsed.append(len(data))

    read = reader(Spy().parse, 2**24)
    with pytest.raises(RequestTooLarge, match="fields"):
        read(many_empty_transactions(2**20)).take()
    assert parsed == []
    read(many_empty_transactions(SMALL)).take()
    assert parsed


def test_fields_are_counted_at_every_depth(samples: SimpleNamespace) -> None:
    data = PropagateBlockRequest(block=to_message(samples.BLOCK)).SerializeToString()
    fields = next(n for n in range(1, 1000) if _passes(data, n))
    assert not _passes(data, fields - 1)
    request = PropagateBlockRequest(block=to_message(samples.BLOCK))
    request.block.task.problem.updates.add()
    assert not _passes(request.SerializeToString(), fields)
    assert _passes(request.SerializeToString(), fields + 1)


def _passes(data: bytes, limit: int) -> bool:
    try:
        check_fields(data, PropagateBlockRequest.DESCRIPTOR, limit)
    except RequestTooLarge:
        return False
    return True


@pytest.mark.parametrize(
    "data", [b"\x0a\x05\x32", b"\x0a\xff", b"\x08" + b"\xff" * 20, b"\x0b", b"\x0c", b"\x0d\x00", b"\x0a\x02\x32\x05"]
)
def test_broken_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEncoding):
        check_fields(data, PropagateBlockRequest.DESCRIPTOR, 1000)


@pytest.mark.parametrize("answer", [b"\xff\xff", many_empty_transactions(2**20)])
async def test_answers_of_a_hostile_peer_are_judged_too(answer: bytes) -> None:
    async def respond(request: bytes, context: Any) -> bytes:
        return answer

    server = grpc.aio.server()
    handlers = {"GetBlock": grpc.unary_unary_rpc_method_handler(respond)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("fedcoin.v1.BlockService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with MinerClient(f"127.0.0.1:{port}", retry=Retry(1)) as client:
        with pytest.raises(MalformedEncoding, match=f"127.0.0.1:{port} gives an answer"):
            await client.block()
    await server.stop(0)
