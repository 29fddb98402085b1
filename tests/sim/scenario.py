"""What a seed stands for: the network, its faults, its adversaries, and what must be true in the end."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fedcoin.consensus.posap import PoSapSettings
from fedcoin.core.genesis import Allocation, Genesis
from fedcoin.core.keys import address_of
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.transaction import Transaction, Transfer
from fedcoin.ledger.accounts import get_account
from tests.sim.adversaries import ADVERSARIES, Adversary
from tests.sim.behaviour import Honest
from tests.sim.links import LinkQuality
from tests.sim.node import SimNode
from tests.sim.people import USERS, People
from tests.sim.speed import remembering
from tests.sim.world import Member, World
from tests.support.game import make_problem
from tests.support.network import MINERS, make_genesis

FAULTS_MS = 40_000
"""Faults happen for so long; then links heal, crashed nodes come back, and clocks go right."""
SETTLE_MS = 240_000
"""Within so much simulated time after that, honest tips are one and what waits has been mined."""
USER_FUNDS = 1_000_000


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before the run."""

    seed: int
    miners: int
    clients: int
    dishonest: tuple[type[Adversary], ...]
    quality: LinkQuality
    newcomer: bool
    finality: int
    bond: int
    """Units of every miner; 0: none."""
    crashes: int
    cuts: int
    jumps: int
    transfers: int
    orders: int
    double_spends: int
    leaves: int
    """Honest miners that leave, and come back when their bond is paid out."""


@dataclass
class Result:
    """What a run has shown."""

    plan: Plan
    failure: str = ""
    settled_ms: int = 0
    """Simulated time from the end of faults to one tip with nothing waiting."""
    height: int = 0
    deepest: int = 0
    steps: int = 0
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    """Of all that happened: equal for equal seeds."""
    incomes: dict[str, int] = field(default_factory=dict)
    """Miner → units more than at the genesis."""


