"""What every call passes before and after its servicer: limits, readable input, errors that a peer may see.

So a servicer only decodes and delegates, and whatever it raises leaves the node as a FedCoinError.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from fedcoin.core.errors import RateLimited, TimeLimitExceeded
from fedcoin.rpc.errors import abort
from fedcoin.rpc.limits import DEFAULT_RULE, RULES, Allowance, Allowances, Limits, Rule
from fedcoin.rpc.wire import Received, reader

Behaviour = Callable[[Any, grpc.aio.ServicerContext], Any]


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every method of a server."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._limits = limits
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
        deserializer = reader(handler.request_deserializer, rule.message_bytes)
        serializer = handler.response_serializer
        if handler.request_streaming and handler.response_streaming:
            behaviour = self._streamed(handler.stream_stream, method, rule, streaming=True)
            return grpc.stream_stream_rpc_method_handler(behaviour, deserializer, serializer)
        if handler.request_streaming:
            behaviour = self._single(handler.stream_unary, method, rule, streaming=True)
            return grpc.stream_unary_rpc_method_handler(behaviour, deserializer, serializer)
        if handler.response_streaming:
            behaviour = self._streamed(handler.unary_stream, method, rule, streaming=False)
            return grpc.unary_stream_rpc_method_handler(behaviour, deserializer, serializer)
        behaviour = self._single(handler.unary_unary, method, rule, streaming=False)
        return grpc.unary_unary_rpc_method_handler(behaviour, deserializer, serializer)

    def _single(self, inner: Behaviour, method: str, rule: Rule, *, streaming: bool) -> Behaviour:
        async def respond(source: Any, context: grpc.aio.ServicerContext) -> Any:
            try:
                with self._admitted(context) as allowance:
                    async with _time_limit(rule):
                        request = self._requests(source, allowance) if streaming else self._request(source, allowance)
                        return await inner(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # whatever a servicer raises must not reach the peer as it is
                await abort(context, error, method)

        return respond

    def _streamed(self, inner: Behaviour, method: str, rule: Rule, *, streaming: bool) -> Behaviour:
        async def respond(source: Any, context: grpc.aio.ServicerContext) -> None:
            try:
                with self._admitted(context) as allowance:
                    async with _time_limit(rule):
                        request = self._requests(source, allowance) if streaming else self._request(source, allowance)
                        if not inspect.isasyncgenfunction(inner):
                            await inner(request, context)
                            return
                        responses = inner(request, context)
                        try:
                            async for response in responses:
                                await context.write(response)
                        finally:
                            await responses.aclose()
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # as above
                await abort(context, error, method)

        return respond

    @contextmanager
    def _admitted(self, context: grpc.aio.ServicerContext) -> Iterator[Allowance]:
        allowance = self._allowances.of(context.peer())
        if not allowance.calls.take(1, self._clock()):
            raise RateLimited(f"more than {self._limits.calls_per_second:g} calls a second; slow down")
        if allowance.running >= self._limits.concurrent_per_peer:
            raise RateLimited(f"{allowance.running} calls are running already; wait for one to end")
        allowance.running += 1
        try:
            yield allowance
        finally:
            allowance.running -= 1

    def _request(self, received: Received, allowance: Allowance) -> Any:
        message = received.take()
        if not allowance.bytes.take(received.size, self._clock()):
            raise RateLimited(f"more than {self._limits.bytes_per_second / 2**20:g} MiB a second; slow down")
        return message

    async def _requests(self, source: AsyncIterator[Received], allowance: Allowance) -> AsyncIterator[Any]:
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    received = await anext(source)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise TimeLimitExceeded(f"nothing has arrived for {self._limits.idle_seconds:g} s") from None
            message = received.take()
            # A fast stream is slowed down, not refused: TCP hands the wait on to the peer.
            await asyncio.sleep(allowance.bytes.borrow(received.size, self._clock()))
            yield message


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
