"""Fraud on the chain: accusations, votes, and convictions (docs/adr/0010).

Nobody can decide from the chain alone whether a leaf is forged, because floating point differs between devices. So the
chain does not recompute: it checks that the evidence is well-formed, and counts the miners that have recomputed it and
signed that they find it forged. Two signed blocks of one height need no vote.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from fedcoin.core.encoding import HASH_SIZE, Struct, boolean, optional, raw, u64, vector
from fedcoin.core.errors import (
    DoubleSignInvalid,
    FraudCaseDecided,
    FraudCaseKnown,
    FraudCaseNotFound,
    FraudLeafBefore,
    FraudLeafOutOfRange,
    FraudOwnCase,
    FraudVoteRepeated,
    MinerBarred,
    MinerNotActive,
    TooManyFraudCases,
)
from fedcoin.core.fraud import DoubleSign, FraudReport, FraudVote
from fedcoin.core.keys import ADDRESS_SIZE, PUBLIC_KEY_SIZE, address_of
from fedcoin.core.merkle import verify_inclusion
from fedcoin.core.params import MAX_MINERS, ChainParams
from fedcoin.ledger.miners import (
    MinerStanding,
    active_miners,
    find_miner,
    get_miner,
    get_registered,
    is_active,
    set_standing,
)
from fedcoin.ledger.orders import get_order
from fedcoin.ledger.state import FRAUD_CASE_KEY, State

MAX_OPEN_CASES = 4
"""Cases of one reporter that are neither decided nor lapsed, at most."""


@dataclass(frozen=True)
class FraudCase:
    """An accusation that the chain has taken up."""

    id: bytes
    """Id of the report, or of the double signature."""
    accused: bytes
    """Public key of the miner."""
    reporter: bytes
    """Address that gets the reward."""
    order: bytes | None
    """Whose requester gets the damages; None: the other active miners."""
    opened_height: int
    """Height of the block that holds the report."""
    decided: bool
    """The accused is convicted; the case is there until its bond is paid out."""
    votes: tuple[bytes, ...]
    """Public keys of the miners that found the leaf forged, in the order of their votes; none for a double signature.
    Of those that are no longer REGISTERED some may be left."""


FRAUD_CASE = Struct(
    FraudCase,
    "fedcoin/v1/fraud-case",
    id=raw(HASH_SIZE),
    accused=raw(PUBLIC_KEY_SIZE),
    reporter=raw(ADDRESS_SIZE),
    order=optional(raw(HASH_SIZE)),
    opened_height=u64,
    decided=boolean,
    votes=vector(raw(PUBLIC_KEY_SIZE), MAX_MINERS),
)


def get_case(state: State, case_id: bytes) -> FraudCase:
    """The case. Raises FraudCaseNotFound."""
    value = state.get(FRAUD_CASE_KEY + case_id)
    if value is None:
        raise FraudCaseNotFound(
            f"no fraud case {case_id.hex()} is open; check the id, or wait until its report is confirmed"
        )
    return _decode(value)


def open_cases(state: State) -> Iterator[FraudCase]:
    """All cases by id, decided ones included until they are paid out."""
    for key in state.keys(FRAUD_CASE_KEY):
        yield get_case(state, key[len(FRAUD_CASE_KEY) :])


def drop_case(state: State, case_id: bytes) -> None:
    """Forgets a case that has lapsed or is paid out."""
    state.put(FRAUD_CASE_KEY + case_id, None)


def drop_lapsed(state: State, params: ChainParams, height: int) -> None:
    """Forgets what is still undecided in the block at `height`, `bond_blocks` blocks after it was opened."""
    for case in open_cases(state):
        if not case.decided and case.opened_height + params.bond_blocks <= height:
            drop_case(state, case.id)


def drop_cases_of(state: State, accused: bytes) -> None:
    """Forgets the undecided cases of a miner."""
    for case in open_cases(state):
        if case.accused == accused and not case.decided:
            drop_case(state, case.id)


# --- rules that need no state, before any signature is looked at -----------------------------------------------------


def verify_report_form(report: FraudReport, sender: bytes) -> None:
    """Raises unless the evidence of `sender` (public key) is of the right form.

    What the leaves say is for those that vote: also a leaf of the wrong length, which the accused has signed, is fraud.
    Raises FraudOwnCase, EstimateOutOfRange, FraudLeafOutOfRange, FraudLeafBefore.
    """
    estimate = report.estimate
    if estimate.miner == sender:
        raise FraudOwnCase
    estimate.verify_range(max(1, len(estimate.total)))
    if report.accused.index >= estimate.time:
        raise FraudLeafOutOfRange(f"the estimate has {estimate.time} leaves, and none of index {report.accused.index}")
    before = report.before.index if report.before is not None else -1
    if before != report.accused.index - 1:
        raise FraudLeafBefore


def verify_double_sign_form(evidence: DoubleSign, chain_id: bytes) -> None:
    """Raises DoubleSignInvalid unless the two headers differ, but not in chain, winner and height."""
    first, second = evidence.first, evidence.second
    if not first.chain_id == second.chain_id == chain_id:
        raise DoubleSignInvalid("the headers are not both of this chain")
    if first.winner != second.winner:
        raise DoubleSignInvalid("the headers have different winners")
    if first.height != second.height:
        raise DoubleSignInvalid("the headers are of different heights")
    if first.id() >= second.id():
        raise DoubleSignInvalid("the headers must be different, the one with the lower hash first")


# --- rules that need no state, after the sender's signature ----------------------------------------------------------


def verify_report_evidence(report: FraudReport, chain_id: bytes) -> None:
    """Raises unless the accused has signed the estimate, and the leaves lie under its root.

    Raises InvalidSignature, InvalidPublicKey, InvalidMerkleProof.
    """
    estimate = report.estimate
    estimate.verify(chain_id)
    for proof in (report.accused, report.before):
        if proof is not None:
            verify_inclusion(proof.leaf, proof.index, estimate.time, proof.path, estimate.leaf_root)


# --- rules that need the state ---------------------------------------------------------------------------------------


def verify_report(state: State, report: FraudReport, sender: bytes, chain_id: bytes, params: ChainParams) -> None:
    """Raises unless `sender` (public key) may bring this report now.

    Raises MinerNotFound, MinerLeaving, MinerBarred, MinerNotActive, OrderNotFound, FraudCaseKnown, TooManyFraudCases.
    """
    verify_voter(state, sender, params)
    verify_accusable(state, report.estimate.miner)
    if report.order is not None:
        get_order(state, report.order)
    verify_case_new(state, report.id(chain_id))
    reporter = address_of(sender)
    if sum(case.reporter == reporter and not case.decided for case in open_cases(state)) >= MAX_OPEN_CASES:
        raise TooManyFraudCases


def verify_vote(state: State, vote: FraudVote, sender: bytes, params: ChainParams) -> None:
    """Raises unless `sender` (public key) may vote now.

    Raises FraudCaseNotFound, FraudCaseDecided, FraudOwnCase, FraudVoteRepeated, MinerNotFound, MinerLeaving,
    MinerBarred, MinerNotActive.
    """
    case = get_case(state, vote.case)
    if case.decided:
        raise FraudCaseDecided
    if case.accused == sender:
        raise FraudOwnCase
    verify_voter(state, sender, params)
    if sender in case.votes:
        raise FraudVoteRepeated


def verify_double_sign(state: State, evidence: DoubleSign, chain_id: bytes) -> None:
    """Raises unless the winner may be convicted now. Raises MinerNotFound, MinerBarred, FraudCaseKnown."""
    verify_accusable(state, evidence.first.winner)
    verify_case_new(state, evidence.id(chain_id))


def verify_voter(state: State, voter: bytes, params: ChainParams) -> None:
    """Raises MinerNotFound, MinerLeaving, MinerBarred or MinerNotActive unless the key is an active miner's."""
    if not is_active(get_registered(state, voter), params):
        raise MinerNotActive


