"""Performs audits and trials: fetches leaves from peers, checks and recomputes them, and reports what it found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from fedcoin.consensus.audit import (
    EVIDENCE_FACTOR,
    UNAVAILABLE,
    Finding,
    accused_item,
    conclude,
    fits,
    judge_proofs,
    judge_recomputed,
    plain_step,
    wanted_leaves,
)
from fedcoin.consensus.descent import Descent
from fedcoin.consensus.messages import (
    Audit,
    AuditFinished,
    AuditItem,
    Leaves,
    StartAudit,
    StartTrial,
    TrialFinished,
    Verdict,
)
from fedcoin.core.errors import FedCoinError, InvalidMerkleProof
from fedcoin.core.fraud import LeafProof
from fedcoin.core.task import Problem
from fedcoin.node.evaluator_protocol import LoadedProblem

log = logging.getLogger("fedcoin.audit")

Answer = tuple[AuditItem, Finding, Sequence[LeafProof]]
"""What was audited in the end, what the leaves say by themselves, and the leaves."""


class LeafSource(Protocol):
    """A peer that hands out leaves; every MinerHandler is one."""

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        """Leaves with Merkle paths. Raises a FedCoinError."""
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

    deadline_seconds: float = 30.0
    """For an audit as a whole; what is open then is UNAVAILABLE."""
    source_seconds: float = 10.0
    """For one peer to hand out what it was asked for."""
    parallel: int = 4
    """Estimates that are fetched at the same time."""
    trial_seconds: float = 300.0
    """For a trial as a whole. Nobody waits for it, so a heavy problem may be prepared meanwhile."""


class Auditor:
    """Audits estimates of others."""

    def __init__(
        self,
        evaluator: AuditEvaluator,
        sources: Callable[[bytes], Sequence[LeafSource]],
        blobs: Callable[[Problem], Awaitable[Mapping[bytes, bytes]]],
        limits: AuditLimits | None = None,
    ) -> None:
        """`sources(miner)`: all peers that claim to be a miner, to ask for its leaves.

        `blobs(problem)`: the blobs, by digest.
        """
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
            findings = {miner: _finding(task) for miner, task in tasks.items()}
        finally:
            for task in (*tasks.values(), blobs):
                task.cancel()
            await asyncio.gather(*tasks.values(), blobs, return_exceptions=True)
        verdicts = {miner: finding.verdict for miner, finding in findings.items()}
        evidence = {miner: finding.evidence for miner, finding in findings.items() if finding.evidence is not None}
        return AuditFinished(audit, verdicts, evidence)

    async def try_case(self, effect: StartTrial) -> TrialFinished:
        """Whether the evidence of a case convicts its miner. Whatever goes wrong on our side leaves it open."""
        try:
            async with asyncio.timeout(self._limits.trial_seconds):
                guilty = await self._guilty(effect)
        except (FedCoinError, TimeoutError) as error:
            log.info("no trial of case %s… now: %r", effect.case.hex()[:12], error)
            guilty = None
        return TrialFinished(effect.case, guilty)

    async def _guilty(self, effect: StartTrial) -> bool:
        report, problem = effect.report, effect.problem
        item = accused_item(report)
        if not fits(item, problem):
            return False
        step = plain_step(report.estimate, report.before, report.accused)
        if step is None:
            return True
        blobs = await self._blobs(problem)
        loaded = await self._evaluator.prepare(problem, blobs)
        estimate = report.estimate
        recomputed = await self._evaluator.recompute(problem, blobs, estimate.race, estimate.miner, item.indices)
        steps = {report.accused.index: step}
        return judge_recomputed(item, problem, steps, recomputed, loaded.samples, EVIDENCE_FACTOR) is not None

    async def _judge(
        self, audit: Audit, item: AuditItem, blobs: asyncio.Future[Mapping[bytes, bytes]], turns: asyncio.Semaphore
    ) -> Finding:
        if not fits(item, audit.problem):
            return Finding(Verdict.CONVICTED)
        async with turns:
            item, finding, proofs = await self._fetch(audit, item)
        if finding.verdict is not Verdict.HONEST:
            return finding
        miner, problem = item.estimate.miner, audit.problem
        try:
            held = await asyncio.shield(blobs)
            loaded = await self._evaluator.prepare(problem, held)
            recomputed = await self._evaluator.recompute(problem, held, audit.race, miner, item.indices)
        except FedCoinError as error:
            # Also where the problem itself is at fault: what we cannot evaluate proves nothing against a miner.
            log.warning("no audit of %s…: %s (%s)", miner.hex()[:12], error, error.code)
            return UNAVAILABLE
        return conclude(item, problem, proofs, finding.steps, recomputed, loaded.samples)

    async def _fetch(self, audit: Audit, item: AuditItem) -> Answer:
        """The first finding that some peer's leaves allow, and these leaves.

        All peers are asked at once: whoever claims to be that miner and keeps us waiting holds up nothing.
        """
        asked = [asyncio.create_task(self._ask(source, audit, item)) for source in self._sources(item.estimate.miner)]
        try:
            for answered in asyncio.as_completed(asked):
                answer = await answered
                if answer[1].verdict is not Verdict.UNAVAILABLE:
                    return answer
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return item, UNAVAILABLE, ()

    async def _ask(self, source: LeafSource, audit: Audit, item: AuditItem) -> Answer:
        miner = item.estimate.miner.hex()[:12]
        held: dict[int, LeafProof] = {}
        try:
            async with asyncio.timeout(self._limits.source_seconds):
                await _get(source, audit.race, item, held)
                finding = judge_proofs(item, tuple(held.values()))
                if audit.block is not None and finding.verdict is Verdict.HONEST:
                    # Only a fresh block decides anything at once; checks while a race runs are to be cheap.
                    item = await _with_largest(source, audit.race, item, held)
                    finding = judge_proofs(item, tuple(held.values()))
        except InvalidMerkleProof:
            finding = UNAVAILABLE
        except (FedCoinError, TimeoutError, OSError) as error:
            log.debug("a peer does not hand out leaves of %s…: %r", miner, error)
            return item, UNAVAILABLE, ()
        if finding.verdict is Verdict.UNAVAILABLE:
            log.warning("a peer hands out leaves of %s… that are not under its root", miner)
        return item, finding, tuple(held.values())


async def _get(source: LeafSource, race: bytes, item: AuditItem, held: dict[int, LeafProof]) -> None:
    """Adds to the leaves at hand what the item needs besides."""
    await _add(source, race, item, [index for index in wanted_leaves(item) if index not in held], held)


async def _add(
    source: LeafSource, race: bytes, item: AuditItem, indices: Sequence[int], held: dict[int, LeafProof]
) -> None:
    if indices:
        estimate = item.estimate
        proofs = await source.leaves(race, estimate.miner, estimate.time, indices)
        held.update((proof.index, proof) for proof in proofs if proof.index in indices)


async def _with_largest(source: LeafSource, race: bytes, item: AuditItem, held: dict[int, LeafProof]) -> AuditItem:
    """The item with the iteration that is most out of the ordinary besides its own; the leaves come into `held`."""
    descent = Descent(item.estimate)
    while wanted := descent.wanted():
        await _add(source, race, item, [index for index in wanted if index not in held], held)
        descent.take(held)
    item = replace(item, indices=tuple(sorted({*item.indices, descent.index})))
    await _get(source, race, item, held)
    return item


def _finding(task: asyncio.Task[Finding]) -> Finding:
    if not task.done() or task.cancelled():
        return UNAVAILABLE
    error = task.exception()
    if error is not None:
        log.error("an audit failed: %s: %s", type(error).__name__, error)
        return UNAVAILABLE
    return task.result()
