"""Miners in one process around the real state machine, with simulated time, links and evaluators."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from fedcoin.consensus.difficulty import expected_difficulty
from fedcoin.consensus.messages import (
    AdoptChain,
    AuditFinished,
    Effect,
    Input,
    IterationsDone,
    Leaves,
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
from fedcoin.core.estimate import Estimate
from fedcoin.core.genesis import Allocation, Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UNITS_PER_FDC, UTILITY_SCALE, ChainParams
from fedcoin.core.task import Aggregation, Baseline, Contributor, Problem, RaceKind, Sampler, Task, Utility, sign_task
from fedcoin.core.transaction import Order, Schedule, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.orders import get_order
from fedcoin.ledger.prices import round_prices
from fedcoin.shapley.leaves import LeafLog
from tests.support.game import MODEL, make_problem, recompute
from tests.support.memory_storage import MemoryStorage
from tests.support.trials import AnyLeaves, Recompute, audited, tried

START = 1_800_000_000_000
REQUESTER = PrivateKey(b"\x51" * 32)
SERVER = PrivateKey(b"\x52" * 32)
CLIENTS = tuple(PrivateKey(bytes([0x60 + index]) * 32) for index in range(8))
MINERS = tuple(PrivateKey(bytes([0x11 + index]) * 32) for index in range(8))

PARAMS = ChainParams(
    name="test",
    target_interval_ms=5_000,
    audit_interval_ms=1_000,
    difficulty_window=8,
    initial_difficulty=UTILITY_SCALE // 20,
    initial_audit_difficulty=UTILITY_SCALE // 10,
    min_difficulty=UTILITY_SCALE // 1000,
    max_difficulty=10 * UTILITY_SCALE,
    norm=2,
    quorum_numerator=2,
    quorum_denominator=3,
    inactive_after=5,
    finality_depth=20,
    heartbeat_ms=0,
    min_fee=1,
    miner_bond=0,
    bond_blocks=20,
    max_block_bytes=4 << 20,
    max_blob_bytes=64 << 20,
    max_transactions=1000,
)


def make_genesis(miners: int, **changes: object) -> Genesis:
    """A chain with the first `miners` test miners."""
    return Genesis(
        params=replace(PARAMS, **changes),  # type: ignore[arg-type]
        timestamp=START,
        allocations=(
            Allocation(REQUESTER.address, 10_000 * UNITS_PER_FDC),
            *(Allocation(key.address, 10 * UNITS_PER_FDC) for key in MINERS[:miners]),
        ),
        miners=tuple(key.public_key for key in MINERS[:miners]),
        problem=make_problem(4, "genesis"),
    )


@dataclass
class Node:
    """One miner and what it has been told to do."""

    name: str
    posap: PoSap
    storage: MemoryStorage
    speed: float
    """Milliseconds per iteration."""
    alive: bool = True
    race: StartRace | None = None
    forge: Callable[[IterationsDone], IterationsDone] | None = None
    """What it makes of the iterations that its evaluator hands it."""
    refused: list[FedCoinError] = field(default_factory=list)

    @property
    def chain(self) -> object:
        return self.posap.chain


class Network:
    """Steps through events in order of their time; every run of the same seed is the same."""

    def __init__(
        self,
        genesis: Genesis,
        nodes: int,
        seed: int = 1,
        delay_ms: int = 20,
        settings: PoSapSettings | None = None,
        loss: float = 0.0,
        duplication: float = 0.0,
    ) -> None:
        """`loss`, `duplication`: shares of messages. With loss nodes ask each other now and then what they missed."""
        self.genesis = genesis
        self.chain_id = genesis.id()
        self.now = self.started = START + 1_000
        self.delay_ms = delay_ms
        self.loss = loss
        self.duplication = duplication
        self.settings = settings
        self.seed = seed
        self.linked: Callable[[Node, Node], bool] = lambda a, b: True
        self._events: list[tuple[int, int, Node, Input]] = []
        self._order = itertools.count()
        self._random = random.Random(seed)
        self._leaves: dict[tuple[bytes, bytes], Leaves] = {}
        self._logs: dict[tuple[bytes, bytes], LeafLog] = {}
        self.effects: list[tuple[str, Effect]] = []
        self.nodes = [self._node(index, seed, settings) for index in range(nodes)]

    def _node(self, index: int, seed: int, settings: PoSapSettings | None) -> Node:
        storage = MemoryStorage(self.genesis)
        posap = PoSap(self.genesis, storage, MINERS[index], random.Random(seed * 100 + index), settings)
        return Node(f"m{index}", posap, storage, speed=10.0)

    def feed(self, node: Node, event: Input, delay: int = 0) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), node, event))

    def run(self, until: Callable[[], bool], limit_ms: int = 600_000) -> None:
        """Runs until a condition holds; fails if simulated time runs out first."""
        end = self.now + limit_ms
        next_tick = self.now
        while not until():
            if next_tick <= (self._events[0][0] if self._events else end):
                self.now = max(self.now, next_tick)
                next_tick += 500
                for node in self.nodes:
                    self._step(node, Tick())
                    if self.loss and (next_tick - START) % 2_000 == 0:
                        self.catch_up(node)
                assert self.now < end, "the condition never came true"
                continue
            at, _, node, event = heapq.heappop(self._events)
            self.now = max(self.now, at)
            self._step(node, event)

    def crash(self, node: Node) -> None:
        """The node's memory is gone; what is under way to it is lost."""
        node.alive = False
        node.race = None
        self._events = [item for item in self._events if item[2] is not node]
        heapq.heapify(self._events)

    def restart(self, node: Node) -> None:
        """Goes on from what is stored, as a node does: the chain, then waiting transactions and tasks, then peers."""
        index = self.nodes.index(node)
        rng = random.Random(self.seed * 1000 + index)
        stored = node.storage.stored_chain()
        node.posap = PoSap(self.genesis, node.storage, MINERS[index], rng, self.settings, stored)
        node.alive = True
        for transaction in node.storage.pending:
            self._step(node, ReceiveTransaction(transaction))
        for task in list(node.storage.tasks):
            self._step(node, ReceiveTask(task))
        self.catch_up(node)

    def catch_up(self, node: Node) -> None:
        """Asks all linked nodes for what they have."""
        self.sync(node)
        for other in self.nodes:
            if other is not node and other.alive and node.alive and self.linked(other, node):
                posap = other.posap
                events: list[Input] = [ReceiveTask(task, other.name) for task in posap.open_tasks()]
                events += [ReceiveEstimate(estimate, other.name) for estimate in posap.estimates()]
                events += [ReceiveTransaction(transaction, other.name) for transaction in posap.mempool.transactions()]
                for event in events:
                    self.feed(node, event, delay=1)

    def _step(self, node: Node, event: Input) -> None:
        if not node.alive:
            return
        try:
            effects = node.posap.step(event, self.now)
        except FedCoinError as error:
            node.refused.append(error)
            if error.code == "UNKNOWN_PARENT" and isinstance(event, ReceiveBlock):
                self.sync(node)
            return
        self._perform_all(node, effects)

    def _perform_all(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            self.effects.append((node.name, effect))
            self._perform(node, effect)

    def deliver(self, node: Node, event: Input) -> list[Effect]:
        """One step now, its effects performed. Raises what the state machine raises."""
        effects = node.posap.step(event, self.now)
        self._perform_all(node, effects)
        return effects

    def sync(self, node: Node) -> None:
        """Hands a node all blocks that any linked node has adopted."""
        for other in self.nodes:
            if other is not node and other.alive and self.linked(other, node):
                chain = other.posap.chain
                path = [h for h in chain.path_to(chain.chain_id)[0][::-1] if not node.posap.chain.tree.contains(h)]
                for index, block_hash in enumerate(path):
                    self.feed(node, ReceiveBlock(chain.block(block_hash), other.name, index < len(path) - 1))

    def _perform(self, node: Node, effect: Effect) -> None:  # noqa: PLR0912 - one case an effect
        match effect:
            case StoreBlock():
                node.storage.blocks[effect.block.id()] = effect.block
            case AdoptChain():
                node.storage.adopt(effect)
            case StoreLeaves():
                node.storage.put_leaves(effect.race, effect.start, effect.leaves)
            case SendBlock():
                self._broadcast(node, effect.skip, ReceiveBlock(effect.block, node.name))
            case SendEstimate():
                self._broadcast(node, effect.skip, ReceiveEstimate(effect.estimate, node.name))
            case SendTask():
                node.storage.tasks.append(effect.task)
                self._broadcast(node, effect.skip, ReceiveTask(effect.task, node.name))
            case SendTransaction():
                node.storage.pending.append(effect.transaction)
                self._broadcast(node, effect.skip, ReceiveTransaction(effect.transaction, node.name))
            case StartRace():
                node.race = effect
                stored = node.storage.leaves.get(effect.info.race)
                if effect.start == 0 and stored is not None:
                    self.feed(node, IterationsDone(effect.info.race, 0, stored, stored=True))
                else:
                    self._mine(node, effect, effect.start)
            case StopRace():
                node.race = None
            case StartAudit():
                self.feed(node, self._audit(effect), delay=30)
            case StartTrial():
                self.feed(node, tried(effect, recompute_of(effect.problem)), delay=30)
        if isinstance(effect, SendEstimate) and effect.estimate.miner == node.posap.key.public_key:
            self._go_on(node, effect.estimate)

    def _go_on(self, node: Node, estimate: Estimate) -> None:
        if node.race is not None and node.race.info.race == estimate.race:
            self._mine(node, node.race, estimate.time)

    def _mine(self, node: Node, race: StartRace, start: int) -> None:
        count = max(1, round(100 / node.speed))
        info = race.info
        leaves = self._honest(info.race, info.miner, start + count, info.problem.clients)[start:]
        took = round(count * node.speed * self._random.uniform(0.9, 1.1))
        done = IterationsDone(race.info.race, start, leaves)
        self.feed(node, node.forge(done) if node.forge else done, delay=took)

    def _audit(self, effect: StartAudit) -> AuditFinished:
        """The real judges over the leaves that miners have stored."""
        audit = effect.audit
        recompute = recompute_of(audit.problem)
        findings = {
            item.estimate.miner: audited(item, audit.problem, self._log(item.estimate), recompute)
            for item in audit.items
        }
        return AuditFinished(
            audit,
            {miner: finding.verdict for miner, finding in findings.items()},
            {miner: finding.evidence for miner, finding in findings.items() if finding.evidence is not None},
        )

    def _log(self, estimate: Estimate) -> LeafLog | None:
        """The leaves of an estimate as its miner would hand them out."""
        owner = next((node for node in self.nodes if node.posap.key.public_key == estimate.miner), None)
        stored = owner.storage.leaves.get(estimate.race) if owner is not None else None
        if stored is None or len(stored) < estimate.time:
            return None
        log = self._logs.setdefault((estimate.race, estimate.miner), AnyLeaves(len(estimate.total)))
        log.extend(stored[log.time : estimate.time])
        return log

    def _honest(self, race: bytes, miner: bytes, count: int, clients: int) -> Leaves:
        """The first `count` leaves of anyone, computed once."""
        known = self._leaves.get((race, miner), np.zeros((0, clients), dtype=np.int64))
        if len(known) < count:
            known = np.concatenate([known, recompute(race, miner, range(len(known), count), clients)])
            self._leaves[race, miner] = known
        return known[:count]

    def _broadcast(self, node: Node, skip: str | None, event: Input) -> None:
        for other in self.nodes:
            if other is not node and other.name != skip and self.linked(node, other):
                copies = 1 + (self._random.random() < self.duplication)
                for _ in range(copies):
                    if self._random.random() >= self.loss:
                        self.feed(other, event, delay=round(self.delay_ms * self._random.uniform(0.5, 1.5)))

    def heights(self) -> list[int]:
        return [node.posap.chain.height for node in self.nodes]

    def agree(self, nodes: list[Node] | None = None) -> bool:
        """Whether all tips (of some nodes) are one."""
        return len({node.posap.chain.tip for node in nodes or self.nodes}) == 1


def recompute_of(problem: Problem) -> Recompute:
    """What an honest device recomputes of a problem."""
    return lambda race, miner, indices: recompute(race, miner, tuple(indices), problem.clients)


def order_body(
    rounds: int = 1, amount: int = 1_000 * UNITS_PER_FDC, expiry: int = START + 10**9, clients: int = 4
) -> Order:
    """An order's terms for the test server."""
    problem = make_problem(clients)
    return Order(
        server=SERVER.address,
        amount=amount,
        train_share=7,
        com_share=1,
        sap_share=2,
        rounds=rounds,
        schedule=Schedule.EQUAL,
        ratio_numerator=1,
        ratio_denominator=1,
        model=MODEL,
        aggregation=Aggregation.UNWEIGHTED,
        utility=Utility.ACCURACY,
        baseline=Baseline.ZERO,
        sampler=Sampler.PERMUTATION,
        evaluation_set=problem.evaluation_set,
        min_clients=1,
        expiry=expiry,
    )


def place_order(network: Network, node: Node, **terms: int) -> bytes:
    """Submits an ORDER through a node; returns the order's id."""
    nonce = get_account(node.posap.chain.state, REQUESTER.address).nonce
    transaction = sign_transaction(REQUESTER, network.chain_id, nonce, 1, order_body(**terms))
    network.feed(node, ReceiveTransaction(transaction))
    return transaction.id(network.chain_id)


def make_task(node: Node, order_id: bytes, now: int, clients: int = 4) -> Task:
    """What an honest server would publish on the node's tip."""
    chain = node.posap.chain
    record = get_order(chain.state, order_id)
    prices = round_prices(record.order)[record.rounds_settled]
    task = Task(
        server=SERVER.public_key,
        order=order_id,
        round=record.rounds_settled,
        parent=chain.tip,
        train_price=prices.train,
        com_price=prices.com,
        sap_price=prices.sap,
        problem=make_problem(clients),
        contributors=(),
        norm=chain.params.norm,
        difficulty=expected_difficulty(chain.state, RaceKind.TASK, chain.params),
        opened_at=now,
        expiry=now + 3_600_000,
        signature=b"",
    )
    keys = CLIENTS[:clients]
    contributors = tuple(
        Contributor(key.public_key, key.sign(task.commitment(index).id(chain.chain_id)))
        for index, key in enumerate(keys)
    )
    return sign_task(SERVER, chain.chain_id, replace(task, contributors=contributors))
