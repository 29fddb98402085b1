from dataclasses import replace

import pytest

from fedcoin.core.errors import (
    AmountOutOfRange,
    FedCoinError,
    FeeTooLow,
    InsufficientFunds,
    InvalidSignature,
    MalformedEncoding,
    MinerAlreadyRegistered,
    MinerNameInvalid,
    NonceTooHigh,
    NonceUsed,
    OrderAmountTooSmall,
    OrderClientsOutOfRange,
    OrderExpired,
    OrderRatioInvalid,
    OrderRoundsOutOfRange,
    OrderSamplerDoesNotFit,
    OrderSharesZero,
    TooManyMiners,
)
from fedcoin.core.keys import CURVE_ORDER
from fedcoin.core.params import MAX_SUPPLY
from fedcoin.core.task import Sampler
from fedcoin.core.transaction import MinerRegistration, Schedule, Transfer, escrow_address
from fedcoin.ledger import miners
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.miners import get_miner
from fedcoin.ledger.orders import get_order
from fedcoin.ledger.transactions import (
    apply_transaction,
    verify_alone,
    verify_in_state,
    verify_order_terms,
    verify_transaction,
)


def refused(world, transaction, error, match=None, timestamp=None):
    """The transaction is refused for that reason, and the state stays as it is."""
    timestamp = world.timestamp if timestamp is None else timestamp
    before = world.state.entries()
    with pytest.raises(error, match=match) as caught:
        apply_transaction(world.state, transaction, world.address("miner0"), world.chain_id, world.params, 1, timestamp)
    assert type(caught.value) is error
    assert world.state.entries() == before


def test_transfer_moves_amount_and_pays_the_fee_to_the_winner(world):
    before = {name: world.balance(name) for name in ("alice", "bob", "miner2")}
    world.block(world.transfer("alice", "bob", 300, fee=25), winner="miner2")
    moved = {name: world.balance(name) - balance for name, balance in before.items()}
    assert moved == {"alice": -325, "bob": 300, "miner2": 25}
    assert get_account(world.state, world.address("alice")).nonce == 1


def test_transfer_to_oneself_costs_only_the_fee(world):
    before = world.balance("alice")
    world.block(world.transfer("alice", "alice", 300))
    assert world.balance("alice") == before - 10


def test_the_winner_may_send_what_it_earns_in_the_same_block(world):
    world.block(world.transfer("alice", "dora", 20))
    first = world.transfer("alice", "bob", 1, fee=100)
    world.block(first, world.transfer("dora", "carol", 110), winner="dora")
    assert world.balance("dora") == 20 + 100 - 110


def test_a_transaction_counts_once(world):
    transaction = world.transfer("alice", "bob", 300)
    world.block(transaction)
    refused(world, transaction, NonceUsed, "next one is 1")


def test_nonces_leave_nothing_out(world):
    refused(world, world.transfer("alice", "bob", 1, nonce=1), NonceTooHigh, "next one is 0")


def test_units_cannot_be_spent_twice(world):
    everything = world.balance("alice") - 10
    world.block(world.transfer("alice", "bob", everything))
    refused(world, world.transfer("alice", "carol", everything), InsufficientFunds)
    refused(world, world.transfer("alice", "carol", 1), InsufficientFunds)


def test_the_fee_must_be_covered_too(world):
    refused(world, world.transfer("alice", "bob", world.balance("alice")), InsufficientFunds, "with the fee")
    world.block(world.transfer("alice", "bob", world.balance("alice") - 10))
    assert world.balance("alice") == 0


def test_order_deposit_must_be_covered(world):
    refused(world, world.sign("alice", world.order(amount=world.balance("alice"))), InsufficientFunds)


def test_signature_of_somebody_else_is_refused(world):
    transaction = world.transfer("alice", "bob", 1)
    refused(world, replace(transaction, sender=world.key("carol").public_key), InvalidSignature)
    refused(world, replace(transaction, body=Transfer(world.address("bob"), 2)), InvalidSignature)
    refused(world, replace(transaction, fee=11), InvalidSignature)
    refused(world, replace(transaction, signature=bytes(64)), InvalidSignature)


def test_high_s_twin_is_refused(world):
    transaction = world.transfer("alice", "bob", 1)
    s = CURVE_ORDER - int.from_bytes(transaction.signature[32:], "big")
    refused(world, replace(transaction, signature=transaction.signature[:32] + s.to_bytes(32, "big")), InvalidSignature)


def test_transaction_of_another_chain_is_refused(world):
    transaction = world.transfer("alice", "bob", 1)
    with pytest.raises(InvalidSignature):
        verify_alone(transaction, bytes(32), world.params)


def test_fee_below_the_chains_minimum_is_refused(world):
    refused(world, world.transfer("alice", "bob", 1, fee=4), FeeTooLow, "5 at least")
    refused(world, world.transfer("alice", "bob", 1, fee=2**63), AmountOutOfRange)


