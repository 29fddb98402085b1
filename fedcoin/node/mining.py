"""Working on races: blobs to the evaluator, iterations from it to the state machine, audits in between."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable

from fedcoin.consensus.messages import IterationsDone, RaceInfo, StartAudit, StartRace, StartTrial
from fedcoin.core.errors import BlobNotFound, FedCoinError
from fedcoin.core.params import MAX_ITERATIONS
from fedcoin.node.auditor import Auditor
from fedcoin.node.blobs import BlobExchange
from fedcoin.node.engine import Engine
from fedcoin.node.evaluator_protocol import RaceEvaluator
from fedcoin.node.stalls import Stalls
from fedcoin.rpc.handlers import BlobHandler
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.mining")

FIRST_BATCH_SECONDS = 0.05
"""The first estimate of a race comes soon; batches double from there up to the configured interval."""
BATCH_LIMIT = 4_096
"""Iterations of one batch at most: hashing and storing them must not hold up the event loop for long."""
RETRY_SECONDS = 0.1
"""Pause before blobs that nobody had are asked for again (the server may be about to hand them in); it doubles."""
MAX_RETRY_SECONDS = 8.0
PATIENCE_SECONDS = 5.0
"""How long blobs may take before other work goes first."""
QUIET_SECONDS = 0.5
"""What lasts shorter than this is not worth a warning."""
PROGRESS_SECONDS = 2.0
"""Between two lines about the race in the log."""


class Mining:
    """Performs StartRace, StopRace, StartAudit and StartTrial."""

    def __init__(
        self,
        engine: Engine,
        evaluator: RaceEvaluator,
        auditor: Auditor,
        blobs: BlobExchange,
        store: ChainStore,
        publishers: Callable[[bytes], Iterable[BlobHandler]],
        batch_seconds: float,
    ) -> None:
        """`publishers`: who published the task of a race, to ask for its blobs first."""
        self._engine = engine
        self._evaluator = evaluator
        self._auditor = auditor
        self._blobs = blobs
        self._store = store
        self._publishers = publishers
        self._batch_seconds = batch_seconds
        self._stalls = Stalls(engine, blobs, publishers)
        self._race: asyncio.Task[None] | None = None
        self._audits: set[asyncio.Task[None]] = set()
        self.rate = 0.0
        """Iterations per second of the current race."""

    def start_race(self, effect: StartRace) -> None:
        """Turns to a race."""
        self.stop_race()
        self._race = asyncio.create_task(self._work(effect), name="race")

    def stop_race(self) -> None:
        """Turns away from the current race; what its evaluator still returns is dropped."""
        self.rate = 0.0
        if self._race is not None:
            self._race.cancel()
            self._race = None

    def start_audit(self, effect: StartAudit) -> None:
        """Audits beside the race; the evaluator takes audits first."""
        self._beside(self._audit(effect))

    def start_trial(self, effect: StartTrial) -> None:
        """Recomputes the accused step of a case beside the race, as an audit does."""
        self._beside(self._trial(effect))

    async def close(self) -> None:
        """Ends all work."""
        running = [*self._audits, *([self._race] if self._race else [])]
        self.stop_race()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._stalls.close()

    async def _work(self, effect: StartRace) -> None:
        """Works on a race until it is over, which cancels this."""
        info = effect.info
        done = effect.start
        pause = RETRY_SECONDS
        began = time.monotonic()
        log.info("race %s: %s, %d clients", info.race.hex()[:12], info.kind.name, info.problem.clients)
        while True:
            try:
                await self._load(info)
                if done == 0:
                    done = await self._resume(info)
                pause = RETRY_SECONDS
                await self._mine(info, done)
                log.info("race %s: no more iterations are allowed", info.race.hex()[:12])
                return
            except Exception as error:  # a race that nobody works on any more would be missed by nobody but the chain
                if self._engine.closed or self._engine.failed.done():
                    return
                _explain(info, error, logging.WARNING if pause > QUIET_SECONDS else logging.DEBUG)
                self.rate = 0.0
                if not isinstance(error, BlobNotFound):
                    await self._stalls.stalled(info, unfit=True)
                elif time.monotonic() - began > PATIENCE_SECONDS:
                    await self._stalls.stalled(info)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_SECONDS)
            done = self._counted(info)

    async def _load(self, info: RaceInfo) -> None:
        fetching = asyncio.ensure_future(self._blobs.fetch(info.problem, self._publishers(info.race)))
        try:
            await asyncio.wait({fetching}, timeout=PATIENCE_SECONDS)
            if not fetching.done():
                await self._stalls.stalled(info)
            blobs = await fetching
        finally:
            fetching.cancel()
        await self._evaluator.load(info, blobs)

    async def _resume(self, info: RaceInfo) -> int:
        """Feeds leaves stored before a restart, so that we extend what we announced instead of contradicting it."""
        stored = self._store.leaves(info.race)
        if len(stored):
            log.info("race %s goes on after %d stored iterations", info.race.hex()[:12], len(stored))
            await self._engine.feed(IterationsDone(info.race, 0, stored, stored=True))
        return len(stored)

    async def _mine(self, info: RaceInfo, done: int) -> None:
        """Alg. 1 line 3: until the race ends, which cancels this."""
        reported = 0.0
        seconds = min(FIRST_BATCH_SECONDS, self._batch_seconds)
        while done < MAX_ITERATIONS:
            began = time.monotonic()
            # Uneven batches: miners in step would all see S within D at the same moment, and their blocks would tie.
            start, leaves = await self._evaluator.mine(
                info.race, done, seconds * random.uniform(0.5, 1.5), min(BATCH_LIMIT, MAX_ITERATIONS - done)
            )
            seconds = min(2 * seconds, self._batch_seconds)
            elapsed = time.monotonic() - began
            self.rate = len(leaves) / elapsed if elapsed > 0 else 0.0
            done = start + len(leaves)
            await self._engine.feed(IterationsDone(info.race, start, leaves))
            await self._stalls.begun(info)
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                self._report()

    def _report(self) -> None:
        view = self._engine.posap.view()
        if view.race is None:
            return
        distance = "?" if view.distance is None else f"{view.distance:.5f}"
        log.info(
            "mining %s round=%s iterations=%d rate=%.1f/s distance=%s D=%.5f heard=%d needed=%d",
            view.kind.name if view.kind else "",
            "-" if view.round is None else view.round,
            view.iterations,
            self.rate,
            distance,
            view.difficulty,
            view.heard_from,
            view.quorum,
        )

    def _counted(self, info: RaceInfo) -> int:
        race = self._engine.posap.races.get(info.race)
        return race.log.time if race is not None else 0

    def _beside(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="audit")
        self._audits.add(task)
        task.add_done_callback(self._audits.discard)

    async def _audit(self, effect: StartAudit) -> None:
        try:
            await self._engine.feed(await self._auditor.perform(effect))
        except FedCoinError as error:
            log.warning("audit failed: [%s] %s", error.code, error)
        except Exception:
            log.exception("audit failed")

    async def _trial(self, effect: StartTrial) -> None:
        try:
            finished = await self._auditor.try_case(effect)
            outcome = {True: "guilty", False: "not guilty", None: "not to be recomputed now"}[finished.guilty]
            accused = effect.report.estimate.miner.hex()
            log.info("case %s against miner %s: %s", effect.case.hex()[:12], accused[:12], outcome)
            await self._engine.feed(finished)
        except FedCoinError as error:
            log.warning("trial failed: [%s] %s", error.code, error)
        except Exception:
            log.exception("trial failed")


def _explain(info: RaceInfo, error: Exception, level: int) -> None:
    if isinstance(error, FedCoinError):
        log.log(level, "race %s waits: [%s] %s", info.race.hex()[:12], error.code, error)
    else:
        log.error("race %s waits", info.race.hex()[:12], exc_info=error)
