"""Performs audits: fetches leaves from peers, checks and recomputes them, and reports verdicts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedcoin.consensus.audit import Rows, WholeLeaves, fits, judge_proofs, judge_recomputed, whole_size
from fedcoin.consensus.messages import Audit, AuditFinished, AuditItem, Leaves, StartAudit, Verdict
from fedcoin.core.errors import FedCoinError
from fedcoin.core.task import Problem
from fedcoin.node.evaluator_protocol import LoadedProblem
from fedcoin.rpc.views import LeafProof

log = logging.getLogger("fedcoin.audit")


class LeafSource(Protocol):
    """A peer that hands out leaves; every MinerHandler is one."""

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        """Leaves with Merkle paths. Raises a FedCoinError."""
        ...

    def leaf_range(self, race: bytes, miner: bytes, start: int, count: int) -> AsyncIterator[bytes]:
        """Consecutive leaves, several to a piece. Raises a FedCoinError."""
        ...


class AuditEvaluator(Protocol):
    """What an audit needs of an evaluator; every RaceEvaluator is one."""

    async def prepare(self, problem: Problem, blobs: Mapping[bytes, bytes]) -> LoadedProblem:
        """Loads a problem and says how large it is."""
        ...

    async def recompute(
        self, problem: Problem, blobs: Mapping[bytes, bytes], race: bytes, miner: bytes, indices: Sequence[int]
    ) -> Leaves:
        """The leaves of iterations `indices` of a miner, int64 [len, K]."""
        ...


@dataclass(frozen=True)
class AuditLimits:
    """How much an audit may take."""

    max_bytes: int = 256 << 20
    """All leaves of one estimate (time · K · 8) at most; more are not fetched."""
    deadline_seconds: float = 30.0
    """For an audit as a whole; what is open then is UNAVAILABLE."""
    source_seconds: float = 10.0
    """For one peer to hand out what it was asked for."""
    max_sources: int = 4
    """Peers that are asked for the leaves of one estimate, one after another."""
    parallel: int = 4
    """Estimates that are fetched at the same time."""


class Auditor:
    """Audits estimates of others."""

    def __init__(
        self,
        evaluator: AuditEvaluator,
        sources: Callable[[bytes], Sequence[LeafSource]],
        blobs: Callable[[Problem], Awaitable[Mapping[bytes, bytes]]],
        limits: AuditLimits | None = None,
    ) -> None:
        """`sources(miner)`: peers to ask for a miner's leaves, best first. `blobs(problem)`: the blobs, by digest."""
        self._evaluator = evaluator
        self._sources = sources
        self._blobs = blobs
        self._limits = limits or AuditLimits()

    async def perform(self, effect: StartAudit) -> AuditFinished:
        """A verdict on every item of the audit, by the deadline. Whatever goes wrong on our side is UNAVAILABLE."""
        audit = effect.audit
        blobs = asyncio.ensure_future(self._blobs(audit.problem))
        turns = asyncio.Semaphore(self._limits.parallel)
        tasks = {
            item.estimate.miner: asyncio.create_task(self._judge(audit, item, blobs, turns)) for item in audit.items
        }
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=self._limits.deadline_seconds)
            verdicts = {miner: _verdict(task) for miner, task in tasks.items()}
        finally:
            for task in (*tasks.values(), blobs):
                task.cancel()
            await asyncio.gather(*tasks.values(), blobs, return_exceptions=True)
        return AuditFinished(audit, verdicts)

    async def _judge(
        self, audit: Audit, item: AuditItem, blobs: asyncio.Future[Mapping[bytes, bytes]], turns: asyncio.Semaphore
    ) -> Verdict:
        if not fits(item, audit.problem):
            return Verdict.CONVICTED
        async with turns:
            verdict, rows = await self._fetch(audit, item)
        if verdict is not Verdict.HONEST:
            return verdict
        miner, problem = item.estimate.miner, audit.problem
        try:
            held = await asyncio.shield(blobs)
            loaded = await self._evaluator.prepare(problem, held)
            recomputed = await self._evaluator.recompute(problem, held, audit.race, miner, item.indices)
        except FedCoinError as error:
            # Also where the problem itself is at fault: what we cannot evaluate proves nothing against a miner.
            log.warning("no audit of %s…: %s (%s)", miner.hex()[:12], error, error.code)
            return Verdict.UNAVAILABLE
        return judge_recomputed(item, problem, rows, recomputed, loaded.samples)

    async def _fetch(self, audit: Audit, item: AuditItem) -> tuple[Verdict, Rows]:
        """The first verdict that a peer's leaves allow, and the leaves to recompute."""
        miner = item.estimate.miner
        size = whole_size(item)
        if item.whole and size > self._limits.max_bytes:
            log.warning("no audit of %s…: %d bytes of leaves, above %d", miner.hex()[:12], size, self._limits.max_bytes)
            return Verdict.UNAVAILABLE, {}
        for source in self._sources(miner)[: self._limits.max_sources]:
            try:
                async with asyncio.timeout(self._limits.source_seconds):
                    verdict, rows = await (_whole if item.whole else _some)(source, audit.race, item)
            except (FedCoinError, TimeoutError, OSError) as error:
                log.debug("a peer does not hand out leaves of %s…: %r", miner.hex()[:12], error)
                continue
            if verdict is not Verdict.UNAVAILABLE:
                return verdict, rows
            log.warning("a peer hands out leaves of %s… that are not under its root", miner.hex()[:12])
        return Verdict.UNAVAILABLE, {}


async def _whole(source: LeafSource, race: bytes, item: AuditItem) -> tuple[Verdict, Rows]:
    leaves = WholeLeaves(item)
    async for piece in source.leaf_range(race, item.estimate.miner, 0, item.estimate.time):
        if not leaves.add(piece):
            break
    return leaves.verdict(), leaves.rows


async def _some(source: LeafSource, race: bytes, item: AuditItem) -> tuple[Verdict, Rows]:
    proofs = await source.leaves(race, item.estimate.miner, item.estimate.time, item.indices)
    return judge_proofs(item, {proof.index: (proof.leaf, proof.path) for proof in proofs})


def _verdict(task: asyncio.Task[Verdict]) -> Verdict:
    if not task.done() or task.cancelled():
        return Verdict.UNAVAILABLE
    error = task.exception()
    if error is not None:
        log.error("an audit failed: %s: %s", type(error).__name__, error)
        return Verdict.UNAVAILABLE
    return task.result()
