"""Sends a node malformed messages over real connections, and counts what comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from fedcoin.rpc.channel import open_channel
from fuzzlib.broken_http2 import Abuse
from fuzzlib.forge import Forge, Method, methods

CALLS_A_CONNECTION = 20_000
"""Then a new connection: a node must forget the old one."""
_SECONDS_A_CALL = 20.0
_SECONDS_A_STREAM = 0.1
"""After which a call that would wait or stream without end is cancelled."""
_ANSWERS_READ = 3

_REFUSED_BY_LIMITS = ("RATE_LIMITED", "PEER_BANNED")
_OUR_FAULT = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
_NOT_SENT = "Internal error from Core"
"""gRPC's own words in this process, for a call that it has refused to begin."""
_LARGE = 300_000
_EXTRA = (
    ("/grpc.health.v1.Health/Check", False),
    ("/grpc.health.v1.Health/Watch", True),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", True),
)
_UNKNOWN = ("/fedcoin.v1.BlockService/Nothing", "/fedcoin.v1.Nothing/GetBlock", "/x", "//", "/" + "a" * 4000)


@dataclass
class Tally:
    """What was sent and what came back."""

    messages: int = 0
    decoded: int = 0
    """Messages of calls that ended with an answer or an error of FedCoin's own: they have met decoder or handler."""
    limited: int = 0
    """Messages refused by limits on rates or by bans."""
    abused: int = 0
    """Connections with broken HTTP/2."""
    answers: Counter[str] = field(default_factory=Counter)
    """Status of each call."""
    faults: list[str] = field(default_factory=list)
    """What must never come back: INTERNAL, UNKNOWN, tracebacks."""

    def note(self, path: str, messages: int, code: str, details: str, own: bool) -> None:
        """One call has ended. `own`: with an answer or an error of FedCoin's own."""
        if details.startswith(_NOT_SENT):
            self.answers["not sent"] += 1
            return
        self.messages += messages
        self.answers[code] += 1
        if any(word in details for word in _REFUSED_BY_LIMITS):
            self.limited += messages
        elif own:
            self.decoded += messages
        if code in {status.name for status in _OUR_FAULT} or "Traceback" in details:
            self.faults.append(f"{path}: {code}: {details[:300]}")


class Bombardment:
    """Several connections to one node, each with many calls at once."""

    def __init__(
        self, address: str, seed: int, *, services: list[str] | None = None, lanes: int = 32, connections: int = 4
    ) -> None:
        """`services`: of the node's role (None: all). `lanes`: calls at the same time; `connections`: TCP."""
        self._address = address
        self._forge = Forge(seed)
        self._methods = methods(services)
        self._lanes = lanes
        self._connections = connections
        self._abuse = Abuse(address, self._forge.random)
        self.tally = Tally()

    async def learn(self) -> None:
        """Asks the node for what it has: material for messages that are nearly right."""
        channel: Any
        async with open_channel(self._address, None) as channel:
            for method in self._methods:
                if method.client_streaming:
                    continue
                for request in (method.empty(), self._forge.message(method.request)):
                    await self._learn_from(channel, method, request.SerializeToString())

    async def _learn_from(self, channel: Any, method: Method, request: bytes) -> None:
        try:
            if method.server_streaming:
                call = channel.unary_stream(method.path)(request, timeout=1.0)
                async for answer in call:
                    self._forge.learn(method.answer(answer))
                    break
                call.cancel()
            else:
                self._forge.learn(method.answer(await channel.unary_unary(method.path)(request, timeout=5.0)))
        except grpc.aio.AioRpcError:
            return

    async def send(self, messages: int, progress: Callable[[Tally], None] = lambda tally: None) -> Tally:
        """Sends messages until so many have been sent in all. `progress` is told now and then."""
        while self.tally.messages < messages:
            until = min(messages, self.tally.messages + CALLS_A_CONNECTION * self._connections)
            channels = [
                grpc.aio.insecure_channel(
                    self._address, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
                )
                for _ in range(self._connections)
            ]
            try:
                await asyncio.gather(
                    *(self._lane(channels[lane % len(channels)], until, progress) for lane in range(self._lanes))
                )
            finally:
                for channel in channels:
                    await channel.close(None)
        return self.tally

    async def _lane(self, channel: Any, until: int, progress: Callable[[Tally], None]) -> None:
        while self.tally.messages < until:
            await self._one(channel)
            progress(self.tally)

    async def _one(self, channel: Any) -> None:
        draw = self._forge.random
        method, chance = draw.choice(self._methods), draw.random()
        if chance < 0.002:
            await self._abuse.once()
            self.tally.abused += 1
            self.tally.messages += 1
        elif chance < 0.01:
            path, streams = draw.choice(_EXTRA)
            await self._call(channel, path, self._few(method, 3) if streams else self._few(method, 1), streams, 0.05)
        elif chance < 0.02:
            await self._call(channel, draw.choice(_UNKNOWN), self._few(method, 2), False, _SECONDS_A_CALL)
        elif chance < 0.04:  # no message, or several, where one is wanted
            await self._call(channel, method.path, self._few(method, draw.choice((0, 2, 3))), True, _SECONDS_A_STREAM)
        elif chance < 0.041:
            await self._call(channel, method.path, [draw.randbytes(_LARGE)], method.server_streaming, _SECONDS_A_CALL)
        elif method.client_streaming:
            pieces = list(self._forge.upload(method.request))
            await self._call(channel, method.path, pieces, method.server_streaming, _SECONDS_A_CALL)
        else:
            waits = method.server_streaming or method.path.endswith("PollRound")
            seconds = _SECONDS_A_STREAM if waits else _SECONDS_A_CALL
            await self._call(channel, method.path, self._few(method, 1), method.server_streaming, seconds)

    def _few(self, method: Method, count: int) -> list[bytes]:
        return [self._forge.hostile(method.request) for _ in range(count)]

    async def _call(self, channel: Any, path: str, pieces: list[bytes], streams: bool, seconds: float) -> None:
        """One call with these messages, whatever the method wants."""
        metadata = self._metadata()
        code, details, own = "OK", "", True
        try:
            if streams:
                call = channel.stream_stream(path)(_each(pieces), timeout=seconds, metadata=metadata)
                await _read_some(call)
            elif len(pieces) == 1:
                await channel.unary_unary(path)(pieces[0], timeout=seconds, metadata=metadata)
            else:
                await channel.stream_unary(path)(_each(pieces), timeout=seconds, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            trailers = dict(error.trailing_metadata() or ())
            details = f"{error.details()} {trailers!r}"
            own = "grpc-status-details-bin" in trailers or code in ("DEADLINE_EXCEEDED", "CANCELLED")
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            code = "CANCELLED"
        self.tally.note(path, max(1, len(pieces)), code, details, own)

    def _metadata(self) -> list[tuple[str, Any]]:
        draw = self._forge.random
        if draw.random() > 0.05:
            return []
        name = draw.choice(("fedcoin-peer", "x", "a-bin"))
        text = draw.choice(("", "x:1", "h.example:7", "~" * 500, "[::1]:99999"))
        return [(name, text.encode() if name.endswith("-bin") else text)]


async def _each(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _read_some(call: Any) -> None:
    read = 0
    async for _ in call:
        read += 1
        if read == _ANSWERS_READ:
            call.cancel()
            return
