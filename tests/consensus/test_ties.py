"""Ties: first seen decides them (§4.1), and they end all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcoin.consensus.certificate import averaged_of
from fedcoin.consensus.messages import (
    AuditFinished,
    ReceiveBlock,
    ReceiveEstimate,
    ReceiveTask,
    Tick,
    Verdict,
)
from fedcoin.consensus.posap import PoSapSettings
from fedcoin.consensus.ties import RACES_A_MINER, tie_rank
from fedcoin.core.block import Block
from fedcoin.core.errors import EstimateOutOfRange
from fedcoin.core.estimate import sign_estimate
from fedcoin.core.params import MAX_ITERATIONS
from fedcoin.core.task import RaceKind
from fedcoin.ledger.orders import orders
from fedcoin.shapley.distance import within_distance
from tests.support.blocks import adopted, reseal, resign, settled_network
from tests.support.network import MINERS, Network, make_genesis, make_task, place_order
from tests.support.watcher import Watcher


def rank(block: Block) -> tuple[bytes, bytes]:
    """Of a first block."""
    return tie_rank(block.header.previous, block.id(), block.header.winner)


def tie(seed: int) -> tuple[Network, Block, Block]:
    """Two first blocks of one chain; the one of the lower rank comes first."""
    ones: dict[bytes, Block] = {}
    for other in range(seed, seed + 10):
        block = adopted(settled_network(seed=other).nodes[0].posap.chain)[0]
        ones.setdefault(block.header.winner, block)  # two of one winner would be a double signature
        if len(ones) == 2:
            break
    lower, higher = sorted(ones.values(), key=rank)
    return settled_network(seed=seed), lower, higher


def test_a_true_tie_falls_to_the_lower_rank_after_a_while() -> None:
    network, lower, higher = tie(1)
    node = Watcher(network, tie_window_ms=500, tie_patience_ms=2_000)
    node.step(ReceiveBlock(higher))
    node.judge(node.audits[0])
    assert node.posap.chain.tip == higher.id()
    node.now += 500
    node.step(ReceiveBlock(lower))
    assert node.posap.chain.tip == higher.id()
    node.now += 2_000
    node.step(Tick())
    node.judge(node.audits[-1])
    node.step(Tick())
    assert node.posap.chain.tip == lower.id()


def test_no_timestamp_helps_a_winner_in_a_tie() -> None:
    """Its rank is the same for whatever it makes of its block; two blocks of one winner still have an order."""
    _, lower, higher = tie(1)
    ground = [reseal(higher, timestamp=higher.header.timestamp + more) for more in range(64)]
    assert any(block.id() < lower.id() for block in ground)
    assert all(rank(lower) < rank(block) for block in ground)
    assert len({rank(block) for block in ground}) == len(ground)


def test_longer_branches_are_ranked_where_they_part() -> None:
    """Above that a winner could choose the parent of its own next block."""
    chains = [adopted(settled_network(seed=seed).nodes[0].posap.chain) for seed in (1, 2)]
    (lower, *_), (higher, *_) = both = sorted(chains, key=lambda blocks: rank(blocks[0]))
    node = Watcher(settled_network(seed=1), patience_ms=-1)
    for block in (block for blocks in both for block in blocks[:2]):
        node.step(ReceiveBlock(block))
    ties = node.posap._tips.ties
    one, other = (blocks[1].id() for blocks in both)
    assert rank(lower) < rank(higher)
    assert ties._ranks_before(one, other)
    assert not ties._ranks_before(other, one)


def test_a_tip_that_was_extended_is_not_left_for_a_lower_rank() -> None:
    """The block on it is still being audited, but the tie is over."""
    networks = [settled_network(seed=seed) for seed in (1, 2)]
    chains = [adopted(network.nodes[0].posap.chain) for network in networks]
    (lower, *_), (higher, child, *_) = sorted(chains, key=lambda blocks: rank(blocks[0]))
    node = Watcher(networks[0], tie_window_ms=500, tie_patience_ms=2_000)
    node.step(ReceiveBlock(higher))
    node.judge(node.audits[0])
    node.step(ReceiveBlock(lower))
    node.step(ReceiveBlock(child))
    node.now += 2_000
    node.step(Tick())
    for audit in node.audits[1:]:
        if audit.audit.block == lower.id():
            node.judge(audit)
    node.step(Tick())
    assert node.posap.chain.tip == higher.id()


def test_first_seen_stands_against_a_block_that_was_held_back() -> None:
    network, lower, higher = tie(1)
    node = Watcher(network, tie_window_ms=500, tie_patience_ms=2_000)
    node.step(ReceiveBlock(higher))
    node.judge(node.audits[0])
    node.now += 501
    node.step(ReceiveBlock(lower))
    node.now += 2_001
    node.step(Tick())
    node.now += 10**6
    node.step(Tick())
    assert node.posap.chain.tip == higher.id()


def test_a_stalled_tip_is_left_for_one_of_its_height_that_more_miners_work_on() -> None:
    """After a cut has healed: no quorum on either side, and both blocks too old for a true tie."""
    network, lower, higher = tie(1)
    chain_id = network.chain_id
    node = Watcher(network, tie_window_ms=500, stall_ms=10_000)
    node.step(ReceiveBlock(lower))
    node.judge(node.audits[0])
    node.now += 60_000
    node.step(ReceiveBlock(higher))
    for estimate in higher.certificate[:2]:
        node.step(ReceiveEstimate(resign(chain_id, estimate, parent=higher.id())))
    assert node.posap.chain.tip == lower.id()
    node.now += 10_000
    node.step(Tick())
    node.judge(node.audits[-1])
    node.step(Tick())
    assert node.posap.chain.tip == higher.id()


def test_a_block_held_back_wins_nothing_by_a_stall_if_no_one_works_on_it() -> None:
    network, lower, higher = tie(1)
    node = Watcher(network, tie_window_ms=500, stall_ms=10_000)
    node.step(ReceiveBlock(higher))
    node.judge(node.audits[0])
    node.now += 60_000
    node.step(ReceiveBlock(lower))
    node.now += 10**6
    node.step(Tick())
    assert node.posap.chain.tip == higher.id()


def test_idle_miners_follow_the_one_that_works() -> None:
    """The server published its task on the tip of the minority; the others hold a rival and have nothing to do."""
    origin, lower, higher = tie(2)  # of two winners: one who signs both would be convicted
    network = Network(origin.genesis, nodes=3, settings=PoSapSettings(patience_ms=-1))
    network.now = origin.now
    network.linked = lambda a, b: False
    working, *idle = network.nodes
    network.deliver(working, ReceiveBlock(higher))
    for node in idle:
        network.deliver(node, ReceiveBlock(lower))
    network.now += 10_000  # too far apart for a true tie
    network.linked = lambda a, b: True
    for node in network.nodes:
        network.sync(node)
    order_id = next(iter(orders(working.posap.chain.state))).order_id
    network.feed(working, ReceiveTask(make_task(working, order_id, network.now)))
    network.run(lambda: min(network.heights()) == 2 and network.agree(), limit_ms=120_000)
    assert working.posap.chain.block(working.posap.chain.tip).header.previous == higher.id()


def on(network: Network, block: Block, place: int, **changes: object) -> ReceiveEstimate:
    """A member of the block's certificate is heard on that block."""
    audit = {"kind": RaceKind.AUDIT, "task": network.genesis.problem.id(), "parent": block.id()}
    return ReceiveEstimate(resign(network.chain_id, block.certificate[place], **{**audit, **changes}))


