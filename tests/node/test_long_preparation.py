"""The preparation of a problem is cut into slices, between which others have their turn."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable

import numpy as np
import pytest
import pytest_asyncio

from fedcoin.consensus.messages import RaceInfo
from fedcoin.core.errors import EvaluatorFailed
from fedcoin.core.task import Problem, RaceKind, Sampler
from fedcoin.node import evaluator_process
from fedcoin.node.evaluator_frames import Head
from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.evaluator_protocol import AUDIT, MINING
from fedcoin.shapley.samplers import open_sampler
from tests.support.tiny_problem import make_tiny_problem

pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

MINER = b"\x02" + b"m" * 32
CLIENTS = 30
EVALUATIONS = open_sampler(Sampler.HYBRID, CLIENTS).preparation.evaluations
SMALL = make_tiny_problem()


class NotingProcess(EvaluatorProcess):
    """Notes what its worker is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.fatal = ""
        """The worker is killed before it is asked this."""

    async def _write(self, head: Head, body: bytes = b"") -> None:
        self.asked.append(head["op"])
        if head["op"] == self.fatal:
            assert self.pid is not None
            os.kill(self.pid, signal.SIGKILL)
        await super()._write(head, body)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def process() -> AsyncIterator[NotingProcess]:
    process = NotingProcess()
    await process.start(threads=1, device="cpu")
    yield process
    await process.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def evaluator(process: NotingProcess, monkeypatch: pytest.MonkeyPatch) -> NotingProcess:
    """With a small problem loaded, and slices as short as can be: they begin with one coalition."""
    monkeypatch.setattr(evaluator_process, "_SLICE_SECONDS", {AUDIT: 0.0, MINING: 0.0})
    process.fatal = ""
    await recompute_small(process)
    process.asked.clear()
    return process


def make_large(label: int) -> tuple[RaceInfo, dict[bytes, bytes]]:
    """A race with much to prepare; another one for each label."""
    problem, blobs = make_tiny_problem(label, clients=CLIENTS, sampler=Sampler.HYBRID)
    return RaceInfo(bytes([label]) * 32, RaceKind.TASK, problem, MINER), blobs


async def recompute_small(evaluator: EvaluatorProcess) -> None:
    await evaluator.recompute(*SMALL, b"s" * 32, MINER, (0,))


async def order_of(**work: Awaitable[object]) -> list[str]:
    """Names in the order in which these end, begun in the order given."""
    ended: list[str] = []

    async def note(name: str, one: Awaitable[object]) -> None:
        await one
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        for name, one in work.items():
            group.create_task(note(name, one))
    return ended


async def leaf_of_one_piece(problem: Problem, blobs: dict[bytes, bytes], race: bytes) -> np.ndarray:
    fresh = EvaluatorProcess()
    await fresh.start(threads=1, device="cpu")
    leaf = await fresh.recompute(problem, blobs, race, MINER, (0,))
    await fresh.stop()
    return leaf


async def test_audit_and_another_race_overtake_a_long_preparation(evaluator: NotingProcess) -> None:
    info, blobs = make_large(1)
    small, small_blobs = make_tiny_problem(2)
    other = RaceInfo(b"o" * 32, RaceKind.TASK, small, MINER)
    ended = await order_of(
        load=evaluator.load(info, blobs), audit=recompute_small(evaluator), race=evaluator.load(other, small_blobs)
    )
    assert ended == ["audit", "race", "load"]
    assert evaluator.asked.count("prepare") > 5
    evaluator.asked.clear()
    _, leaf = await evaluator.mine(info.race, 0, 0.0, 1)
    assert evaluator.asked == ["mine"]
    np.testing.assert_array_equal(leaf, await leaf_of_one_piece(info.problem, blobs, info.race))


async def test_audit_that_must_prepare_lets_others_have_their_turn(evaluator: NotingProcess) -> None:
    info, blobs = make_large(3)
    small, small_blobs = make_tiny_problem(4)
    other = RaceInfo(b"p" * 32, RaceKind.TASK, small, MINER)
    ended = await order_of(
        audit=evaluator.recompute(info.problem, blobs, info.race, MINER, (0,)), race=evaluator.load(other, small_blobs)
    )
    assert ended == ["race", "audit"]


