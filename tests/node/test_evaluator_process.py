"""The evaluator process with real torch on a tiny problem."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio

from fedcoin.consensus.messages import Audit, AuditItem, RaceInfo, StartAudit, StartTrial, TrialFinished, Verdict
from fedcoin.core.errors import (
    DeviceUnavailable,
    EvaluationSetMalformed,
    EvaluatorFailed,
    UpdateMalformed,
    UpdateNotFinite,
)
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import FraudReport, LeafProof
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Aggregation, Problem, RaceKind, Sampler, race_id
from fedcoin.learning.evaluator import open_problem
from fedcoin.learning.models import initial_weights
from fedcoin.learning.tensorfile import write_tensors
from fedcoin.node.auditor import Auditor
from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.priority import PriorityLock
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.leaves import LeafLog
from tests.support.tiny_problem import make_tiny_problem

pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

RACE, MINER, OTHER = b"r" * 32, b"\x02" + b"m" * 32, b"\x03" + b"o" * 32
CLIENTS = 3
PROBLEM, BLOBS = make_tiny_problem()
INFO = RaceInfo(RACE, RaceKind.TASK, PROBLEM, MINER)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def evaluator() -> AsyncIterator[EvaluatorProcess]:
    process = EvaluatorProcess()
    await process.start(threads=1, device="cpu")
    yield process
    await process.stop()


def expected(
    problem: Problem, blobs: Mapping[bytes, bytes], indices: Sequence[int], race: bytes = RACE, miner: bytes = MINER
) -> np.ndarray:
    """The leaves as this process evaluates them."""
    opened = open_problem(problem, blobs, "cpu")
    return Iterations(problem.sampler, opened).leaves(race, miner, indices)


def wait_for_end(pid: int, seconds: float) -> bool:
    """Whether the process has ended within that time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


async def test_mines_the_permutations_of_the_race_in_order(evaluator: EvaluatorProcess) -> None:
    loaded = await evaluator.load(INFO, BLOBS)
    assert (loaded.clients, loaded.samples) == (CLIENTS, 60)
    assert evaluator.device == "cpu"
    start, first = await evaluator.mine(RACE, 0, 0.05, 5)
    again, second = await evaluator.mine(RACE, len(first), 0.0, 1000)
    assert (start, again) == (0, len(first))
    assert 1 <= len(first) <= 5
    assert len(second) == 1
    leaves = expected(PROBLEM, BLOBS, range(len(first) + 1))
    np.testing.assert_array_equal(np.concatenate([first, second]), leaves)
    assert first.dtype == np.int64
    assert evaluator.iterations_per_second > 0


async def test_mines_for_about_as_long_as_asked(evaluator: EvaluatorProcess) -> None:
    await evaluator.load(INFO, BLOBS)
    began = time.monotonic()
    _, leaves = await evaluator.mine(RACE, 0, 0.5, 10**6)
    assert len(leaves) > 20
    assert time.monotonic() - began < 10


async def test_recomputes_any_leaf_of_anyone(evaluator: EvaluatorProcess) -> None:
    indices = (7, 0, 123_456)
    leaves = await evaluator.recompute(PROBLEM, BLOBS, RACE, OTHER, indices)
    np.testing.assert_array_equal(leaves, expected(PROBLEM, BLOBS, indices, miner=OTHER))
    assert (await evaluator.recompute(PROBLEM, BLOBS, RACE, OTHER, ())).shape == (0, CLIENTS)


@pytest.mark.parametrize("sampler", Sampler)
async def test_every_sampler_mines_what_it_recomputes(evaluator: EvaluatorProcess, sampler: Sampler) -> None:
    problem, blobs = make_tiny_problem(90, clients=6, sampler=sampler)
    race = bytes([sampler]) * 32
    await evaluator.load(RaceInfo(race, RaceKind.TASK, problem, MINER), blobs)
    _, first = await evaluator.mine(race, 0, 0.02, 40)
    _, second = await evaluator.mine(race, len(first), 0.0, 1)
    again = await evaluator.recompute(problem, blobs, race, MINER, range(len(first) + 1))
    assert np.array_equal(np.concatenate([first, second]), again)
    np.testing.assert_array_equal(again, expected(problem, blobs, range(len(again)), race))


async def test_leaves_do_not_depend_on_the_memory_allowed(evaluator: EvaluatorProcess) -> None:
    small = EvaluatorProcess()
    await small.start(threads=1, device="cpu", memory_mb=1)
    leaves = [await one.recompute(PROBLEM, BLOBS, RACE, MINER, range(20)) for one in (evaluator, small)]
    await small.stop()
    np.testing.assert_array_equal(*leaves)


