"""What every client shares: one channel to a peer, deadlines, retries with backoff, errors mapped back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import grpc

from fedcoin.core.errors import MalformedEncoding, PeerTimeout, PeerUnreachable
from fedcoin.rpc.channel import CheckedChannel, open_channel
from fedcoin.rpc.errors import from_call
from fedcoin.rpc.tls import ClientTls, diagnose
from fedcoin.rpc.wire import Received

PEER_METADATA = "fedcoin-peer"
"""Metadata key under which a node that listens itself says where."""

_REFUSAL_SECONDS = 0.05
"""Pause between messages when an upload is repeated, so that the peer's refusal is read before more is written."""


@dataclass(frozen=True)
class Retry:
    """Attempts at a call that may be repeated, while the peer is UNAVAILABLE."""

    attempts: int = 4
    first_seconds: float = 0.1
    """Longest wait before the second attempt; it doubles each time. A wait is drawn between half of it and it."""
    most_seconds: float = 2.0

    def wait(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt`, from 1."""
        longest = min(self.most_seconds, self.first_seconds * 2 ** (attempt - 1))
        return random.uniform(longest / 2, longest)


class _Flow:
    """Messages with pauses between them. No generator: gRPC may drop it in the middle, which those complain of."""

    def __init__(self, messages: Iterable[Any], pause: float) -> None:
        self._messages = iter(messages)
        self._pause = pause
        self._begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._begun:
            # A refusal may be on its way; what is written after it would hide its reason.
            await asyncio.sleep(self._pause)
        self._begun = True
        for message in self._messages:
            return message
        raise StopAsyncIteration


@dataclass(frozen=True)
class Deadlines:
    """Seconds that calls may take, attempts and waits between them included."""

    call: float = 10.0
    transfer: float = 600.0
    """Blobs, leaves, chains."""
    idle: float = 30.0
    """Between two messages of a transfer."""


class Caller:
    """A channel to one peer. Every failure comes out as a FedCoinError that names the peer."""

    def __init__(
        self,
        address: str,
        *,
        tls: ClientTls | None = None,
        own_address: str | None = None,
        deadlines: Deadlines | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.address = address
        self.deadlines = deadlines or Deadlines()
        self._tls = tls
        self._retry = retry or Retry()
        self._metadata = ((PEER_METADATA, own_address),) if own_address else ()
        self._channel: grpc.aio.Channel | None = None
        self._stubs: dict[Callable[..., Any], Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends calls in flight and the connection. A later call opens a new one."""
        channel, self._channel = self._channel, None
        self._stubs.clear()
        if channel is not None:
            await channel.close()

    def stub(self, kind: Callable[..., Any]) -> Any:
        """The generated stub of a service on this peer's channel. Raises InvalidPeerAddress, TlsFilesInvalid."""
        if self._channel is None:
            # Not before the first call, since a channel belongs to the event loop that runs then.
            self._channel = open_channel(self.address, self._tls)
        if kind not in self._stubs:
            self._stubs[kind] = kind(CheckedChannel(self._channel))
        return self._stubs[kind]

    async def unary(self, call: Callable[..., Any], request: Any, seconds: float | None = None) -> Any:
        """One request, one response. Repeated while UNAVAILABLE: every such RPC is a read, or idempotent by content."""
        return await self._persist(lambda left: self._once(call(request, **self._options(left))), seconds)

    async def upload(self, call: Callable[..., Any], messages: Callable[[], Iterable[Any]]) -> Any:
        """A stream of requests, one response. `messages` makes them anew for each attempt."""

        attempts = 0

        async def attempt(left: float) -> Any:
            nonlocal attempts
            attempts += 1
            pause = _REFUSAL_SECONDS if attempts > 1 else 0.0

            return await self._once(call(_Flow(messages(), pause), **self._options(left)))

        return await self._persist(attempt, self.deadlines.transfer)

    async def stream(
        self, call: Callable[..., Any], request: Any, *, seconds: float | None, idle: float | None
    ) -> AsyncIterator[Any]:
        """One request, a stream of responses, each at most `idle` seconds after the one before. Not repeated."""
        running = call(request, **self._options(seconds))
        try:
            while True:
                async with asyncio.timeout(idle):
                    message = await running.read()
                if message is grpc.aio.EOF:
                    break
                yield self._readable(message)
            # The stream's end may be an error.
            await self._raise_status(running)
        except TimeoutError:
            raise PeerTimeout(f"{self.address} has sent nothing for {idle} s") from None
        except grpc.aio.AioRpcError as failure:
            raise await self._explain(failure) from None
        except grpc.aio.UsageError:
            raise PeerUnreachable(f"the connection to {self.address} was closed") from None
        finally:
            running.cancel()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _options(self, seconds: float | None) -> dict[str, Any]:
        return {"timeout": seconds, "metadata": self._metadata}

    async def _persist(self, attempt: Callable[[float], Any], seconds: float | None) -> Any:
        loop = asyncio.get_running_loop()
        end = loop.time() + (seconds if seconds is not None else self.deadlines.call)
        for number in range(1, self._retry.attempts + 1):
            try:
                return await attempt(max(0.001, end - loop.time()))
            except grpc.aio.AioRpcError as failure:
                pause = self._retry.wait(number)
                last = number == self._retry.attempts or loop.time() + pause >= end
                if last or not (failure.code() is grpc.StatusCode.UNAVAILABLE or _write_failed(failure)):
                    raise await self._explain(failure) from None
                await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, call: Any) -> Any:
        try:
            return self._readable(await call)
        except grpc.aio.UsageError:
            raise PeerUnreachable(f"the connection to {self.address} was closed") from None

    def _readable(self, answer: Received) -> Any:
        if answer.error is not None:
            raise MalformedEncoding(f"{self.address} gives an answer that is not taken: {answer.error.message}")
        return answer.message

    async def _raise_status(self, running: Any) -> None:
        code = await running.code()
        if code is not grpc.StatusCode.OK:
            raise grpc.aio.AioRpcError(
                code, await running.initial_metadata(), await running.trailing_metadata(), await running.details()
            )

    async def _explain(self, failure: grpc.aio.AioRpcError) -> Exception:
        if failure.code() is grpc.StatusCode.UNAVAILABLE and self._tls is not None:
            reason = await diagnose(self.address, self._tls)
            if reason is not None:
                return reason
        return from_call(failure, self.address)


def _write_failed(failure: grpc.aio.AioRpcError) -> bool:
    """gRPC's own words for a write to a call that the peer has just ended: the peer's reason is lost, so ask again."""
    return failure.code() is grpc.StatusCode.INTERNAL and failure.details() == "Internal error from Core"
