"""Dishonest miners, one small class each. What each gains is measured in test_adversaries.py and by `make sim`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fedcoin.consensus.messages import Effect, Input, ReceiveBlock, ReceiveEstimate, ReceiveTransaction
from fedcoin.core.block import Block
from fedcoin.core.estimate import Estimate
from fedcoin.core.transaction import Transaction
from tests.sim.accusers import AccusesHonest
from tests.sim.behaviour import Adversary
from tests.sim.block_cheats import (
    GrindsTies,
    LeavesOutEstimates,
    RewritesChain,
    SignsTwoBlocks,
    StatesTheFuture,
    WithholdsBlocks,
)
from tests.sim.lying_miners import ClaimsTime, CopiesEstimates, ForgesLeaves, MakesUpEstimates, WithholdsLeaves
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World


class Replays(Adversary):
    """Sends what others have signed again: as it was, and under another task, parent, sender or time."""

    def __init__(self) -> None:
        self._estimates: list[Estimate] = []
        self._transactions: list[Transaction] = []
        self._blocks: list[Block] = []

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        match event:
            case ReceiveEstimate():
                self._estimates = [*self._estimates[-20:], event.estimate]
            case ReceiveTransaction():
                self._transactions = [*self._transactions[-20:], event.transaction]
            case ReceiveBlock():
                self._blocks = [*self._blocks[-20:], event.block]
        return super().step(world, node, event, now)

    def tick(self, world: World, node: SimNode) -> None:
        for other in world.nodes:
            if other is not node:
                for event in self._events(world, node):
                    world.send(node, other, event)

    def _events(self, world: World, node: SimNode) -> Sequence[Input]:
        tip, key = node.running.chain.tip, node.key.public_key
        events: list[Input] = []
        if self._estimates:
            old = world.rng.choice(self._estimates)
            events += [
                ReceiveEstimate(each, node.name)
                for each in (
                    old,
                    replace(old, parent=tip),
                    replace(old, miner=key),
                    replace(old, time=old.time + 1),
                    replace(old, task=bytes(32)),
                )
            ]
        if self._transactions:
            sent = world.rng.choice(self._transactions)
            events += [
                ReceiveTransaction(each, node.name)
                for each in (sent, replace(sent, sender=key), replace(sent, nonce=sent.nonce + 1))
            ]
        if self._blocks:
            block = world.rng.choice(self._blocks)
            header = replace(block.header, previous=tip)
            events += [ReceiveBlock(block, node.name), ReceiveBlock(replace(block, header=header), node.name)]
        return events


ADVERSARIES: tuple[type[Adversary], ...] = (
    CopiesEstimates,
    ClaimsTime,
    ForgesLeaves,
    WithholdsLeaves,
    MakesUpEstimates,
    SignsTwoBlocks,
    GrindsTies,
    LeavesOutEstimates,
    StatesTheFuture,
    WithholdsBlocks,
    RewritesChain,
    Replays,
    AccusesHonest,
)
"""All of them; the double spender over a cut is among the people (people.py), as it needs no miner."""
