"""The audit of a settled block by anybody: recompute its Shapley vector from public data and check who was paid what.

Nothing the block says is taken on trust but its place on the chain: updates and evaluation set are fetched by digest,
coalitions drawn anew (Alg. 1 line 5), marginal contributions recomputed (lines 6–11), the average (line 16), the
winning condition (line 17) and the payments (Alg. 3 lines 9 to 12) derived again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcoin.consensus.audit import judge_proofs, wanted_leaves
from fedcoin.consensus.messages import AuditItem, Verdict
from fedcoin.core.block import Block
from fedcoin.core.errors import BlobMismatch, EstimateOutOfRange, LeafMismatch, LeavesNotFound, NotASettlement
from fedcoin.core.estimate import Estimate
from fedcoin.core.keys import address_of
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Problem, RaceKind, Task
from fedcoin.ledger.settlement import client_payouts
from fedcoin.node.audit_rules import rule_reasons
from fedcoin.node.preparation import Preparer
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.leaves import LeafLog
from fedcoin.shapley.mean import averaged
from fedcoin.shapley.samplers import open_sampler

Progress = Callable[[int, int], None]
"""Called with (iterations recomputed, iterations to recompute), or coalitions instead of iterations."""
FetchBlob = Callable[[bytes], Awaitable[bytes]]
"""The blob with that digest, from whoever holds it. Raises BlobNotFound."""
MinerByKey = Callable[[bytes], Awaitable[MinerHandler | None]]
"""The miner with that public key, to ask for its leaves; None where it cannot be reached."""
Values = NDArray[np.int64]
Totals = list[tuple[tuple[int, ...], int]]
"""(total, time) of each estimate."""

_FIRST_EVALUATIONS, _MOST_EVALUATIONS = 4096, 1 << 20
# Coalitions evaluated between two reports of progress: more and more, until they take _REPORT_SECONDS.
_REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class EstimateAudit:
    """How one estimate of the certificate compares with its recomputation."""

    miner: bytes
    """Public key."""
    time: int
    recomputed: int
    """Iterations; fewer than `time` when a sample was drawn."""
    exact: bool
    """Every recomputed leaf came out to the bit."""
    deviation: float
    """Largest difference of a client's value (of S, or of a sampled leaf), in units of utility."""
    reason: str
    """Why it does not hold; empty if it does."""


@dataclass(frozen=True)
class ClientAudit:
    """One client of the round."""

    address: bytes
    shapley: float
    """Of the block's S̄."""
    recomputed: float | None
    """From our own S̄; None when only a sample was recomputed."""
    paid: int
    due: int
    """Units."""


@dataclass(frozen=True)
class BlockAudit:
    """The verdict on a block."""

    block: bytes
    height: int
    order: bytes
    round: int
    estimates: tuple[EstimateAudit, ...]
    clients: tuple[ClientAudit, ...]
    reasons: tuple[str, ...]
    """Everything that is wrong; empty if the payout holds."""

    @property
    def holds(self) -> bool:
        """Whether the block's Shapley vector and payout hold."""
        return not self.reasons


async def audit_block(
    node: MinerHandler,
    block: Block,
    fetch_blob: FetchBlob,
    miner_by_key: MinerByKey,
    iterations: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    progress: Progress = lambda done, total: None,
    preparing: Progress = lambda done, total: None,
) -> BlockAudit:
    """Recompute `block`, a TASK block of the chain of `node`.

    All iterations of all estimates are recomputed; with `iterations` only that many of each, drawn at random, and then
    the miners are asked for those leaves with their Merkle paths. `progress` is told of iterations, `preparing` before
    that of the coalitions on which all of them build (none for some samplers). Raises NotASettlement for an AUDIT
    block, LeavesNotFound where a sample's leaves are no longer held, BlobNotFound and BlobMismatch for the inputs.
    """
    task = block.task
    if task is None or block.header.kind is not RaceKind.TASK:
        raise NotASettlement(f"block {block.header.height} is an AUDIT block: it settles no round and pays no client")
    order = await node.transaction(task.order)
    reasons = rule_reasons(block, task, await node.genesis(), order.transaction)
    estimates: list[EstimateAudit] = []
    totals: Totals | None = None
    if _possible(block, task):
        evaluator = await _Recomputation.open(fetch_blob, task.problem, device)
        await evaluator.prepare(preparing)
        checker = _Checker(evaluator, block, miner_by_key, random.Random(seed), progress, iterations)
        estimates = [await checker.check(estimate) for estimate in block.certificate]
        totals = checker.totals
        reasons += [audit.reason for audit in estimates if audit.reason]
    return BlockAudit(
        block.id(),
        block.header.height,
        task.order,
        task.round,
        tuple(estimates),
        tuple(_clients(block, task, totals)),
        tuple(reasons),
    )


