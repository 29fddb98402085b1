"""Many miners in one process: the real state machine, a simulated clock, links, disks and evaluators.

Everything that happens comes from one seed and one heap of events, so a run can be repeated exactly.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fedcoin.consensus.messages import (
    AdoptChain,
    Effect,
    Input,
    IterationsDone,
    ReceiveBlock,
    ReceiveEstimate,
    ReceiveTask,
    ReceiveTransaction,
    SendBlock,
    SendEstimate,
    SendTask,
    SendTransaction,
    StartAudit,
    StartRace,
    StartTrial,
    StopRace,
    StoreBlock,
    StoreLeaves,
    Tick,
)
from fedcoin.consensus.posap import PoSap, PoSapSettings
from fedcoin.core.errors import FedCoinError
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import Transaction
from tests.sim.auditors import audit, trial
from tests.sim.behaviour import Behaviour
from tests.sim.disk import Disk
from tests.sim.evaluators import Evaluators
from tests.sim.invariants import Invariants
from tests.sim.links import LinkQuality, Links
from tests.sim.node import SimNode
from tests.support.network import START

TICK_MS = 1_000
SYNC_MS = 3_000
"""How often a node asks one of the others what it has missed."""
BATCH_MS = 250
"""Iterations are counted in batches that take about so long."""
AUDIT_MS = 30


class OutOfTime(AssertionError):
    """A condition did not come true within the simulated time that it may take."""


@dataclass(frozen=True)
class Member:
    """Who takes part, and how."""

    key: PrivateKey
    behaviour: Behaviour
    speed: float
    """Milliseconds per iteration."""
    skew_ms: int = 0


class World:
    """Steps through events in order of their time."""

    def __init__(
        self,
        genesis: Genesis,
        members: Sequence[Member],
        seed: int,
        quality: LinkQuality,
        settings: PoSapSettings | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        """`log`: gets a line for everything that happens."""
        self.genesis = genesis
        self.chain_id = genesis.id()
        self.now = self.started = START + 1_000
        self.rng = random.Random(seed)
        self.links = Links(random.Random(seed + 1), quality)
        self.evaluators = Evaluators()
        self.settings = settings
        self.steps = 0
        self.refused: list[tuple[SimNode, FedCoinError]] = []
        """By honest nodes."""
        self._seed = seed
        self._log = log
        self._events: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0
        self._honest_keys: dict[bytes, bool] = {}
        self._digests: Any = None
        self.invariants = Invariants(self)
        self.nodes: list[SimNode] = []
        for member in members:
            self.join(member)

    # --- time --------------------------------------------------------------------------------------------------------

    def at(self, delay: int, action: Callable[..., object], *arguments: Any) -> None:
        """Something happens in `delay` ms."""
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, action, arguments))

    def run(self, until: Callable[[], bool], limit_ms: int, check_ms: int = 250) -> None:
        """Runs until a condition holds, which is asked every `check_ms`. Raises OutOfTime."""
        end = self.now + limit_ms
        check_at = self.now
        while True:
            if self.now >= check_at:
                if until():
                    return
                check_at = self.now + check_ms
            at, _, action, arguments = heapq.heappop(self._events)
            if at > end:
                raise OutOfTime(f"it did not come true within {limit_ms} ms of simulated time")
            self.now = at
            action(*arguments)

    def still_possible(self, node: SimNode, transaction: Transaction) -> bool:
        """Whether a node would take a transaction in, if it came now."""
        posap = node.running
        try:
            posap.mempool.add(transaction, posap.chain.state, self.now + node.skew_ms)
        except FedCoinError:
            return False
        return True

    def note(self, text: str) -> None:
        """A line of the event log."""
        if self._log is not None:
            self._log(f"{self.now - self.started:>8} {text}")

    # --- nodes -------------------------------------------------------------------------------------------------------

    @property
    def honest(self) -> list[SimNode]:
        """Nodes that keep to the protocol."""
        return [node for node in self.nodes if node.honest]

    @property
    def honest_keys(self) -> frozenset[bytes]:
        """Of nodes that keep to the protocol."""
        if len(self._honest_keys) != len(self.nodes):
            self._honest_keys = {node.key.public_key: node.honest for node in self.nodes}
        return frozenset(key for key, honest in self._honest_keys.items() if honest)

    def join(self, member: Member) -> SimNode:
        """One more node starts, with an empty store."""
        index = len(self.nodes)
        node = SimNode(
            index,
            member.key,
            Disk(self.genesis),
            member.behaviour,
            member.speed,
            random.Random(self._seed * 1000 + index),
            member.skew_ms,
        )
        self.nodes.append(node)
        self._start(node, None)
        self.at(self.rng.randrange(TICK_MS), self._tick, node)
        self.at(self.rng.randrange(SYNC_MS), self._sync_now_and_then, node)
        return node

    def crash(self, node: SimNode) -> None:
        """The node's memory is gone."""
        if node.posap is None:
            return
        self.note(f"{node.name} crashes" + (" without power" if node.power_fails else ""))
        node.posap = None
        node.race = None
        node.crash_in = None
        node.generation += 1
        if node.power_fails:
            node.disk.lose_power(node.rng)
        self.invariants.crashed(node)

    def restart(self, node: SimNode) -> None:
        """Goes on from what is stored, as a node does: the chain, then waiting transactions and tasks, then peers."""
        if node.up:
            return
        self.note(f"{node.name} restarts at height {len(node.disk.undo)}")
        self._start(node, node.disk)
        self.invariants.restarted(node)
        for transaction in list(node.disk.waiting.values()):
            self.feed(node, ReceiveTransaction(transaction))
        for task in list(node.disk.tasks):
            self.feed(node, ReceiveTask(task))
        for other in self.nodes:
            self._ask(node, other)

    def _start(self, node: SimNode, disk: Disk | None) -> None:
        stored = disk.stored_chain() if disk is not None else None
        node.posap = PoSap(self.genesis, node.disk, node.key, node.rng, self.settings, stored)
        if self._digests is None:
            self._digests = node.posap.chain.verified._digests
        # Signatures are the same for all nodes of one process: what one has verified need not be verified again.
        node.posap.chain.verified._digests = self._digests
        node.behaviour.started(self, node)

    def _tick(self, node: SimNode) -> None:
        self.at(TICK_MS, self._tick, node)
        if node.up:
            node.behaviour.tick(self, node)
            self.feed(node, Tick())

    # --- inputs and effects ------------------------------------------------------------------------------------------

    def feed(self, node: SimNode, event: Input, source: SimNode | None = None) -> bool:
        """One step of a node that is up; its effects are performed. False if the input was refused."""
        if node.posap is None:
            return False
        self.steps += 1
        try:
            effects = node.behaviour.step(self, node, event, self.now + node.skew_ms)
        except FedCoinError as error:
            self._refuse(node, event, error, source)
            return False
        if effects:
            self._perform_all(node, effects)
        return True

    def _refuse(self, node: SimNode, event: Input, error: FedCoinError, source: SimNode | None) -> None:
        node.counts[error.code] = node.counts.get(error.code, 0) + 1
        if self._log is not None:
            self.note(f"{node.name} refuses {describe(event)}: {error.code}")
        if node.honest:
            self.refused.append((node, error))
        if error.code == "UNKNOWN_PARENT" and source is not None and not getattr(event, "more_follows", False):
            self._ask(node, source)

    def _perform_all(self, node: SimNode, effects: Sequence[Effect]) -> None:
        stop = len(effects)
        wanted = node.crash_in
        if wanted is not None and stop > 1 and (wanted == "any" or any(isinstance(e, AdoptChain) for e in effects)):
            stop = self.rng.randrange(1, stop)
        for effect in effects[:stop]:
            if self._log is not None:
                self.note(f"{node.name} {describe(effect)}")
            self._perform(node, effect)
        if stop < len(effects):
            self.crash(node)
        elif node.honest:
            self.invariants.stepped(node, effects)

    def _perform(self, node: SimNode, effect: Effect) -> None:  # noqa: PLR0912 - one case an effect
        match effect:
            case SendEstimate():
                self._broadcast(node, effect.skip, ReceiveEstimate(effect.estimate, node.name))
                self._go_on(node, effect)
            case StoreLeaves():
                node.disk.put_leaves(effect.race, effect.start, effect.leaves)
            case StoreBlock():
                node.disk.put_block(effect.block)
            case AdoptChain():
                node.disk.adopt(effect)
            case SendBlock():
                self._broadcast(node, effect.skip, ReceiveBlock(effect.block, node.name))
            case SendTask():
                node.disk.put_task(effect.task)
                self._broadcast(node, effect.skip, ReceiveTask(effect.task, node.name))
            case SendTransaction():
                node.disk.put_pending(effect.transaction)
                self.invariants.acknowledged(node, effect.transaction)
                self._broadcast(node, effect.skip, ReceiveTransaction(effect.transaction, node.name))
            case StartRace():
                node.race = effect
                node.generation += 1
                stored = node.disk.leaves.get(effect.info.race)
                if effect.start == 0 and stored is not None:
                    event = IterationsDone(effect.info.race, 0, stored, stored=True)
                    self.at(0, self._worked, node, node.generation, event)
                else:
                    self._mine(node, effect, effect.start)
            case StopRace():
                node.race = None
                node.generation += 1
            case StartAudit():
                self.at(AUDIT_MS, self._audited, node, effect)
            case StartTrial():
                self.at(AUDIT_MS, self.feed, node, trial(effect))

    def _broadcast(self, node: SimNode, skip: str | None, event: Input) -> None:
        for other in self.nodes:
            if other is not node and other.name != skip:
                self.send(node, other, event)

    def send(self, node: SimNode, other: SimNode, event: Input) -> None:
        """A message is on its way."""
        for delay in self.links.deliveries(node.index, other.index):
            self.at(delay, self.feed, other, event, node)

    # --- work --------------------------------------------------------------------------------------------------------

    def _go_on(self, node: SimNode, effect: SendEstimate) -> None:
        estimate, start = effect.estimate, node.race
        if start is None or estimate.miner != node.key.public_key or start.info.race != estimate.race:
            return
        race = node.running.races.get(estimate.race)
        if race is not None:  # else the tip has moved in the same step
            self._mine(node, start, race.log.time)

    def _mine(self, node: SimNode, race: StartRace, start: int) -> None:
        count = max(1, round(BATCH_MS / node.speed * self.rng.uniform(0.5, 1.5)))
        info = race.info
        leaves = self.evaluators.leaves(info.race, info.miner, start, count, info.problem.clients)
        took = round(count * node.speed * self.rng.uniform(0.9, 1.1))
        self.at(took, self._worked, node, node.generation, IterationsDone(info.race, start, leaves))

    def _worked(self, node: SimNode, generation: int, event: IterationsDone) -> None:
        if node.up and node.generation == generation:
            self.feed(node, event)

    def _audited(self, node: SimNode, effect: StartAudit) -> None:
        if node.up:
            self.feed(node, audit(self, node, effect))

    # --- what nodes ask each other -----------------------------------------------------------------------------------

    def _sync_now_and_then(self, node: SimNode) -> None:
        self.at(SYNC_MS, self._sync_now_and_then, node)
        others = [other for other in self.nodes if other is not node and other.up]
        if node.up and others:
            self._ask(node, self.rng.choice(others))

    def _ask(self, node: SimNode, other: SimNode) -> None:
        """A request for everything that one lacks (SPEC 20, Joining), and its answer."""
        if node is other or not self.links.joined(node.index, other.index) or self.links.lost():
            return
        self.at(self.links.delay(node.index, other.index), self._answer, other, node)

    def _answer(self, node: SimNode, asker: SimNode) -> None:
        if not node.up or not asker.up or not node.behaviour.answers(self, node):
            return
        delay = self.links.delay(node.index, asker.index)
        mine, theirs = node.running, asker.running
        path = [h for h in mine.chain.path_to(self.chain_id)[0][::-1] if not theirs.chain.tree.contains(h)]
        events: list[Input] = [
            ReceiveBlock(mine.chain.block(block_hash), node.name, index < len(path) - 1)
            for index, block_hash in enumerate(path)
        ]
        events += [ReceiveTask(task, node.name) for task in mine.open_tasks()]
        events += [ReceiveEstimate(estimate, node.name) for estimate in mine.estimates()]
        events += [ReceiveTransaction(transaction, node.name) for transaction in mine.mempool.transactions()]
        if events and self.links.joined(node.index, asker.index):
            self.at(delay, self._take_answer, asker, events)

    def _take_answer(self, node: SimNode, events: list[Input]) -> None:
        for event in events:
            self.feed(node, event)