async def test_problems_are_cached_and_evicted_ones_sent_again(evaluator: EvaluatorProcess) -> None:
    asked: list[bytes] = []

    class Noted(dict[bytes, bytes]):
        def __getitem__(self, key: bytes) -> bytes:
            asked.append(key)
            return super().__getitem__(key)

    problem, blobs = make_tiny_problem(50)
    race = b"q" * 32
    await evaluator.load(RaceInfo(race, RaceKind.TASK, problem, MINER), Noted(blobs))
    once = len(asked)
    await evaluator.mine(race, 0, 0.0, 1)
    await evaluator.recompute(problem, Noted(blobs), race, OTHER, (1,))
    assert once == len(asked) == CLIENTS + 2
    for label in (51, 52, 53):
        await evaluator.prepare(*make_tiny_problem(label))
    _, leaves = await evaluator.mine(race, 4, 0.0, 1)
    assert len(asked) == 2 * once
    np.testing.assert_array_equal(leaves, expected(problem, blobs, (4,), race))


async def test_hostile_problem_comes_back_as_its_error_and_the_worker_lives(evaluator: EvaluatorProcess) -> None:
    problem, blobs = make_tiny_problem(60)
    await evaluator.load(INFO, BLOBS)
    pid, restarts = evaluator.pid, evaluator.restarts
    digest = problem.updates[1].digest
    weights = {name: value.numpy().copy() for name, value in initial_weights(problem.model, 1).items()}
    next(iter(weights.values())).flat[0] = np.nan
    with pytest.raises(UpdateNotFinite):
        await evaluator.load(replace(INFO, problem=problem), {**blobs, digest: write_tensors(weights)})
    with pytest.raises(UpdateMalformed):
        await evaluator.recompute(problem, {**blobs, digest: b"junk"}, RACE, OTHER, (0,))
    with pytest.raises(EvaluationSetMalformed):
        await evaluator.prepare(problem, {**blobs, problem.evaluation_set: b"\x00" * 50})
    assert len(await evaluator.recompute(problem, blobs, RACE, OTHER, (0,))) == 1
    assert (evaluator.pid, evaluator.restarts) == (pid, restarts)


async def test_killed_worker_is_started_again_and_the_request_answered(evaluator: EvaluatorProcess) -> None:
    await evaluator.load(INFO, BLOBS)
    assert evaluator.pid is not None
    restarts = evaluator.restarts
    os.kill(evaluator.pid, signal.SIGKILL)
    _, leaves = await evaluator.mine(RACE, 3, 0.0, 1)
    np.testing.assert_array_equal(leaves, expected(PROBLEM, BLOBS, (3,)))
    assert evaluator.restarts == restarts + 1


async def test_worker_that_dies_twice_fails_the_request_but_not_the_next(evaluator: EvaluatorProcess) -> None:
    class Deadly(dict[bytes, bytes]):
        def __getitem__(self, key: bytes) -> bytes:
            assert evaluator.pid is not None
            os.kill(evaluator.pid, signal.SIGKILL)
            return super().__getitem__(key)

    problem, blobs = make_tiny_problem(70)
    with pytest.raises(EvaluatorFailed, match="twice") as raised:
        await evaluator.prepare(problem, Deadly(blobs))
    assert raised.value.code == "EVALUATOR_FAILED"
    assert (await evaluator.prepare(problem, blobs)).samples == 60


async def test_audits_overtake_mining(evaluator: EvaluatorProcess) -> None:
    await evaluator.load(INFO, BLOBS)
    ended: list[str] = []

    async def note(name: str, work: object) -> None:
        await work  # type: ignore[misc]
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(note(f"mine {number}", evaluator.mine(RACE, 0, 0.05, 10**6)))
        group.create_task(note("audit", evaluator.recompute(PROBLEM, BLOBS, RACE, OTHER, (0,))))
    assert ended == ["mine 0", "audit", "mine 1", "mine 2"]


async def test_event_loop_runs_on_while_mining(evaluator: EvaluatorProcess) -> None:
    await evaluator.load(INFO, BLOBS)
    mining = asyncio.create_task(evaluator.mine(RACE, 0, 0.5, 10**6))
    longest, last = 0.0, time.monotonic()
    while not mining.done():
        await asyncio.sleep(0.005)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 0.3


async def test_cancelled_request_leaves_the_next_one_whole(evaluator: EvaluatorProcess) -> None:
    await evaluator.load(INFO, BLOBS)
    mining = asyncio.create_task(evaluator.mine(RACE, 0, 0.3, 10**6))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(mining, 0.05)
    leaves = await evaluator.recompute(PROBLEM, BLOBS, RACE, MINER, (0, 1))
    np.testing.assert_array_equal(leaves, expected(PROBLEM, BLOBS, (0, 1)))


