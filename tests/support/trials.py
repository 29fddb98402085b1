"""What audits and trials find in a simulated network: the real judges over leaves that are at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from fedcoin.consensus.messages import AuditItem, Leaves, StartTrial, TrialFinished, Verdict
from fedcoin.core.fraud import LeafProof
from fedcoin.core.task import Problem
from fedcoin.shapley.leaves import LeafLog

SAMPLES = 1_000
"""Of the evaluation set, as far as tolerance goes."""

Recompute = Callable[[bytes, bytes, Sequence[int]], Leaves]
"""(race, miner, iterations) → their leaves as the auditor's own device has them."""


def hand_out(item: AuditItem, log: LeafLog) -> list[LeafProof]:
    """What a miner with these leaves answers to an audit; what it does not have is missing."""
    known = [index for index in wanted_leaves(item) if index < log.time]
    size = min(item.estimate.time, log.time)
    return [LeafProof(index, log.encoded(index), tuple(log.proof(index, size))) for index in known if index < size]


def audited(item: AuditItem, problem: Problem, log: LeafLog | None, recompute: Recompute) -> Finding:
    """An audit of one estimate whose miner holds the leaves `log` (None: it hands out nothing)."""
    if not fits(item, problem):
        return Finding(Verdict.CONVICTED)
    if log is None:
        return UNAVAILABLE
    proofs = hand_out(item, log)
    found = judge_proofs(item, proofs)
    if found.verdict is not Verdict.HONEST:
        return found
    estimate = item.estimate
    computed = recompute(estimate.race, estimate.miner, item.indices)
    return conclude(item, problem, proofs, found.steps, computed, SAMPLES)


def tried(effect: StartTrial, recompute: Recompute) -> TrialFinished:
    """A trial as an honest miner holds it."""
    report, problem = effect.report, effect.problem
    item = accused_item(report)
    if not fits(item, problem):
        return TrialFinished(effect.case, False)
    step = plain_step(report.estimate, report.before, report.accused)
    if step is None:
        return TrialFinished(effect.case, True)
    computed = recompute(report.estimate.race, report.estimate.miner, item.indices)
    steps = {report.accused.index: step}
    forged = judge_recomputed(item, problem, steps, computed, SAMPLES, EVIDENCE_FACTOR)
    return TrialFinished(effect.case, forged is not None)


class AnyLeaves(LeafLog):
    """A dishonest miner's leaves: whatever their values."""

    def extend(self, rows: Leaves) -> None:
        """Without the checks that keep an honest miner from signing nonsense."""
        done = 0
        while done < len(rows):
            done += self._fill(rows[done:])
