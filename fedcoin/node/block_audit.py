"""The audit of a settled block by anybody: recompute its Shapley vector from public data and check who was paid what.

Nothing the block says is taken on trust but its place on the chain: updates and evaluation set are fetched by digest,
permutations drawn anew (Alg. 1 line 5), marginal contributions recomputed (lines 6–11), the average (line 16), the
winning condition (line 17) and the payments (Alg. 3 lines 9 to 12) derived again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedcoin.consensus.certificate import verify_range
from fedcoin.core.block import Block
from fedcoin.core.errors import BlobMismatch, EstimateOutOfRange, LeafMismatch, LeavesNotFound, NotASettlement
from fedcoin.core.estimate import Estimate
from fedcoin.core.keys import address_of
from fedcoin.core.merkle import verify_inclusion
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Baseline, Problem, RaceKind, Task, Utility
from fedcoin.ledger.settlement import client_payouts
from fedcoin.node.audit_rules import rule_reasons
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.shapley.leaves import (
    BASELINE_SAMPLES,
    EVALUATIONS_PER_SAMPLE,
    FREE_SAMPLES,
    LOSS_TOLERANCE,
    LeafLog,
    check_leaf,
    decode_leaf,
)
from fedcoin.shapley.mean import averaged
from fedcoin.shapley.permutations import permutation, permutations

Progress = Callable[[int, int], None]
"""Called with (iterations recomputed, iterations to recompute)."""
FetchBlob = Callable[[bytes], Awaitable[bytes]]
"""The blob with that digest, from whoever holds it. Raises BlobNotFound."""
MinerByKey = Callable[[bytes], Awaitable[MinerHandler | None]]
"""The miner with that public key, to ask for its leaves; None where it cannot be reached."""
Values = NDArray[np.int64]
Totals = list[tuple[tuple[int, ...], int]]
"""(total, time) of each estimate."""

_EVALUATIONS = 4096
# Coalitions evaluated between two reports of progress.
_ROWS = 500_000
# Coalitions listed at once where there are so few different ones that most are repetitions.


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
) -> BlockAudit:
    """Recompute `block`, a TASK block of the chain of `node`.

    All iterations of all estimates are recomputed; with `iterations` only that many of each, drawn at random, and then
    the miners are asked for those leaves with their Merkle paths. Raises NotASettlement for an AUDIT block,
    LeavesNotFound where a sample's leaves are no longer held, BlobNotFound and BlobMismatch for the inputs.
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
            verify_range(estimate, task.problem.clients)
    except EstimateOutOfRange:
        return False
    return len(block.header.averaged_total) == len(task.contributors) == task.problem.clients


class _Recomputation:
    """The problem's evaluator, and how far leaves may differ for reasons of rounding."""

    def __init__(self, problem: Problem, marginals: Callable[[Values], Values], samples: int) -> None:
        self.problem = problem
        self.marginals = marginals
        self.samples = samples

    @classmethod
    async def open(cls, fetch_blob: FetchBlob, problem: Problem, device: str) -> _Recomputation:
        """Fetches everything by digest and builds the evaluator."""
        # Loaded here, so that commands that evaluate nothing start without torch.
        from fedcoin.learning.evaluation_set import decode_evaluation_set
        from fedcoin.learning.evaluator import marginals, open_evaluator

        blobs: dict[bytes, bytes] = {}
        for digest in dict.fromkeys(problem.blobs):
            data = await fetch_blob(digest)
            if hashlib.sha256(data).digest() != digest:
                raise BlobMismatch(f"what came as blob {digest.hex()} has another digest")
            blobs[digest] = data
        evaluator = open_evaluator(
            problem.model,
            blobs[problem.base_model],
            [blobs[update.digest] for update in problem.updates],
            [update.samples for update in problem.updates],
            blobs[problem.evaluation_set],
            problem.aggregation,
            problem.utility,
            problem.baseline,
            device,
        )
        _, labels = decode_evaluation_set(blobs[problem.evaluation_set], problem.model)
        return cls(problem, lambda orders: marginals(evaluator, orders), len(labels))

    def tolerance(self, orders: Values, leaves: Values) -> int:
        """How far Σ over clients |total| may be off over these iterations: as `check_leaf`, each prefix counted twice,
        because a marginal contribution is the difference of two prefixes."""
        count, clients = leaves.shape
        shifted = self.problem.baseline is Baseline.STARTING_MODEL
        if self.problem.utility is Utility.ACCURACY:
            answers = FREE_SAMPLES + self.samples * clients // EVALUATIONS_PER_SAMPLE
            shift = BASELINE_SAMPLES + self.samples // EVALUATIONS_PER_SAMPLE if shifted else 0
            per_leaf = (2 * answers + shift) * UTILITY_SCALE // self.samples + 2 * clients * (2 if shifted else 1)
            return count * per_leaf
        prefixes = np.abs(np.cumsum(np.take_along_axis(leaves, orders, axis=1), axis=1))
        return 2 * (2 if shifted else 1) * int((np.maximum(prefixes, UTILITY_SCALE) // LOSS_TOLERANCE + 1).sum())


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
        self._clients = evaluator.problem.clients
        few = 2**self._clients <= _EVALUATIONS
        self._chunk = max(1, (_ROWS if few else _EVALUATIONS) // max(1, self._clients))
        self._done = 0
        times = [estimate.time for estimate in block.certificate]
        self._all = sum(time if iterations is None else min(time, iterations) for time in times)
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
            orders = permutations(estimate.race, estimate.miner, log.time, count, self._clients)
            leaves = self._evaluator.marginals(orders)
            log.extend(leaves)
            tolerance += self._evaluator.tolerance(orders, leaves)
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
        for at in range(0, count, self._chunk):
            part = indices[at : at + self._chunk]
            proofs = await miner.leaves(estimate.race, estimate.miner, estimate.time, part)
            orders = [permutation(estimate.race, estimate.miner, index, self._clients) for index in part]
            recomputed = self._evaluator.marginals(np.array(orders, dtype=np.int64))
            by_index = {proof.index: proof for proof in proofs}
            for index, order, row in zip(part, orders, recomputed, strict=True):
                proof = by_index.get(index)
                if proof is None:
                    raise LeavesNotFound(f"{_name(estimate)} did not hand out its leaf {index}")
                claimed = decode_leaf(proof.leaf, self._clients)
                verify_inclusion(proof.leaf, index, estimate.time, proof.path, estimate.leaf_root)
                off = max(abs(int(ours) - theirs) for ours, theirs in zip(row, claimed, strict=True))
                exact, deviation = exact and off == 0, max(deviation, off)
                try:
                    self._check_leaf(claimed, row, order)
                except LeafMismatch as error:
                    reason = reason or f"{_name(estimate)}: leaf {index}: {error.message}"
            await self._advance(len(part))
        return EstimateAudit(estimate.miner, estimate.time, count, exact, deviation / UTILITY_SCALE, reason)

    def _check_leaf(self, claimed: Sequence[int], recomputed: Values, order: Sequence[int]) -> None:
        problem = self._evaluator.problem
        check_leaf(claimed, recomputed, order, problem.utility, self._evaluator.samples, problem.baseline)

    async def _advance(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._all)
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
