"""Accusations on the chain: who may bring them, when a miner is convicted, and who gets its bond."""

from dataclasses import replace
from typing import Any

import pytest

from fedcoin.core.errors import (
    EstimateOutOfRange,
    FedCoinError,
    FraudCaseDecided,
    FraudCaseKnown,
    FraudCaseNotFound,
    FraudLeafBefore,
    FraudLeafOutOfRange,
    FraudOwnCase,
    FraudVoteRepeated,
    InvalidMerkleProof,
    InvalidSignature,
    MinerBarred,
    MinerLeaving,
    MinerNotActive,
    MinerNotFound,
    OrderNotFound,
    TooManyFraudCases,
)
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.fraud import FraudReport, FraudVote
from fedcoin.core.params import MAX_ITERATIONS
from fedcoin.core.transaction import MinerLeave, MinerRegistration, Transaction
from fedcoin.ledger import fraud, miners
from fedcoin.ledger.fraud import FraudCase, get_case, open_cases
from fedcoin.ledger.miners import MinerStanding, active_miners, get_miner, may_mine, record_certificate
from fedcoin.ledger.transactions import apply_transaction, verify_alone
from tests.support.accusations import (
    FORGER,
    accuse,
    add_active_miners,
    bond_of,
    estimate_of,
    proof,
    refused,
    report,
    report_of,
    standing,
)

# --- opening a case --------------------------------------------------------------------------------------------------


def test_a_report_opens_a_case_with_its_senders_vote(world: Any) -> None:
    case_id = accuse(world)
    assert get_case(world.state, case_id) == FraudCase(
        case_id,
        world.key(FORGER).public_key,
        world.address("miner0"),
        None,
        world.height,
        False,
        (world.key("miner0").public_key,),
    )
    assert [case.id for case in open_cases(world.state)] == [case_id]
    assert standing(world) is MinerStanding.REGISTERED


def test_the_first_and_the_last_leaf_can_be_accused_and_a_tree_of_one(world: Any) -> None:
    for index, time in ((0, 5), (4, 5), (0, 1), (6, 7)):
        verify_alone(world.sign("miner0", report(world, index=index, time=time)), world.chain_id, world.params)


def test_the_same_evidence_is_one_case_whoever_brings_it(world: Any) -> None:
    accuse(world)
    refused(world, "miner1", report(world), FraudCaseKnown)
    refused(world, "miner0", report(world), FraudCaseKnown)


def test_only_active_registered_miners_report_and_vote(world: Any) -> None:
    refused(world, "alice", report(world), MinerNotFound)
    world.block(world.sign("alice", MinerRegistration("a")))
    refused(world, "alice", report(world), MinerNotActive)
    case_id = accuse(world)
    refused(world, "alice", FraudVote(case_id), MinerNotActive)
    refused(world, "bob", FraudVote(case_id), MinerNotFound)
    world.block(world.sign("miner1", MinerLeave()))
    refused(world, "miner1", FraudVote(case_id), MinerLeaving)
    refused(world, "miner1", report(world, index=1), MinerLeaving)


def test_nobody_reports_itself_or_votes_in_its_own_case(world: Any) -> None:
    refused(world, FORGER, report(world), FraudOwnCase)
    case_id = accuse(world)
    refused(world, FORGER, FraudVote(case_id), FraudOwnCase)


def test_only_miners_can_be_accused(world: Any) -> None:
    refused(world, "miner0", report_of(world.key("alice"), world.chain_id), MinerNotFound)


def test_an_order_that_is_named_must_be_there(world: Any) -> None:
    order_id = world.place()
    refused(world, "miner0", report(world, order=bytes(32)), OrderNotFound)
    accuse(world, order=order_id)


@pytest.mark.parametrize("decided", [False, True])
def test_a_reporter_has_four_open_cases_at_most(world: Any, decided: bool) -> None:
    cases = [accuse(world, index=index) for index in range(4)]
    refused(world, "miner0", report(world, index=4), TooManyFraudCases)
    world.block(world.sign("miner1", report(world, index=4)))
    if decided:
        # A decided case is not open, and takes the others of that miner with it.
        world.block(world.sign("miner1", FraudVote(cases[0])))
        world.block(world.sign("miner0", report_of(world.key("miner1"), world.chain_id)))


