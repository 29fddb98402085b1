"""What an operator reads about fraud: one line for each report, vote and conviction."""

from __future__ import annotations

import logging

from fedcoin.consensus.messages import AppliedBlock, NotProsecuted
from fedcoin.core.fraud import DoubleSign, FraudReport, FraudVote
from fedcoin.core.transaction import Body, Transaction
from fedcoin.ledger.miners import MINER_RECORD, MinerStanding
from fedcoin.ledger.state import MINER_KEY

log = logging.getLogger("fedcoin.fraud")


def log_prosecution(transaction: Transaction, own_key: bytes) -> None:
    """A transaction is sent; nothing is said of others' and of what concerns no fraud."""
    if transaction.sender != own_key:
        return
    match transaction.body:
        case FraudReport() | DoubleSign():
            log.warning("reported %s", describe(transaction.body))
        case FraudVote():
            log.warning("voted guilty in %s", describe(transaction.body))


def log_not_prosecuted(effect: NotProsecuted) -> None:
    """A report or vote could not be sent."""
    log.warning("not sent: %s: [%s] %s", describe(effect.body), effect.error.code, effect.error)


def log_convictions(applied: AppliedBlock) -> None:
    """Miners that a block has convicted."""
    for key, value in applied.changes.items():
        if not key.startswith(MINER_KEY) or value is None:
            continue
        before = applied.undo.get(key)
        was_convicted = before is not None and MINER_RECORD.decode(before).standing is MinerStanding.CONVICTED
        if MINER_RECORD.decode(value).standing is MinerStanding.CONVICTED and not was_convicted:
            log.warning(
                "miner convicted on chain: %s, in block %d", key[len(MINER_KEY) :].hex(), applied.block.header.height
            )


def describe(body: Body) -> str:
    """A report or vote in words."""
    match body:
        case FraudReport(estimate, _, _, accused):
            return f"miner {estimate.miner.hex()}: leaf {accused.index} of {estimate.time} is forged"
        case DoubleSign(first):
            return f"miner {first.winner.hex()}: two blocks of height {first.height}"
        case FraudVote(case):
            return f"case {case.hex()}"
        case _:
            return type(body).__name__.lower()
