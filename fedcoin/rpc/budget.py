"""Memory that transfers may take together: who comes too late waits for its turn instead of adding to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TRANSFER_BYTES = 2**30
"""Bytes of all blobs and models that one service holds for calls in flight."""


class Budget:
    """Bytes that are taken and given back, first come first served."""

    def __init__(self, size: int = TRANSFER_BYTES) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, amount: int) -> AsyncIterator[None]:
        """Holds `amount` bytes; waits until they are free. More than there is counts as all there is."""
        wanted = min(amount, self._size)
        await self._acquire(wanted)
        try:
            yield
        finally:
            self._free += wanted
            self._serve()

    async def _acquire(self, wanted: int) -> None:
        if not self._waiting and wanted <= self._free:
            self._free -= wanted
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += wanted  # it was our turn at the moment we were called off
            self._serve()
            raise

    def _serve(self) -> None:
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif wanted <= self._free:
                self._waiting.popleft()
                self._free -= wanted
                turn.set_result(None)
            else:
                return
