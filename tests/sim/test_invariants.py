"""The simulator finds what is broken: each rule is broken once on purpose."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fedcoin.consensus.messages import AdoptChain, AppliedBlock, SendBlock, SendTransaction
from fedcoin.core.block import sign_block
from fedcoin.core.fraud import FraudVote
from fedcoin.core.keys import address_of
from fedcoin.core.transaction import Payment, PaymentKind, bond_address, sign_transaction
from fedcoin.ledger.accounts import credit, debit
from fedcoin.ledger.miners import MinerStanding, remove_miner, set_standing
from tests.sim.bond_rules import bonds_come_back_once, bonds_hold_what_they_should, votes_once, who_is_out_stays_out
from tests.sim.invariants import InvariantBroken
from tests.sim.links import LinkQuality, Links
from tests.sim.node import SimNode
from tests.sim.scenario import Scenario, make_plan
from tests.sim.speed import remembering
from tests.sim.world import World


@pytest.fixture
def world() -> World:
    """A calm network that has mined some blocks."""
    plan = replace(
        make_plan(2),
        dishonest=(),
        crashes=0,
        cuts=0,
        jumps=0,
        transfers=4,
        orders=1,
        newcomer=False,
        double_spends=0,
        leaves=0,
        bond=0,
    )
    with remembering():
        world = Scenario(plan).world
        world.run(lambda: all(node.running.chain.height >= 3 for node in world.nodes), 300_000)
    return world


def last_adoption(node: SimNode) -> AdoptChain:
    chain = node.running.chain
    block = chain.block(chain.tip)
    return AdoptChain((), (AppliedBlock(block, {}, {}),))


def test_a_block_that_comes_twice_is_a_double_payment(world: World) -> None:
    node = world.nodes[0]
    with pytest.raises(InvariantBroken, match="twice"):
        world.invariants.stepped(node, [last_adoption(node)])


def test_money_from_nowhere_is_found(world: World) -> None:
    node = world.nodes[0]
    credit(node.running.chain.state, node.key.address, 1)
    with pytest.raises(InvariantBroken, match="supply"):
        world.invariants.stepped(node, [AdoptChain((), ())])


def test_a_store_that_lags_behind_is_found(world: World) -> None:
    node = world.nodes[0]
    node.disk.tip = world.chain_id
    with pytest.raises(InvariantBroken, match="stored"):
        world.invariants.stepped(node, [AdoptChain((), ())])


def test_a_state_that_its_blocks_do_not_give_is_found(world: World) -> None:
    node = world.nodes[0]
    key = next(iter(node.running.chain.state.keys(b"m")))
    node.running.chain.state.put(key, None)
    with pytest.raises(InvariantBroken, match="from the genesis"):
        world.invariants.at_end()


def test_too_deep_a_reorganisation_is_found(world: World) -> None:
    node = world.nodes[0]
    chain = node.running.chain
    undone = (chain.block(chain.tip),) * (chain.params.finality_depth + 1)
    with pytest.raises(InvariantBroken, match="final"):
        world.invariants.stepped(node, [AdoptChain(undone, ())])


def test_two_signatures_of_an_honest_miner_are_found(world: World) -> None:
    chain = world.nodes[0].running.chain
    block = chain.block(chain.tip)
    node = next(node for node in world.nodes if node.key.public_key == block.header.winner)
    world.invariants.stepped(node, [SendBlock(block)])
    twin = sign_block(node.key, replace(block, header=replace(block.header, timestamp=block.header.timestamp + 1)))
    with pytest.raises(InvariantBroken, match="two blocks"):
        world.invariants.stepped(node, [SendBlock(twin)])


def test_a_bond_that_is_short_is_found(world: World) -> None:
    node = world.nodes[0]
    state, params = node.running.chain.state, replace(world.genesis.params, miner_bond=5)
    for key in world.genesis.miners:
        credit(state, bond_address(key), 5 - world.genesis.params.miner_bond)
    bonds_hold_what_they_should(state, world.genesis.miners, params)
    debit(state, bond_address(world.genesis.miners[1]), 2)
    with pytest.raises(InvariantBroken, match="holds 3"):
        bonds_hold_what_they_should(state, world.genesis.miners, params)


def test_a_bond_that_is_left_over_or_paid_twice_is_found(world: World) -> None:
    state, params = world.nodes[0].running.chain.state, replace(world.genesis.params, miner_bond=5)
    chain = world.nodes[0].running.chain
    key = world.genesis.miners[1]
    payment = Payment(PaymentKind.BOND, bytes(32), 0, bond_address(key), address_of(key), 5)
    block = replace(chain.block(chain.tip), payments=(payment,))
    remove_miner(state, key)
    bonds_come_back_once([block], [key], state, params)
    for twice in ([block, block], [replace(block, payments=(replace(payment, amount=4),))]):
        with pytest.raises(InvariantBroken, match="out of a bond"):
            bonds_come_back_once(twice, [key], state, params)
    credit(state, bond_address(key), 5)
    with pytest.raises(InvariantBroken, match="holds 5"):
        bonds_hold_what_they_should(state, [key], params)


def test_an_estimate_of_a_convicted_miner_is_found(world: World) -> None:
    chain = world.nodes[0].running.chain
    block = chain.block(chain.tip)
    for height, good in ((chain.height, True), (chain.height - 1, False)):
        set_standing(chain.state, block.header.winner, MinerStanding.CONVICTED, height)
        if good:
            who_is_out_stays_out([block], chain.state)
        else:
            with pytest.raises(InvariantBroken, match="holds an estimate"):
                who_is_out_stays_out([block], chain.state)


def test_a_repeated_vote_of_an_honest_miner_is_found(world: World) -> None:
    node = world.nodes[0]
    votes = [sign_transaction(node.key, world.chain_id, nonce, 1, FraudVote(bytes(32))) for nonce in (90, 91)]
    votes_once(node, [SendTransaction(votes[0])])
    node.running.mempool.transactions = lambda: votes[:1]  # type: ignore[method-assign]
    votes_once(node, [SendTransaction(votes[0])])
    with pytest.raises(InvariantBroken, match="twice"):
        votes_once(node, [SendTransaction(votes[1])])


def test_a_tip_that_a_crash_has_forgotten_is_found(world: World) -> None:
    node = world.nodes[0]
    world.crash(node)
    block = node.disk.blocks[node.disk.tip]
    node.disk.state.apply(node.disk.undo[block.id()])
    node.disk.tip = block.header.previous
    with pytest.raises(InvariantBroken, match="forgotten"):
        world.restart(node)


def test_a_crash_keeps_what_was_synced_and_may_lose_what_was_not(world: World) -> None:
    node = world.nodes[0]
    held = dict(node.disk.blocks)
    tip = node.disk.tip
    node.power_fails = True
    world.crash(node)
    world.restart(node)
    assert node.running.chain.tip == tip
    adopted = [each for each in held if node.running.chain.tree.contains(each)]
    assert tip in adopted


def test_links_lose_repeat_and_overtake() -> None:
    links = Links(random.Random(1), LinkQuality(100, 0.2, 0.2))
    copies = [list(links.deliveries(0, 1)) for _ in range(1000)]
    assert 150 < sum(not each for each in copies) < 250
    assert 100 < sum(len(each) > 1 for each in copies) < 250
    delays = [each[0] for each in copies if each]
    assert min(delays) < 60
    assert max(delays) > 140
    links.cut([1])
    assert not list(links.deliveries(0, 1))
    links.heal()
    links.end_faults()
    assert len(list(links.deliveries(0, 1))) == 1
