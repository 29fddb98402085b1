"""What happens on the example chain once the order is done: a miner is convicted, one leaves, one signs twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from fedcoin.core.block import Block, sign_block
from fedcoin.core.fraud import FraudVote
from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import (
    Body,
    MinerLeave,
    MinerRegistration,
    Payment,
    PaymentKind,
    Transaction,
    bond_address,
    sign_transaction,
)
from vectorlib.block_builder import Position, audit_block, finished, with_body
from vectorlib.chain_story import ORDER_ID, pay
from vectorlib.fraud_values import double_sign, report
from vectorlib.people import CHAIN, MINERS, PARAMS, digest, key

Stage = tuple[str, Callable[[Position], Block], Callable[[Position], Iterable[tuple[str, Block]]]]

WINNER, REPORTER, WITNESS, FORGER = MINERS
REPORT = report(FORGER, 2, ORDER_ID)
CASE = REPORT.id(CHAIN)
ALICE = key("alice")
NEWCOMER = key("newcomer")


def fraud_stages() -> list[Stage]:
    """Name, valid block and broken blocks of each height."""
    return [
        ("AUDIT block with a fraud report and a miner that leaves", _accusation, _broken_accusations),
        ("AUDIT block with the votes that convict", _verdict, _broken_verdicts),
        ("AUDIT block that pays the convicted miner's bond out", _pay_out, _broken_pay_outs),
        ("AUDIT block that gives a bond back", _pay_out, _broken_returns),
        ("AUDIT block with a double signature", _double_sign, _broken_double_signs),
        ("AUDIT block that pays its signer's bond out", _last, lambda at: []),
    ]


def _by(signer: PrivateKey, nonce: int, body: Body) -> Transaction:
    return sign_transaction(signer, CHAIN, nonce, 1000, body)


def _later(at: Position) -> int:
    return at.parent.timestamp + 10_000


def _accusation(at: Position) -> Block:
    transactions = (_by(REPORTER, 0, REPORT), _by(NEWCOMER, 1, MinerLeave()))
    return finished(at, audit_block(at, _later(at), transactions))


def _broken_accusations(at: Position) -> list[tuple[str, Block]]:
    cases = {
        "report by one that is no miner": (_by(ALICE, 1, REPORT),),
        "report that names an order that is not there": (_by(REPORTER, 0, report(FORGER, 2, digest("no order"))),),
        "report of one that is no miner": (_by(REPORTER, 0, report(key("stranger"), 2, None)),),
        "a miner reports itself": (_by(FORGER, 0, REPORT),),
        "the same report twice": (_by(REPORTER, 0, REPORT), _by(WITNESS, 0, REPORT)),
        "vote in a case that is not there": (_by(WITNESS, 0, FraudVote(CASE)),),
        "one leaves that is no miner": (_by(ALICE, 1, MinerLeave()),),
        "a miner leaves twice": (_by(NEWCOMER, 1, MinerLeave()), _by(NEWCOMER, 2, MinerLeave())),
        "a miner that leaves registers again": (
            _by(NEWCOMER, 1, MinerLeave()),
            _by(NEWCOMER, 2, MinerRegistration("again")),
        ),
    }
    return [(name, _signed(audit_block(at, _later(at), transactions))) for name, transactions in cases.items()]


def _verdict(at: Position) -> Block:
    votes = (_by(WITNESS, 0, FraudVote(CASE)), _by(WINNER, 0, FraudVote(CASE)))
    return finished(at, audit_block(at, _later(at), votes))


def _broken_verdicts(at: Position) -> list[tuple[str, Block]]:
    convicting = (_by(WITNESS, 0, FraudVote(CASE)), _by(WINNER, 0, FraudVote(CASE)))
    cases = {
        "the reporter votes again": (_by(REPORTER, 1, FraudVote(CASE)),),
        "the accused votes": (_by(FORGER, 0, FraudVote(CASE)),),
        "a miner that is leaving votes": (_by(NEWCOMER, 2, FraudVote(CASE)),),
        "the case is opened again": (_by(WITNESS, 0, REPORT),),
        "vote in a decided case": (*convicting, _by(REPORTER, 1, FraudVote(CASE)), _by(WITNESS, 1, FraudVote(CASE))),
        "a convicted miner leaves": (*convicting, _by(FORGER, 0, MinerLeave())),
        "a convicted miner is accused again": (*convicting, _by(REPORTER, 1, report(FORGER, 1, None))),
    }
    found = [(name, _signed(audit_block(at, _later(at), transactions))) for name, transactions in cases.items()]
    crowd = [WINNER, *sorted([REPORTER, WITNESS, FORGER, NEWCOMER], key=lambda miner: miner.public_key)]
    early = audit_block(at, _later(at), (pay("alice", 1, 5),), crowd)
    return [*found, ("a miner that is leaving in the certificate", _signed(early))]


def _pay_out(at: Position) -> Block:
    return finished(at, audit_block(at, _later(at), (), MINERS[:3]))


def _broken_pay_outs(at: Position) -> list[tuple[str, Block]]:
    good = audit_block(at, _later(at), (), MINERS[:3])
    reward, damages = good.payments
    greedy = (replace(reward, amount=reward.amount + 1), replace(damages, amount=damages.amount - 1))
    astray = (replace(reward, payee=WINNER.address), damages)
    registration = _by(FORGER, 0, MinerRegistration("again"))
    bond = Payment(
        PaymentKind.BOND, bytes(32), 0, bond_address(NEWCOMER.public_key), NEWCOMER.address, PARAMS.miner_bond
    )
    confirmed = audit_block(at, _later(at), (pay("alice", 1, 5),), MINERS[:3])
    return [
        ("reward and damages left out", _signed(with_body(confirmed, (), confirmed.transactions))),
        ("the reporter takes a unit of the damages", _signed(with_body(good, greedy, ()))),
        ("damages before the reward", _signed(with_body(good, (damages, reward), ()))),
        (
            "the reward goes to the winner",
            _signed(with_body(good, astray, ())),
        ),
        ("a convicted miner in the certificate", _signed(audit_block(at, _later(at), (), MINERS))),
        ("a convicted miner registers again", _signed(audit_block(at, _later(at), (registration,), MINERS[:3]))),
        ("a bond comes back too early", _signed(with_body(good, (bond, *good.payments), ()))),
    ]


def _broken_returns(at: Position) -> list[tuple[str, Block]]:
    good = audit_block(at, _later(at), (), MINERS[:3])
    (bond,) = good.payments
    return [
        ("a bond does not come back", _signed(with_body(good, (), ()))),
        ("a bond comes back to somebody else", _signed(with_body(good, (replace(bond, payee=ALICE.address),), ()))),
        ("a bond comes back twice", _signed(with_body(good, (bond, bond), ()))),
    ]


def _double_sign(at: Position) -> Block:
    return finished(at, audit_block(at, _later(at), (_by(ALICE, 1, double_sign(WITNESS)),), MINERS[:3]))


def _broken_double_signs(at: Position) -> list[tuple[str, Block]]:
    twice = (_by(ALICE, 1, double_sign(WITNESS)), _by(ALICE, 2, double_sign(WITNESS, height=8)))
    cases = {
        "double signature of one that is no miner": (_by(ALICE, 1, double_sign(key("stranger"))),),
        "double signature of one that has left": (_by(ALICE, 1, double_sign(NEWCOMER)),),
        "double signature of a convicted miner": (_by(ALICE, 1, double_sign(FORGER)),),
        "a second double signature": twice,
    }
    return [
        (name, _signed(audit_block(at, _later(at), transactions, MINERS[:3]))) for name, transactions in cases.items()
    ]


def _last(at: Position) -> Block:
    return finished(at, audit_block(at, _later(at), (), MINERS[:2]))


def _signed(block: Block) -> Block:
    return sign_block(WINNER, block)
