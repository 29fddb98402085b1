"""A signal that any number of coroutines wait for, each time anew."""

from __future__ import annotations

import asyncio


class Pulse:
    """Fires now and then; a waiter sees the next time after it began to wait."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Wakes everybody who waits."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Returns at the next firing, or when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
