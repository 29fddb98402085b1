"""Who has published a task: the blobs of its problem are there."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection

from fedcoin.rpc.address import split_address
from fedcoin.rpc.miner_client import MinerClient

MAX_TASKS = 64
MAX_ADDRESSES = 4
"""For one task: its server, and miners that were faster in relaying it."""


class Publishers:
    """Connections to those who have handed us tasks, most of them FL servers. Bounded."""

    def __init__(self, make_client: Callable[[str], MinerClient], open_tasks: Callable[[], Collection[bytes]]) -> None:
        """`open_tasks`: hashes of tasks that can still be mined; those of others are forgotten first."""
        self._make_client = make_client
        self._open_tasks = open_tasks
        self._tasks: OrderedDict[bytes, dict[str, None]] = OrderedDict()
        self._clients: dict[str, MinerClient] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def note(self, task: bytes, address: str) -> None:
        """Somebody who listens on `address` has handed us a task."""
        known = self._tasks.setdefault(task, {})
        if len(known) < MAX_ADDRESSES and split_address(address)[1] > 0:
            known[address] = None
        if len(self._tasks) > MAX_TASKS:
            still_open = self._open_tasks()
            del self._tasks[next((old for old in self._tasks if old not in still_open), next(iter(self._tasks)))]
            self._drop_idle()

    def of(self, task: bytes) -> list[MinerClient]:
        """Whom to ask for the blobs of a task, the first publisher first."""
        addresses = self._tasks.get(task, {})
        for address in addresses:
            if address not in self._clients:
                self._clients[address] = self._make_client(address)
        return [self._clients[address] for address in addresses]

    async def close(self) -> None:
        """Ends all connections."""
        clients, self._clients = list(self._clients.values()), {}
        self._tasks.clear()
        await asyncio.gather(*(client.close() for client in clients), *self._closing, return_exceptions=True)

    def _drop_idle(self) -> None:
        used = {address for addresses in self._tasks.values() for address in addresses}
        for address in self._clients.keys() - used:
            closing = asyncio.create_task(self._clients.pop(address).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
