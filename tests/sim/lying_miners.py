"""Dishonest miners whose estimates are not what their work gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fedcoin.consensus.messages import Effect, Input, IterationsDone, Leaves
from fedcoin.consensus.race import Race, RaceTerms
from fedcoin.core.estimate import Estimate, sign_estimate
from tests.sim.behaviour import Adversary
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World


class _LyingRace(Race):
    """A race in which the own estimate is not what the leaves give."""

    def __init__(self, *arguments: object, lie: EstimateLiar) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._lie = lie

    def add_iterations(self, start: int, leaves: Leaves) -> Estimate:
        honest = super().add_iterations(start, leaves)
        lie = self._lie.lie(self, honest)
        if lie is not honest:
            self._own = sign_estimate(self._key, self._chain_id, lie)
        assert self._own is not None
        return self._own


class EstimateLiar(Adversary):
    """Signs other estimates than its leaves give."""

    def started(self, world: World, node: SimNode) -> None:
        posap = node.running
        races, chain = posap.races, posap.chain

        def open_race(terms: RaceTerms) -> Race:
            race = _LyingRace(terms, node.key, chain.chain_id, chain.verified, lie=self)
            races._races[race.id] = race
            return race

        races._open = open_race  # type: ignore[method-assign]
        races.tip_changed()

    def lie(self, race: Race, honest: Estimate) -> Estimate:
        """What it signs instead."""
        raise NotImplementedError


class CopiesEstimates(EstimateLiar):
    """Hands out the mean of the others' S as its own: no work of its own, and closer to S̄ than anybody."""

    def lie(self, race: Race, honest: Estimate) -> Estimate:
        mean = race.averaged()
        if mean is None:
            return honest
        total = tuple(value * honest.time // mean[1] for value in mean[0])
        return replace(honest, total=total)


class ClaimsTime(EstimateLiar):
    """Claims a thousand times the iterations that it has done, so that its S weighs a thousand times as much."""

    def lie(self, race: Race, honest: Estimate) -> Estimate:
        return replace(honest, time=honest.time * 1000, total=tuple(value * 1000 for value in honest.total))


class ForgesLeaves(Adversary):
    """Invents one leaf in ten, in favour of client 0."""

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        if isinstance(event, IterationsDone) and not event.stored:
            leaves = event.leaves.copy()
            forged = np.arange(event.start, event.start + len(leaves)) % 10 == 7
            leaves[forged] = 0
            leaves[forged, 0] = 10**9
            event = replace(event, leaves=leaves)
        return super().step(world, node, event, now)


class WithholdsLeaves(Adversary):
    """Works honestly, and hands out its leaves to nobody."""

    def hands_out_leaves(self, world: World, node: SimNode, asker: SimNode) -> bool:
        return False


class MakesUpEstimates(EstimateLiar):
    """Claims work that it has not done, copies S, and hands out no leaves: the cheapest way to look like a miner."""

    def lie(self, race: Race, honest: Estimate) -> Estimate:
        mean = race.averaged()
        return honest if mean is None else replace(honest, time=mean[1], total=mean[0])

    def hands_out_leaves(self, world: World, node: SimNode, asker: SimNode) -> bool:
        return False
