"""What the state machine of the ledger is fed with: keys, a genesis, orders, tasks, accusations, bare blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from fedcoin.consensus.verify import Parent
from fedcoin.core.block import Block
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.fraud import DoubleSign, FraudReport, LeafProof
from fedcoin.core.genesis import Allocation, Genesis
from fedcoin.core.header import BlockHeader
from fedcoin.core.keys import PrivateKey
from fedcoin.core.merkle import MerkleLog
from fedcoin.core.params import ChainParams
from fedcoin.core.task import Aggregation, Baseline, Contributor, RaceKind, Sampler, Task, Utility, sign_task
from fedcoin.core.transaction import Order, Payment, Schedule, Transaction
from fedcoin.ledger.orders import OrderRecord
from fedcoin.ledger.prices import round_prices
from tests.support.game import MODEL, make_problem
from tests.support.network import PARAMS as NETWORK_PARAMS
from tests.support.network import START as NETWORK_START

START = NETWORK_START
PARAMS = replace(
    NETWORK_PARAMS,
    min_fee=5,
    miner_bond=500,
    bond_blocks=4,
    finality_depth=4,
    inactive_after=3,
    difficulty_window=4,
    max_transactions=50,
)
MINERS = ("m0", "m1", "m2", "m3")
PEOPLE = ("alice", "bob", "carol", "server", "x0", "x1")
FUNDS = 10_000


def _digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


KEYS = {name: PrivateKey(_digest("key", name)) for name in (*MINERS, *PEOPLE)}
CLIENTS = ("alice", "bob", "carol")
SUPPLY = FUNDS * len(KEYS)
_LEAVES = 5
_CLIENTS = 3


@cache
def genesis(params: ChainParams = PARAMS) -> Genesis:
    """Ten people with the same funds, four of them miners, whose bonds come out of those."""
    return Genesis(
        params,
        START,
        tuple(Allocation(key.address, FUNDS) for key in KEYS.values()),
        tuple(KEYS[name].public_key for name in MINERS),
        make_problem(_CLIENTS, "genesis"),
    )


def an_order(
    amount: int, shares: tuple[int, int, int], rounds: int, ratio: tuple[int, int] | None, expiry: int
) -> Order:
    """An order's terms, right or wrong."""
    return Order(
        server=KEYS["server"].address,
        amount=amount,
        train_share=shares[0],
        com_share=shares[1],
        sap_share=shares[2],
        rounds=rounds,
        schedule=Schedule.GEOMETRIC if ratio else Schedule.EQUAL,
        ratio_numerator=ratio[0] if ratio else 1,
        ratio_denominator=ratio[1] if ratio else 1,
        model=MODEL,
        aggregation=Aggregation.UNWEIGHTED,
        utility=Utility.ACCURACY,
        baseline=Baseline.ZERO,
        sampler=Sampler.PERMUTATION,
        evaluation_set=_digest("evaluation"),
        min_clients=1,
        expiry=max(0, expiry),
    )


def a_task(chain_id: bytes, record: OrderRecord, parent: Parent, now: int, difficulty: int = 10**8) -> Task:
    """A task of the order's next round, signed by everyone."""
    prices = round_prices(record.order)[record.rounds_settled]
    problem = replace(make_problem(_CLIENTS), evaluation_set=record.order.evaluation_set)
    task = Task(
        server=KEYS["server"].public_key,
        order=record.order_id,
        round=record.rounds_settled,
        parent=parent.hash,
        train_price=prices.train,
        com_price=prices.com,
        sap_price=prices.sap,
        problem=problem,
        contributors=(),
        norm=PARAMS.norm,
        difficulty=difficulty,
        opened_at=now,
        expiry=record.order.expiry,
        signature=b"",
    )
    contributors = tuple(
        Contributor(KEYS[name].public_key, KEYS[name].sign(task.commitment(index).id(chain_id)))
        for index, name in enumerate(CLIENTS)
    )
    return sign_task(KEYS["server"], chain_id, replace(task, contributors=contributors))


