"""Builds blocks of the example chain: whole and valid, or broken in one place and signed all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedcoin.consensus.difficulty import eased_difficulty, expected_difficulty, race_interval
from fedcoin.consensus.transition import apply_block, execute
from fedcoin.consensus.verify import Parent, verify_alone
from fedcoin.core.block import Block, BlockHeader, body_root, certificate_root, sign_block
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import RaceKind, Task
from fedcoin.core.transaction import Payment, Transaction
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.problems import last_problem
from fedcoin.ledger.settlement import due_payments
from fedcoin.ledger.state import State
from fedcoin.shapley.leaves import LeafLog
from fedcoin.shapley.mean import averaged
from vectorlib.people import CHAIN, GENESIS, MINERS, PARAMS, START

Values = tuple[int, ...]
Body = tuple[tuple[Payment, ...], tuple[Transaction, ...]]


@dataclass(frozen=True)
class Position:
    """A block, or the genesis, and the state after it."""

    parent: Parent
    state: State


def genesis_position() -> Position:
    """Where the chain begins."""
    return Position(Parent(CHAIN, 0, START), genesis_state(GENESIS))


def advance(position: Position, block: Block) -> Position:
    """The position after a block. Raises the error of the rule that it breaks."""
    verify_alone(block, CHAIN, PARAMS)
    state = apply_block(position.state, block, position.parent, CHAIN, PARAMS)
    return Position(Parent(block.id(), block.header.height, block.header.timestamp), state)


def estimate(
    miner: PrivateKey, kind: RaceKind, task: bytes, parent: bytes, values: Values, opened_at: int, iterations: int
) -> Estimate:
    """An estimate whose leaves are all alike but for a few units, so that every S is near `values`."""
    log = LeafLog(len(values))
    for index in range(iterations):
        log.append(tuple(value + (-1) ** index * (17 * place + index) for place, value in enumerate(values)))
    unsigned = Estimate(kind, task, parent, miner.public_key, log.time, log.total, log.root(), opened_at, b"")
    return sign_estimate(miner, CHAIN, unsigned)


def certificate(
    position: Position,
    kind: RaceKind,
    task: bytes,
    values: Values,
    timestamp: int,
    miners: Sequence[PrivateKey] = MINERS,
    winner_values: Values | None = None,
) -> tuple[Estimate, ...]:
    """One estimate for each of `miners`, the first of whom wins; the second is the slowest."""
    return tuple(
        estimate(
            miner,
            kind,
            task,
            position.parent.hash,
            values if place or winner_values is None else winner_values,
            timestamp - 1000 * (5 + place),
            (4, 1, 3, 2, 2)[place],
        )
        for place, miner in enumerate(miners)
    )


def unsigned_block(
    position: Position,
    timestamp: int,
    estimates: tuple[Estimate, ...],
    task: Task | None = None,
    transactions: tuple[Transaction, ...] = (),
    payments: tuple[Payment, ...] | None = None,
) -> Block:
    """A block without state root and signature. `payments`: those due, if not given."""
    own, *others = estimates
    total, time = averaged((item.total, item.time) for item in others or estimates)
    if payments is None:
        height = position.parent.height + 1
        payments = due_payments(position.state, PARAMS, height, timestamp, task, total, own.miner)
    interval = race_interval(timestamp, position.parent.timestamp, [each.opened_at for each in estimates])
    base = expected_difficulty(position.state, own.kind, PARAMS)
    header = BlockHeader(
        version=1,
        chain_id=CHAIN,
        kind=own.kind,
        height=position.parent.height + 1,
        winner=own.miner,
        averaged_total=total,
        averaged_time=time,
        previous=position.parent.hash,
        winner_total=own.total,
        winner_time=own.time,
        difficulty=eased_difficulty(base, own.kind, interval, PARAMS),
        merkle_root=body_root(payments, transactions),
        timestamp=timestamp,
        task=own.task,
        certificate_root=certificate_root(estimates),
        state_root=bytes(32),
    )
    return Block(header, bytes(64), task, estimates, payments, transactions)


def finished(position: Position, block: Block, winner: PrivateKey = MINERS[0]) -> Block:
    """The block with its state root and signature."""
    after = execute(position.state, block, position.parent, CHAIN, PARAMS)
    return sign_block(winner, replace(block, header=replace(block.header, state_root=after.root())))


def with_body(block: Block, payments: tuple[Payment, ...], transactions: tuple[Transaction, ...]) -> Block:
    """The block with another body, Merkle root included."""
    header = replace(block.header, merkle_root=body_root(payments, transactions))
    return replace(block, header=header, payments=payments, transactions=transactions)


def with_certificate(block: Block, estimates: tuple[Estimate, ...]) -> Block:
    """The block with another certificate, root included; averaged S stays."""
    header = replace(block.header, certificate_root=certificate_root(estimates))
    return replace(block, header=header, certificate=estimates)


def with_header(block: Block, **changes: object) -> Block:
    """The block with other header fields."""
    return replace(block, header=replace(block.header, **changes))  # type: ignore[arg-type]


def audit_block(
    position: Position,
    timestamp: int,
    transactions: tuple[Transaction, ...] = (),
    miners: Sequence[PrivateKey] = MINERS,
) -> Block:
    """An AUDIT block on the last settled problem, without state root and signature."""
    problem = last_problem(position.state)
    values = tuple(300_000_000 + 7 * place for place in range(problem.clients))
    estimates = certificate(position, RaceKind.AUDIT, problem.id(), values, timestamp, miners)
    return unsigned_block(position, timestamp, estimates, transactions=transactions)
