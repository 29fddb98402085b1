"""What audits and trials find in the simulated network: leaves come from their miner alone, over the links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedcoin.consensus.audit import UNAVAILABLE, Finding
from fedcoin.consensus.messages import (
    AuditFinished,
    AuditItem,
    Leaves,
    StartAudit,
    StartTrial,
    TrialFinished,
    Verdict,
)
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Problem
from tests.sim.node import SimNode
from tests.support.network import recompute_of
from tests.support.trials import SAMPLES, audited, tried

if TYPE_CHECKING:
    from tests.sim.world import World

_HONEST = Finding(Verdict.HONEST)
OTHER_ANSWERS = 2
"""Of two clients each: four answers of a step are once the tolerance (shapley.tolerance)."""


def audit(world: World, auditor: SimNode, effect: StartAudit) -> AuditFinished:
    """Findings on all estimates of an audit, by the real judges."""
    wanted = effect.audit
    findings = {item.estimate.miner: _judge(world, auditor, item, wanted.problem) for item in wanted.items}
    return AuditFinished(
        wanted,
        {miner: finding.verdict for miner, finding in findings.items()},
        {miner: finding.evidence for miner, finding in findings.items() if finding.evidence is not None},
    )


def trial(effect: StartTrial) -> TrialFinished:
    """A trial as an honest miner holds it whose device rounds as differently as devices may."""
    exact = recompute_of(effect.problem)

    def recompute(race: bytes, miner: bytes, indices: Sequence[int]) -> Leaves:
        rows = exact(race, miner, indices).copy()
        rows[:, 0] += OTHER_ANSWERS * UTILITY_SCALE // SAMPLES
        rows[:, 1] -= OTHER_ANSWERS * UTILITY_SCALE // SAMPLES
        return rows

    return tried(effect, recompute)


def _judge(world: World, auditor: SimNode, item: AuditItem, problem: Problem) -> Finding:
    estimate = item.estimate
    owner = next((node for node in world.nodes if node.key.public_key == estimate.miner), None)
    if owner is None or not owner.up or not world.links.joined(owner.index, auditor.index):
        return UNAVAILABLE
    if not owner.behaviour.hands_out_leaves(world, owner, auditor):
        return UNAVAILABLE
    stored = owner.disk.leaves.get(estimate.race)
    if owner.honest:
        # The judges are tested elsewhere. Here it matters that an honest miner still has what it has signed for.
        return _HONEST if stored is not None and len(stored) >= estimate.time else UNAVAILABLE
    log = world.evaluators.log(estimate, stored) if stored is not None else None
    return audited(item, problem, log, recompute_of(problem))
