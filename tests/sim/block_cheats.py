"""Dishonest miners that do their work and cheat with blocks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from fedcoin.consensus.assemble import assemble_block
from fedcoin.consensus.certificate import averaged_of, has_quorum
from fedcoin.consensus.difficulty import eased_difficulty, expected_difficulty, race_interval
from fedcoin.consensus.messages import Effect, Input, IterationsDone, ReceiveBlock, SendBlock
from fedcoin.consensus.race import Race
from fedcoin.consensus.transition import execute
from fedcoin.core.block import Block, certificate_root, sign_block
from fedcoin.core.errors import FedCoinError
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.header import BlockHeader
from fedcoin.shapley.distance import within_distance
from tests.sim.behaviour import Adversary
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World


class SignsTwoBlocks(Adversary):
    """Whenever it wins, it signs a second block of that height and shows half of the others the one, half the other."""

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        effects = super().step(world, node, event, now)
        kept: list[Effect] = []
        for effect in effects:
            if isinstance(effect, SendBlock) and effect.block.header.winner == node.key.public_key:
                twin = _twin(node, effect.block)
                for other in world.nodes:
                    if other is not node:
                        block = effect.block if other.index % 2 else twin or effect.block
                        world.send(node, other, ReceiveBlock(block, node.name))
            else:
                kept.append(effect)
        return kept


def _twin(node: SimNode, block: Block) -> Block | None:
    """Another valid block of one's own on the same parent: the same but for the time that it states."""
    later = replace(block.header, timestamp=block.header.timestamp + 1, state_root=bytes(32))
    header = _with_root(node, replace(block, header=later))
    return None if header is None else sign_block(node.key, replace(block, header=header))


def _with_root(node: SimNode, block: Block) -> BlockHeader | None:
    """The block's header with the difficulty and the state root that its timestamp asks for."""
    chain = node.running.chain
    state = chain.state_at(block.header.previous)
    if state is None:
        return None
    parent = chain.as_parent(block.header.previous)
    interval = race_interval(block.header.timestamp, parent.timestamp, [each.opened_at for each in block.certificate])
    expected = expected_difficulty(state, block.header.kind, chain.params)
    difficulty = eased_difficulty(expected, block.header.kind, interval, chain.params)
    header = replace(block.header, difficulty=difficulty)
    try:
        after = execute(state, replace(block, header=header), parent, chain.chain_id, chain.params, chain.verified)
    except FedCoinError:
        return None
    return replace(header, state_root=after.root())


class GrindsTies(Adversary):
    """Answers each block of another with one of its own on the same parent, signed until its hash is the lower one."""

    TRIES = 16

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        rival = None
        if isinstance(event, ReceiveBlock) and event.block.header.previous == node.running.chain.tip:
            rival = self._rival(node, event.block, now)
        if rival is None:
            return super().step(world, node, event, now)
        # Its own first: that is the tip it has seen first.
        effects = super().step(world, node, ReceiveBlock(rival), now)
        with suppress(FedCoinError):
            effects += super().step(world, node, event, now)
        return effects

    def _rival(self, node: SimNode, block: Block, now: int) -> Block | None:
        posap = node.running
        race = posap.races.get(block.header.race)
        if race is None or race.own is None or block.header.winner == node.key.public_key:
            return None
        goal = block.id()
        best = None
        for offset in range(self.TRIES):
            try:
                if not race.has_converged(posap._difficulty_of(race, now + offset)):
                    continue
                made = assemble_block(posap.chain, posap.mempool, race, node.key, now + offset)
            except FedCoinError:
                continue
            if made is not None and (best is None or made[0].id() < best.id()):
                best = made[0]
                if best.id() < goal:
                    break
        return best


class LeavesOutEstimates(Adversary):
    """Makes a block as soon as any quorum of estimates, chosen by itself, brings its S within D."""

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        posap = node.running
        race = posap.races.get(posap._working_on or b"")
        if isinstance(event, IterationsDone) and race is not None and race.own is not None:
            chosen = self._choice(node, race, now)
            if chosen is not None:
                kept, race._estimates = race._estimates, chosen
                try:
                    return super().step(world, node, event, now)
                finally:
                    race._estimates = kept
        return super().step(world, node, event, now)

    def _choice(self, node: SimNode, race: Race, now: int) -> dict[bytes, Estimate] | None:
        posap, own = node.running, race.own
        difficulty = posap._difficulty_of(race, now)
        assert own is not None
        for left_out in sorted(race.others):
            rest = {miner: estimate for miner, estimate in race.others.items() if miner != left_out}
            if not rest or not has_quorum([own.miner, *rest], posap.chain.state, posap.chain.params):
                continue
            if within_distance(own.total, own.time, *averaged_of(rest.values()), race.terms.norm, difficulty):
                return rest
        return None


class StatesTheFuture(Adversary):
    """Dates its blocks as far ahead as others take them, so that D has eased for it before it has for them."""

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        return super().step(world, node, event, now + node.running.settings.max_future_ms - 1_000)


class WithholdsBlocks(Adversary):
    """Keeps a block that it has won to itself and goes on alone; shows what it has when the others are as high."""

    def __init__(self) -> None:
        self._private: list[Block] = []

    def started(self, world: World, node: SimNode) -> None:
        self._private = []

    def step(self, world: World, node: SimNode, event: Input, now: int) -> list[Effect]:
        effects = super().step(world, node, event, now)
        kept: list[Effect] = []
        for effect in effects:
            if isinstance(effect, SendBlock) and effect.block.header.winner == node.key.public_key:
                self._private.append(effect.block)
            else:
                kept.append(effect)
        caught_up = isinstance(event, ReceiveBlock) and (
            not self._private or event.block.header.height >= self._private[-1].header.height
        )
        if caught_up:
            kept += [SendBlock(block) for block in self._private]
            self._private = []
        return kept

    def answers(self, world: World, node: SimNode) -> bool:
        return not self._private


class RewritesChain(Adversary):
    """Signs a side chain of its own from a few blocks below the tip, with old certificates, and hands it out whole."""

    LENGTH = 6
    EVERY_MS = 10_000

    def __init__(self) -> None:
        self._next = 0

    def tick(self, world: World, node: SimNode) -> None:
        chain = node.running.chain
        if world.now < self._next or chain.height < 2:
            return
        self._next = world.now + self.EVERY_MS
        path = chain.path_to(chain.chain_id)[0]
        template = chain.block(path[min(len(path), self.LENGTH) - 1])
        previous, height = template.header.previous, template.header.height
        parent = chain.as_parent(previous)
        timestamp = parent.timestamp
        for step in range(self.LENGTH + 2):
            timestamp += 1
            certificate = tuple(
                sign_estimate(node.key, chain.chain_id, replace(estimate, miner=node.key.public_key, parent=previous))
                if estimate.miner == node.key.public_key
                else replace(estimate, parent=previous)
                for estimate in template.certificate
            )
            header = replace(
                template.header,
                previous=previous,
                height=height + step,
                timestamp=timestamp,
                winner=node.key.public_key,
                certificate_root=certificate_root(certificate),
            )
            block = sign_block(node.key, replace(template, header=header, certificate=certificate))
            for other in world.nodes:
                if other is not node:
                    world.send(node, other, ReceiveBlock(block, node.name, more_follows=step < self.LENGTH + 1))
            previous = block.id()
