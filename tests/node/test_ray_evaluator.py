"""The evaluator on a real Ray of two workers, some of which are killed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch

from fedcoin.consensus.messages import RaceInfo
from fedcoin.core.errors import (
    DeviceUnavailable,
    EvaluationSetMalformed,
    EvaluatorFailed,
    FedCoinError,
    RayUnavailable,
    UpdateMalformed,
)
from fedcoin.core.task import Problem, RaceKind, Sampler
from fedcoin.learning.evaluation_set import encode_evaluation_set
from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.ray_evaluator import RayEvaluator
from tests.support.tiny_problem import make_tiny_problem

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'fedcoin[ray]'")

pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("ray")]

RACE, MINER, OTHER = b"r" * 32, b"\x02" + b"m" * 32, b"\x03" + b"o" * 32


def make_problem(sampler: Sampler = Sampler.PERMUTATION) -> tuple[Problem, dict[bytes, bytes]]:
    """Six clients and 20,000 samples, so that an iteration takes a moment."""
    problem, blobs = make_tiny_problem(7, clients=6, sampler=sampler)
    generator = torch.Generator().manual_seed(7)
    x, y = torch.randn((20_000, 4), generator=generator), torch.randint(0, 3, (20_000,), generator=generator)
    evaluation_set = encode_evaluation_set(x, y)
    digest = hashlib.sha256(evaluation_set).digest()
    return replace(problem, evaluation_set=digest), {**blobs, digest: evaluation_set}


PROBLEM, BLOBS = make_problem()
INFO = RaceInfo(RACE, RaceKind.TASK, PROBLEM, MINER)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def evaluator() -> AsyncIterator[RayEvaluator]:
    evaluator = RayEvaluator("local", workers=2)
    await evaluator.start(device="cpu")
    yield evaluator
    await evaluator.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def local() -> AsyncIterator[EvaluatorProcess]:
    process = EvaluatorProcess()
    await process.start(threads=1, device="cpu")
    yield process
    await process.stop()


async def until(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    """Waits for a condition to hold."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.01)


async def two_workers(evaluator: RayEvaluator) -> list[int]:
    """Process ids of both workers, once both have worked on the problem since they were started."""
    await evaluator.load(INFO, BLOBS)
    for _ in range(100):
        await evaluator.mine(RACE, 0, 0.5, 10**6)
        if len(evaluator.workers) == 2 and all(worker.iterations for worker in evaluator.workers):
            return [worker.pid for worker in evaluator.workers]
    raise AssertionError("there are no two workers")


