"""Connections that break the rules of HTTP/2 and gRPC below what a gRPC library would send."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from fedcoin.rpc.address import split_address

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _PRIORITY, _RESET, _SETTINGS, _PING, _WINDOW, _CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
_END_STREAM, _END_HEADERS = 1, 4
_SECONDS = 0.5
_PATH = "/fedcoin.v1.NodeService/GetStatus"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(path: str = _PATH, **more: str) -> bytes:
    """A header block without compression: literals that are not indexed."""
    fields = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "content-type": "application/grpc",
        "te": "trailers", **more,
    }  # fmt: skip
    block = b""
    for name, value in fields.items():
        block += b"\x00" + bytes([len(name)]) + name.encode() + bytes([min(len(value), 126)]) + value.encode()[:126]
    return block


OPENING = PREFACE + frame(_SETTINGS, 0, 0, b"")
_CALL = OPENING + frame(_HEADERS, _END_HEADERS, 1, headers())

Broken = Callable[[random.Random], bytes]
KINDS: tuple[Broken, ...] = (
    lambda draw: draw.randbytes(draw.randrange(1, 300)),
    lambda draw: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    lambda draw: PREFACE[: draw.randrange(1, len(PREFACE))],
    lambda draw: OPENING + draw.randbytes(draw.randrange(1, 500)),
    lambda draw: OPENING + frame(draw.randrange(12), draw.randrange(256), draw.randrange(4), draw.randbytes(40)),
    # A frame that announces more than there is, and one larger than allowed.
    lambda draw: OPENING + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(2000),
    lambda draw: _CALL + frame(_DATA, 0, 1, b"\x00\xff\xff\xff\xff" + bytes(20)),
    # A message prefix cut short, with a flag that does not exist, compressed without saying how.
    lambda draw: _CALL + frame(_DATA, _END_STREAM, 1, b"\x00\x00"),
    lambda draw: _CALL + frame(_DATA, _END_STREAM, 1, b"\x07\x00\x00\x00\x00"),
    lambda draw: _CALL + frame(_DATA, _END_STREAM, 1, b"\x01\x00\x00\x00\x02zz"),
    lambda draw: _CALL + frame(_DATA, _END_STREAM, 1, b"\x00\x00\x00\x00\x00" * 50),
    # Headers that never end, that are garbage, that repeat, or come on stream 0 or an even one.
    lambda draw: OPENING + frame(_HEADERS, 0, 1, headers()) + frame(_CONTINUATION, 0, 1, b"\x00\x01a\x01b") * 200,
    lambda draw: OPENING + frame(_HEADERS, _END_HEADERS, 1, draw.randbytes(80)),
    lambda draw: OPENING + frame(_HEADERS, _END_HEADERS, draw.choice((0, 2)), headers()),
    lambda draw: _CALL + frame(_HEADERS, _END_HEADERS, 1, headers()),
    lambda draw: OPENING + frame(_HEADERS, _END_HEADERS, 1, headers("no-slash", **{"grpc-timeout": "-1x"})),
    lambda draw: OPENING + frame(_HEADERS, _END_HEADERS, 1, headers(**{"grpc-encoding": "gzip"})) + frame(
        _DATA, _END_STREAM, 1, b"\x01\x00\x00\x00\x04abcd"),
    # Opened and reset at once, many times; windows that overflow; settings without end.
    lambda draw: OPENING + b"".join(
        frame(_HEADERS, _END_HEADERS, 2 * i + 1, headers()) + frame(_RESET, 0, 2 * i + 1, bytes(4)) for i in range(100)
    ),
    lambda draw: _CALL + frame(_WINDOW, 0, 1, b"\x7f\xff\xff\xff") * 3,
    lambda draw: OPENING + frame(_SETTINGS, 0, 0, b"\x00\x04\xff\xff\xff\xff" * 20) * 20,
    lambda draw: OPENING + frame(_PING, 0, 0, bytes(8)) * 100,
    lambda draw: _CALL + frame(_PRIORITY, 0, 1, b"\x00\x00\x00\x01\xff"),
)  # fmt: skip


class Abuse:
    """Opens a connection, breaks a rule on it, reads a little, and leaves."""

    def __init__(self, address: str, draw: random.Random) -> None:
        self._host, self._port = split_address(address)
        self._draw = draw
        self.answers = b""
        """The last bytes that came back."""

    async def once(self) -> None:
        """One connection. The node may close it, answer with an error, or wait for more."""
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            return
        try:
            writer.write(self._draw.choice(KINDS)(self._draw))
            async with asyncio.timeout(_SECONDS):
                await writer.drain()
                self.answers = await reader.read(4096)
        except (OSError, TimeoutError):
            return
        finally:
            writer.close()
