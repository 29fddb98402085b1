"""`fedcoin audit`: a settled block holds, and each kind of fraud in one does not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from fedcoin.core.block import Block, BlockHeader, body_root, certificate_root, sign_block
from fedcoin.core.errors import BlobMismatch, BlobNotFound, LeavesNotFound, NotASettlement
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import (
    Aggregation,
    Baseline,
    Contributor,
    Problem,
    RaceKind,
    Sampler,
    Task,
    Utility,
    race_id,
    sign_task,
)
from fedcoin.core.transaction import Order, Schedule, Transaction, sign_transaction
from fedcoin.ledger.orders import ORDER_RECORD, OrderRecord, OrderStatus
from fedcoin.ledger.prices import round_prices
from fedcoin.ledger.settlement import settlement_payments
from fedcoin.ledger.state import ORDER_KEY, State
from fedcoin.node import genesis_file
from fedcoin.node.block_audit import BlockAudit, audit_block
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.node.genesis_file import make_genesis
from fedcoin.rpc.views import TransactionInfo, TransactionState
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.leaves import LeafLog
from fedcoin.shapley.mean import averaged
from fedcoin.shapley.samplers import open_sampler

NOW = 1_800_000_000_000
TIMES = (40, 60, 50)
MINERS = sorted((PrivateKey(bytes([9] * 31 + [number])) for number in (1, 2, 3)), key=lambda key: key.public_key)
CLIENTS = [PrivateKey(bytes([8] * 31 + [number])) for number in range(1, 7)]
SERVER, REQUESTER = PrivateKey(bytes([7] * 32)), PrivateKey(bytes([6] * 32))


@dataclass
class World:
    """A node that has one settled block, and the leaves of its miners."""

    genesis_value: Genesis
    blobs: dict[bytes, bytes]
    order: Transaction
    block: Block
    logs: dict[bytes, LeafLog]

    async def genesis(self) -> Genesis:
        return self.genesis_value

    async def transaction(self, transaction_id: bytes) -> TransactionInfo:
        return TransactionInfo(TransactionState.CONFIRMED, self.order, b"", 1, 0, 1)

    async def get_blob(self, digest: bytes) -> bytes:
        if digest not in self.blobs:
            raise BlobNotFound
        return self.blobs[digest]

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: list[int]) -> list[LeafProof]:
        log = self.logs[miner]
        return [LeafProof(index, log.encoded(index), tuple(log.proof(index, tree_size))) for index in indices]

    async def audit(self, **changes: Any) -> BlockAudit:
        async def miner(_: bytes) -> Any:
            return self

        words: dict[str, Any] = {"device": "cpu", **changes}
        return await audit_block(self, self.block, self.get_blob, words.pop("miner", miner), **words)  # type: ignore[arg-type]


def settle(world: World, **changes: Any) -> Block:
    """The block again with other header fields, as a dishonest winner would sign it."""
    header = replace(world.block.header, **changes)
    return sign_block(MINERS[0], replace(world.block, header=header))


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(Sampler.PERMUTATION)


def make_world(sampler: Sampler, clients: int = genesis_file.AUDIT_CLIENTS) -> World:
    with pytest.MonkeyPatch.context() as patch:
        # Its problem serves as that of a round.
        patch.setattr(genesis_file, "AUDIT_CLIENTS", clients)
        made = make_genesis(DEFAULT_PARAMS, [], [key.public_key for key in MINERS], NOW, sampler)
    chain_id, problem = made.chain_id, made.genesis.problem
    terms = Order(
        server=SERVER.address,
        amount=1000,
        train_share=7,
        com_share=1,
        sap_share=2,
        rounds=1,
        schedule=Schedule.EQUAL,
        ratio_numerator=1,
        ratio_denominator=1,
        model=problem.model,
        aggregation=Aggregation.UNWEIGHTED,
        utility=Utility.ACCURACY,
        baseline=Baseline.ZERO,
        sampler=problem.sampler,
        evaluation_set=problem.evaluation_set,
        min_clients=problem.clients,
        expiry=NOW + 10**7,
    )
    order = sign_transaction(REQUESTER, chain_id, 0, 1000, terms)
    task = make_task(chain_id, order, terms, problem)
    logs = {
        key.public_key: mine(made.blobs, task, key, time, chain_id) for key, time in zip(MINERS, TIMES, strict=True)
    }
    certificate = tuple(estimate(logs[key.public_key], key, task, chain_id) for key in MINERS)
    total, time = averaged((item.total, item.time) for item in certificate[1:])
    record = OrderRecord(task.order, terms, REQUESTER.address, 0, 1, 0, OrderStatus.OPEN)
    state = State({ORDER_KEY + task.order: ORDER_RECORD.encode(record)})
    payments = settlement_payments(state, task, total, MINERS[0].public_key)
    header = BlockHeader(
        version=1,
        chain_id=chain_id,
        kind=RaceKind.TASK,
        height=2,
        winner=MINERS[0].public_key,
        averaged_total=total,
        averaged_time=time,
        previous=task.parent,
        winner_total=certificate[0].total,
        winner_time=certificate[0].time,
        difficulty=UTILITY_SCALE,
        merkle_root=body_root(payments, ()),
        timestamp=NOW + 2000,
        task=task.id(chain_id),
        certificate_root=certificate_root(certificate),
        state_root=bytes(32),
    )
    block = sign_block(MINERS[0], Block(header, b"", task, certificate, payments, ()))
    return World(made.genesis, dict(made.blobs), order, block, logs)


def make_task(chain_id: bytes, order: Transaction, terms: Order, problem: Problem) -> Task:
    prices = round_prices(terms)[0]
    task = Task(
        server=SERVER.public_key,
        order=order.id(chain_id),
        round=0,
        parent=hashlib.sha256(b"parent").digest(),
        train_price=prices.train,
        com_price=prices.com,
        sap_price=prices.sap,
        problem=problem,
        contributors=(),
        norm=2,
        difficulty=UTILITY_SCALE,
        opened_at=NOW,
        expiry=NOW + 10**6,
        signature=b"",
    )
    signed = tuple(
        Contributor(key.public_key, key.sign(task.commitment(index).id(chain_id)))
        for index, key in enumerate(CLIENTS[: problem.clients])
    )
    return sign_task(SERVER, chain_id, replace(task, contributors=signed))


def mine(blobs: Any, task: Task, key: PrivateKey, time: int, chain_id: bytes) -> LeafLog:
    from fedcoin.learning.evaluator import open_problem

    problem = task.problem
    evaluator = open_problem(problem, blobs, "cpu")
    race = race_id(RaceKind.TASK, task.id(chain_id), task.parent)
    log = LeafLog(problem.clients)
    log.extend(Iterations(problem.sampler, evaluator).leaves(race, key.public_key, range(time)))
    return log


def marginals(log: LeafLog) -> Any:
    return np.array([log.step(index) for index in range(log.time)], dtype=np.int64)


def estimate(log: LeafLog, key: PrivateKey, task: Task, chain_id: bytes, total: Any = None) -> Estimate:
    unsigned = Estimate(
        RaceKind.TASK,
        task.id(chain_id),
        task.parent,
        key.public_key,
        log.time,
        total or log.total,
        log.root(),
        NOW,
        b"",
    )
    return sign_estimate(key, chain_id, unsigned)


async def test_an_honest_block_holds_to_the_bit(world: World) -> None:
    seen: list[tuple[int, int]] = []
    result = await world.audit(progress=lambda done, total: seen.append((done, total)))
    assert result.reasons == ()
    assert [item.recomputed for item in result.estimates] == list(TIMES)
    assert all(item.exact for item in result.estimates)
    assert seen[-1] == (sum(TIMES), sum(TIMES))
    assert sum(client.due for client in result.clients) == 700
    assert all(client.paid == client.due and client.recomputed == client.shapley for client in result.clients)


async def test_a_sample_of_leaves_is_recomputed_with_their_merkle_paths(world: World) -> None:
    result = await world.audit(iterations=5, seed=1)
    assert result.holds
    assert [item.recomputed for item in result.estimates] == [5, 5, 5]


@pytest.mark.parametrize("sampler", [sampler for sampler in Sampler if sampler is not Sampler.PERMUTATION])
async def test_blocks_of_every_sampler_hold_and_forged_leaves_do_not(sampler: Sampler) -> None:
    clients = 6  # HYBRID needs five
    world = make_world(sampler, clients)
    seen: list[tuple[int, int]] = []
    assert (await world.audit(preparing=lambda done, total: seen.append((done, total)))).holds
    count = open_sampler(sampler, clients).preparation.evaluations
    assert seen[-1:] == ([(count, count)] if count else [])
    assert (await world.audit(iterations=5)).holds
    forged = LeafLog(clients)
    rows = marginals(world.logs[MINERS[1].public_key])
    forged.extend(rows + np.array([0, 0, 0, UTILITY_SCALE // 2, 0, 0], dtype=np.int64))
    task, chain_id = world.block.task, world.block.header.chain_id
    assert task is not None
    estimates = (world.block.certificate[0], estimate(forged, MINERS[1], task, chain_id), world.block.certificate[2])
    block = sign_block(MINERS[0], replace(world.block, certificate=estimates))
    whole = await replace(world, block=block).audit()
    assert "S is off by 0.5" in whole.estimates[1].reason
    logs = {**world.logs, MINERS[1].public_key: forged}
    sample = await replace(world, block=block, logs=logs).audit(iterations=3)
    assert "iteration" in sample.estimates[1].reason


async def test_a_sample_needs_somebody_who_has_the_leaves(world: World) -> None:
    async def nobody(_: bytes) -> None:
        return None

    with pytest.raises(LeavesNotFound):
        await world.audit(iterations=5, miner=nobody)


async def test_an_invented_estimate_does_not_hold_even_if_everything_is_signed(world: World) -> None:
    task, chain_id = world.block.task, world.block.header.chain_id
    assert task is not None
    raised = tuple(
        value + (UTILITY_SCALE * TIMES[1] if index == 3 else 0)
        for index, value in enumerate(world.block.certificate[1].total)
    )
    forged = estimate(world.logs[MINERS[1].public_key], MINERS[1], task, chain_id, raised)
    certificate = (world.block.certificate[0], forged, world.block.certificate[2])
    total, time = averaged((item.total, item.time) for item in certificate[1:])
    block = settle(world, averaged_total=total, averaged_time=time, certificate_root=certificate_root(certificate))
    block = sign_block(MINERS[0], replace(block, certificate=certificate))
    result = await replace(world, block=block).audit()
    assert not result.holds
    assert result.estimates[1].reason.endswith("the total is not the sum of its leaves")
    assert not result.estimates[1].exact


async def test_forged_leaves_are_found_in_a_sample(world: World) -> None:
    rows = marginals(world.logs[MINERS[1].public_key])
    forged = LeafLog(genesis_file.AUDIT_CLIENTS)
    forged.extend(rows + np.array([0, 0, 0, UTILITY_SCALE // 2], dtype=np.int64))
    task, chain_id = world.block.task, world.block.header.chain_id
    assert task is not None
    certificate = (
        world.block.certificate[0],
        estimate(forged, MINERS[1], task, chain_id),
        world.block.certificate[2],
    )
    block = sign_block(MINERS[0], replace(world.block, certificate=certificate))
    whole = await replace(world, block=block).audit()
    assert "S is off by 0.5" in whole.estimates[1].reason
    logs = {**world.logs, MINERS[1].public_key: forged}
    result = await replace(world, block=block, logs=logs).audit(iterations=3)
    assert any("right answers" in reason for reason in result.reasons)


async def test_a_payment_that_is_off_by_a_unit_does_not_hold(world: World) -> None:
    payments = (
        *world.block.payments[:-1],
        replace(world.block.payments[-1], amount=world.block.payments[-1].amount + 1),
    )
    block = replace(settle(world, merkle_root=body_root(payments, ())), payments=payments)
    result = await replace(world, block=block).audit(iterations=1)
    assert [reason.partition(":")[0] for reason in result.reasons] == ["SETTLEMENT_MISMATCH"]


async def test_another_average_than_the_estimates_give_does_not_hold(world: World) -> None:
    block = settle(world, averaged_time=world.block.header.averaged_time + 1)
    result = await replace(world, block=block).audit(iterations=1)
    assert any(reason.startswith("AVERAGED_MISMATCH") for reason in result.reasons)


async def test_an_order_with_other_terms_is_not_taken_on_the_nodes_word(world: World) -> None:
    body = world.order.body
    assert isinstance(body, Order)
    result = await replace(world, order=replace(world.order, body=replace(body, train_share=9))).audit(iterations=1)
    assert any("another id" in reason for reason in result.reasons)


async def test_audit_blocks_and_wrong_blobs_are_refused(world: World) -> None:
    block = settle(world, kind=RaceKind.AUDIT)
    with pytest.raises(NotASettlement):
        await replace(world, block=replace(block, task=None)).audit()
    digest = next(iter(world.block.task.problem.blobs)) if world.block.task else b""
    with pytest.raises(BlobMismatch):
        await replace(world, blobs={**world.blobs, digest: b"something else"}).audit()
