"""One valid value of every kind that is signed."""

from dataclasses import dataclass, replace

import pytest

from fedcoin.core.block import Block, BlockHeader, body_root, certificate_root, sign_block
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.keys import PrivateKey
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.task import (
    UPDATE_COMMITMENT,
    Aggregation,
    Baseline,
    Contributor,
    Problem,
    RaceKind,
    Sampler,
    Task,
    UpdateCommitment,
    UpdateRef,
    Utility,
    sign_task,
)
from fedcoin.core.transaction import Payment, PaymentKind, Transaction, Transfer, sign_transaction

CHAIN = bytes(range(32))


def key(number: int) -> PrivateKey:
    return PrivateKey(number.to_bytes(32, "big"))


@dataclass(frozen=True)
class Samples:
    chain_id: bytes
    transaction: Transaction
    commitment: UpdateCommitment
    task: Task
    estimate: Estimate
    block: Block


@pytest.fixture(scope="session")
def samples() -> Samples:
    model = ModelSpec(ModelFamily.LAYERS, "softmax", (4,), 3, (Layer(LayerKind.LINEAR, 3),))
    updates = tuple(UpdateRef(bytes([i]) * 32, 10 + i) for i in range(2))
    terms = (Aggregation.UNWEIGHTED, Utility.ACCURACY, Baseline.ZERO, Sampler.PERMUTATION)
    problem = Problem(model, *terms, b"\x0b" * 32, b"\x0e" * 32, updates)
    commitment = UpdateCommitment(b"\x0f" * 32, 0, problem.base_model, updates[0].digest, updates[0].samples)
    contributors = tuple(
        Contributor(key(10 + i).public_key, key(10 + i).sign(UPDATE_COMMITMENT.digest(commitment, CHAIN)))
        for i in range(2)
    )
    task = sign_task(
        key(1),
        CHAIN,
        Task(
            key(1).public_key,
            b"\x0f" * 32,
            0,
            b"\x0a" * 32,
            700,
            100,
            200,
            problem,
            contributors,
            2,
            10**7,
            1,
            10**6,
            b"",
        ),
    )
    task_hash = task.id(CHAIN)
    estimate = sign_estimate(
        key(2),
        CHAIN,
        Estimate(RaceKind.TASK, task_hash, task.parent, key(2).public_key, 3, (10**9, -(10**8)), b"\x0c" * 32, 5, b""),
    )
    transaction = sign_transaction(key(3), CHAIN, 0, 1000, Transfer(key(4).address, 5))
    payments = (Payment(PaymentKind.SERVER, task.order, 0, b"\x01" * 20, key(1).address, 100),)
    header = BlockHeader(
        version=1,
        chain_id=CHAIN,
        kind=RaceKind.TASK,
        height=1,
        winner=key(2).public_key,
        averaged_total=(10**9, 0),
        averaged_time=4,
        previous=task.parent,
        winner_total=estimate.total,
        winner_time=estimate.time,
        difficulty=task.difficulty,
        merkle_root=body_root(payments, (transaction,)),
        timestamp=10**5,
        task=task_hash,
        certificate_root=certificate_root((estimate,)),
        state_root=b"\x0d" * 32,
    )
    block = sign_block(key(2), Block(header, b"", task, (estimate,), payments, (transaction,)))
    return Samples(CHAIN, transaction, commitment, task, estimate, replace(block))
