"""Two signed blocks of one height: the proof convicts by itself."""

from dataclasses import replace
from typing import Any

import pytest

from fedcoin.core.errors import (
    DoubleSignInvalid,
    FedCoinError,
    InvalidSignature,
    MinerBarred,
    MinerNotFound,
)
from fedcoin.core.fraud import DoubleSign, FraudVote
from fedcoin.core.transaction import MinerLeave, PaymentKind
from fedcoin.ledger.fraud import get_case, open_cases
from fedcoin.ledger.miners import MinerStanding, get_miner
from fedcoin.ledger.transactions import apply_transaction
from tests.support.accusations import double_sign_of, report_of

SIGNER = "miner2"


def evidence(world: Any, name: str = SIGNER, **changes: Any) -> DoubleSign:
    return double_sign_of(world.key(name), world.chain_id, **changes)


def refused(world: Any, name: str, body: Any, error: type[FedCoinError], match: str | None = None) -> None:
    before = world.state.entries()
    with pytest.raises(error, match=match):
        apply_transaction(
            world.state,
            world.sign(name, body),
            world.address("miner0"),
            world.chain_id,
            world.params,
            world.height + 1,
            world.timestamp,
        )
    assert world.state.entries() == before


def test_anyone_may_show_it_and_the_signer_is_convicted_at_once(world: Any) -> None:
    before = world.balance("alice")
    world.block(world.sign("alice", evidence(world), fee=10))
    miner = get_miner(world.state, world.key(SIGNER).public_key)
    assert (miner.standing, miner.since) == (MinerStanding.CONVICTED, world.height)
    case = get_case(world.state, evidence(world).id(world.chain_id))
    assert (case.decided, case.reporter, case.order, case.votes) == (True, world.address("alice"), None, ())
    world.block()
    assert [(payment.kind, payment.amount) for payment in world.payments] == [
        (PaymentKind.REWARD, 500),
        (PaymentKind.DAMAGES, 250),
        (PaymentKind.DAMAGES, 250),
    ]
    assert world.balance("alice") == before - 10 + 500
    assert list(open_cases(world.state)) == []


def test_what_proves_no_double_signature_is_refused(world: Any) -> None:
    good = evidence(world)
    key, other = world.key(SIGNER), world.key("miner1")

    def second(**changes: Any) -> DoubleSign:
        header = replace(good.second, **changes)
        return replace(good, second=header, second_signature=key.sign(header.id()))

    turned = DoubleSign(good.second, good.second_signature, good.first, good.first_signature)
    same = replace(good, second=good.first, second_signature=good.first_signature)
    cases: list[tuple[DoubleSign, type[FedCoinError], str | None]] = [
        (second(height=8), DoubleSignInvalid, "heights"),
        (second(winner=other.public_key), DoubleSignInvalid, "winners"),
        (second(chain_id=bytes(32)), DoubleSignInvalid, "chain"),
        (double_sign_of(key, bytes(32)), DoubleSignInvalid, "chain"),
        (turned, DoubleSignInvalid, "lower hash"),
        (same, DoubleSignInvalid, "different"),
        (replace(good, second_signature=other.sign(good.second.id())), InvalidSignature, None),
        (replace(good, first_signature=other.sign(good.first.id())), InvalidSignature, None),
        (replace(good, first_signature=good.second_signature), InvalidSignature, None),
    ]
    for broken, error, match in cases:
        refused(world, "alice", broken, error, match)
    world.block(world.sign("alice", good))


def test_only_miners_are_convicted_and_each_once(world: Any) -> None:
    refused(world, "alice", evidence(world, "bob"), MinerNotFound)
    world.block(world.sign("alice", evidence(world)))
    refused(world, "bob", evidence(world), MinerBarred)
    refused(world, "bob", evidence(world, height=8), MinerBarred)


def test_a_miner_that_is_leaving_is_convicted_and_one_that_has_left_is_not(world: Any) -> None:
    world.block(world.sign(SIGNER, MinerLeave()), world.sign("miner1", MinerLeave()))
    world.block(world.sign("alice", evidence(world)))
    assert get_miner(world.state, world.key(SIGNER).public_key).standing is MinerStanding.CONVICTED
    kinds: list[PaymentKind] = []
    for _ in range(world.params.bond_blocks):
        world.block()
        kinds += [payment.kind for payment in world.payments]
    assert kinds == [PaymentKind.REWARD, PaymentKind.DAMAGES, PaymentKind.BOND], "one bond taken, one given back"
    refused(world, "alice", evidence(world, "miner1"), MinerNotFound)


def test_it_ends_the_cases_that_were_open_against_the_signer(world: Any) -> None:
    made = report_of(world.key(SIGNER), world.chain_id)
    world.block(world.sign("miner0", made))
    world.block(world.sign("alice", evidence(world)))
    assert [case.id for case in open_cases(world.state)] == [evidence(world).id(world.chain_id)]
    with pytest.raises(FedCoinError, match="no fraud case"):
        world.block(world.sign("miner1", FraudVote(made.id(world.chain_id))))