def a_report(chain_id: bytes, accused: PrivateKey, number: int, order: bytes | None, spoilt: int) -> FraudReport:
    """An accusation with evidence of the right form; `spoilt` from 1 to 6 breaks one rule of it."""
    log = MerkleLog()
    leaves = [b"".join((number * 100 + index).to_bytes(8, "big") for _ in range(_CLIENTS)) for index in range(_LEAVES)]
    for leaf in leaves:
        log.append(leaf)
    estimate = Estimate(
        RaceKind.TASK,
        _digest("task", number),
        bytes(32),
        accused.public_key,
        _LEAVES,
        (7,) * _CLIENTS,
        log.root(),
        1,
        b"",
    )
    estimate = sign_estimate(accused, chain_id, estimate)
    index = number % _LEAVES

    def proof(at: int) -> LeafProof:
        return LeafProof(at, leaves[at], tuple(log.inclusion_proof(at, _LEAVES)))

    report = FraudReport(estimate, order, proof(index - 1) if index else None, proof(index))
    match spoilt:
        case 1:
            return replace(report, accused=replace(report.accused, leaf=bytes(8 * _CLIENTS)))
        case 2:
            return replace(report, accused=replace(report.accused, index=_LEAVES))
        case 3:
            return replace(report, before=None if index else proof(1))
        case 4:
            return replace(report, estimate=replace(estimate, time=_LEAVES + 1))
        case 5:
            return replace(report, accused=replace(report.accused, leaf=report.accused.leaf[:-1]))
        case 6:
            return replace(report, accused=replace(report.accused, path=report.accused.path[:-1]))
    return report


def a_double_sign(chain_id: bytes, accused: PrivateKey, height: int, spoilt: int) -> DoubleSign:
    """Two headers of one height, signed by one key; `spoilt` from 1 to 4 breaks one rule of it."""
    first, second = sorted(
        (_header(chain_id, accused, height, number) for number in (0, 1)), key=lambda header: header.id()
    )
    signatures = accused.sign(first.id()), accused.sign(second.id())
    match spoilt:
        case 1:
            return DoubleSign(second, signatures[1], first, signatures[0])
        case 2:
            return DoubleSign(first, signatures[0], first, signatures[0])
        case 3:
            return DoubleSign(first, signatures[0], second, signatures[0])
        case 4:
            other = replace(second, height=height + 1)
            return DoubleSign(first, signatures[0], other, accused.sign(other.id()))
    return DoubleSign(first, signatures[0], second, signatures[1])


def _header(chain_id: bytes, winner: PrivateKey, height: int, number: int) -> BlockHeader:
    return BlockHeader(
        version=1,
        chain_id=chain_id,
        kind=RaceKind.AUDIT,
        height=height,
        winner=winner.public_key,
        averaged_total=(),
        averaged_time=1,
        previous=bytes(32),
        winner_total=(),
        winner_time=1,
        difficulty=10**8,
        merkle_root=bytes(32),
        timestamp=START + number,
        task=bytes(32),
        certificate_root=bytes(32),
        state_root=bytes(32),
    )


def bare_block(
    chain_id: bytes,
    parent: Parent,
    timestamp: int,
    winner: PrivateKey,
    members: Sequence[PrivateKey],
    task: Task | None,
    averaged: tuple[int, ...],
    payments: tuple[Payment, ...],
    transactions: tuple[Transaction, ...],
) -> Block:
    """A block as far as `execute` looks at it: certificate and header carry no proof of work, nothing is signed."""
    header: Any = replace(
        _header(chain_id, winner, parent.height + 1, 0),
        kind=RaceKind.AUDIT if task is None else RaceKind.TASK,
        previous=parent.hash,
        timestamp=timestamp,
        averaged_total=averaged,
    )
    certificate = tuple(
        Estimate(header.kind, header.task, parent.hash, key.public_key, 1, averaged, bytes(32), parent.timestamp, b"")
        for key in members
    )
    return Block(header, b"", task, certificate, payments, transactions)