def make_plan(seed: int) -> Plan:
    """What a seed stands for."""
    rng = random.Random(seed)
    miners = rng.choice([3, 4, 4, 5, 6])
    bad = rng.randint(0, miners // 3)
    return Plan(
        seed=seed,
        miners=miners,
        clients=rng.choice([3, 4]),
        dishonest=tuple(rng.choice(ADVERSARIES) for _ in range(bad)),
        quality=LinkQuality(rng.choice([5, 50, 50, 300]), rng.choice([0.0, 0.05, 0.3]), rng.choice([0.0, 0.2])),
        newcomer=rng.random() < 0.25,
        finality=rng.choice([6, 20]),
        bond=rng.choice([0, UNITS_PER_FDC]),
        crashes=rng.choice([0, 1, 2, 3]),
        cuts=rng.choice([0, 1, 2]),
        jumps=rng.choice([0, 0, 1, 2]),
        transfers=rng.randint(0, 8),
        orders=rng.choice([0, 1, 1, 2]),
        double_spends=rng.choice([0, 0, 1, 2]),
        # The others must be no fewer than two thirds, and three to go on.
        leaves=rng.choice([0, 1]) if miners > 3 * max(1, bad) else 0,
    )


def genesis_of(plan: Plan) -> Genesis:
    """The plan's chain: its miners, the requester, and some people."""
    base = make_genesis(plan.miners, finality_depth=plan.finality, miner_bond=plan.bond, bond_blocks=plan.finality)
    people = tuple(Allocation(key.address, USER_FUNDS) for key in USERS)
    newcomer = Allocation(MINERS[plan.miners].address, 10 * UNITS_PER_FDC)
    allocations = (*base.allocations, *people, newcomer)
    return replace(base, allocations=allocations, problem=make_problem(plan.clients, "genesis"))


class Scenario:
    """One run of a plan."""

    def __init__(self, plan: Plan, log: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed + 7)
        self._hash = hashlib.sha256()
        self._log = log
        speeds = [self.rng.choice([10.0, 20.0, 40.0]) for _ in range(plan.miners)]
        behaviours = [Honest() for _ in range(plan.miners - len(plan.dishonest))]
        behaviours += [kind() for kind in plan.dishonest]  # type: ignore[misc]
        members = [
            Member(MINERS[index], behaviour, speed, self.rng.randint(-1_000, 1_000))
            for index, (behaviour, speed) in enumerate(zip(behaviours, speeds, strict=True))
        ]
        self.world = World(genesis_of(plan), members, plan.seed, plan.quality, PoSapSettings(), log)
        self.people = People(self.world, random.Random(plan.seed + 8), plan.clients)
        self._probe: Transaction | None = None
        self._schedule()

    def _schedule(self) -> None:
        """Spreads faults and people's acts over the time of faults."""
        plan, world, rng, people = self.plan, self.world, self.rng, self.people
        people.serve()
        for _ in range(plan.transfers):
            world.at(rng.randrange(FAULTS_MS), people.transfer)
        for _ in range(plan.orders):
            world.at(rng.randrange(FAULTS_MS // 2), people.order, rng.choice([1, 2]), rng.choice([20_000, 10**8]))
        for _ in range(plan.crashes):
            node = rng.choice(world.nodes)
            down = rng.randrange(FAULTS_MS - 5_000)
            world.at(down, self._crash, node, rng.choice([None, "any", "tip"]), rng.random() < 0.3)
            world.at(rng.randrange(down, FAULTS_MS), world.restart, node)
        for _ in range(plan.cuts):
            begin = rng.randrange(FAULTS_MS - 5_000)
            end = rng.randrange(begin, FAULTS_MS)
            size = rng.randint(1, plan.miners - 1)
            side = rng.sample(range(plan.miners), size)
            world.at(begin, world.links.cut, side)
            world.at(begin, world.note, f"cut: {sorted(side)} from the others")
            world.at(end, world.links.heal)
            world.at(end, world.note, "the cut heals")
            for _ in range(plan.double_spends):
                world.at(rng.randrange(begin, end + 1), people.double_spend)
        for _ in range(plan.jumps):
            node = rng.choice(world.nodes)
            world.at(rng.randrange(FAULTS_MS), self._jump, node, rng.choice([-30_000, -5_000, 5_000, 30_000]))
        if rng.random() < 0.3:
            one, other = rng.sample(range(plan.miners), 2)
            world.links.slow(one, other, rng.choice([5, 20]))
        for node in world.honest[: plan.leaves]:
            world.at(rng.randrange(FAULTS_MS // 4), people.leave, node)
            for moment in range(FAULTS_MS // 4, FAULTS_MS, 2_000):
                world.at(moment, people.transfer)  # blocks, until its bond comes back
        if plan.newcomer:
            world.at(rng.randrange(FAULTS_MS), self._newcomer)

    def _crash(self, node: SimNode, between: str | None, power: bool) -> None:
        if not node.up:
            return
        node.power_fails = power
        if between is None:
            self.world.crash(node)
        else:
            node.crash_in = between

    def _jump(self, node: SimNode, by: int) -> None:
        self.world.note(f"the clock of {node.name} jumps by {by} ms")
        node.skew_ms += by

    def _newcomer(self) -> None:
        node = self.world.join(Member(MINERS[self.plan.miners], Honest(), 20.0))
        for other in self.world.nodes[:-1]:
            self.world._ask(node, other)
        self.world.at(3_000, self.people.register, node)

    def _end_faults(self) -> None:
        world = self.world
        world.note("faults end")
        world.links.end_faults()
        for node in world.nodes:
            node.crash_in = None
            node.skew_ms = max(-1_000, min(1_000, node.skew_ms))
            world.restart(node)
        node = self.rng.choice(world.honest)
        world.at(SETTLE_MS // 2, self.people.transfer)  # who does not mine follows the others when they have work
        self._probe = self.people.submit(node, USERS[3], Transfer(USERS[0].address, 1))
        if self._probe is None:
            raise AssertionError("an honest node has refused an honest payment")

    def _settled(self) -> bool:
        """Honest tips are one, the probe stands on it, and no honest node has anything left to mine."""
        nodes = self.world.honest
        if len({node.running.chain.tip for node in nodes}) > 1:
            return False
        state = nodes[0].running.chain.state
        if get_account(state, USERS[3].address).nonce != 1:
            return False
        return not any(node.running._transactions_fit or node.running.open_tasks() for node in nodes)

    def run(self) -> Result:
        """The whole run. A broken invariant or a network that does not settle is in the result, not raised."""
        began = time.perf_counter()
        world, result = self.world, Result(self.plan)
        try:
            world.run(lambda: world.now >= world.started + FAULTS_MS, FAULTS_MS + 10_000, check_ms=1_000)
            self._end_faults()
            healed = world.now
            world.run(self._settled, SETTLE_MS)
            result.settled_ms = world.now - healed
            world.invariants.at_end()
        except Exception as error:
            result.failure = f"{type(error).__name__}: {error}"
            if self._log is not None:
                world.note(f"FAILED {result.failure}")
        self._measure(result)
        result.seconds = time.perf_counter() - began
        return result

    def _measure(self, result: Result) -> None:
        world = self.world
        node = max(world.honest, key=lambda each: each.running.chain.height if each.up else -1)
        result.steps = world.steps
        result.deepest = world.invariants.deepest
        result.counts = dict(self.people.counts)
        if not node.up:
            return
        chain = node.running.chain
        result.height = chain.height
        begin = {allocation.address: allocation.amount for allocation in world.genesis.allocations}
        for miner in world.nodes:
            address = address_of(miner.key.public_key)
            gained = get_account(chain.state, address).balance - begin.get(address, 0)
            result.incomes[f"{miner.name}:{miner.behaviour.name}"] = gained
        for each in world.nodes:
            self._hash.update(each.running.chain.tip if each.up else b"-")
        self._hash.update(str((world.steps, world.now)).encode())
        result.digest = self._hash.hexdigest()[:16]


def run_seed(seed: int, log: Callable[[str], None] | None = None) -> Result:
    """Runs what a seed stands for."""
    with remembering():
        return Scenario(make_plan(seed), log).run()


def run_seeds(seeds: Sequence[int]) -> list[Result]:
    """Several seeds, one after the other."""
    return [run_seed(seed) for seed in seeds]
