"""What each adversary gains: its income beside that of an honest miner of the same speed, over the same seeds."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.transaction import bond_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.miners import MinerStanding, miners
from tests.sim.adversaries import ADVERSARIES
from tests.sim.behaviour import Behaviour, Honest
from tests.sim.links import PERFECT
from tests.sim.people import People
from tests.sim.scenario import SETTLE_MS, Plan, genesis_of
from tests.sim.speed import remembering
from tests.sim.world import Member, World
from tests.support.network import MINERS

MINERS_EACH = 4
"""One dishonest, three honest, all of one speed."""
SPEED_MS = 20.0
LASTS_MS = 60_000
BOND = 5 * UNITS_PER_FDC
ORDERS = 3
ROUNDS = 2


@dataclass(frozen=True)
class Outcome:
    """Of one seed."""

    blocks: int
    """On the final chain, won by the miner in question."""
    others: int
    """Blocks won by the three others together."""
    income: float
    """FDC, its lost bond included."""
    honest: float
    """FDC of one of the others, on average."""
    convicted: bool
    wrongly: int
    """Honest miners that were convicted."""
    agreed: bool
    """Whether the honest tips were one within the time that they may take."""


@dataclass(frozen=True)
class Gain:
    """Of one kind of adversary over several seeds."""

    name: str
    blocks: str
    """Its blocks of all."""
    pace: int
    """Blocks of everybody, over all seeds: the same time each."""
    income: float
    honest: float
    convicted: int
    wrongly: int
    agreed: int
    seeds: int

    @property
    def ratio(self) -> float:
        """Its income for each unit that an honest miner of its speed has made."""
        return self.income / self.honest if self.honest else 0.0

    @property
    def note(self) -> str:
        """How it ended."""
        return f"convicted in {self.convicted} of {self.seeds}; honest tips agreed in {self.agreed}"


def gain_of(kind: type[Behaviour], seeds: Sequence[int]) -> Gain:
    """What a kind of miner earns. The same for one that is honest is the measure of chance."""
    outcomes = [play(kind, seed) for seed in seeds]
    count = len(outcomes)
    own, others = sum(each.blocks for each in outcomes), sum(each.others for each in outcomes)
    return Gain(
        kind.__name__,
        f"{own}/{own + others}",
        own + others,
        sum(each.income for each in outcomes) / count,
        sum(each.honest for each in outcomes) / count,
        sum(each.convicted for each in outcomes),
        sum(each.wrongly for each in outcomes),
        sum(each.agreed for each in outcomes),
        count,
    )


def measure_gains(seeds: Sequence[int], processes: int) -> Iterator[Gain]:
    """All kinds, an honest one first."""
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(partial(gain_of, seeds=seeds), (Honest, *ADVERSARIES))


def play(kind: type[Behaviour], seed: int) -> Outcome:
    """One seed: a minute of orders and transfers over good links."""
    with remembering():
        return _play(kind, seed)


def _play(kind: type[Behaviour], seed: int) -> Outcome:
    plan = Plan(seed, MINERS_EACH, 4, (), PERFECT, False, 20, BOND, 0, 0, 0, 0, 0, 0, 0)
    rng = random.Random(seed)
    place = rng.randrange(MINERS_EACH)
    members = [
        Member(MINERS[index], kind() if index == place else Honest(), SPEED_MS, rng.randint(-200, 200))
        for index in range(MINERS_EACH)
    ]
    world = World(genesis_of(plan), members, seed, PERFECT)
    people = People(world, random.Random(seed + 1), 4)
    people.serve()
    for number in range(ORDERS):
        world.at(number * LASTS_MS // ORDERS, people.order, ROUNDS, 10**8)
    for moment in range(2_000, LASTS_MS, 4_000):
        world.at(moment, people.transfer)
    suspect = world.nodes[place]
    honest = [node for node in world.nodes if node is not suspect]

    def over() -> bool:
        tips = {node.running.chain.tip for node in honest}
        busy = any(node.running._transactions_fit or node.running.open_tasks() for node in honest)
        return world.now >= world.started + LASTS_MS and len(tips) == 1 and not busy

    agreed = True
    try:
        world.run(over, SETTLE_MS)
    except AssertionError:
        agreed = False
    chain = honest[0].running.chain
    state = chain.state
    winners = [chain.block(each).header for each in chain.path_to(chain.chain_id)[0]]
    bad = {record.public_key for record in miners(state) if record.standing is MinerStanding.CONVICTED}
    incomes = []
    for node in world.nodes:
        key = node.key
        held = get_account(state, key.address).balance + get_account(state, bond_address(key.public_key)).balance
        incomes.append((held - 10 * UNITS_PER_FDC) / UNITS_PER_FDC)
    own = sum(header.winner == suspect.key.public_key for header in winners)
    return Outcome(
        own,
        len(winners) - own,
        incomes[place],
        sum(incomes[node.index] for node in honest) / len(honest),
        suspect.key.public_key in bad,
        sum(node.key.public_key in bad for node in honest),
        agreed,
    )


__all__ = ["Gain", "Outcome", "gain_of", "measure_gains", "play"]