async def test_stopping_fails_what_is_under_way_and_ends_the_worker() -> None:
    evaluator = EvaluatorProcess()
    await evaluator.start(threads=1, device="cpu")
    await evaluator.load(INFO, BLOBS)
    pid = evaluator.pid
    assert pid is not None
    mining = asyncio.create_task(evaluator.mine(RACE, 0, 60.0, 10**9))
    await asyncio.sleep(0)
    await evaluator.stop()
    with pytest.raises(EvaluatorFailed, match="stopped"):
        await mining
    assert wait_for_end(pid, 0)
    with pytest.raises(EvaluatorFailed, match="stopped"):
        await evaluator.mine(RACE, 0, 0.0, 1)
    await evaluator.stop()


async def test_race_must_be_loaded_before_it_is_mined(evaluator: EvaluatorProcess) -> None:
    with pytest.raises(ValueError, match="load the race"):
        await evaluator.mine(b"x" * 32, 0, 0.0, 1)


async def test_device_that_is_not_there_is_said_at_the_start() -> None:
    process = EvaluatorProcess()
    with pytest.raises(DeviceUnavailable, match="no device is called"):
        await process.start(threads=1, device="abacus")
    assert process.pid is None


async def test_unequal_problems_have_unequal_caches(evaluator: EvaluatorProcess) -> None:
    unweighted = replace(PROBLEM, aggregation=Aggregation.UNWEIGHTED)
    for problem in (PROBLEM, unweighted):
        leaves = await evaluator.recompute(problem, BLOBS, RACE, MINER, (0,))
        np.testing.assert_array_equal(leaves, expected(problem, BLOBS, (0,)))


class Peer:
    """Hands out proven leaves of one miner."""

    def __init__(self, log: LeafLog) -> None:
        self.log = log

    async def leaves(self, race: bytes, miner: bytes, size: int, indices: Sequence[int]) -> list[LeafProof]:
        return [LeafProof(i, self.log.encoded(i), tuple(self.log.proof(i, size))) for i in indices]


async def blobs(_: Problem) -> dict[bytes, bytes]:
    return BLOBS


async def test_auditor_tells_mined_leaves_from_forged_ones(evaluator: EvaluatorProcess) -> None:
    race = race_id(RaceKind.TASK, b"t" * 32, b"p" * 32)
    rows = await evaluator.recompute(PROBLEM, BLOBS, race, MINER, range(10))
    for leaves, expected_verdict in ((rows, Verdict.HONEST), (rows + 10**8, Verdict.CONVICTED)):
        log = LeafLog(CLIENTS)
        log.append(leaves)
        estimate = Estimate(RaceKind.TASK, b"t" * 32, b"p" * 32, MINER, log.time, log.total, log.root(), 0, b"")
        audit = Audit(race, PROBLEM, (AuditItem(estimate, (3, 9)),))
        peer = Peer(log)
        auditor = Auditor(evaluator, lambda _, peer=peer: [peer], blobs)
        assert (await auditor.perform(StartAudit(audit))).verdicts == {MINER: expected_verdict}


async def test_a_trial_recomputes_the_accused_step(evaluator: EvaluatorProcess) -> None:
    """An audit's evidence convicts before another miner's evaluator; a step that is honest does not."""
    race = race_id(RaceKind.TASK, b"t" * 32, b"p" * 32)
    rows = await evaluator.recompute(PROBLEM, BLOBS, race, MINER, range(10))
    forged = rows.copy()
    forged[6, 0] += UTILITY_SCALE
    log = LeafLog(CLIENTS)
    log.append(forged)
    estimate = Estimate(RaceKind.TASK, b"t" * 32, b"p" * 32, MINER, log.time, log.total, log.root(), 0, b"")
    peer = Peer(log)
    auditor = Auditor(evaluator, lambda _: [peer], blobs)
    found = await auditor.perform(StartAudit(Audit(race, PROBLEM, (AuditItem(estimate, (3, 6)),))))
    before, accused = found.evidence[MINER]
    assert accused.index == 6
    honest = await peer.leaves(race, MINER, log.time, (2, 3))
    for evidence, guilty in (((before, accused), True), (honest, False)):
        trial = StartTrial(b"c" * 32, FraudReport(estimate, None, *evidence), PROBLEM)
        assert await auditor.try_case(trial) == TrialFinished(b"c" * 32, guilty)


async def test_priority_lock_goes_by_priority_then_by_arrival_and_survives_cancelling() -> None:
    lock, order = PriorityLock(), []

    async def enter(name: str, priority: int) -> None:
        async with lock.at(priority):
            order.append(name)
            await asyncio.sleep(0)

    async with lock.at(0):
        tasks = [asyncio.create_task(enter(*item)) for item in (("a", 1), ("b", 1), ("c", 0), ("d", 0), ("e", 0))]
        await asyncio.sleep(0)
        tasks[3].cancel()
    await asyncio.wait(tasks)
    assert order == ["c", "e", "a", "b"]
    async with asyncio.timeout(1), lock.at(5):
        pass
