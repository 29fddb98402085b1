"""Whom a conviction pays, and how long a case stays open."""

from dataclasses import replace
from typing import Any

import pytest

from fedcoin.core.errors import (
    FraudCaseNotFound,
    SettlementMismatch,
)
from fedcoin.core.fraud import FraudVote
from fedcoin.core.keys import address_of
from fedcoin.core.transaction import MinerLeave, PaymentKind, Transfer, bond_address
from fedcoin.ledger import bonds
from fedcoin.ledger.fraud import get_case, open_cases
from fedcoin.ledger.miners import record_certificate
from fedcoin.ledger.settlement import verify_payments
from fedcoin.ledger.state import ACCOUNT_KEY
from fedcoin.ledger.transactions import apply_transaction
from tests.support.accusations import (
    FORGER,
    accuse,
    add_active_miners,
    bond_of,
    double_sign_of,
)

BOND = 1000


def test_without_an_order_the_other_miners_share_what_the_reporter_does_not_get(world: Any) -> None:
    add_active_miners(world, "alice", "bob")
    case_id = accuse(world, reporter="miner1")
    world.block(world.transfer("carol", "carol", 1), world.sign("miner0", FraudVote(case_id)))
    world.block(world.sign("alice", FraudVote(case_id)), world.sign("bob", FraudVote(case_id)))
    due = world.due(world.timestamp + 1)
    bond = bond_address(world.key(FORGER).public_key)
    reward, *damages = due
    assert (reward.kind, reward.amount, reward.payee) == (PaymentKind.REWARD, 500, world.address("miner1"))
    assert [payment.amount for payment in damages] == [125] * 4
    active = sorted(world.key(name).public_key for name in ("miner0", "miner1", "alice", "bob"))
    assert [payment.payee for payment in damages] == [address_of(key) for key in active]
    assert {(payment.payer, payment.order, payment.round) for payment in due} == {(bond, case_id, 0)}
    world.block()
    assert world.payments == due
    assert bond_of(world, FORGER) == 0
    world.block()
    assert world.payments == (), "paid once"


def test_an_empty_bond_pays_nobody_and_the_case_ends(world: Any) -> None:
    world.state.put(ACCOUNT_KEY + bond_address(world.key(FORGER).public_key), None)
    world.supply -= BOND
    case_id = accuse(world)
    world.block(world.sign("miner1", FraudVote(case_id)))
    assert [case.decided for case in open_cases(world.state)] == [True]
    world.block()
    assert world.payments == ()
    assert not list(open_cases(world.state))


@pytest.mark.parametrize("gift", [0, 1])
def test_the_rounded_half_goes_to_the_reporter_and_the_rest_to_the_requester(world: Any, gift: int) -> None:
    order_id = world.place()
    before = world.balance("requester")
    case_id = accuse(world, order=order_id)
    votes = [world.sign("miner1", FraudVote(case_id))]
    if gift:
        votes.append(world.sign("bob", Transfer(bond_address(world.key(FORGER).public_key), gift)))
    world.block(*votes)
    world.block()
    amounts = [(payment.kind, payment.amount, payment.payee) for payment in world.payments]
    assert amounts == [
        (PaymentKind.REWARD, 500, world.address("miner0")),
        (PaymentKind.DAMAGES, 500 + gift, world.address("requester")),
    ]
    assert world.balance("requester") == before + 500 + gift


def test_where_no_miner_is_active_the_reporter_gets_it_all(world: Any) -> None:
    case_id = accuse(world)
    world.block(world.sign("miner1", FraudVote(case_id)))
    for _ in range(world.params.inactive_after):
        record_certificate(world.state, [], world.params)
    due = world.due(world.timestamp + 1)
    assert [(payment.kind, payment.payee) for payment in due] == [
        (PaymentKind.REWARD, world.address("miner0")),
        (PaymentKind.DAMAGES, world.address("miner0")),
    ]


@pytest.mark.parametrize("index", range(2))
def test_a_block_whose_bond_payments_differ_is_refused(world: Any, index: int) -> None:
    case_id = accuse(world)
    world.block(world.sign("miner1", FraudVote(case_id)))
    due = world.due(world.timestamp + 1)
    for changed in ((), (replace(due[index], amount=due[index].amount + 1),), (due[index], due[index])):
        with pytest.raises(SettlementMismatch):
            verify_payments((*due[:index], *changed, *due[index + 1 :]), due)


def test_convictions_are_paid_by_case_id_and_at_most_so_many_in_a_block(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(bonds, "MAX_CONVICTIONS", 2)
    add_active_miners(world, "bob", "carol")
    evidence = [double_sign_of(world.key(name), world.chain_id) for name in ("miner2", "bob", "carol")]
    first = world.sign("alice", evidence[0])
    others = [world.sign("alice", body, nonce=first.nonce + number) for number, body in enumerate(evidence[1:], 1)]
    world.block(first, *others)
    paid = []
    for _ in range(3):
        world.block()
        paid.append([payment.order for payment in world.payments if payment.kind is PaymentKind.REWARD])
    by_id = sorted(body.id(world.chain_id) for body in evidence)
    assert paid == [by_id[:2], by_id[2:], []]


# --- lapse -----------------------------------------------------------------------------------------------------------


def test_a_case_lapses_after_bond_blocks_and_may_then_be_brought_again(world: Any) -> None:
    case_id = accuse(world)
    opened = world.height
    while world.height < opened + world.params.bond_blocks - 1:
        world.block()
    assert get_case(world.state, case_id)
    fork = world.state.fork()
    apply_transaction(
        fork,
        world.sign("miner1", FraudVote(case_id)),
        world.address("miner0"),
        world.chain_id,
        world.params,
        world.height + 1,
        world.timestamp,
    )
    assert get_case(fork, case_id).decided, "it stays open for the block that comes before"
    world.block()
    with pytest.raises(FraudCaseNotFound):
        get_case(world.state, case_id)
    assert accuse(world) == case_id


def test_a_miner_that_has_got_its_bond_back_takes_its_cases_with_it(world: Any) -> None:
    world.block(world.sign(FORGER, MinerLeave()))
    for _ in range(5):
        world.block()
    accuse(world)
    for _ in range(world.params.bond_blocks - 6):
        world.block()
    assert [payment.kind for payment in world.payments] == [PaymentKind.BOND]
    assert list(open_cases(world.state)) == []
