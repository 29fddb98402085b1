"""Bonds, accusations and convictions."""

from __future__ import annotations

from fedcoin.core.errors.base import Conflict, InvalidInput, LimitExceeded, NotFound


class MinerLeaving(Conflict):
    """This key's miner is leaving; it may register again once its bond has come back."""

    code = "MINER_LEAVING"


class MinerBarred(Conflict):
    """This key's miner is convicted of fraud: it can neither mine, leave nor register ever again. Use another key."""

    code = "MINER_BARRED"


class MinerNotActive(Conflict):
    """Only an active registered miner may accuse or vote; mine until it stands in a certificate."""

    code = "MINER_NOT_ACTIVE"


class TooManyFraudCases(LimitExceeded):
    """The reporter has as many open fraud cases as one may have; wait until one is decided or lapses."""

    code = "TOO_MANY_FRAUD_CASES"


class FraudCaseNotFound(NotFound):
    """No fraud case of that id is open; check the id, or wait until its report is confirmed."""

    code = "FRAUD_CASE_NOT_FOUND"


class FraudCaseKnown(Conflict):
    """There is a fraud case with this evidence already; vote in it instead."""

    code = "FRAUD_CASE_KNOWN"


class FraudCaseDecided(Conflict):
    """The fraud case is decided; there is nothing more to vote on."""

    code = "FRAUD_CASE_DECIDED"


class FraudVoteRepeated(Conflict):
    """This miner has a vote in the fraud case already."""

    code = "FRAUD_VOTE_REPEATED"


class FraudOwnCase(InvalidInput):
    """The accused neither reports itself nor votes in its own case."""

    code = "FRAUD_OWN_CASE"


class FraudLeafOutOfRange(InvalidInput):
    """The accused leaf is none of the estimate's: its index is not below the estimate's time."""

    code = "FRAUD_LEAF_OUT_OF_RANGE"


class FraudLeafBefore(InvalidInput):
    """A report carries the leaf just before the accused one, and none if the accused is the first."""

    code = "FRAUD_LEAF_BEFORE"


class DoubleSignInvalid(InvalidInput):
    """The two headers do not prove a double signature: one chain, winner and height, and two hashes in order."""

    code = "DOUBLE_SIGN_INVALID"
