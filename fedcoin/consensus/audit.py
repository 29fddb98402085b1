"""Judging an estimate by its leaves: is it what Alg. 1 lines 4–12 give its miner, iteration by iteration?

An estimate is signed and binds its miner to `time`, `total` and the Merkle root of its leaves, which are cumulative.
Leaves themselves are not signed and may come from anybody, so only those that lead to the root speak against the miner;
others speak against whoever handed them out, and count as not delivered. With leaves that do lead to the root, the
miner is convicted if

- the last of them is not `total`,
- one has the wrong length, or steps beyond the largest utility (`MalformedLeaf`),
- the step at a privately drawn index, or at the one that `Descent` finds, is not what its iteration gives, but for
  rounding (the sampler's `check`).

Each of these shows in one leaf and the one before it. They are evidence before the chain (docs/adr/0010), where others
recompute them on other devices; so there the step must be beyond `EVIDENCE_FACTOR` times the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedcoin.consensus.messages import AuditItem, Evidence, Leaves, Verdict
from fedcoin.core.errors import InvalidMerkleProof, LeafMismatch, MalformedLeaf
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import FraudReport, LeafProof
from fedcoin.core.merkle import verify_inclusion
from fedcoin.core.task import Problem
from fedcoin.shapley.leaves import decode_leaf, step_between
from fedcoin.shapley.samplers import open_sampler

EVIDENCE_FACTOR = 2
"""A leaf convicts before the chain only beyond so many times the tolerance of an audit. An honest leaf is within once
the tolerance of every honest recomputation, so no honest device finds it beyond twice."""

Steps = Mapping[int, tuple[int, ...]]
"""Marginal contributions by iteration, times UTILITY_SCALE."""


@dataclass(frozen=True)
class Finding:
    """What leaves say about an estimate."""

    verdict: Verdict
    """HONEST: nothing speaks against the miner so far."""
    steps: Steps = field(default_factory=dict)
    """Of the item's indices, where the verdict is HONEST: to be recomputed."""
    evidence: Evidence | None = None
    """Where the verdict is CONVICTED, and the chain could see it too."""


UNAVAILABLE = Finding(Verdict.UNAVAILABLE)


def fits(item: AuditItem, problem: Problem) -> bool:
    """Whether an estimate can belong to the problem at all: it has iterations, and a sum for each client."""
    return item.estimate.time > 0 and len(item.estimate.total) == problem.clients > 0


def wanted_leaves(item: AuditItem) -> tuple[int, ...]:
    """The leaves that an audit needs: those at the item's indices, the last, and the one before each of these."""
    ends = {*item.indices, item.estimate.time - 1}
    return tuple(sorted(ends | {index - 1 for index in ends if index > 0}))


def judge_proofs(item: AuditItem, proofs: Sequence[LeafProof]) -> Finding:
    """What leaves that somebody has handed out show by themselves."""
    estimate = item.estimate
    by_index = {proof.index: proof for proof in proofs}
    for index in wanted_leaves(item):
        if index not in by_index:
            return UNAVAILABLE
        proof = by_index[index]
        try:
            verify_inclusion(proof.leaf, index, estimate.time, proof.path, estimate.leaf_root)
        except InvalidMerkleProof:
            return UNAVAILABLE
    steps: dict[int, tuple[int, ...]] = {}
    for index in sorted({*item.indices, estimate.time - 1}):
        evidence = (by_index.get(index - 1), by_index[index])
        step = plain_step(estimate, *evidence)
        if step is None:
            return Finding(Verdict.CONVICTED, evidence=evidence)
        steps[index] = step
    return Finding(Verdict.HONEST, {index: steps[index] for index in item.indices})


def plain_step(estimate: Estimate, before: LeafProof | None, leaf: LeafProof) -> tuple[int, ...] | None:
    """The marginal contributions of a leaf under the estimate's root; None where it is fraud whatever its iteration
    gives: the last leaf is not `total`, or a leaf cannot be one."""
    try:
        step = step_between(before.leaf if before else None, leaf.leaf, leaf.index, len(estimate.total))
    except MalformedLeaf:
        return None
    if leaf.index == estimate.time - 1 and decode_leaf(leaf.leaf, len(estimate.total)) != estimate.total:
        return None
    return step


def judge_recomputed(
    item: AuditItem, problem: Problem, steps: Steps, recomputed: Leaves, samples: int, factor: int = 1
) -> int | None:
    """Steps of leaves that lead to the estimate's root, against what the item's indices give (in their order, int64
    [n, K]): the first index whose step differs by more than `factor` times what rounding explains; None if none does.

    `samples`: of the evaluation set. Raises SamplerDoesNotFit for a problem that nobody can work on.
    """
    estimate = item.estimate
    sampler = open_sampler(problem.sampler, problem.clients)
    for index, computed in zip(item.indices, recomputed, strict=True):
        try:
            sampler.check(
                steps[index],
                computed.tolist(),
                estimate.race,
                estimate.miner,
                index,
                problem.utility,
                samples,
                problem.baseline,
                factor,
            )
        except LeafMismatch:
            return index
    return None


def conclude(
    item: AuditItem, problem: Problem, proofs: Sequence[LeafProof], steps: Steps, recomputed: Leaves, samples: int
) -> Finding:
    """The end of an audit whose leaves were found HONEST by themselves, once its steps are recomputed."""
    if judge_recomputed(item, problem, steps, recomputed, samples) is None:
        return Finding(Verdict.HONEST, steps)
    forged = judge_recomputed(item, problem, steps, recomputed, samples, EVIDENCE_FACTOR)
    if forged is None:
        return Finding(Verdict.CONVICTED)
    by_index = {proof.index: proof for proof in proofs}
    return Finding(Verdict.CONVICTED, evidence=(by_index.get(forged - 1), by_index[forged]))


def accused_item(report: FraudReport) -> AuditItem:
    """What a trial has to recompute: the accused step."""
    return AuditItem(report.estimate, (report.accused.index,))