def _possible(block: Block, task: Task) -> bool:
    """Whether the numbers of iterations and clients are ones to work on; if not, the rules have said so already."""
    try:
        for estimate in block.certificate:
            estimate.verify_range(task.problem.clients)
    except EstimateOutOfRange:
        return False
    return len(block.header.averaged_total) == len(task.contributors) == task.problem.clients


class _Recomputation:
    """The problem's iterations, and how far leaves may differ for reasons of rounding."""

    def __init__(self, problem: Problem, iterations: Iterations, samples: int) -> None:
        """`samples`: of the evaluation set."""
        self.clients = problem.clients
        self._problem = problem
        self._iterations = iterations
        self._sampler = open_sampler(problem.sampler, problem.clients)
        self._samples = samples

    @classmethod
    async def open(cls, fetch_blob: FetchBlob, problem: Problem, device: str) -> _Recomputation:
        """Fetches everything by digest and builds the evaluator."""
        # Loaded here, so that commands that evaluate nothing start without torch.
        from fedcoin.learning.evaluator import open_problem

        blobs: dict[bytes, bytes] = {}
        for digest in dict.fromkeys(problem.blobs):
            data = await fetch_blob(digest)
            if hashlib.sha256(data).digest() != digest:
                raise BlobMismatch(f"what came as blob {digest.hex()} has another digest")
            blobs[digest] = data
        evaluator = open_problem(problem, blobs, device)
        return cls(problem, Iterations(problem.sampler, evaluator), evaluator.samples)

    async def prepare(self, progress: Progress) -> None:
        """Evaluates what all leaves build on; in parts, since that can take minutes."""
        preparer, state = Preparer(self._iterations), self._iterations.preparation
        while not state.done:
            preparer.work(_REPORT_SECONDS)
            progress(state.evaluated, len(state.values))
            await asyncio.sleep(0)  # let the connection answer its peer

    def leaves(self, estimate: Estimate, indices: Sequence[int]) -> Values:
        """The leaves of iterations `indices` of an estimate's miner in its race, int64 [n, K]."""
        return self._iterations.leaves(estimate.race, estimate.miner, indices)

    def tolerance(self, estimate: Estimate, indices: Sequence[int], leaves: Values) -> int:
        """How far Σ over clients |total| may be off over these iterations."""
        problem = self._problem
        return self._sampler.tolerance(
            leaves, estimate.race, estimate.miner, indices, problem.utility, self._samples, problem.baseline
        )

    def check(self, claimed: Sequence[int], recomputed: Values, estimate: Estimate, index: int) -> None:
        """Raises LeafMismatch unless a leaf is its recomputation but for rounding."""
        problem = self._problem
        self._sampler.check(
            claimed,
            recomputed.tolist(),
            estimate.race,
            estimate.miner,
            index,
            problem.utility,
            self._samples,
            problem.baseline,
        )


