"""The state machine in a network of miners: a deposit becomes blocks and payments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcoin.consensus.messages import IterationsDone, ReceiveBlock, ReceiveTask, SendEstimate, StoreLeaves
from fedcoin.consensus.posap import PoSapSettings
from fedcoin.core.block import body_root, sign_block
from fedcoin.core.errors import SettlementMismatch
from fedcoin.core.keys import address_of
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import PaymentKind
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.orders import OrderStatus, get_order
from fedcoin.ledger.settlement import client_payouts
from fedcoin.ledger.state import supply
from tests.support.network import CLIENTS, MINERS, REQUESTER, SERVER, Network, make_genesis, make_task, place_order


@pytest.fixture
def network() -> Network:
    return Network(make_genesis(3), nodes=3)


def settle_one_round(network: Network) -> bytes:
    order_id = place_order(network, network.nodes[0])
    network.run(lambda: min(network.heights()) == 1 and network.agree())
    task = make_task(network.nodes[0], order_id, network.now)
    network.feed(network.nodes[0], ReceiveTask(task))
    network.run(lambda: min(network.heights()) == 2 and network.agree())
    return order_id


def test_deposit_to_paid_clients(network: Network) -> None:
    order_id = settle_one_round(network)
    chain = network.nodes[2].posap.chain
    block = chain.block(chain.tip)
    assert block.header.kind is RaceKind.TASK
    assert get_order(chain.state, order_id).state is OrderStatus.FINISHED
    expected = client_payouts(700 * UNITS_PER_FDC, block.header.averaged_total)
    paid = [get_account(chain.state, key.address).balance for key in CLIENTS[:4]]
    assert tuple(paid) == expected
    assert sum(paid) == 700 * UNITS_PER_FDC
    assert paid[3] == 0, "the client that spoils what it joins has a negative value"
    assert get_account(chain.state, SERVER.address).balance == 100 * UNITS_PER_FDC
    assert get_account(chain.state, address_of(block.header.winner)).balance >= 210 * UNITS_PER_FDC


def test_supply_is_the_same_after_every_block(network: Network) -> None:
    settle_one_round(network)
    for node in network.nodes:
        assert supply(node.posap.chain.state) == sum(a.amount for a in network.genesis.allocations)


def test_all_nodes_reach_the_same_state_root(network: Network) -> None:
    settle_one_round(network)
    assert len({node.posap.chain.state.root() for node in network.nodes}) == 1


def test_section7_order_block_is_an_audit_block(network: Network) -> None:
    place_order(network, network.nodes[1])
    network.run(lambda: min(network.heights()) == 1)
    chain = network.nodes[0].posap.chain
    block = chain.block(chain.tip)
    assert block.header.kind is RaceKind.AUDIT
    assert block.task is None
    assert block.header.task == network.genesis.problem.id()


def test_idle_network_mines_nothing(network: Network) -> None:
    with pytest.raises(AssertionError, match="never came true"):
        network.run(lambda: max(network.heights()) > 0, limit_ms=60_000)


def test_expired_order_is_refunded_once(network: Network) -> None:
    order_id = place_order(network, network.nodes[0], expiry=network.now + 30_000)
    network.run(lambda: min(network.heights()) == 1)
    network.run(lambda: min(network.heights()) == 2, limit_ms=120_000)
    chain = network.nodes[0].posap.chain
    refunds = [p for p in chain.block(chain.tip).payments if p.kind is PaymentKind.REFUND]
    assert [p.amount for p in refunds] == [1_000 * UNITS_PER_FDC]
    assert get_order(chain.state, order_id).state is OrderStatus.REFUNDED
    assert get_account(chain.state, REQUESTER.address).balance == 10_000 * UNITS_PER_FDC - 1
    with pytest.raises(AssertionError, match="never came true"):
        network.run(lambda: max(network.heights()) > 2, limit_ms=60_000)


def test_late_miner_catches_up() -> None:
    network = Network(make_genesis(3), nodes=4)
    late = network.nodes[3]
    network.linked = lambda a, b: late not in (a, b)
    order_id = place_order(network, network.nodes[0])
    network.run(lambda: network.heights()[:3] == [1, 1, 1] and network.agree(network.nodes[:3]))
    network.feed(network.nodes[0], ReceiveTask(make_task(network.nodes[0], order_id, network.now)))
    network.run(lambda: network.heights()[:3] == [2, 2, 2])
    network.linked = lambda a, b: True
    network.sync(late)
    network.run(network.agree)
    assert late.posap.chain.state.root() == network.nodes[0].posap.chain.state.root()


def test_leaves_are_stored_before_the_estimate_is_sent(network: Network) -> None:
    place_order(network, network.nodes[0])
    network.run(lambda: min(network.heights()) == 1)
    own = {node.name: node.posap.key.public_key for node in network.nodes}
    stored = dict.fromkeys(own, 0)
    for name, effect in network.effects:
        if isinstance(effect, StoreLeaves):
            stored[name] = effect.start + len(effect.leaves)
        if isinstance(effect, SendEstimate) and effect.estimate.miner == own[name]:
            assert effect.estimate.time <= stored[name]


def test_true_ties_end(network: Network) -> None:
    """Split 1 : 1 : 1 after a tie nobody has a quorum; the lower rank ends it."""
    for seed in range(8):
        net = Network(make_genesis(3), nodes=3, seed=seed, delay_ms=400)
        order_id = place_order(net, net.nodes[0])
        net.run(lambda net=net: min(net.heights()) >= 1 and net.agree())
        net.feed(net.nodes[0], ReceiveTask(make_task(net.nodes[0], order_id, net.now)))
        net.run(lambda net=net: min(net.heights()) >= 2 and net.agree())


def test_dead_miner_does_not_stop_the_others() -> None:
    network = Network(make_genesis(3), nodes=3)
    dead = network.nodes[2]
    network.linked = lambda a, b: dead not in (a, b)
    order_id = place_order(network, network.nodes[0])
    network.run(lambda: network.heights()[:2] == [1, 1] and network.agree(network.nodes[:2]))
    network.feed(network.nodes[0], ReceiveTask(make_task(network.nodes[0], order_id, network.now)))
    network.run(lambda: network.heights()[:2] == [2, 2])


def test_forger_is_convicted_and_does_not_win() -> None:
    """A race may be over before anybody has looked at its leaves; but it never wins one."""
    assert sum(_forger_is_convicted(seed) for seed in range(8)) >= 4


def _forger_is_convicted(seed: int) -> bool:
    network = Network(make_genesis(4), nodes=4, seed=seed)
    forger = network.nodes[3]
    honest_step = forger.posap.step

    def forged_step(event, now):  # type: ignore[no-untyped-def]
        if isinstance(event, IterationsDone):
            event = replace(event, leaves=event.leaves // 2 + 1)
        return honest_step(event, now)

    forger.posap.step = forged_step  # type: ignore[method-assign]
    order_id = place_order(network, network.nodes[0])
    network.run(lambda: min(network.heights()[:3]) >= 1 and network.agree(network.nodes[:3]))
    network.feed(network.nodes[0], ReceiveTask(make_task(network.nodes[0], order_id, network.now)))
    network.run(lambda: min(network.heights()[:3]) >= 2)
    for node in network.nodes[:3]:
        chain = node.posap.chain
        for height_block in chain.path_to(chain.chain_id)[0]:
            assert chain.block(height_block).header.winner != forger.posap.key.public_key
    return any(forger.posap.key.public_key in node.posap._convicted for node in network.nodes[:3])


def test_block_with_a_payment_off_by_one_unit_is_refused(network: Network) -> None:
    settle_one_round(network)
    chain = network.nodes[0].posap.chain
    block = chain.block(chain.tip)
    trusting = Network(network.genesis, nodes=1, settings=PoSapSettings(patience_ms=-1)).nodes[0]
    trusting.posap.step(ReceiveBlock(chain.block(block.header.previous)), network.now)
    winner = next(key for key in MINERS if key.public_key == block.header.winner)
    payments = (*block.payments[:-1], replace(block.payments[-1], amount=block.payments[-1].amount + 1))
    header = replace(block.header, merkle_root=body_root(payments, block.transactions))
    forged = sign_block(winner, replace(block, header=header, payments=payments))
    with pytest.raises(SettlementMismatch):
        trusting.posap.step(ReceiveBlock(forged), network.now)
    assert trusting.posap.chain.height == 1
    trusting.posap.step(ReceiveBlock(block), network.now)
    assert trusting.posap.chain.tip == chain.tip
