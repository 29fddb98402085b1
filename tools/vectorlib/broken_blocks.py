"""Blocks that break one rule each and are right in everything that is checked before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from fedcoin.core.block import Block, sign_block
from fedcoin.core.estimate import sign_estimate
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import MAX_EXACT_CLIENTS, MAX_ITERATIONS
from fedcoin.core.task import Contributor, RaceKind, Sampler, Task, UpdateRef, sign_task
from fedcoin.core.transaction import MinerRegistration, Transaction, Transfer, sign_transaction
from fedcoin.ledger.problems import last_problem
from vectorlib.block_builder import (
    Position,
    audit_block,
    certificate,
    estimate,
    finished,
    unsigned_block,
    with_body,
    with_certificate,
    with_header,
)
from vectorlib.chain_story import CLIENTS, ORDER, SHAPLEY, make_task, order_problem, pay, settlement, task_block
from vectorlib.people import CHAIN, MINERS, OTHER_CHAIN, START, digest, key, order

Broken = Iterable[tuple[str, Block]]
WINNER = MINERS[0]


def broken_transactions(at: Position) -> Broken:
    """Instead of the first block: AUDIT blocks whose transactions break a rule."""
    requester, amount = key("requester"), 1_000_000_000_000
    cases: dict[str, tuple[Transaction, ...]] = {
        "nonce of 1 on a fresh account": (pay("alice", 1, 5),),
        "the same transaction twice": (pay("alice", 0, 5), pay("alice", 0, 5)),
        "amount and fee together above the balance": (pay("requester", 0, amount),),
        "second transaction spends what the first has spent": (
            pay("requester", 0, amount - 1000),
            pay("requester", 1, 1),
        ),
        "fee below the minimum": (pay("alice", 0, 5, fee=999),),
        "transaction of another chain": (
            sign_transaction(key("alice"), OTHER_CHAIN, 0, 1000, Transfer(key("server").address, 5)),
        ),
        "order that has expired": (sign_transaction(requester, CHAIN, 0, 1000, order(expiry=START + 20_000)),),
        "order with a round that pays nothing": (sign_transaction(requester, CHAIN, 0, 1000, order(amount=2)),),
    }
    for name, transactions in cases.items():
        yield name, _signed(audit_block(at, START + 20_000, transactions))
    yield "five transactions", _signed(audit_block(at, START + 20_000, tuple(pay("alice", n, 1) for n in range(5))))
    good = finished(at, audit_block(at, START + 20_000, (pay("alice", 0, 5),)))
    yield "wrong state root", _signed(with_header(good, state_root=digest("state root")))
    yield "winner's signature of another header", replace(good, signature=WINNER.sign(digest("other header")))
    yield "timestamp of the parent", _signed(with_header(good, timestamp=START))
    yield "height 2 on the genesis", _signed(with_header(good, height=2))
    yield "another difficulty", _signed(with_header(good, difficulty=good.header.difficulty + 1))


def broken_settlements(at: Position) -> Broken:
    """Instead of the settlement of round 0."""
    yield from _broken_headers(settlement(at, SHAPLEY))
    yield from _broken_certificates(at, settlement(at, SHAPLEY))
    yield from _broken_tasks(at)
    yield from _broken_payments(settlement(at, SHAPLEY))


def _broken_headers(good: Block) -> Iterator[tuple[str, Block]]:
    header = good.header
    yield "version 2", _signed(with_header(good, version=2))
    yield "chain id of another chain", _signed(with_header(good, chain_id=OTHER_CHAIN))
    yield "Merkle root of another body", _signed(with_header(good, merkle_root=digest("body")))
    yield "certificate root of another certificate", _signed(with_header(good, certificate_root=digest("certificate")))
    yield "TASK block without its task", _signed(replace(good, task=None))
    yield "header names another task", _signed(with_header(good, task=digest("task")))
    yield (
        "averaged S of four values for three clients",
        _signed(with_header(good, averaged_total=(*header.averaged_total, 0))),
    )
    yield "winner's time is not that of its estimate", _signed(with_header(good, winner_time=header.winner_time + 1))
    yield "winner's S is not that of its estimate", _signed(with_header(good, winner_total=(1, 2, 3)))
    one_more = (header.averaged_total[0] + 1, *header.averaged_total[1:])
    yield "averaged S off by one unit", _signed(with_header(good, averaged_total=one_more))
    yield "winner did not sign", replace(good, signature=MINERS[1].sign(good.id()))


def _broken_certificates(at: Position, good: Block) -> Iterator[tuple[str, Block]]:
    own, *others = good.certificate
    header = good.header
    first = others[0]
    yield "certificate of the winner alone", _signed(with_certificate(good, (own,)))
    yield "certificate in descending order", _signed(with_certificate(good, (own, *others[::-1])))
    yield "a miner twice in the certificate", _signed(with_certificate(good, (own, first, *others)))
    yield "the winner among the others", _signed(with_certificate(good, (own, *sorted([own, *others], key=_miner))))
    stray = estimate(MINERS[1], RaceKind.TASK, header.task, digest("parent"), SHAPLEY, first.opened_at, 1)
    yield "estimate of another parent", _signed(with_certificate(good, (own, stray, *others[1:])))
    stray = estimate(MINERS[1], RaceKind.AUDIT, header.task, header.previous, SHAPLEY, first.opened_at, 1)
    yield "estimate of an AUDIT race", _signed(with_certificate(good, (own, stray, *others[1:])))
    for name, changed in {
        "estimate of no iterations": replace(first, time=0),
        "estimate of 2^20 + 1 iterations": replace(first, time=MAX_ITERATIONS + 1),
        "estimate beyond what its iterations can reach": replace(first, total=(200_000_000_001, 0, 0), time=1),
        "estimate of two clients": replace(first, total=first.total[:2]),
    }.items():
        forged = sign_estimate(MINERS[1], CHAIN, changed)
        yield name, _signed(with_certificate(good, (own, forged, *others[1:])))
    unsigned = replace(first, signature=MINERS[2].sign(first.id(CHAIN)))
    yield "an estimate's signature is somebody else's", _signed(with_certificate(good, (own, unsigned, *others[1:])))
    far = (SHAPLEY[0] + 51_000_000, *SHAPLEY[1:])
    task, timestamp = good.task, header.timestamp
    apart = certificate(at, RaceKind.TASK, header.task, SHAPLEY, timestamp, winner_values=far)
    yield "winner's S farther from averaged S than D", _signed(unsigned_block(at, timestamp, apart, task))
    pair = certificate(at, RaceKind.TASK, header.task, SHAPLEY, timestamp, MINERS[:2])
    yield "two of four active miners", _signed(unsigned_block(at, timestamp, pair, task))
    stranger = sorted([*MINERS[1:], key("stranger")], key=lambda miner: miner.public_key)
    crowd = certificate(at, RaceKind.TASK, header.task, SHAPLEY, timestamp, [WINNER, *stranger])
    yield "a miner that is not registered", _signed(unsigned_block(at, timestamp, crowd, task))


def _broken_tasks(at: Position) -> Iterator[tuple[str, Block]]:
    good = make_task(at)
    one, two = order_problem(0), key("client 1")
    cases: dict[str, Task] = {
        "task of an older parent": make_task(at, parent=CHAIN),
        "task with another difficulty": make_task(at, difficulty=good.difficulty + 1),
        "task with another norm": make_task(at, norm=1),
        "task of an order that is not there": make_task(at, order=digest("no order")),
        "task of another server": make_task(at, server=key("other server")),
        "task of a later round": make_task(at, round=1),
        "task that expires before it opens": make_task(at, expiry=at.parent.timestamp),
        "task that expires after its order": make_task(at, expiry=ORDER.expiry + 1),
        "task that has expired": make_task(at, expiry=at.parent.timestamp + 24_999),
        "task with fewer clients than ordered": make_task(at, problem=replace(one, updates=one.updates[:1])),
        "contributor missing": make_task(at, contributors=CLIENTS[:2]),
        "one contributor too many": make_task(at, contributors=[*CLIENTS, key("client 3")]),
        "contributor twice": make_task(at, contributors=[CLIENTS[0], two, two]),
        "update of no samples": make_task(
            at, problem=replace(one, updates=(*one.updates[:2], UpdateRef(one.updates[2].digest, 0)))
        ),
        "more clients than the exact sampler serves": make_task(
            at,
            problem=replace(one, sampler=Sampler.EXACT, updates=one.updates[:1] * (MAX_EXACT_CLIENTS + 1)),
            contributors=[key(f"client {number}") for number in range(MAX_EXACT_CLIENTS + 1)],
        ),
        "another sampler": make_task(at, problem=replace(one, sampler=Sampler.ANTITHETIC)),
        "TrainPrice one unit short": make_task(at, train_price=good.train_price - 1),
        "another evaluation set": make_task(at, problem=replace(one, evaluation_set=digest("other"))),
        "server did not sign": replace(good, signature=key("other server").sign(good.id(CHAIN))),
        "client did not sign its update": _resigned(good, key("mallory")),
    }
    for name, task in cases.items():
        clients = task.problem.clients
        values = (*SHAPLEY, *[0] * clients)[:clients]
        yield name, _signed(task_block(at, task, values, due=False))


def _broken_payments(good: Block) -> Iterator[tuple[str, Block]]:
    winner, *clients, server = good.payments
    short, long = replace(clients[0], amount=clients[0].amount - 1), replace(clients[1], amount=clients[1].amount + 1)
    for name, payments in {
        "no payments": (),
        "the winner keeps a client's share": (winner, *clients[1:], server),
        "a unit moved between clients": (winner, short, long, *clients[2:], server),
        "the winner pays itself one unit more": (replace(winner, amount=winner.amount + 1), *clients, server),
        "server first": (server, winner, *clients),
        "ComPrice to another account": (winner, *clients, replace(server, payee=key("mallory").address)),
        "one payment too many": (*good.payments, server),
    }.items():
        yield name, _signed(with_body(good, payments, ()))


def broken_audits(at: Position) -> Broken:
    """Instead of the AUDIT block with a registration."""
    timestamp = START + 90_000
    problem = last_problem(at.state)
    registered = sign_transaction(key("stranger"), CHAIN, 0, 1000, MinerRegistration("poor"))
    yield "one without a coin registers", _signed(audit_block(at, timestamp, (registered,)))
    yield "nothing to confirm", _signed(audit_block(at, timestamp))
    values = (300_000_000, 300_000_000)
    stale = certificate(at, RaceKind.AUDIT, digest("problem"), (*values, 0), timestamp)
    body = (pay("alice", 1, 5),)
    yield "AUDIT block on another problem", _signed(unsigned_block(at, timestamp, stale, transactions=body))
    short = certificate(at, RaceKind.AUDIT, problem.id(), values, timestamp)
    yield "averaged S of two values for three clients", _signed(unsigned_block(at, timestamp, short, transactions=body))
    yield "AUDIT block with a task", _signed(replace(audit_block(at, timestamp, body), task=make_task(at)))
    yield "used nonce", _signed(audit_block(at, timestamp, (pay("alice", 0, 7),)))
    winner = sign_transaction(WINNER, CHAIN, 0, 1000, MinerRegistration("again"))
    yield "miner registers again", _signed(audit_block(at, timestamp, (winner,)))


def broken_newcomer(at: Position) -> Broken:
    """Instead of the second settlement: the new miner takes part too early."""
    task = make_task(at)
    timestamp = at.parent.timestamp + 25_000
    miners = [WINNER, *sorted([*MINERS[1:], key("newcomer")], key=lambda miner: miner.public_key)]
    early = certificate(at, RaceKind.TASK, task.id(CHAIN), SHAPLEY, timestamp, miners)
    yield "a miner registered in the parent block", _signed(unsigned_block(at, timestamp, early, task))


def broken_refunds(at: Position) -> Broken:
    """Instead of the refund."""
    late = audit_block(at, ORDER.expiry + 1)
    yield "refund left out", _signed(with_body(late, (), (pay("alice", 1, 5),)))
    refund = late.payments[0]
    yield "refund one unit short", _signed(with_body(late, (replace(refund, amount=refund.amount - 1),), ()))
    yield "refund twice", _signed(with_body(late, (refund, refund), ()))
    early = audit_block(at, ORDER.expiry, (pay("alice", 1, 5),))
    yield "refund at the moment of expiry", _signed(with_body(early, (refund,), early.transactions))


def _signed(block: Block, winner: PrivateKey = WINNER) -> Block:
    """The block signed as it is; its state root is 0 where no rule gets that far."""
    return sign_block(winner, block)


def _resigned(task: Task, signer: PrivateKey) -> Task:
    """The task with the last contributor's signature made by another key."""
    last = task.contributors[-1]
    index = len(task.contributors) - 1
    forged = Contributor(last.public_key, signer.sign(task.commitment(index).id(CHAIN)))
    return sign_task(key("server"), CHAIN, replace(task, contributors=(*task.contributors[:-1], forged)))


def _miner(item: object) -> bytes:
    return bytes(item.miner)  # type: ignore[attr-defined]
