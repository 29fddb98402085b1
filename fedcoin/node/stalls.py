"""Races that cannot be begun: because nobody hands out their blobs, or because the evaluator fails at them.

They must hold up nobody. Other work goes first, and what they lack is asked for in the background.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable

from fedcoin.consensus.messages import RaceInfo, RaceReady, RaceStalled
from fedcoin.core.errors import FedCoinError
from fedcoin.core.task import RaceKind
from fedcoin.node.blobs import BlobExchange
from fedcoin.node.engine import Engine
from fedcoin.rpc.handlers import BlobHandler

log = logging.getLogger("fedcoin.mining")

ASK_AGAIN_SECONDS = 5.0
"""Pause between two rounds of asking for what is missing."""
MAX_UNFIT = 256


class Stalls:
    """Tells the state machine which races stall, and when they can be begun after all."""

    def __init__(
        self, engine: Engine, blobs: BlobExchange, publishers: Callable[[bytes], Iterable[BlobHandler]]
    ) -> None:
        """`publishers(race)`: who published its task, to ask for its blobs first."""
        self._engine = engine
        self._blobs = blobs
        self._publishers = publishers
        self._unfit: OrderedDict[bytes, None] = OrderedDict()
        """Problems whose blobs are there, and which the evaluator cannot open."""
        self._asking: asyncio.Task[None] | None = None

    async def stalled(self, info: RaceInfo, *, unfit: bool = False) -> None:
        """A race cannot be begun now; `unfit`: more blobs would not help. The caller may be cancelled by this."""
        if info.kind is not RaceKind.TASK:
            return  # there is always but one AUDIT race, and nothing that could go before it
        if unfit:
            self._unfit[info.problem.id()] = None
            while len(self._unfit) > MAX_UNFIT:
                self._unfit.popitem(last=False)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="stalled races")
        if not self._is_aside(info.race):
            log.warning("race %s stalls; other work comes first", info.race.hex()[:12])
        await self._engine.feed(RaceStalled(info.race))

    async def begun(self, info: RaceInfo) -> None:
        """A race has its first iterations."""
        self._unfit.pop(info.problem.id(), None)
        if self._is_aside(info.race):
            await self._engine.feed(RaceReady(info.race))

    async def close(self) -> None:
        """Asks no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _is_aside(self, race: bytes) -> bool:
        return any(race == stalled.id for stalled in self._engine.posap.races.aside())

    async def _ask(self) -> None:
        while True:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            for race in self._engine.posap.races.aside():
                if race.terms.problem.id() in self._unfit:
                    continue
                try:
                    await self._blobs.fetch(race.terms.problem, self._publishers(race.id), background=True)
                    await self._engine.feed(RaceReady(race.id))
                except FedCoinError as error:
                    log.debug("race %s stalls yet: %s", race.id.hex()[:12], error.code)
                except Exception:
                    log.exception("race %s stalls yet", race.id.hex()[:12])
