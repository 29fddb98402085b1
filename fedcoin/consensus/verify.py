"""VerifyBlock (Alg. 2) and the rules around it.

Two parts. `verify_alone` needs nothing but the block: what it refuses is wrong on every branch. `verify_in_state` needs
the state after the parent. What a live node asks besides before it adopts a fresh tip (condition 2, audits) is in
`fedcoin.consensus.candidates`: it depends on what the node has heard, so it cannot be a rule of the chain.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.consensus.certificate import (
    verify_averaged,
    verify_distance,
    verify_miners,
    verify_quorum,
    verify_same_race,
    verify_structure,
)
from fedcoin.consensus.difficulty import eased_difficulty, expected_difficulty, race_interval
from fedcoin.consensus.verified import Verified
from fedcoin.core.block import BLOCK, Block, body_root, certificate_root
from fedcoin.core.errors import (
    AuditBlockEmpty,
    BlockTooLarge,
    CertificateRootMismatch,
    EstimateOutOfRange,
    HeightMismatch,
    MerkleRootMismatch,
    TaskMissing,
    TaskStale,
    TaskWrongDifficulty,
    TimestampNotLater,
    TooManyTransactions,
    UnsupportedVersion,
    WrongChainId,
    WrongDifficulty,
    WrongProblem,
)
from fedcoin.core.params import PROTOCOL_VERSION, ChainParams
from fedcoin.core.task import RaceKind, Task
from fedcoin.ledger.problems import last_problem
from fedcoin.ledger.settlement import due_payments, verify_payments
from fedcoin.ledger.state import State
from fedcoin.ledger.tasks import verify_task


@dataclass(frozen=True)
class Parent:
    """What a block's rules ask of its parent."""

    hash: bytes
    height: int
    timestamp: int


def verify_alone(block: Block, chain_id: bytes, params: ChainParams, verified: Verified | None = None) -> None:
    """Everything that the block shows by itself, the cheap first, signatures last. Raises the rule's error.

    Nothing in the body can be exchanged without another block hash or an error here, so that what a hash stands for is
    the same on every node. `verified`: signatures that need no second look.
    """
    verify_version(block, chain_id)
    verify_size(block, params)
    verify_roots(block)
    verify_task_matches(block, chain_id)
    verify_structure(block)
    verify_same_race(block)
    verify_averaged(block)
    verify_distance(block, params)
    block.verify_winner()
    if block.task is not None:
        # The header's task hash does not cover this signature: another one must not pass under the same block hash.
        block.task.verify_server(chain_id)
    signatures = verified if verified is not None else Verified(chain_id, params)
    for estimate in block.certificate:
        signatures.estimate(estimate)


def verify_in_state(block: Block, parent: Parent, state: State, chain_id: bytes, params: ChainParams) -> None:
    """What the block owes to the state after its parent. Raises the rule's error."""
    verify_place(block, parent)
    verify_difficulty(block, parent, state, params)
    verify_miners(block.certificate, state, parent.height)
    verify_quorum(block.certificate, state, params)
    if block.task is not None:
        verify_open_task(block.task, parent, state, chain_id, params, block.header.timestamp)
    else:
        verify_audit(block, parent, state, params)
    header = block.header
    due = due_payments(state, params, header.height, header.timestamp, block.task, header.averaged_total, header.winner)
    verify_payments(block.payments, due)


def verify_version(block: Block, chain_id: bytes) -> None:
    """Raises UnsupportedVersion, WrongChainId."""
    if block.header.version != PROTOCOL_VERSION:
        raise UnsupportedVersion
    if block.header.chain_id != chain_id:
        raise WrongChainId


def verify_size(block: Block, params: ChainParams) -> None:
    """Raises BlockTooLarge, TooManyTransactions."""
    if len(block.transactions) > params.max_transactions:
        raise TooManyTransactions
    if len(BLOCK.encode(block)) > params.max_block_bytes:
        raise BlockTooLarge


def verify_roots(block: Block) -> None:
    """Raises MerkleRootMismatch, CertificateRootMismatch."""
    if block.header.merkle_root != body_root(block.payments, block.transactions):
        raise MerkleRootMismatch
    if block.header.certificate_root != certificate_root(block.certificate):
        raise CertificateRootMismatch


def verify_task_matches(block: Block, chain_id: bytes) -> None:
    """A TASK block carries the task that its header names (Fig. 3). Raises TaskMissing, EstimateOutOfRange."""
    if (block.header.kind is RaceKind.TASK) != (block.task is not None):
        raise TaskMissing
    if block.task is not None:
        if block.task.id(chain_id) != block.header.task:
            raise TaskMissing("the header names another task than the body carries")
        if block.task.problem.clients != len(block.header.averaged_total):
            raise EstimateOutOfRange("S̄ has another length than the task has clients")


def verify_place(block: Block, parent: Parent) -> None:
    """Alg. 2 line 4, as far as the block decides it: one above its parent, and later.

    Raises HeightMismatch, TimestampNotLater.
    """
    if block.header.height != parent.height + 1:
        raise HeightMismatch
    if block.header.timestamp <= parent.timestamp:
        raise TimestampNotLater


def verify_difficulty(block: Block, parent: Parent, state: State, params: ChainParams) -> None:
    """The rule's D, eased by how long the race has lasted. Raises WrongDifficulty."""
    header = block.header
    interval = race_interval(header.timestamp, parent.timestamp, [each.opened_at for each in block.certificate])
    expected = expected_difficulty(state, header.kind, params)
    if header.difficulty != eased_difficulty(expected, header.kind, interval, params):
        raise WrongDifficulty


def verify_open_task(
    task: Task, parent: Parent, state: State, chain_id: bytes, params: ChainParams, timestamp: int
) -> None:
    """The task is anchored to this parent, with the chain's D and p, and fits its order.

    Raises TaskStale, TaskWrongDifficulty and what `fedcoin.ledger.tasks.verify_task` raises.
    """
    if task.parent != parent.hash:
        raise TaskStale
    if task.difficulty != expected_difficulty(state, RaceKind.TASK, params) or task.norm != params.norm:
        raise TaskWrongDifficulty
    verify_task(state, task, chain_id, params, timestamp)


def verify_audit(block: Block, parent: Parent, state: State, params: ChainParams) -> None:
    """An AUDIT block runs on the last settled problem and is there for a reason.

    Raises WrongProblem, AuditBlockEmpty.
    """
    problem = last_problem(state)
    if block.header.task != problem.id() or len(block.header.averaged_total) != problem.clients:
        raise WrongProblem
    # All payments of an AUDIT block are refunds and bonds that are due.
    if not (block.transactions or block.payments or heartbeat_due(parent, block.header.timestamp, params)):
        raise AuditBlockEmpty


def heartbeat_due(parent: Parent, timestamp: int, params: ChainParams) -> bool:
    """Whether an AUDIT block on `parent` may be empty."""
    return params.heartbeat_ms > 0 and timestamp >= parent.timestamp + params.heartbeat_ms
