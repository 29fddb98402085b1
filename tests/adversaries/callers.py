"""Hostile callers: they open connections and calls as no client of ours would."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from fedcoin.v1 import blob_service_pb2 as blob_pb
from fedcoin.v1 import block_service_pb2 as block_pb

NEVER_SHARED = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1))
MIB = 2**20


class Attacker:
    """Connections of its own to one victim, and raw calls over them. Leaving it hangs up."""

    def __init__(self, address: str, connections: int = 1) -> None:
        self.address = address
        self._channels = [grpc.aio.insecure_channel(address, options=NEVER_SHARED) for _ in range(connections)]
        self._calls: list[Any] = []
        self._never = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*(channel.close() for channel in self._channels))

    def channel(self, number: int) -> grpc.aio.Channel:
        """One of the connections, in turn."""
        return self._channels[number % len(self._channels)]

    async def send(self, method: str, request: bytes, number: int = 0) -> str:
        """One raw call; returns its status, with the reason if it was refused."""
        try:
            await self.channel(number).unary_unary(f"/fedcoin.v1.{method}")(request, timeout=30)
        except grpc.aio.AioRpcError as failure:
            return f"{failure.code().name}: {failure.details()}"
        return "OK"

    async def refused(self) -> Counter[str]:
        """Statuses of the calls that have ended so far."""
        ended = [call for call in self._calls if call.done()]
        return Counter([(await call.code()).name for call in ended])


class HalfOpener(Attacker):
    """Begins calls and never sends their message, so that each would hold its place for ever."""

    def attack(self, calls: int) -> None:
        for number in range(calls):
            stub = self.channel(number).stream_unary("/fedcoin.v1.NodeService/GetStatus")
            self._calls.append(stub(self._silence()))

    async def _silence(self) -> AsyncIterator[bytes]:
        await self._never.wait()
        yield b""


class Hoarder(Attacker):
    """Begins uploads of blobs that nobody needs, as large as they may be."""

    def attack(self, uploads: int, size: int) -> None:
        for number in range(uploads):
            stub = self.channel(number).stream_unary("/fedcoin.v1.BlobService/UploadBlob")
            self._calls.append(stub(self._junk(number, size)))

    async def _junk(self, number: int, size: int) -> AsyncIterator[bytes]:
        digest = number.to_bytes(32, "big")
        yield blob_pb.UploadBlobRequest(header=blob_pb.BlobHeader(digest=digest, size=size)).SerializeToString()
        chunk = blob_pb.UploadBlobRequest(chunk=bytes(MIB)).SerializeToString()
        for _ in range(size // MIB - 1):
            yield chunk
        await self._never.wait()


class DeafReader(Attacker):
    """Begins downloads and never reads them."""

    def attack(self, digest: bytes, downloads: int) -> None:
        request = blob_pb.DownloadBlobRequest(digest=digest).SerializeToString()
        for number in range(downloads):
            stub = self.channel(number).unary_stream("/fedcoin.v1.BlobService/DownloadBlob")
            self._calls.append(stub(request))


class Subscriber(Attacker):
    """Subscribes to blocks and to health without end."""

    def attack(self, subscriptions: int) -> None:
        request = block_pb.WatchBlocksRequest(from_height=1).SerializeToString()
        for number in range(subscriptions):
            channel = self.channel(number)
            health = channel.unary_stream("/grpc.health.v1.Health/Watch")
            blocks = channel.unary_stream("/fedcoin.v1.BlockService/WatchBlocks")
            self._calls.append(health(b"") if number % 2 else blocks(request))


class Garbler(Attacker):
    """Sends bytes that are no messages, or that nest as deeply as their size allows."""

    METHODS = (
        "TaskService/PublishTask",
        "BlockService/PropagateBlock",
        "ShapleyService/SendEstimate",
        "TransactionService/SubmitTransaction",
        "PeerService/Announce",
        "BlobService/StatBlob",
    )

    async def garbage(self, messages: int, rng: random.Random) -> Counter[str]:
        """Random bytes to every method."""
        found: Counter[str] = Counter()
        for number in range(messages):
            data = rng.randbytes(rng.choice((1, 10, 1_000, 60_000)))
            found[(await self.send(self.METHODS[number % len(self.METHODS)], data, number)).partition(":")[0]] += 1
        return found

    async def nested(self, size: int, number: int = 0) -> str:
        """A field in a field in a field, `size` bytes in all."""
        data = b""
        while len(data) < size:
            length = len(data)
            varint = bytearray()
            while length > 0x7F:
                varint.append(length & 0x7F | 0x80)
                length >>= 7
            data = b"\x0a" + bytes([*varint, length]) + data
        return await self.send("BlockService/PropagateBlock", data, number)

    async def grouped(self, depth: int, number: int = 0) -> str:
        """Groups in groups, a form that no message of ours has."""
        return await self.send("BlockService/PropagateBlock", b"\x0b" * depth + b"\x0c" * depth, number)

    async def bloated(self, size: int, number: int = 0) -> str:
        """A message of empty submessages: two bytes each on the wire, ninety in memory."""
        return await self.send(
            "BlockService/PropagateBlock", b"\x0a" + _varint(size) + b"\x1a\x00" * (size // 2), number
        )


def open_idle(address: str, connections: int) -> Sequence[socket.socket]:
    """TCP connections over which nothing is ever said. As many as the victim takes."""
    host, _, port = address.rpartition(":")
    opened: list[socket.socket] = []
    for _ in range(connections):
        try:
            opened.append(socket.create_connection((host, int(port)), timeout=2))
        except OSError:
            break
    return opened


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
