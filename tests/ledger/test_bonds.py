"""Bonds: left when a miner registers, given back some time after it has left, never lost on the way."""

from dataclasses import replace
from typing import Any

import pytest

from fedcoin.core.errors import (
    InsufficientFunds,
    MinerAlreadyRegistered,
    MinerLeaving,
    MinerNotFound,
    SettlementMismatch,
)
from fedcoin.core.transaction import MinerLeave, MinerRegistration, PaymentKind, Transfer, bond_address
from fedcoin.ledger import bonds
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.miners import (
    MinerStanding,
    active_miners,
    find_miner,
    get_miner,
    is_miner,
    may_mine,
    record_certificate,
)
from fedcoin.ledger.settlement import overdue_payments, verify_payments
from fedcoin.ledger.transactions import apply_transaction, cost, verify_transaction

BOND = 1000
WAIT = 10
"""The test chain's bond_blocks."""


def bond_of(world: Any, name: str) -> int:
    return get_account(world.state, bond_address(world.key(name).public_key)).balance


def blocks_until_payment(world: Any, limit: int = 50) -> int:
    """Makes blocks until one pays; returns how many it took."""
    for number in range(1, limit + 1):
        world.block()
        if world.payments:
            return number
    raise AssertionError("no block has paid")


def refused(world: Any, transaction: Any, error: type[Exception]) -> None:
    before = world.state.entries()
    with pytest.raises(error):
        apply_transaction(
            world.state, transaction, world.address("miner0"), world.chain_id, world.params, 1, world.timestamp
        )
    assert world.state.entries() == before


def test_first_miners_have_left_their_bonds_in_the_genesis(world: Any) -> None:
    assert world.balance("miner1") == 1_000_000
    assert [bond_of(world, f"miner{number}") for number in range(3)] == [BOND] * 3
    assert get_miner(world.state, world.key("miner1").public_key).standing is MinerStanding.REGISTERED


def test_a_registration_moves_fee_and_bond(world: Any) -> None:
    transaction = world.sign("alice", MinerRegistration("a"), fee=10)
    assert cost(transaction, world.params) == 10 + BOND
    world.block(transaction)
    assert (world.balance("alice"), bond_of(world, "alice")) == (1_000_000 - 10 - BOND, BOND)


def test_whoever_cannot_pay_the_bond_cannot_register(world: Any) -> None:
    world.block(world.transfer("alice", "bob", 1_000_000 - 10 - (BOND + 9)))
    assert world.balance("alice") == BOND + 9
    refused(world, world.sign("alice", MinerRegistration("a"), fee=10), InsufficientFunds)
    verify_transaction(
        world.state,
        world.sign("alice", MinerRegistration("a"), fee=9),
        world.chain_id,
        world.params,
        world.timestamp,
    )


def test_a_miner_that_leaves_no_longer_mines_and_gets_its_bond_in_time(world: Any) -> None:
    key = world.key("miner2").public_key
    world.block(world.sign("miner2", MinerLeave(), fee=10))
    left = get_miner(world.state, key)
    assert (left.standing, left.since) == (MinerStanding.LEAVING, world.height)
    assert not may_mine(world.state, key, 10**6)
    assert key not in {miner.public_key for miner in active_miners(world.state, world.params)}
    assert blocks_until_payment(world) == WAIT
    (payment,) = world.payments
    assert (payment.kind, payment.amount, payment.round) == (PaymentKind.BOND, BOND, 0)
    assert payment.order == bytes(32)
    assert (payment.payer, payment.payee) == (bond_address(key), world.address("miner2"))
    assert world.balance("miner2") == 1_000_000 - 10 + BOND
    assert not is_miner(world.state, key)


def test_a_miner_that_is_leaving_is_not_counted_as_missing(world: Any) -> None:
    key = world.key("miner2").public_key
    world.block(world.sign("miner2", MinerLeave()))
    before = get_miner(world.state, key)
    record_certificate(world.state, [], world.params)
    assert get_miner(world.state, key) == before


def test_units_sent_to_a_bond_by_mistake_come_back_with_it(world: Any) -> None:
    world.block(
        world.sign("miner2", MinerLeave()),
        world.sign("bob", Transfer(bond_address(world.key("miner2").public_key), 77)),
    )
    blocks_until_payment(world)
    assert world.payments[0].amount == BOND + 77


def test_who_has_left_may_register_again_once_the_bond_is_back_and_not_before(world: Any) -> None:
    world.block(world.sign("miner2", MinerLeave()))
    refused(world, world.sign("miner2", MinerRegistration("again")), MinerLeaving)
    refused(world, world.sign("miner2", MinerLeave()), MinerLeaving)
    blocks_until_payment(world)
    refused(world, world.sign("miner2", MinerLeave()), MinerNotFound)
    world.block(world.sign("miner2", MinerRegistration("again")))
    assert get_miner(world.state, world.key("miner2").public_key).registered_height == world.height
    refused(world, world.sign("miner2", MinerRegistration("twice")), MinerAlreadyRegistered)


def test_only_a_registered_miner_can_leave(world: Any) -> None:
    refused(world, world.sign("alice", MinerLeave()), MinerNotFound)


def test_a_block_that_keeps_a_bond_back_is_refused(world: Any) -> None:
    world.block(world.sign("miner2", MinerLeave()))
    for _ in range(WAIT - 1):
        world.block()
    due = world.due(world.timestamp + 1)
    assert [payment.kind for payment in due] == [PaymentKind.BOND]
    with pytest.raises(SettlementMismatch, match="should be BOND of 1000 units"):
        verify_payments((), due)
    with pytest.raises(SettlementMismatch):
        verify_payments((replace(due[0], payee=world.address("bob")),), due)


def test_bonds_come_back_by_public_key_and_at_most_so_many_in_a_block(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bonds, "MAX_BONDS", 2)
    world.block(*(world.sign(name, MinerRegistration(name)) for name in ("alice", "bob", "carol", "server")))
    world.block(*(world.sign(name, MinerLeave()) for name in ("alice", "bob", "carol", "server")))
    assert blocks_until_payment(world) == WAIT
    first = world.payments
    world.block()
    second = world.payments
    world.block()
    assert (len(first), len(second), world.payments) == (2, 2, ())
    by_key = sorted((world.key(name) for name in ("alice", "bob", "carol", "server")), key=lambda key: key.public_key)
    assert [payment.payee for payment in first + second] == [key.address for key in by_key]


def test_refunds_come_before_bonds(world: Any) -> None:
    world.block(world.sign("miner2", MinerLeave()))
    order_id = world.place(expiry=world.timestamp + 2000)
    for _ in range(WAIT - 2):
        world.block(timestamp=world.timestamp + 1)
    assert not world.payments
    kinds = [
        payment.kind
        for payment in overdue_payments(world.state, world.params, world.height + 1, world.timestamp + 10_000)
    ]
    assert kinds == [PaymentKind.REFUND, PaymentKind.BOND]
    assert order_id


def test_on_a_chain_without_bonds_a_miner_leaves_without_a_payment(world: Any) -> None:
    world.params = replace(world.params, miner_bond=0)
    world.state = genesis_state(replace(world.genesis, params=world.params))
    key = world.key("miner2").public_key
    world.block(world.sign("miner2", MinerLeave()))
    for _ in range(WAIT):
        assert find_miner(world.state, key) is not None
        world.block()
        assert world.payments == ()
    assert find_miner(world.state, key) is None