@pytest.mark.parametrize("amount", [0, MAX_SUPPLY + 1])
def test_amounts_out_of_range_are_refused(world, amount):
    refused(world, world.transfer("alice", "bob", amount), AmountOutOfRange)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"amount": 0}, AmountOutOfRange),
        ({"amount": MAX_SUPPLY + 1}, AmountOutOfRange),
        ({"rounds": 0}, OrderRoundsOutOfRange),
        ({"rounds": 1001, "amount": 10**6}, OrderRoundsOutOfRange),
        ({"train_share": 0, "com_share": 0, "sap_share": 0}, OrderSharesZero),
        ({"ratio_numerator": 1, "ratio_denominator": 2}, OrderRatioInvalid),
        ({"schedule": Schedule.GEOMETRIC, "ratio_numerator": 3, "ratio_denominator": 2}, OrderRatioInvalid),
        ({"schedule": Schedule.GEOMETRIC, "ratio_numerator": 0, "ratio_denominator": 2}, OrderRatioInvalid),
        ({"schedule": Schedule.GEOMETRIC, "ratio_numerator": 0, "ratio_denominator": 0}, OrderRatioInvalid),
        ({"min_clients": 0}, OrderClientsOutOfRange),
        ({"min_clients": 1025}, OrderClientsOutOfRange),
        ({"min_clients": 21, "sampler": Sampler.EXACT}, OrderSamplerDoesNotFit),
        ({"amount": 1, "rounds": 2}, OrderAmountTooSmall),
        ({"amount": 3, "rounds": 3}, OrderAmountTooSmall),
    ],
)
def test_orders_with_impossible_terms_are_refused(world, changes, error):
    order = world.order(**changes)
    refused(world, world.sign("requester", order), error)
    with pytest.raises(error):
        verify_order_terms(order)


def test_geometric_schedule_that_leaves_a_late_round_unpaid_is_refused(world):
    order = world.order(amount=100, rounds=12, schedule=Schedule.GEOMETRIC, ratio_numerator=1, ratio_denominator=2)
    refused(world, world.sign("requester", order), OrderAmountTooSmall, "round 7 of 12")


def test_order_must_expire_after_the_block(world):
    order = world.order(expiry=world.timestamp)
    refused(world, world.sign("requester", order), OrderExpired, "later expiry")
    refused(world, world.sign("requester", world.order(expiry=0)), OrderExpired)
    verify_in_state(world.state, world.sign("requester", order), world.chain_id, world.params, world.timestamp - 1)


def test_two_orders_with_the_same_terms_have_escrows_of_their_own(world):
    one, other = world.place(amount=1000), world.place(amount=1000)
    assert one != other
    assert [get_account(world.state, escrow_address(i)).balance for i in (one, other)] == [1000, 1000]
    assert [get_order(world.state, i).sequence for i in (one, other)] == [0, 1]


def test_registration_makes_a_miner_that_does_not_yet_count_for_the_quorum(world):
    world.block(world.sign("alice", MinerRegistration("alice's machine")))
    miner = get_miner(world.state, world.key("alice").public_key)
    assert (miner.name, miner.registered_height) == ("alice's machine", 1)
    assert miner.public_key not in {miner.public_key for miner in miners.active_miners(world.state, world.params)}


def test_registration_of_a_miner_is_refused_the_second_time(world):
    world.block(world.sign("alice", MinerRegistration("one")))
    refused(world, world.sign("alice", MinerRegistration("two")), MinerAlreadyRegistered)
    refused(world, world.sign("miner0", MinerRegistration("genesis miner")), MinerAlreadyRegistered)


def test_registered_miners_never_outnumber_what_a_certificate_can_name(world, monkeypatch):
    monkeypatch.setattr(miners, "MAX_MINERS", 4)
    world.block(world.sign("alice", MinerRegistration("fourth")))
    refused(world, world.sign("bob", MinerRegistration("fifth")), TooManyMiners)


@pytest.mark.parametrize("name", ["", "  ", "bell\x07", "two\nlines", "del\x7f", "c1\x9b"])
def test_miner_names_that_disturb_a_terminal_are_refused(world, name):
    refused(world, world.sign("alice", MinerRegistration(name)), MinerNameInvalid)


def test_miner_names_may_be_of_any_language(world):
    world.block(world.sign("alice", MinerRegistration("鉱夫 №1")))
    assert get_miner(world.state, world.key("alice").public_key).name == "鉱夫 №1"


def test_miner_name_that_cannot_be_encoded_is_refused(world):
    honest = world.sign("alice", MinerRegistration("name"))
    refused(world, replace(honest, body=MinerRegistration("x" * 65)), MinerNameInvalid)
    refused(world, replace(honest, body=MinerRegistration("\ud800")), MalformedEncoding)


@pytest.mark.parametrize("field", ["nonce", "fee"])
@pytest.mark.parametrize("value", [-1, 2**64, "1", None])
def test_fields_of_the_wrong_kind_never_pass(world, field, value):
    transaction = replace(world.transfer("alice", "bob", 1), **{field: value})
    with pytest.raises((FedCoinError, TypeError)):
        verify_transaction(world.state, transaction, world.chain_id, world.params, world.timestamp)
