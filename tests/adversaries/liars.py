"""Hostile peers: they answer, but not as a miner would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import grpc

from fedcoin.core.block import Block
from fedcoin.core.task import Task
from fedcoin.rpc.views import NodeStatus


class Liar:
    """Stands before an honest miner's handler: what is not a lie of its own is what that miner answers."""

    def __init__(self, honest: Any) -> None:
        self._honest = honest
        self.asked = 0
        """Syncs that it was asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._honest, name)


class Boaster(Liar):
    """Claims a chain that nobody has ever seen, and has no block of it."""

    async def status(self) -> NodeStatus:
        return replace(await self._honest.status(), tip=b"\xff" * 32, height=10**9, syncing=False)

    async def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        self.asked += 1
        for block in ():
            yield block


class Silent(Boaster):
    """Claims a longer chain, and never says another word when asked for it."""

    async def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        self.asked += 1
        await asyncio.Event().wait()
        yield None  # type: ignore[misc]


class Feeder(Boaster):
    """Claims a longer chain, and hands out blocks of its own choice, without end if they are few."""

    def __init__(self, honest: Any, blocks: Sequence[Block]) -> None:
        super().__init__(honest)
        self._blocks = blocks
        self.handed_out = 0

    async def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        self.asked += 1
        for number in range(limit + 10):
            self.handed_out += 1
            yield self._blocks[number % len(self._blocks)]


class Publisher(Liar):
    """Has more open tasks than there can be."""

    def __init__(self, honest: Any, tasks: Sequence[Task]) -> None:
        super().__init__(honest)
        self._tasks = tasks

    async def open_tasks(self) -> Sequence[Task]:
        return self._tasks


class Named(Liar):
    """Says in its status that it is a certain miner, whether it is or not."""

    def __init__(self, honest: Any, public_key: bytes) -> None:
        super().__init__(honest)
        self._public_key = public_key

    async def status(self) -> NodeStatus:
        return replace(await self._honest.status(), public_key=self._public_key)


async def serve_raw(answers: dict[str, bytes]) -> tuple[grpc.aio.Server, str]:
    """A listener that answers with raw bytes: method without package → answer. Returns it and its address."""
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    services: dict[str, dict[str, Any]] = {}
    for method, answer in answers.items():
        service, name = method.split("/")
        services.setdefault(service, {})[name] = grpc.unary_unary_rpc_method_handler(_always(answer))
    handlers = [grpc.method_handlers_generic_handler(f"fedcoin.v1.{name}", each) for name, each in services.items()]
    server.add_generic_rpc_handlers(tuple(handlers))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


def _always(answer: bytes) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
    async def respond(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return answer

    return respond