async def test_preparation_of_a_race_that_is_given_up_stops_and_goes_on_when_it_is_wanted_again(
    evaluator: NotingProcess,
) -> None:
    info, blobs = make_large(5)
    loading = asyncio.create_task(evaluator.load(info, blobs))
    for _ in range(3):
        await recompute_small(evaluator)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    slices = evaluator.asked.count("prepare")
    assert slices > 2
    for _ in range(3):
        await recompute_small(evaluator)
    assert evaluator.asked.count("prepare") == slices
    await evaluator.load(info, blobs)
    assert evaluator.asked.count("load") == 1


async def test_problem_that_several_wait_for_is_sent_and_prepared_once(evaluator: NotingProcess) -> None:
    info, blobs = make_large(6)
    loaded = await asyncio.gather(
        evaluator.load(info, blobs), *(evaluator.prepare(info.problem, blobs) for _ in range(3))
    )
    assert [one.clients for one in loaded] == [CLIENTS] * 4
    assert evaluator.asked.count("load") == 1
    # A slice has one evaluation at least, and all but the last of one who waits goes on with the preparation.
    assert evaluator.asked.count("prepare") <= EVALUATIONS + 5


async def test_load_that_is_given_up_before_its_turn_is_not_done(evaluator: NotingProcess) -> None:
    info, blobs = make_large(7)
    small = RaceInfo(b"t" * 32, RaceKind.TASK, SMALL[0], MINER)
    await evaluator.load(small, SMALL[1])
    mining = asyncio.create_task(evaluator.mine(small.race, 0, 0.1, 10**6))
    loading = asyncio.create_task(evaluator.load(info, blobs))
    for _ in range(5):
        await asyncio.sleep(0)
    assert evaluator.asked[-1] == "mine"
    loading.cancel()
    await mining
    await recompute_small(evaluator)
    assert loading.cancelled()
    assert "load" not in evaluator.asked
    assert "blob" not in evaluator.asked


async def test_race_whose_worker_died_is_prepared_in_slices_before_it_is_mined(evaluator: NotingProcess) -> None:
    info, blobs = make_large(8)
    await evaluator.load(info, blobs)
    _, before = await evaluator.mine(info.race, 0, 0.0, 1)
    assert evaluator.pid is not None
    os.kill(evaluator.pid, signal.SIGKILL)
    mining = asyncio.create_task(evaluator.mine(info.race, 0, 0.0, 1))
    ended = await order_of(mine=mining, audit=recompute_small(evaluator))
    assert ended == ["audit", "mine"]
    np.testing.assert_array_equal((await mining)[1], before)


@pytest.mark.parametrize(("label", "fatal"), [(20, "prepare"), (21, "load")])
async def test_preparation_over_which_the_worker_dies_twice_fails(
    evaluator: NotingProcess, label: int, fatal: str
) -> None:
    info, blobs = make_large(label)
    evaluator.fatal = fatal
    restarts = evaluator.restarts
    with pytest.raises(EvaluatorFailed, match="twice"):
        await evaluator.load(info, blobs)
    evaluator.fatal = ""
    await evaluator.load(info, blobs)
    assert evaluator.restarts == restarts + 2


async def test_iteration_over_which_the_worker_dies_twice_fails_though_it_is_prepared_anew(
    evaluator: NotingProcess,
) -> None:
    info, blobs = make_large(10)
    await evaluator.load(info, blobs)
    evaluator.fatal = "mine"
    async with asyncio.timeout(100):
        with pytest.raises(EvaluatorFailed, match="twice"):
            await evaluator.mine(info.race, 0, 0.0, 1)


async def test_long_preparation_is_told_of(
    evaluator: NotingProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evaluator_process, "_PROGRESS_SECONDS", 0.0)
    info, blobs = make_large(11)
    with caplog.at_level(logging.INFO, "fedcoin.evaluator"):
        await evaluator.load(info, blobs)
    shares = [int(line.rpartition(": ")[2][:-1]) for line in caplog.messages if line.startswith("preparing problem")]
    assert shares == sorted(shares)
    assert shares[0] < 20 < shares[-1] < 100