class _Checker:
    """Recomputes the estimates of one certificate."""

    def __init__(
        self,
        evaluator: _Recomputation,
        block: Block,
        miner_by_key: MinerByKey,
        rng: random.Random,
        progress: Progress,
        iterations: int | None,
    ) -> None:
        self._evaluator = evaluator
        self._miner_by_key = miner_by_key
        self._rng = rng
        self._progress = progress
        self._iterations = iterations
        self._clients = evaluator.clients
        self._chunk = max(1, _FIRST_EVALUATIONS // self._clients)
        self._most = max(1, _MOST_EVALUATIONS // self._clients)
        self._reported = time.monotonic()
        self._done = 0
        counts = [estimate.time for estimate in block.certificate]
        self._all = sum(count if iterations is None else min(count, iterations) for count in counts)
        self.totals: Totals | None = [] if iterations is None else None
        """(total, time) recomputed of each estimate; None when only samples are."""

    async def check(self, estimate: Estimate) -> EstimateAudit:
        """Recomputes one estimate, wholly or in part."""
        if self._iterations is None:
            return await self._check_whole(estimate)
        return await self._check_sample(estimate, min(self._iterations, estimate.time))

    async def _check_whole(self, estimate: Estimate) -> EstimateAudit:
        log = LeafLog(self._clients)
        tolerance = 0
        while log.time < estimate.time:
            count = min(self._chunk, estimate.time - log.time)
            indices = range(log.time, log.time + count)
            leaves = self._evaluator.leaves(estimate, indices)
            log.extend(leaves)
            tolerance += self._evaluator.tolerance(estimate, indices, leaves)
            await self._advance(count)
        if self.totals is not None:
            self.totals.append((log.total, log.time))
        differences = [abs(ours - theirs) for ours, theirs in zip(log.total, estimate.total, strict=True)]
        deviation = max(differences, default=0) / (UTILITY_SCALE * estimate.time)
        same_leaves = log.root() == estimate.leaf_root
        reason = ""
        if same_leaves and any(differences):
            reason = f"{_name(estimate)}: the total is not the sum of its leaves"
        elif sum(differences) > tolerance:
            off, allowed = (value / (UTILITY_SCALE * estimate.time) for value in (sum(differences), tolerance))
            reason = f"{_name(estimate)}: S is off by {off:.6f} over all clients, rounding explains {allowed:.6f}"
        exact = same_leaves and not any(differences)
        return EstimateAudit(estimate.miner, estimate.time, log.time, exact, deviation, reason)

    async def _check_sample(self, estimate: Estimate, count: int) -> EstimateAudit:
        indices = sorted(self._rng.sample(range(estimate.time), count))
        miner = await self._miner_by_key(estimate.miner)
        if miner is None:
            raise LeavesNotFound(
                f"{_name(estimate)} cannot be asked for its leaves: audit without a limit of iterations"
            )
        exact, deviation, reason = True, 0, ""
        rest = indices
        while rest:
            part, rest = rest[: self._chunk], rest[self._chunk :]
            item = AuditItem(estimate, tuple(part))
            proofs = await miner.leaves(estimate.race, estimate.miner, estimate.time, wanted_leaves(item))
            recomputed = self._evaluator.leaves(estimate, part)
            finding = judge_proofs(item, proofs)
            if finding.verdict is Verdict.UNAVAILABLE:
                raise LeavesNotFound(f"{_name(estimate)} did not hand out the leaves that it has signed for")
            if finding.evidence is not None:
                reason = f"{_name(estimate)}: leaf {finding.evidence[1].index} is none, or not the total"
                return EstimateAudit(
                    estimate.miner, estimate.time, len(indices), False, deviation / UTILITY_SCALE, reason
                )
            for index, row in zip(part, recomputed, strict=True):
                claimed = finding.steps[index]
                off = max(abs(int(ours) - theirs) for ours, theirs in zip(row, claimed, strict=True))
                exact, deviation = exact and off == 0, max(deviation, off)
                try:
                    self._evaluator.check(claimed, row, estimate, index)
                except LeafMismatch as error:
                    reason = reason or f"{_name(estimate)}: iteration {index}: {error.message}"
            await self._advance(len(part))
        return EstimateAudit(estimate.miner, estimate.time, count, exact, deviation / UTILITY_SCALE, reason)

    async def _advance(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._all)
        if time.monotonic() - self._reported < _REPORT_SECONDS:
            self._chunk = min(2 * self._chunk, self._most)
        self._reported = time.monotonic()
        await asyncio.sleep(0)  # let the connection answer its peer


def _clients(block: Block, task: Task, totals: Totals | None) -> list[ClientAudit]:
    header = block.header
    if len(header.averaged_total) != len(task.contributors):
        return []
    due = client_payouts(task.train_price, header.averaged_total)
    ours = averaged(totals[1:]) if totals is not None and len(totals) > 1 else None
    paid: dict[bytes, int] = {}
    for payment in block.payments:
        if payment.payer == address_of(header.winner) and payment.order == task.order:
            paid[payment.payee] = paid.get(payment.payee, 0) + payment.amount
    return [
        ClientAudit(
            contributor.address,
            header.averaged_total[index] / (max(1, header.averaged_time) * UTILITY_SCALE),
            ours[0][index] / (ours[1] * UTILITY_SCALE) if ours is not None else None,
            paid.get(contributor.address, 0),
            due[index],
        )
        for index, contributor in enumerate(task.contributors)
    ]


def _name(estimate: Estimate) -> str:
    return f"miner {estimate.miner.hex()[:16]}"