# --- evidence --------------------------------------------------------------------------------------------------------


def test_evidence_that_is_not_well_formed_is_refused(world: Any) -> None:
    good = report(world)
    key, (estimate, log) = world.key(FORGER), estimate_of(world.key(FORGER), world.chain_id)

    def signed(**changes: Any) -> Any:
        return sign_estimate(key, world.chain_id, replace(estimate, **changes))

    leaf = bytearray(good.accused.leaf)
    leaf[-1] ^= 1
    cases: list[tuple[FraudReport, type[FedCoinError]]] = [
        (replace(good, estimate=signed(time=0)), EstimateOutOfRange),
        (replace(good, estimate=signed(time=MAX_ITERATIONS + 1)), EstimateOutOfRange),
        (replace(good, estimate=signed(total=())), EstimateOutOfRange),
        (replace(good, estimate=signed(total=(10**18, 0, 0))), EstimateOutOfRange),
        (replace(good, accused=replace(good.accused, index=5)), FraudLeafOutOfRange),
        (replace(good, accused=replace(good.accused, index=2**64 - 1)), FraudLeafOutOfRange),
        (replace(good, before=None), FraudLeafBefore),
        (replace(good, before=proof(log, 0)), FraudLeafBefore),
        (replace(good, before=good.accused), FraudLeafBefore),
        (replace(report(world, index=0), before=proof(log, 0)), FraudLeafBefore),
        (replace(good, estimate=replace(estimate, opened_at=2)), InvalidSignature),
        (replace(good, estimate=replace(estimate, signature=bytes(64))), InvalidSignature),
        (replace(good, estimate=sign_estimate(key, bytes(32), estimate)), InvalidSignature),
        (replace(good, accused=replace(good.accused, leaf=bytes(leaf))), InvalidMerkleProof),
        (replace(good, accused=replace(good.accused, path=good.accused.path[:-1])), InvalidMerkleProof),
        (replace(good, accused=replace(good.accused, path=(*good.accused.path, bytes(32)))), InvalidMerkleProof),
        (replace(good, before=replace(proof(log, 1), leaf=good.accused.leaf)), InvalidMerkleProof),
        (replace(good, estimate=signed(time=20)), InvalidMerkleProof),
    ]
    for broken, error in cases:
        refused(world, "miner0", broken, error)
    accuse(world)


def test_forms_are_looked_at_before_any_signature_and_signatures_before_paths(world: Any, monkeypatch: Any) -> None:
    looked: list[str] = []

    def noted(name: str, function: Any) -> Any:
        return lambda *arguments: looked.append(name) or function(*arguments)

    monkeypatch.setattr(Transaction, "verify", noted("transaction", Transaction.verify))
    monkeypatch.setattr(Estimate, "verify", noted("estimate", Estimate.verify))
    monkeypatch.setattr(fraud, "verify_inclusion", noted("path", fraud.verify_inclusion))
    verify_alone(world.sign("miner0", report(world)), world.chain_id, world.params)
    assert looked == ["transaction", "estimate", "path", "path"]
    looked.clear()
    with pytest.raises(FraudLeafBefore):
        verify_alone(world.sign("miner0", replace(report(world), before=None)), world.chain_id, world.params)
    assert looked == []
    unsigned = replace(world.sign("miner0", report(world)), signature=bytes(64))
    with pytest.raises(InvalidSignature):
        verify_alone(unsigned, world.chain_id, world.params)
    assert looked == ["transaction"]


# --- votes and convictions -------------------------------------------------------------------------------------------


def test_two_of_three_miners_convict_the_third(world: Any) -> None:
    case_id = accuse(world)
    world.block(world.sign("miner1", FraudVote(case_id)))
    key = world.key(FORGER).public_key
    assert (standing(world), get_miner(world.state, key).since) == (MinerStanding.CONVICTED, world.height)
    assert get_case(world.state, case_id).decided
    assert not may_mine(world.state, key, 10**6)
    assert key not in {miner.public_key for miner in active_miners(world.state, world.params)}
    world.block()
    with pytest.raises(FraudCaseNotFound):
        get_case(world.state, case_id)