def cpu_ticks(pid: int) -> int:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def family(pid: int) -> set[int]:
    """A process with all that descend from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    members = {pid}
    while more := {child for child, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def alive(pids: set[int]) -> set[int]:
    """Those that run yet; a zombie does not."""
    found = set()
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.add(pid)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("sampler", list(Sampler))
async def test_leaves_are_those_of_the_local_evaluator(
    evaluator: RayEvaluator, local: EvaluatorProcess, sampler: Sampler
) -> None:
    problem, blobs = make_problem(sampler)
    race = bytes([sampler]) * 32
    try:
        loaded = await local.load(RaceInfo(race, RaceKind.TASK, problem, MINER), blobs)
    except FedCoinError as error:
        with pytest.raises(type(error)):
            await evaluator.load(RaceInfo(race, RaceKind.TASK, problem, MINER), blobs)
        return
    assert await evaluator.load(RaceInfo(race, RaceKind.TASK, problem, MINER), blobs) == loaded
    start, leaves = await evaluator.mine(race, 5, 0.5, 40)
    assert start == 5
    assert 1 <= len(leaves) <= 40
    assert leaves.dtype == np.int64
    np.testing.assert_array_equal(leaves, await local.recompute(problem, blobs, race, MINER, range(5, 5 + len(leaves))))
    indices = (9, 0, 30, 31)
    for miner in (MINER, OTHER):
        np.testing.assert_array_equal(
            await evaluator.recompute(problem, blobs, race, miner, indices),
            await local.recompute(problem, blobs, race, miner, indices),
        )
    assert (await evaluator.recompute(problem, blobs, race, OTHER, ())).shape == (0, 6)


async def test_both_workers_take_part(evaluator: RayEvaluator) -> None:
    await two_workers(evaluator)
    assert evaluator.device == "Ray: 2 × cpu"
    assert evaluator.iterations_per_second > 0


async def test_worker_killed_in_mid_task_costs_no_iteration(evaluator: RayEvaluator, local: EvaluatorProcess) -> None:
    first, _ = await two_workers(evaluator)
    restarts, ticks = evaluator.restarts, cpu_ticks(first)
    mining = asyncio.create_task(evaluator.mine(RACE, 0, 2.0, 10**6))
    await until(lambda: cpu_ticks(first) > ticks + 20)
    os.kill(first, signal.SIGKILL)
    _, leaves = await mining
    assert evaluator.restarts == restarts + 1
    np.testing.assert_array_equal(leaves, await local.recompute(PROBLEM, BLOBS, RACE, MINER, range(len(leaves))))
    assert first not in await two_workers(evaluator)


async def test_all_workers_killed_in_mid_task_and_the_answer_comes_from_new_ones(
    evaluator: RayEvaluator, local: EvaluatorProcess
) -> None:
    pids = await two_workers(evaluator)
    ticks = cpu_ticks(pids[0])
    recomputing = asyncio.create_task(evaluator.recompute(PROBLEM, BLOBS, RACE, OTHER, range(3000)))
    await until(lambda: cpu_ticks(pids[0]) > ticks + 10)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    np.testing.assert_array_equal(await recomputing, await local.recompute(PROBLEM, BLOBS, RACE, OTHER, range(3000)))
    assert not set(pids) & {worker.pid for worker in evaluator.workers}


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """Processes that go on after the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


async def test_work_of_a_worker_that_hangs_goes_to_the_other(
    evaluator: RayEvaluator, local: EvaluatorProcess, stopped: list[int]
) -> None:
    pids = await two_workers(evaluator)
    os.kill(pids[0], signal.SIGSTOP)
    stopped.append(pids[0])
    leaves = await evaluator.recompute(PROBLEM, BLOBS, RACE, MINER, range(50))
    np.testing.assert_array_equal(leaves, await local.recompute(PROBLEM, BLOBS, RACE, MINER, range(50)))


async def test_bad_problem_comes_back_as_its_error_and_workers_live(evaluator: RayEvaluator) -> None:
    pids = await two_workers(evaluator)
    problem, blobs = make_tiny_problem(60)
    with pytest.raises(UpdateMalformed):
        await evaluator.recompute(problem, {**blobs, problem.updates[1].digest: b"junk"}, RACE, OTHER, (0,))
    with pytest.raises(EvaluationSetMalformed):
        await evaluator.prepare(problem, {**blobs, problem.evaluation_set: b"\x00" * 50})
    assert len(await evaluator.recompute(problem, blobs, RACE, OTHER, (0,))) == 1
    assert [worker.pid for worker in evaluator.workers] == pids


async def test_problems_that_were_put_away_are_opened_again(evaluator: RayEvaluator, local: EvaluatorProcess) -> None:
    await evaluator.load(INFO, BLOBS)
    for label in range(80, 88):
        await evaluator.prepare(*make_tiny_problem(label))
    _, leaves = await evaluator.mine(RACE, 3, 0.0, 1)
    np.testing.assert_array_equal(leaves, await local.recompute(PROBLEM, BLOBS, RACE, MINER, (3,)))


async def test_audits_overtake_mining_and_the_event_loop_runs_on(evaluator: RayEvaluator) -> None:
    await evaluator.load(INFO, BLOBS)
    ended: list[str] = []

    async def note(name: str, work: object) -> None:
        await work  # type: ignore[misc]
        ended.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(2):
            group.create_task(note(f"mine {number}", evaluator.mine(RACE, 0, 0.1, 10**6)))
        group.create_task(note("audit", evaluator.recompute(PROBLEM, BLOBS, RACE, OTHER, (0,))))
    assert ended == ["mine 0", "audit", "mine 1"]


