"""Dishonest miners that accuse honest ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedcoin.consensus.messages import Effect, Input, ReceiveEstimate, ReceiveTransaction
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import FraudReport, FraudVote, LeafProof
from fedcoin.core.transaction import Body, Transaction, sign_transaction
from fedcoin.ledger.fraud import open_cases
from fedcoin.ledger.orders import orders
from fedcoin.shapley.leaves import LeafLog
from tests.sim.behaviour import Adversary
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World


class AccusesHonest(Adversary):
    """Reports honest miners with genuine leaves, which others recompute a little differently, and with made-up ones;
    votes guilty in every case but its own."""

    EVERY_MS = 4_000

    def __init__(self) -> None:
        self._heard: dict[bytes, Estimate] = {}
        self._next = 0

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        if isinstance(event, ReceiveEstimate) and event.estimate.miner in world.honest_keys:
            self._heard[event.estimate.miner] = event.estimate
        return super().step(world, node, event, now)

    def tick(self, world: World, node: SimNode) -> None:
        own, state = node.key.public_key, node.running.chain.state
        waiting = {each.body for each in node.running.mempool.transactions() if each.sender == own}
        for case in open_cases(state):
            vote = FraudVote(case.id)
            if not case.decided and case.accused != own and own not in case.votes and vote not in waiting:
                world.feed(node, ReceiveTransaction(self._signed(world, node, vote)))
        if world.now < self._next or not self._heard:
            return
        self._next = world.now + self.EVERY_MS
        report = self._report(world, node, self._heard[world.rng.choice(sorted(self._heard))])
        if report is None:
            return
        choice = world.rng.randrange(4)
        if choice == 0:
            leaf = bytes(8) + report.accused.leaf[8:]
            report = replace(report, accused=replace(report.accused, leaf=leaf))
        elif choice == 1:
            report = replace(report, estimate=replace(report.estimate, total=(1,) * len(report.estimate.total)))
        elif choice == 2:
            known = sorted(record.order_id for record in orders(state))
            report = replace(report, order=world.rng.choice(known) if known else None)
        transaction = self._signed(world, node, report)
        if choice < 2:  # its own node would refuse it
            for other in world.nodes:
                if other is not node:
                    world.send(node, other, ReceiveTransaction(transaction, node.name))
        else:
            world.feed(node, ReceiveTransaction(transaction))

    def _signed(self, world: World, node: SimNode, body: Body) -> Transaction:
        posap = node.running
        nonce = posap.mempool.pending_nonce(node.key.address, posap.chain.state)
        return sign_transaction(node.key, world.chain_id, nonce, 2, body)

    def _report(self, world: World, node: SimNode, estimate: Estimate) -> FraudReport | None:
        """With leaves as their miner has handed them out."""
        owner = next(node for node in world.nodes if node.key.public_key == estimate.miner)
        stored = owner.disk.leaves.get(estimate.race)
        if stored is None or len(stored) < estimate.time:
            return None
        log = LeafLog(len(estimate.total))
        log.extend(stored[: estimate.time])
        index = world.rng.randrange(estimate.time)
        proofs = [
            LeafProof(at, log.encoded(at), tuple(log.proof(at, estimate.time))) for at in (index - 1, index) if at >= 0
        ]
        race = node.running._prosecution.files.race_of(estimate)
        return FraudReport(estimate, race.order if race else None, proofs[-2] if index else None, proofs[-1])
