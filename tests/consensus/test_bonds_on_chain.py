"""Bonds and convictions in a network of miners: blocks are mined for what is due, and branches may disagree on who is
convicted."""

from __future__ import annotations

from typing import Any

import pytest

from fedcoin.consensus.messages import ReceiveBlock, ReceiveTransaction
from fedcoin.core.block import Block
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import MinerLeave, PaymentKind, Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.miners import MinerStanding, find_miner, get_miner
from fedcoin.ledger.state import supply
from tests.support.accusations import double_sign_of
from tests.support.blocks import adopted, lone_node
from tests.support.network import MINERS, REQUESTER, Network, make_genesis

BOND = 5 * UNITS_PER_FDC
LAST = MINERS[3]


def network(seed: int = 1) -> Network:
    return Network(make_genesis(4, miner_bond=BOND, bond_blocks=3, finality_depth=3), nodes=4, seed=seed)


def send(net: Network, key: Any, body: Any, node: int = 0) -> None:
    """Hands a transaction in and waits until all have it in a block."""
    height = max(net.heights())
    nonce = get_account(net.nodes[node].posap.chain.state, key.address).nonce
    net.feed(net.nodes[node], ReceiveTransaction(sign_transaction(key, net.chain_id, nonce, 1, body)))
    net.run(lambda: min(net.heights()) > height and net.agree())


def pay(net: Network) -> None:
    send(net, REQUESTER, Transfer(MINERS[5].address, 7))


def blocks_of(net: Network) -> list[Block]:
    return adopted(net.nodes[0].posap.chain)


def kinds_of(block: Block) -> list[PaymentKind]:
    return [payment.kind for payment in block.payments]


def idle(net: Network) -> None:
    height = max(net.heights())
    with pytest.raises(AssertionError, match="never came true"):
        net.run(lambda: max(net.heights()) > height, limit_ms=30_000)


def certified(block: Block) -> set[bytes]:
    return {estimate.miner for estimate in block.certificate}


def test_a_bond_that_is_due_is_a_reason_to_mine_and_its_miner_takes_no_part() -> None:
    net = network()
    send(net, LAST, MinerLeave())
    pay(net)
    pay(net)
    net.run(lambda: min(net.heights()) == 4 and net.agree())
    idle(net)
    *earlier, last = blocks_of(net)
    assert (last.header.kind, last.transactions, kinds_of(last)) == (RaceKind.AUDIT, (), [PaymentKind.BOND])
    assert [payment.amount for payment in last.payments] == [BOND]
    assert all(LAST.public_key not in certified(block) for block in (*earlier[1:], last))
    assert find_miner(net.nodes[3].posap.chain.state, LAST.public_key) is None
    for node in net.nodes:
        assert supply(node.posap.chain.state) == sum(item.amount for item in net.genesis.allocations)


def test_a_conviction_is_a_reason_to_mine_and_the_convicted_miner_takes_no_part() -> None:
    net = network()
    send(net, REQUESTER, double_sign_of(LAST, net.chain_id))
    net.run(lambda: min(net.heights()) == 2 and net.agree())
    idle(net)
    paid = blocks_of(net)[1]
    assert kinds_of(paid) == [PaymentKind.REWARD, *[PaymentKind.DAMAGES] * 3]
    assert sum(payment.amount for payment in paid.payments) == BOND
    assert paid.payments[0].payee == REQUESTER.address
    assert LAST.public_key not in certified(paid)
    pay(net)
    assert LAST.public_key not in certified(blocks_of(net)[2])
    assert len({node.posap.chain.state.root() for node in net.nodes}) == 1


def test_who_is_convicted_on_our_branch_may_mine_on_another_and_that_one_is_followed_if_it_is_longer() -> None:
    ours, theirs = network(seed=1), network(seed=2)
    send(ours, REQUESTER, double_sign_of(LAST, ours.chain_id))
    ours.run(lambda: min(ours.heights()) == 2 and ours.agree())
    for _ in range(3):
        pay(theirs)
    other = blocks_of(theirs)
    assert any(LAST.public_key in certified(block) for block in other)
    node = lone_node(ours.genesis, blocks_of(ours))
    chain = node.posap.chain
    assert get_miner(chain.state, LAST.public_key).standing is MinerStanding.CONVICTED
    late = max(ours.now, theirs.now) + 3_600_000
    for number, block in enumerate(other):
        node.posap.step(ReceiveBlock(block, more_follows=number < len(other) - 1), late)
    assert chain.may_mine_on(other[0].id(), LAST.public_key)
    chain.adopt(other[-1].id())
    assert get_miner(chain.state, LAST.public_key).standing is MinerStanding.REGISTERED
    assert chain.state.root() == theirs.nodes[0].posap.chain.state.root()


def test_on_our_branch_it_may_mine_below_its_conviction_and_not_above() -> None:
    net = network()
    pay(net)
    send(net, REQUESTER, double_sign_of(LAST, net.chain_id))
    net.run(lambda: min(net.heights()) == 3 and net.agree())
    chain = net.nodes[0].posap.chain
    first, second, third = blocks_of(net)
    allowed = [chain.may_mine_on(parent, LAST.public_key) for parent in (chain.chain_id, first.id())]
    assert allowed == [True, True]
    assert not chain.may_mine_on(second.id(), LAST.public_key)
    assert not chain.may_mine_on(third.id(), LAST.public_key)
    assert chain.may_mine_on(third.id(), MINERS[0].public_key)
