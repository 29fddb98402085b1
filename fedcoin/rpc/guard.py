"""What every call passes before and after its servicer: limits, readable input, errors that a peer may see.

So a servicer only decodes and delegates, and whatever it raises leaves the node as a FedCoinError.

To gRPC a method with a single request is a stream of requests, which is the same bytes on the wire. Otherwise gRPC
would read the request itself, before anything here is asked: callers that begin calls and never send their message
would take all places, without a limit of time or of their number. Likewise a single response is written here, under
the call's time limit, and not after it by gRPC.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from fedcoin.core.errors import (
    FedCoinError,
    PeerBanned,
    RateLimited,
    RequestTooSlow,
    TimeLimitExceeded,
    TransferCutShort,
)
from fedcoin.rpc.errors import abort
from fedcoin.rpc.limits import DEFAULT_RULE, RULES, Allowance, Allowances, Limits, Pace, Rule, peer_key
from fedcoin.rpc.score import Scores
from fedcoin.rpc.wire import Received, reader

log = logging.getLogger("fedcoin.rpc")

Behaviour = Callable[[Any, grpc.aio.ServicerContext], Any]


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every method of a server."""

    def __init__(self, limits: Limits, scores: Scores, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic. `scores`: where misbehaviour is booked, and who is refused."""
        self._limits = limits
        self._scores = scores
        self._clock = clock
        self._allowances = Allowances(limits, clock)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's handler, wrapped."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        method: str = handler_call_details.method
        rule = RULES.get(method, DEFAULT_RULE)
        deserializer, serializer = reader(handler.request_deserializer, rule.message_bytes), handler.response_serializer
        if handler.stream_unary:
            # Begins before its first message anyway, and what it answers is small.
            guarded = self._guarded(handler.stream_unary, method, rule, many_in=True)
            return grpc.stream_unary_rpc_method_handler(guarded, deserializer, serializer)
        inner = handler.stream_stream or handler.unary_stream or self._written(handler.unary_unary)
        guarded = self._guarded(inner, method, rule, many_in=handler.request_streaming)
        return grpc.stream_stream_rpc_method_handler(guarded, deserializer, serializer)

    def _guarded(self, inner: Behaviour, method: str, rule: Rule, *, many_in: bool) -> Behaviour:
        async def respond(source: AsyncIterator[Received], context: grpc.aio.ServicerContext) -> Any:
            try:
                allowance = self._admit(context, method, rule)
                async with _time_limit(rule):
                    request = (
                        self._requests(source, allowance) if many_in else await self._request(source, allowance, rule)
                    )
                    if not inspect.isasyncgenfunction(inner):
                        return await inner(request, context)
                    await self._stream(inner(request, context), context, allowance)
                    return None
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # whatever a servicer raises must not reach the peer as it is
                self._charge(context, error)
                await abort(context, error, method)

        return respond

    def _admit(self, context: grpc.aio.ServicerContext, method: str, rule: Rule) -> Allowance:
        peer = context.peer()
        pause = self._scores.banned_for(peer_key(peer))
        if pause:
            raise PeerBanned(f"too much that was invalid has come from here; come back in {pause:.0f} s")
        allowance, end = self._allowances.admit(peer, method, rule)

        # Not when the servicer is done: a caller that does not read its answer holds its place until then.
        context.add_done_callback(lambda _: end())  # type: ignore[arg-type]  # the stubs ask for a class
        return allowance

    def _charge(self, context: grpc.aio.ServicerContext, error: Exception) -> None:
        # An error that another node has reported to us is not this caller's.
        if not isinstance(error, FedCoinError) or error.reported:
            return
        peer = peer_key(context.peer())
        if self._scores.charge(peer, error.code):
            log.warning(
                "%s is refused for a while: too much that was invalid, at last [%s] %s", peer, error.code, error
            )

    async def _request(self, source: AsyncIterator[Received], allowance: Allowance, rule: Rule) -> Any:
        """The only message of a call."""
        received = await self._next(source)
        if received is None:
            raise TransferCutShort("the call ended before its message")
        message = received.take()
        if not allowance.bytes.take(received.size, self._clock()):
            raise RateLimited(f"more than {self._limits.bytes_per_second / 2**20:g} MiB a second; slow down")
        count = len(getattr(message, rule.transactions)) if rule.transactions else 0
        if count and not allowance.transactions.take(count, self._clock()):
            raise RateLimited(f"more than {self._limits.transactions_per_second:g} transactions a second; slow down")
        return message

    async def _requests(self, source: AsyncIterator[Received], allowance: Allowance) -> AsyncIterator[Any]:
        pace = Pace(self._limits)
        began = self._clock()
        while (received := await self._next(source)) is not None:
            pace.add(received.size, self._clock() - began)
            message = received.take()
            # A fast stream is slowed down, not refused: TCP hands the wait on to the peer.
            await asyncio.sleep(allowance.bytes.borrow(received.size, self._clock()))
            yield message
            began = self._clock()

    async def _next(self, source: AsyncIterator[Received]) -> Received | None:
        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                return await anext(source)
        except StopAsyncIteration:
            # gRPC tells the end of a call that was given up in the same way: then the next turn of the loop cancels us.
            await asyncio.sleep(0)
            return None
        except TimeoutError:
            raise RequestTooSlow(f"nothing has arrived for {self._limits.idle_seconds:g} s") from None

    def _written(self, inner: Behaviour) -> Behaviour:
        """A behaviour that writes its single response itself."""

        async def behave(request: Any, context: grpc.aio.ServicerContext) -> None:
            await self._write(context, await inner(request, context))

        return behave

    async def _stream(self, responses: Any, context: grpc.aio.ServicerContext, allowance: Allowance) -> None:
        pace = Pace(self._limits)
        try:
            async for response in responses:
                size, began = response.ByteSize(), self._clock()
                await self._write(context, response)
                pace.add(size, self._clock() - began)
                await asyncio.sleep(allowance.sent.borrow(size, self._clock()))
        finally:
            await responses.aclose()

    async def _write(self, context: grpc.aio.ServicerContext, response: Any) -> None:
        try:
            async with asyncio.timeout(self._limits.idle_seconds):
                await context.write(response)
        except TimeoutError:
            raise RequestTooSlow(f"an answer was not read for {self._limits.idle_seconds:g} s") from None
        except grpc.aio.InternalError:
            raise asyncio.CancelledError from None  # the caller has gone: there is nobody to tell


class _time_limit:  # noqa: N801 - reads as a statement
    """asyncio.timeout that tells its own end from a TimeoutError inside."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._timeout = asyncio.timeout(rule.seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise TimeLimitExceeded(f"the request took longer than the {self._rule.seconds:g} s allowed") from None
