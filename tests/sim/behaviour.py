"""How a simulated node behaves; the base class keeps to the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedcoin.consensus.messages import Effect, Input
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World


class Behaviour:
    """An honest node. Adversaries override what they do otherwise."""

    honest = True

    @property
    def name(self) -> str:
        """For tables."""
        return type(self).__name__

    def started(self, world: World, node: SimNode) -> None:
        """The node has started or come back; `node.posap` is fresh."""

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        """One input at the node's own time. Raises the FedCoinError of bad input."""
        return node.running.step(event, now)

    def tick(self, world: World, node: SimNode) -> None:
        """About once a second."""

    def hands_out_leaves(self, world: World, node: SimNode, asker: SimNode) -> bool:
        """Whether an auditor gets this node's leaves."""
        return True

    def answers(self, world: World, node: SimNode) -> bool:
        """Whether a node that asks what it has missed is answered."""
        return True


class Adversary(Behaviour):
    """Breaks the protocol in some way."""

    honest = False


class Honest(Behaviour):
    """Keeps to the protocol."""