async def test_driver_that_is_killed_is_started_again_and_leaves_nothing(
    evaluator: RayEvaluator, local: EvaluatorProcess
) -> None:
    await evaluator.load(INFO, BLOBS)
    assert evaluator.pid is not None
    before = family(evaluator.pid)
    assert len(before) > 4
    os.kill(evaluator.pid, signal.SIGKILL)
    _, leaves = await evaluator.mine(RACE, 2, 0.0, 1)
    np.testing.assert_array_equal(leaves, await local.recompute(PROBLEM, BLOBS, RACE, MINER, (2,)))
    await until(lambda: not alive(before))


async def test_stopping_fails_what_is_under_way_and_leaves_no_process(evaluator: RayEvaluator) -> None:
    """Last: it ends the Ray of the other tests."""
    await evaluator.load(INFO, BLOBS)
    assert evaluator.pid is not None
    members = family(evaluator.pid)
    mining = asyncio.create_task(evaluator.mine(RACE, 0, 60.0, 10**9))
    await asyncio.sleep(0)
    await evaluator.stop()
    with pytest.raises(EvaluatorFailed, match="stopped"):
        await mining
    await until(lambda: not alive(members))
    await evaluator.stop()


async def test_cluster_that_is_not_there_is_said_at_the_start() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        evaluator = RayEvaluator(f"127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(RayUnavailable, match="nobody answers"):
            await evaluator.start(device="cpu")
    assert evaluator.pid is None


async def test_device_that_means_nothing_on_a_cluster_is_said_at_the_start() -> None:
    evaluator = RayEvaluator("local", workers=1)
    with pytest.raises(DeviceUnavailable, match="abacus"):
        await evaluator.start(device="abacus")
    assert evaluator.pid is None


class RayNodes:
    """Nodes of one cluster, each started as a person would start it on a machine."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        with socket.socket() as unused:
            unused.bind(("", 0))
            self._port = unused.getsockname()[1]
        # Ray takes a node at 127.0.0.1 for one that others cannot reach.
        self.address = f"{ray.util.get_node_ip_address()}:{self._port}"
        self._started: list[int] = []

    def start_head(self) -> None:
        """One that computes nothing."""
        self._start("--head", f"--port={self._port}", "--num-cpus=0", f"--temp-dir={self._folder}")

    def start_node(self) -> int:
        """One with one CPU; its process id."""
        return self._start(f"--address={self.address}", "--num-cpus=1")

    def _start(self, *words: str) -> int:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *words]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._started.append(subprocess.Popen(command, start_new_session=True, **quiet).pid)
        return self._started[-1]

    @staticmethod
    def kill(pid: int) -> None:
        """As if its plug were pulled."""
        for member in family(pid):
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)

    def close(self) -> None:
        """Ends all that was started."""
        for pid in self._started:
            self.kill(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[RayNodes]:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "ab" * 32)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    folder = tempfile.mkdtemp(prefix="fedcoin-ray-test-", dir="/tmp")
    nodes = RayNodes(folder)
    yield nodes
    nodes.close()
    shutil.rmtree(folder, ignore_errors=True)


async def mine_on(evaluator: RayEvaluator) -> None:
    """Mines until that fails."""
    while True:
        await evaluator.mine(RACE, 0, 0.2, 1000)


async def test_cluster_that_loses_its_only_node_fails_clearly_and_goes_on_with_the_next(
    nodes: RayNodes, local: EvaluatorProcess
) -> None:
    nodes.start_head()
    node = nodes.start_node()
    evaluator = RayEvaluator(nodes.address, patience_seconds=3)
    async with asyncio.timeout(200):
        while evaluator.pid is None:
            with suppress(RayUnavailable):  # until both are there
                await evaluator.start(device="cpu")
        await evaluator.load(INFO, BLOBS)
        await evaluator.mine(RACE, 0, 0.2, 1000)
        nodes.kill(node)
        with pytest.raises(EvaluatorFailed, match="has had no worker for 3 s"):
            await mine_on(evaluator)
        nodes.start_node()
        leaves = None
        while leaves is None:
            with suppress(EvaluatorFailed):
                _, leaves = await evaluator.mine(RACE, 0, 0.2, 1000)
        np.testing.assert_array_equal(leaves, await local.recompute(PROBLEM, BLOBS, RACE, MINER, range(len(leaves))))
        await evaluator.stop()