def describe(item: Input | Effect) -> str:
    """A few words about an input or an effect."""
    name = type(item).__name__
    match item:
        case ReceiveBlock() | SendBlock() | StoreBlock():
            header = item.block.header
            return f"{name} {header.height} {item.block.id().hex()[:6]} on {header.previous.hex()[:6]}"
        case AdoptChain():
            undone = ",".join(block.id().hex()[:6] for block in item.undone)
            applied = ",".join(f"{each.block.header.height}:{each.block.id().hex()[:6]}" for each in item.applied)
            return f"{name} undo [{undone}] apply [{applied}]"
        case ReceiveEstimate() | SendEstimate():
            estimate = item.estimate
            return f"{name} of {estimate.miner.hex()[:6]} on {estimate.parent.hex()[:6]} time {estimate.time}"
        case ReceiveTransaction() | SendTransaction():
            transaction = item.transaction
            return f"{name} {type(transaction.body).__name__} of {transaction.sender.hex()[:6]} {transaction.nonce}"
        case ReceiveTask() | SendTask():
            return f"{name} round {item.task.round} on {item.task.parent.hex()[:6]}"
        case StartRace():
            return f"{name} {item.info.kind.name} {item.info.race.hex()[:6]} from {item.start}"
        case StartAudit():
            return f"{name} of {(item.audit.block or b'').hex()[:6]}"
    return name