def watch_tie(first: Block, second: Block, network: Network, **settings: object) -> Watcher:
    """A node that has adopted the first block; the second one comes at the same time."""
    node = Watcher(network, **settings)
    node.step(ReceiveBlock(first))
    node.judge(node.audits[0])
    node.step(ReceiveBlock(second))
    assert node.posap.chain.tip == first.id()
    return node


def test_who_is_heard_on_a_rival_is_missing_from_the_quorum_on_our_tip() -> None:
    network, lower, higher = tie(1)
    node = watch_tie(lower, higher, network)
    ties, members = node.posap._tips.ties, {each.miner for each in lower.certificate}
    assert ties._quorum(members)
    node.step(on(network, higher, 0))
    node.step(on(network, higher, 1))
    assert not ties._quorum(members)


def test_a_repeated_estimate_moves_nobody_back_to_where_it_has_worked() -> None:
    network, lower, higher = tie(1)
    node = watch_tie(lower, higher, network)
    ties, miner = node.posap._tips.ties, higher.certificate[0].miner
    before = on(network, higher, 0)
    node.step(before)
    assert miner in ties._elsewhere
    place = [each.miner for each in lower.certificate].index(miner)
    node.step(on(network, lower, place))
    assert miner not in ties._elsewhere
    node.step(before)
    assert miner not in ties._elsewhere
    node.step(on(network, higher, 0, time=before.estimate.time + 1))
    assert miner in ties._elsewhere