def verify_accusable(state: State, accused: bytes) -> None:
    """Raises MinerNotFound, or MinerBarred for one that is convicted already. One that is leaving can be accused."""
    if get_miner(state, accused).standing is MinerStanding.CONVICTED:
        raise MinerBarred(f"{accused.hex()} is convicted already; there is nothing more to do")


def verify_case_new(state: State, case_id: bytes) -> None:
    """Raises FraudCaseKnown."""
    if state.get(FRAUD_CASE_KEY + case_id) is not None:
        raise FraudCaseKnown


# --- what they do ----------------------------------------------------------------------------------------------------


def open_case(
    state: State, report: FraudReport, sender: bytes, chain_id: bytes, params: ChainParams, height: int
) -> None:
    """Opens a case with its sender's vote. A network of few miners may have decided it thereby."""
    case = FraudCase(
        report.id(chain_id), report.estimate.miner, address_of(sender), report.order, height, False, (sender,)
    )
    _count(state, case, params, height)


def count_vote(state: State, vote: FraudVote, sender: bytes, params: ChainParams, height: int) -> None:
    """Adds a vote, and convicts the accused if it was the last one needed.

    Votes of those that have left or were convicted go, so that there are never more than there may be miners.
    """
    case = get_case(state, vote.case)
    _count(state, replace(case, votes=(*filter(partial(_is_registered, state), case.votes), sender)), params, height)


def convict_double_signer(state: State, evidence: DoubleSign, sender: bytes, chain_id: bytes, height: int) -> None:
    """Convicts the winner of the two blocks."""
    accused = evidence.first.winner
    _convict(state, FraudCase(evidence.id(chain_id), accused, address_of(sender), None, height, False, ()), height)


def is_decided(state: State, case: FraudCase, params: ChainParams) -> bool:
    """Whether the voters are a quorum of the active miners, the accused counted among those whether active or not.

    The votes of miners that have left, were convicted, or are inactive by now do not count.
    """
    active = {miner.public_key for miner in active_miners(state, params)}
    everyone = active | {case.accused}
    counted = len(active.intersection(case.votes))
    return counted * params.quorum_denominator >= params.quorum_numerator * len(everyone)


def _count(state: State, case: FraudCase, params: ChainParams, height: int) -> None:
    if is_decided(state, case, params):
        _convict(state, case, height)
    else:
        _put(state, case)


def _convict(state: State, case: FraudCase, height: int) -> None:
    """The next block pays the bond out; the miner's other cases are pointless."""
    set_standing(state, case.accused, MinerStanding.CONVICTED, height)
    drop_cases_of(state, case.accused)
    _put(state, replace(case, decided=True))


def _is_registered(state: State, public_key: bytes) -> bool:
    miner = find_miner(state, public_key)
    return miner is not None and miner.standing is MinerStanding.REGISTERED


def _put(state: State, case: FraudCase) -> None:
    state.put(FRAUD_CASE_KEY + case.id, FRAUD_CASE.encode(case))


@lru_cache(maxsize=1024)
def _decode(value: bytes) -> FraudCase:
    """Kept by value, because each block looks at all cases."""
    return FRAUD_CASE.decode(value)
