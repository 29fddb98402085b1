"""A state machine rebuilt from what was stored goes on where it was, and agrees with the others."""

from __future__ import annotations

import random

import pytest

from fedcoin.consensus.messages import IterationsDone, ReceiveTask, ReceiveTransaction, SendEstimate, StartRace, Tick
from fedcoin.consensus.posap import PoSap
from fedcoin.ledger.orders import OrderStatus, get_order
from tests.support.blocks import adopted, replay, settle_round, settled_network
from tests.support.network import MINERS, Network, make_genesis, make_task, place_order


def test_the_stored_chain_gives_tip_state_and_tree_back() -> None:
    network = settled_network(rounds=2)
    node = network.nodes[1]
    before = node.posap.chain
    network.crash(node)
    network.restart(node)
    after = node.posap.chain
    assert after is not before
    assert (after.tip, after.height) == (before.tip, 3)
    assert after.state.entries() == before.state.entries() == replay(network.genesis, adopted(after)).entries()
    assert len(after.tree) == len(before.tree)


def test_it_goes_on_mining_with_the_others() -> None:
    network = Network(make_genesis(3), nodes=3)
    order_id = place_order(network, network.nodes[0], rounds=3)
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    for node in network.nodes:
        network.crash(node)
        network.restart(node)
        settle_round(network, order_id)
    assert get_order(network.nodes[0].posap.chain.state, order_id).state is OrderStatus.FINISHED
    assert network.heights() == [4, 4, 4]


def test_a_miner_restarted_mid_race_extends_what_it_has_announced() -> None:
    """From 0 again it would announce fewer iterations than it has announced before."""
    network = Network(make_genesis(3, initial_difficulty=10**6), nodes=3)
    order_id = place_order(network, network.nodes[0])
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    network.feed(network.nodes[0], ReceiveTask(make_task(network.nodes[0], order_id, network.now)))
    node = network.nodes[1]
    network.run(lambda: node.posap.view().iterations >= 30)
    before = node.posap.estimates()[-1]
    race = before.race
    assert before.miner == MINERS[1].public_key
    network.crash(node)
    network.restart(node)
    network.run(lambda: node.posap.view().iterations >= 40)
    own = [
        effect.estimate
        for name, effect in network.effects
        if name == "m1" and isinstance(effect, SendEstimate) and effect.estimate.miner == before.miner
    ]
    in_race = [estimate for estimate in own if estimate.race == race]
    times = [estimate.time for estimate in in_race]
    assert times == sorted(times), "never fewer iterations than announced"
    log = node.posap.races.get(race).log  # type: ignore[union-attr]
    for estimate in in_race:
        assert log.root(estimate.time) == estimate.leaf_root
    network.run(lambda: min(network.heights()) == 2 and network.agree())


def test_stored_leaves_are_announced_again_but_not_stored_again() -> None:
    network = Network(make_genesis(3), nodes=3)
    network.loss = 1.0
    place_order(network, network.nodes[0])
    node = network.nodes[0]
    network.run(lambda: node.posap.view().iterations >= 20)
    race = node.posap.view().race
    assert race is not None
    stored = node.storage.leaves[race]
    again = PoSap(
        network.genesis, node.storage, MINERS[0], random.Random(1), network.settings, node.storage.stored_chain()
    )
    effects = again.step(ReceiveTransaction(node.storage.pending[0]), network.now)
    start = next(effect for effect in effects if isinstance(effect, StartRace))
    assert (start.info.race, start.start) == (race, 0)
    (sent,) = again.step(IterationsDone(race, 0, stored, stored=True), network.now)
    assert isinstance(sent, SendEstimate)
    assert sent.estimate.time == len(stored)


@pytest.mark.parametrize("lost_after_blocks", [0, 1])
def test_a_crash_between_storing_a_block_and_adopting_it_loses_nothing(lost_after_blocks: int) -> None:
    network = settled_network(rounds=1)
    blocks = adopted(network.nodes[0].posap.chain)
    winner = next(i for i in range(3) if MINERS[i].public_key == blocks[lost_after_blocks].header.winner)
    fresh = Network(network.genesis, nodes=1)
    storage = fresh.nodes[0].storage
    settled = PoSap(network.genesis, storage, MINERS[winner], random.Random(1))
    for block in blocks[:lost_after_blocks]:
        settled.chain.insert(block)
        storage.blocks[block.id()] = block
        storage.adopt(settled.chain.adopt(block.id()))
    storage.blocks[blocks[lost_after_blocks].id()] = blocks[lost_after_blocks]
    again = PoSap(network.genesis, storage, MINERS[winner], random.Random(1), None, storage.stored_chain())
    again.step(Tick(), network.now)
    assert again.chain.height == lost_after_blocks + 1
    assert again.chain.state.entries() == replay(network.genesis, blocks[: lost_after_blocks + 1]).entries()
