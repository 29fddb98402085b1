"""Ties: first seen decides them (§4.1), and they end all the same."""

from __future__ import annotations

from fedcoin.consensus.messages import (
    ReceiveBlock,
    ReceiveEstimate,
    ReceiveTask,
    Tick,
)
from fedcoin.consensus.posap import PoSapSettings
from fedcoin.core.block import Block
from fedcoin.ledger.orders import orders
from tests.support.blocks import adopted, resign, settled_network
from tests.support.network import Network, make_task
from tests.support.watcher import Watcher


def tie(seed: int) -> tuple[Network, Block, Block]:
    """Two first blocks of one chain; the one of the lower hash comes first."""
    ones = [adopted(settled_network(seed=s).nodes[0].posap.chain)[0] for s in (seed, seed + 1)]
    lower, higher = sorted(ones, key=lambda block: block.id())
    return settled_network(seed=seed), lower, higher


def test_a_true_tie_falls_to_the_lower_hash_after_a_while() -> None:
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


def test_a_tip_that_was_extended_is_not_left_for_a_lower_hash() -> None:
    """The block on it is still being audited, but the tie is over."""
    networks = [settled_network(seed=seed) for seed in (1, 2)]
    chains = [adopted(network.nodes[0].posap.chain) for network in networks]
    (lower, *_), (higher, child, *_) = sorted(chains, key=lambda blocks: blocks[0].id())
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
    origin, lower, higher = tie(1)
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