def test_a_miner_that_invents_races_on_a_rival_fills_no_memory() -> None:
    """What races there are on a block that is not our tip, nobody can check."""
    network, lower, higher = tie(1)
    node = watch_tie(lower, higher, network)
    said = on(network, higher, 0).estimate
    key = next(key for key in MINERS if key.public_key == said.miner)
    for number in range(50):
        invented = replace(said, kind=RaceKind.TASK, task=number.to_bytes(32, "big"))
        node.step(ReceiveEstimate(sign_estimate(key, network.chain_id, invented)))
    assert len(node.posap._tips.ties._heard[said.miner]) == RACES_A_MINER
    beyond = sign_estimate(key, network.chain_id, replace(said, time=MAX_ITERATIONS + 1))
    with pytest.raises(EstimateOutOfRange):
        node.step(ReceiveEstimate(beyond))


def test_a_tip_left_because_it_stalled_is_not_taken_back_for_its_lower_rank() -> None:
    """Else the node goes to and fro: a true tie here need not be one for those that it has followed."""
    network, lower, higher = tie(1)
    node = watch_tie(lower, higher, network, tie_window_ms=500, tie_patience_ms=2_000, stall_ms=10_000)
    node.step(on(network, higher, 0))
    node.step(on(network, higher, 1))
    node.now += 10_000
    node.step(Tick())
    node.judge(node.audits[-1])
    node.step(Tick())
    assert node.posap.chain.tip == higher.id()
    node.now += 5_000
    node.step(Tick())
    assert node.posap.chain.tip == higher.id()


def test_a_tied_block_with_a_forger_in_it_is_judged_by_the_state_after_its_parent() -> None:
    """It stands if it would have won without the forger, as a block on the tip does."""
    outcomes = set()
    network = Network(make_genesis(6), nodes=6)
    higher = first_block(3)
    for lower in map(first_block, (10, 17, 27)):
        assert rank(lower) < rank(higher)
        winner, *others = lower.certificate
        assert len(others) == 4, "one more than the quorum of 6 needs"
        for spared in others:
            rest = averaged_of(each for each in others if each is not spared)
            stands = within_distance(winner.total, winner.time, *rest, 2, lower.header.difficulty)
            node = watch_tie(higher, lower, network, tie_patience_ms=2_000)
            node.now += 2_000
            node.step(Tick())
            audit = node.audits[-1].audit
            assert audit.block == lower.id()
            verdicts = {
                each.miner: Verdict.CONVICTED if each is spared else Verdict.HONEST for each in lower.certificate
            }
            node.step(AuditFinished(audit, verdicts))
            assert (node.posap.chain.tip == lower.id()) is stands
            outcomes.add(stands)
    assert True in outcomes


def first_block(seed: int) -> Block:
    """Of six miners."""
    network = Network(make_genesis(6), nodes=6, seed=seed)
    place_order(network, network.nodes[0])
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    return adopted(network.nodes[0].posap.chain)[0]