def test_a_third_of_the_miners_cannot_convict(world: Any) -> None:
    add_active_miners(world, "alice", "bob", "carol")
    case_id = accuse(world)
    world.block(world.sign("miner1", FraudVote(case_id)))
    world.block(world.sign("alice", FraudVote(case_id)))
    assert standing(world) is MinerStanding.REGISTERED, "three of six"
    world.block(world.sign("bob", FraudVote(case_id)))
    assert standing(world) is MinerStanding.CONVICTED, "four of six"


def test_the_accused_counts_in_the_base_even_when_it_is_leaving(world: Any) -> None:
    add_active_miners(world, "alice")
    case_id = accuse(world)
    world.block(world.sign(FORGER, MinerLeave()))
    world.block(world.sign("miner1", FraudVote(case_id)))
    assert standing(world) is MinerStanding.LEAVING, "two of four, though only three are active"
    world.block(world.sign("alice", FraudVote(case_id)))
    assert standing(world) is MinerStanding.CONVICTED
    world.block()
    assert bond_of(world, FORGER) == 0, "leaving saves no bond"


def test_votes_of_those_that_have_left_do_not_count(world: Any) -> None:
    add_active_miners(world, "alice", "bob")
    case_id = accuse(world)
    world.block(world.sign("miner1", FraudVote(case_id)))
    world.block(world.sign("miner1", MinerLeave()))
    world.block(world.sign("alice", FraudVote(case_id)))
    assert standing(world) is MinerStanding.REGISTERED, "two of four; miner1 is gone"
    assert get_case(world.state, case_id).votes == tuple(world.key(name).public_key for name in ("miner0", "alice"))
    world.block(world.sign("bob", FraudVote(case_id)))
    assert standing(world) is MinerStanding.CONVICTED


def test_one_miner_alone_never_convicts(world: Any) -> None:
    for _ in range(world.params.inactive_after):
        record_certificate(world.state, [world.key("miner0").public_key], world.params)
    assert len(active_miners(world.state, world.params)) == 1
    fork = world.state.fork()
    made = report(world)
    apply_transaction(
        fork, world.sign("miner0", made), world.address("miner0"), world.chain_id, world.params, 1, world.timestamp
    )
    assert not get_case(fork, made.id(world.chain_id)).decided


def test_nobody_votes_twice_or_in_a_case_that_is_decided_or_not_there(world: Any) -> None:
    add_active_miners(world, "alice")
    refused(world, "miner0", FraudVote(bytes(32)), FraudCaseNotFound)
    case_id = accuse(world)
    refused(world, "miner0", FraudVote(case_id), FraudVoteRepeated)
    world.block(world.sign("miner1", FraudVote(case_id)))
    refused(world, "miner1", FraudVote(case_id), FraudVoteRepeated)
    world.block(world.sign("alice", FraudVote(case_id)))
    refused(world, "miner1", FraudVote(case_id), FraudCaseDecided)


def test_a_conviction_drops_the_miners_other_cases_and_no_other_miners(world: Any) -> None:
    add_active_miners(world, "alice")
    case_id, other = accuse(world), accuse(world, index=1)
    against_alice = report_of(world.key("alice"), world.chain_id)
    world.block(world.sign("miner0", against_alice))
    world.block(world.sign("miner1", FraudVote(case_id)), world.sign("alice", FraudVote(case_id)))
    assert {case.id for case in open_cases(world.state)} == {case_id, against_alice.id(world.chain_id)}
    refused(world, "miner1", FraudVote(other), FraudCaseNotFound)


def test_a_convicted_key_is_barred_for_ever(world: Any) -> None:
    case_id = accuse(world)
    world.block(world.sign("miner1", FraudVote(case_id)))
    for _ in range(30):
        world.block()
    refused(world, FORGER, MinerRegistration("again"), MinerBarred)
    refused(world, FORGER, MinerLeave(), MinerBarred)
    refused(world, FORGER, report_of(world.key("miner1"), world.chain_id), MinerBarred)
    refused(world, "miner0", report(world, index=1), MinerBarred)


def test_convicted_miners_take_up_no_place(world: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(miners, "MAX_MINERS", 3)
    case_id = accuse(world)
    world.block(world.sign("miner1", FraudVote(case_id)))
    world.block(world.sign("alice", MinerRegistration("in its place")))
    assert standing(world, "alice") is MinerStanding.REGISTERED
