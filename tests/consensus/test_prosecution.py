"""Fraud is reported, recomputed, voted on and paid for, in the simulated network (docs/adr/0010)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedcoin.consensus.messages import (
    IterationsDone,
    Leaves,
    ReceiveBlock,
    ReceiveTask,
    ReceiveTransaction,
    SendEstimate,
    StartTrial,
)
from fedcoin.consensus.posap import PoSap, PoSapSettings
from fedcoin.consensus.race import Race, RaceTerms
from fedcoin.core.block import sign_block
from fedcoin.core.errors import FedCoinError
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.fraud import DoubleSign, FraudReport, FraudVote, LeafProof
from fedcoin.core.params import MAX_UTILITY, UNITS_PER_FDC
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import Body, PaymentKind, Transfer, bond_address, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.fraud import open_cases
from fedcoin.ledger.miners import MinerStanding, get_miner
from tests.support.network import MINERS, REQUESTER, Network, Node, make_genesis, make_task, place_order
from tests.support.trials import AnyLeaves

BOND = UNITS_PER_FDC
FORGER = 3


def make_network(miners: int = 4, seed: int = 7, **changes: object) -> Network:
    # A forger may split the others' tips for a while: here they come together sooner than by default.
    settings = PoSapSettings(stall_ms=4_000, patience_ms=6_000)
    return Network(make_genesis(miners, miner_bond=BOND, **changes), nodes=miners, seed=seed, settings=settings)


def standing(network: Network, miner: int, node: int = 0) -> MinerStanding:
    return get_miner(network.nodes[node].posap.chain.state, MINERS[miner].public_key).standing


def bond(network: Network, miner: int, node: int = 0) -> int:
    return get_account(network.nodes[node].posap.chain.state, bond_address(MINERS[miner].public_key)).balance


def convicted(network: Network, miner: int = FORGER) -> bool:
    """On every other node, and paid for."""
    others = [index for index in range(len(network.nodes)) if index != miner]
    return all(
        standing(network, miner, at) is MinerStanding.CONVICTED and bond(network, miner, at) == 0 for at in others
    )


def assert_honest_untouched(network: Network, dishonest: int = FORGER) -> None:
    for index in range(len(network.nodes)):
        if index != dishonest:
            assert standing(network, index) is MinerStanding.REGISTERED
            assert bond(network, index) == BOND


def sent(network: Network, kind: type[Body], node: str | None = None) -> list[tuple[str, Body]]:
    """Reports or votes that nodes have signed themselves."""
    keys = {f"m{index}": key.public_key for index, key in enumerate(MINERS)}
    found = []
    for name, effect in network.effects:
        transaction = getattr(effect, "transaction", None)
        own = transaction is not None and transaction.sender == keys[name]
        if own and isinstance(transaction.body, kind) and node in (None, name):
            found.append((name, transaction.body))
    return found


def payments(network: Network, kind: PaymentKind) -> list[tuple[bytes, int]]:
    chain = network.nodes[0].posap.chain
    blocks = [chain.block(block_hash) for block_hash in chain.path_to(chain.chain_id)[0]]
    return [(item.payee, item.amount) for block in blocks for item in block.payments if item.kind is kind]


# --- forgers ---------------------------------------------------------------------------------------------------------


def one_in_ten(event: IterationsDone) -> IterationsDone:
    leaves = event.leaves.copy()
    forged = np.arange(event.start, event.start + len(leaves)) % 10 == 7
    leaves[forged] = 0
    leaves[forged, 0] = 10**9
    return replace(event, leaves=leaves)


def oversized(event: IterationsDone) -> IterationsDone:
    """Every fifth step is larger than any, and the next takes it back."""
    leaves = event.leaves.copy()
    indices = np.arange(event.start, event.start + len(leaves))
    leaves[indices % 5 == 3, 1] += 2 * MAX_UTILITY + 1
    leaves[indices % 5 == 4, 1] -= 2 * MAX_UTILITY + 1
    return replace(event, leaves=leaves)


class LyingRace(Race):
    """A race whose leaves are not looked at, and whose total is what the miner likes."""

    lie: Callable[[Estimate], Estimate] = staticmethod(lambda estimate: estimate)

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.log = AnyLeaves(self.terms.problem.clients)

    def add_iterations(self, start: int, leaves: Leaves) -> Estimate:
        estimate = super().add_iterations(start, leaves)
        self._own = sign_estimate(self._key, self._chain_id, self.lie(estimate))
        return self._own


def lies(node: Node, lie: Callable[[Estimate], Estimate] | None = None) -> None:
    """Makes a node work with LyingRace."""
    races, chain = node.posap.races, node.posap.chain

    def open_race(terms: RaceTerms) -> Race:
        race = LyingRace(terms, node.posap.key, chain.chain_id, chain.verified)
        if lie is not None:
            race.lie = lie  # type: ignore[method-assign]
        races._races[race.id] = race
        return race

    races._open = open_race  # type: ignore[method-assign]
    races.tip_changed()


def false_total(estimate: Estimate) -> Estimate:
    return replace(estimate, total=(estimate.total[0] + 10**6, *estimate.total[1:]))


def keep_busy(network: Network, node: int = 0) -> None:
    """A transfer, so that there is a reason for an AUDIT block."""
    posap = network.nodes[node].posap
    nonce = posap.mempool.pending_nonce(REQUESTER.address, posap.chain.state)
    body = Transfer(MINERS[0].address, 1)
    network.feed(network.nodes[node], ReceiveTransaction(sign_transaction(REQUESTER, network.chain_id, nonce, 1, body)))


def run_busily(network: Network, until: Callable[[], bool], blocks: int = 60, node: int = 0) -> None:
    """Block after block until a condition holds."""
    chain = network.nodes[node].posap.chain
    for _ in range(blocks):
        if until():
            return
        goal = network.nodes[node].posap.chain.height + 1
        keep_busy(network, node)
        network.run(partial(until_or_height, network.nodes[node], until, goal))
    assert until(), f"the condition never came true, up to height {chain.height}"


def until_or_height(node: Node, until: Callable[[], bool], height: int) -> bool:
    return until() or node.posap.chain.height >= height


@pytest.mark.parametrize("fraud", ["one leaf in ten", "total", "oversized step"])
def test_a_forger_is_reported_voted_on_and_loses_its_bond_and_nobody_else_does(fraud: str) -> None:
    network = make_network()
    forger = network.nodes[FORGER]
    if fraud == "one leaf in ten":
        forger.forge = one_in_ten
    elif fraud == "oversized step":
        forger.forge = oversized
        lies(forger)
    else:
        lies(forger, false_total)
    run_busily(network, lambda: convicted(network))
    assert_honest_untouched(network)
    reporters = {name for name, _ in sent(network, FraudReport)}
    voters = {name for name, _ in sent(network, FraudVote)}
    assert len(reporters) == 1  # the others waited for their turn, and there was no need
    assert reporters | voters == {"m0", "m1", "m2"}
    # Half to whoever reported it, the rest in equal parts to all that are active.
    (reporter,) = reporters
    assert payments(network, PaymentKind.REWARD) == [(MINERS[int(reporter[1])].address, BOND // 2)]
    damages = dict(payments(network, PaymentKind.DAMAGES))
    assert damages.keys() == {MINERS[index].address for index in range(3)}
    assert sum(damages.values()) == BOND - BOND // 2
    # Its key is barred for ever: it makes no block, and no estimate of it is taken.
    height = network.nodes[0].posap.chain.height
    run_busily(network, lambda: network.nodes[0].posap.chain.height >= height + 3)
    chain = network.nodes[0].posap.chain
    later = [chain.block(block_hash) for block_hash in chain.path_to(chain.chain_id)[0][:2]]
    assert all(MINERS[FORGER].public_key not in {each.miner for each in block.certificate} for block in later)


def test_fraud_in_a_task_race_makes_the_requester_good() -> None:
    network = make_network()
    forger = network.nodes[FORGER]

    def forge(event: IterationsDone) -> IterationsDone:
        in_task = forger.race is not None and forger.race.info.kind is RaceKind.TASK
        return replace(event, leaves=event.leaves // 2 + 1) if in_task else event

    forger.forge = forge
    order_id = place_order(network, network.nodes[0])
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    network.feed(network.nodes[0], ReceiveTask(make_task(network.nodes[0], order_id, network.now)))
    network.run(lambda: min(network.heights()[:3]) >= 2)
    run_busily(network, lambda: convicted(network))
    assert_honest_untouched(network)
    assert payments(network, PaymentKind.DAMAGES) == [(REQUESTER.address, BOND - BOND // 2)]


@pytest.mark.parametrize("seed", range(3))
def test_honest_miners_are_never_accused(seed: int) -> None:
    network = make_network(seed=seed)
    run_busily(network, lambda: network.nodes[0].posap.chain.height >= 5)
    assert sent(network, FraudReport) == sent(network, FraudVote) == []


def honest_evidence(network: Network, accused: int) -> FraudReport:
    """Well-formed evidence against an honest miner: two true leaves of its."""
    estimate = estimates_of(network, accused)[-1]
    log = network._log(estimate)
    assert log is not None
    before, leaf = (
        LeafProof(index, log.encoded(index), tuple(log.proof(index, estimate.time)))
        for index in (estimate.time - 3, estimate.time - 2)
    )
    return FraudReport(estimate, None, before, leaf)


def estimates_of(network: Network, miner: int) -> list[Estimate]:
    """What a miner has announced."""
    sent = (effect.estimate for _, effect in network.effects if isinstance(effect, SendEstimate))
    return [estimate for estimate in sent if estimate.miner == MINERS[miner].public_key]


def submit(network: Network, miner: int, body: Body, ahead: int = 0) -> None:
    """`ahead`: how many others of this miner are on their way."""
    posap = network.nodes[0].posap
    nonce = posap.mempool.pending_nonce(MINERS[miner].address, posap.chain.state) + ahead
    network.feed(
        network.nodes[0],
        ReceiveTransaction(sign_transaction(MINERS[miner], network.chain_id, nonce, 1, body)),
    )


def test_a_false_accusation_convicts_nobody_and_lapses() -> None:
    """One of four reports honest miners, and signs whatever vote it can."""
    network = make_network(bond_blocks=5, finality_depth=5)
    keep_busy(network)
    network.run(lambda: all(estimates_of(network, miner) for miner in range(4)))
    reports = [honest_evidence(network, each) for each in (1, 2)]
    for ahead, report in enumerate(reports):
        submit(network, FORGER, report, ahead)
    ids = {report.id(network.chain_id) for report in reports}

    def opened() -> bool:
        return ids == {case.id for case in open_cases(network.nodes[0].posap.chain.state)}

    run_busily(network, opened)
    chain = network.nodes[0].posap.chain
    # The end of a tie may move them into another block.
    opened_at = max(case.opened_height for case in open_cases(chain.state))
    run_busily(network, lambda: chain.height > opened_at + 5)
    assert not list(open_cases(chain.state))
    assert sent(network, FraudVote) == []
    trials = {name for name, effect in network.effects if isinstance(effect, StartTrial)}
    assert {"m0", "m1", "m2"} <= trials  # they looked, and found nothing
    assert all(standing(network, index) is MinerStanding.REGISTERED for index in range(4))


def test_a_forger_is_convicted_although_its_friend_reports_it_in_vain_first() -> None:
    """A report of an honest leaf of the forger, so that nobody else would bring the forged one."""
    network = make_network(seed=2)
    network.nodes[FORGER].forge = one_in_ten
    keep_busy(network)
    network.run(lambda: all(estimates_of(network, miner) for miner in range(4)))
    submit(network, 2, honest_evidence(network, FORGER))
    run_busily(network, lambda: convicted(network))
    assert_honest_untouched(network)


def test_votes_go_on_after_a_restart_in_the_middle_of_a_case() -> None:
    network = make_network()
    network.nodes[FORGER].forge = one_in_ten
    run_busily(network, lambda: any(True for _ in open_cases(network.nodes[0].posap.chain.state)))
    for node in network.nodes[:3]:
        network.crash(node)
    for node in network.nodes[:3]:
        network.restart(node)
    run_busily(network, lambda: convicted(network))
    assert_honest_untouched(network)


# --- two blocks of one height ----------------------------------------------------------------------------------------


def with_two_blocks(network: Network) -> int:
    """Has the winner of the tip sign a second block of that height, which one node hears; returns the winner."""
    keep_busy(network)
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    chain = network.nodes[0].posap.chain
    block = chain.block(chain.tip)
    winner = next(index for index, key in enumerate(MINERS) if key.public_key == block.header.winner)
    header = replace(block.header, timestamp=block.header.timestamp + 1)
    twin = sign_block(MINERS[winner], replace(block, header=header))
    network.feed(network.nodes[(winner + 1) % 4], ReceiveBlock(twin))
    return winner


@pytest.mark.parametrize("restarted", [False, True])
def test_whoever_signs_two_blocks_of_one_height_is_convicted(restarted: bool) -> None:
    network = make_network()
    if restarted:  # nothing is known then but the adopted chain
        keep_busy(network)
        network.run(lambda: min(network.heights()) == 1 and network.agree())
        for node in network.nodes:
            network.crash(node)
            network.restart(node)
        chain = network.nodes[0].posap.chain
        block = chain.block(chain.tip)
        signer = next(index for index, key in enumerate(MINERS) if key.public_key == block.header.winner)
        twin = sign_block(
            MINERS[signer], replace(block, header=replace(block.header, timestamp=block.header.timestamp + 1))
        )
        network.feed(network.nodes[(signer + 1) % 4], ReceiveBlock(twin))
    else:
        signer = with_two_blocks(network)
    watching = (signer + 1) % 4

    def done() -> bool:
        return standing(network, signer, watching) is MinerStanding.CONVICTED and bond(network, signer, watching) == 0

    run_busily(network, done, node=watching)
    assert sent(network, DoubleSign)
    others = [index for index in range(4) if index != signer]
    assert all(standing(network, index, watching) is MinerStanding.REGISTERED for index in others)


def test_nobody_reports_itself_or_a_block_that_comes_twice() -> None:
    network = make_network()
    keep_busy(network)
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    chain = network.nodes[0].posap.chain
    block = chain.block(chain.tip)
    for node in network.nodes:
        network.feed(node, ReceiveBlock(block))
    now = network.now
    network.run(lambda: network.now > now + 15_000)
    assert sent(network, DoubleSign) == []


# --- money -----------------------------------------------------------------------------------------------------------


def test_a_miner_without_money_for_the_fee_goes_on_and_the_others_convict() -> None:
    network = make_network(seed=3)
    network.nodes[FORGER].forge = one_in_ten
    posap = network.nodes[1].posap
    balance = get_account(posap.chain.state, MINERS[1].address).balance
    body = Transfer(MINERS[0].address, balance - 1)
    transaction = sign_transaction(MINERS[1], network.chain_id, 0, 1, body)
    network.feed(network.nodes[1], ReceiveTransaction(transaction))
    run_busily(network, lambda: convicted(network), blocks=200)
    assert_honest_untouched(network)


def test_nothing_that_is_refused_ends_a_step() -> None:
    network = make_network()
    network.nodes[FORGER].forge = one_in_ten
    for node in network.nodes[:3]:
        posap = node.posap
        posap._receive_transaction = partial(refuse_own, posap, posap._receive_transaction)  # type: ignore[method-assign]
    run_busily(network, lambda: network.nodes[0].posap.chain.height >= 3)
    assert standing(network, FORGER) is MinerStanding.REGISTERED


def refuse_own(posap: PoSap, receive: Callable[..., list[object]], event: ReceiveTransaction, now: int) -> list[object]:
    if event.transaction.sender == posap.key.public_key:
        raise FedCoinError("no")
    return receive(event, now)
