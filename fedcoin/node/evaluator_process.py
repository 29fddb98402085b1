"""The node's side of the evaluator: a process of its own, so that evaluation never holds up the event loop.

Requests are served one at a time; those of audits overtake those of mining. The preparation of a problem, which may
take minutes, is cut into slices with a turn each. A worker that dies (out of memory, say) is started again and the
request repeated once; if it dies again, that request fails with EvaluatorFailed and the next one gets a new worker.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

import fedcoin
from fedcoin.consensus.messages import RaceInfo
from fedcoin.core.errors import EvaluatorFailed, FedCoinError
from fedcoin.core.task import PROBLEM, Problem
from fedcoin.node.evaluator_frames import PREFIX, Head, Leaves, frame_start, rows_from
from fedcoin.node.evaluator_protocol import AUDIT, MINING, LoadedProblem
from fedcoin.node.priority import PriorityLock

log = logging.getLogger("fedcoin.evaluator")

T = TypeVar("T")

_PIECE = 1 << 20
_RACES = 4
_KNOWN_PROBLEMS = 64
_SLICE_SECONDS = {AUDIT: 0.5, MINING: 0.25}
"""Of a preparation, by priority: how long others wait for it. An audit has a deadline, and a race that is mined takes
the turns between its slices."""
_PROGRESS_SECONDS = 5.0
_MOST_DEATHS = 2
_STOP_SECONDS = 2.0
_SECONDS_TO_START = 120.0
_SECONDS_TO_ANSWER = 120.0
"""For the iterations of one request, of which there may be but one. Who pays for a model that takes longer would hold
up this miner's audits too."""
_COMMAND = "from fedcoin.node.evaluator_worker import main; main()"


class _WorkerDied(Exception):
    """The worker has ended, or said that it cannot go on."""


@dataclass
class _Request:
    """What somebody waits for. It may need several turns."""

    priority: int
    deaths: int = 0
    """Workers that have died over it."""


class EvaluatorProcess:
    """Evaluates coalitions in a spawned process: the RaceEvaluator of one machine."""

    _command = _COMMAND
    """The Python program of the worker; it gets the arguments of `_start`."""
    _stop_seconds = _STOP_SECONDS
    """How long the worker may take to end by itself."""

    def __init__(self) -> None:
        self.device = ""
        """Where the worker computes, such as `cpu` or `cuda:0`; empty before `start`."""
        self.restarts = 0
        """How often a worker was started again."""
        self.iterations_per_second = 0.0
        """Of the last `mine`."""
        self._arguments: tuple[str, ...] = ()
        self._worker: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[None] | None = None
        self._last_words: deque[str] = deque(maxlen=20)
        self._turn = PriorityLock()
        self._races: OrderedDict[bytes, tuple[RaceInfo, Mapping[bytes, bytes]]] = OrderedDict()
        self._samples: OrderedDict[bytes, LoadedProblem] = OrderedDict()
        self._stopped = True

    @property
    def pid(self) -> int | None:
        """Process id of the worker, while there is one."""
        return self._worker.pid if self._worker else None

    async def start(self, threads: int | None = None, device: str = "auto", memory_mb: int = 0) -> None:
        """Starts the worker. `threads` of the CPU: all cores but one if None. `device`: as `resolve_device`.

        `memory_mb`: working memory of one problem's evaluation at most, in MiB; 0: chosen from what is free. Raises
        DeviceUnavailable, EvaluatorFailed.
        """
        count = threads or max(1, (os.cpu_count() or 2) - 1)
        await self._start(str(count), device, str(memory_mb))

    async def _start(self, *arguments: str) -> None:
        """Starts the worker with these arguments, the first of them its threads."""
        self._arguments = arguments
        self._stopped = False
        try:
            await self._served(_Request(MINING), self._ensure_worker)
        except FedCoinError:
            await self.stop()
            raise

    async def load(self, info: RaceInfo, blobs: Mapping[bytes, bytes]) -> LoadedProblem:
        """Gets ready to mine a race. `blobs` by digest; each is asked for once and may be read from disk then.

        The blobs are kept hold of, for a worker that must be started again. Raises what is wrong with the problem
        (the errors of `open_evaluator`, SamplerDoesNotFit), EvaluatorFailed.
        """
        loaded = await self._prepared(_Request(MINING), info.problem, blobs)
        self._races[info.race] = (info, blobs)
        while len(self._races) > _RACES:
            self._races.popitem(last=False)
        return loaded

    async def prepare(self, problem: Problem, blobs: Mapping[bytes, bytes], priority: int = AUDIT) -> LoadedProblem:
        """Loads a problem unless it was loaded before, and says how large it is. Raises as `load`."""
        known = self._samples.get(problem.id())
        return known or await self._prepared(_Request(priority), problem, blobs)

    async def mine(self, race: bytes, start: int, seconds: float, max_iterations: int) -> tuple[int, Leaves]:
        """(start, leaves): iterations from `start` of a loaded race, as many as fit in about `seconds`, at least 1.

        Leaves are int64 [n, K], n ≤ max_iterations (Alg. 1 lines 4–12). Raises EvaluatorFailed, ValueError for a race
        that was not loaded.
        """
        if race not in self._races:
            raise ValueError("load the race before mining it")
        info, blobs = self._races[race]
        head = {"op": "mine", "miner": info.miner.hex(), "start": start, "seconds": seconds, "limit": max_iterations}
        return start, await self._evaluate(MINING, head, race, info.problem, blobs)

    async def recompute(
        self, problem: Problem, blobs: Mapping[bytes, bytes], race: bytes, miner: bytes, indices: Sequence[int]
    ) -> Leaves:
        """The leaves of iterations `indices` of a miner in a race, int64 [len, K]: for audits. Raises as `load`."""
        if not indices:
            return np.zeros((0, problem.clients), dtype=np.int64)
        head = {"op": "recompute", "miner": miner.hex(), "indices": list(indices)}
        return await self._evaluate(AUDIT, head, race, problem, blobs)

    async def stop(self) -> None:
        """Ends the worker. What it was asked for fails with EvaluatorFailed."""
        self._stopped = True
        await self._end_worker()
        async with self._turn.at(MINING):
            await self._end_worker()  # one that was being started meanwhile

    # --- one request -------------------------------------------------------------------------------------------------

    async def _evaluate(
        self, priority: int, head: Head, race: bytes, problem: Problem, blobs: Mapping[bytes, bytes]
    ) -> Leaves:
        request = _Request(priority)
        question = {**head, "race": race.hex(), "problem": problem.id().hex()}
        while True:
            answer, body = await self._served(request, lambda: self._ask_in_time(request, question))
            if not answer.get("missing"):
                break
            await self._prepared(request, problem, blobs)
        if head["op"] == "mine":
            self.iterations_per_second = answer["count"] / max(answer["seconds"], 1e-6)
        return rows_from(body, answer["clients"])

    async def _prepared(self, request: _Request, problem: Problem, blobs: Mapping[bytes, bytes]) -> LoadedProblem:
        """Loads a problem if the worker does not have it, and prepares it, one turn for each slice of time."""
        key = problem.id()
        question = {"op": "prepare", "problem": key.hex(), "seconds": _SLICE_SECONDS[request.priority]}

        async def slice_of_it() -> Head:
            # Asked in its turn: somebody else may have brought the problem while this waited.
            answer, _ = await self._ask(question)
            if answer.get("missing"):
                await self._send_problem(problem, blobs)
                answer, _ = await self._ask(question)
            return answer

        told = time.monotonic()
        while not (answer := await self._served(request, slice_of_it))["done"]:
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                share = 100 * answer["evaluated"] // answer["evaluations"]
                log.info("preparing problem %s of %d clients: %d%%", key.hex()[:12], answer["clients"], share)
        loaded = self._samples[key] = LoadedProblem(answer["clients"], answer["samples"])
        while len(self._samples) > _KNOWN_PROBLEMS:
            self._samples.popitem(last=False)
        return loaded

    async def _send_problem(self, problem: Problem, blobs: Mapping[bytes, bytes]) -> None:
        try:
            for digest in dict.fromkeys(problem.blobs):
                await self._write({"op": "blob", "digest": digest.hex()}, blobs[digest])
        except FedCoinError:
            await self._write({"op": "drop"})
            raise
        await self._ask({"op": "load"}, PROBLEM.encode(problem))

    async def _served(self, request: _Request, exchange: Callable[[], Awaitable[T]]) -> T:
        """Runs an exchange with the worker in turn, and once more with a new worker if that one dies."""
        begun = False

        async def in_turn() -> T:
            nonlocal begun
            async with self._turn.at(request.priority):
                begun = True
                return await self._repeated(request, exchange)

        task = asyncio.ensure_future(in_turn())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if begun:
                # A caller that loses interest must not leave half an exchange behind.
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
            else:
                task.cancel()
            raise

    async def _repeated(self, request: _Request, exchange: Callable[[], Awaitable[T]]) -> T:
        reason = ""
        while request.deaths < _MOST_DEATHS and not self._stopped:
            try:
                await self._ensure_worker()
                return await exchange()
            except (_WorkerDied, OSError, EOFError) as error:
                reason = self._why(error)
                request.deaths += 1
                await self._end_worker()
                if not self._stopped:
                    log.warning("the evaluator process has ended: %s", reason)
            except FedCoinError:
                raise
            except BaseException:
                await self._end_worker()  # it may be in the middle of an answer
                raise
        if self._stopped:
            raise EvaluatorFailed("the evaluator has been stopped")
        raise EvaluatorFailed(f"the evaluator process died twice over a request ({reason}): is there enough memory?")

    async def _ask_in_time(self, request: _Request, head: Head) -> tuple[Head, bytes]:
        try:
            async with asyncio.timeout(_SECONDS_TO_ANSWER):
                return await self._ask(head)
        except TimeoutError:
            request.deaths = _MOST_DEATHS - 1  # another worker would be no faster
            raise _WorkerDied(f"one iteration takes longer than {_SECONDS_TO_ANSWER:.0f} s here") from None

    async def _ask(self, head: Head, body: bytes = b"") -> tuple[Head, bytes]:
        await self._write(head, body)
        return await self._read()

    async def _write(self, head: Head, body: bytes = b"") -> None:
        worker = self._worker
        if worker is None or worker.stdin is None:
            raise _WorkerDied("it is gone")
        worker.stdin.write(frame_start(head, len(body)))
        view = memoryview(body)
        for start in range(0, len(body), _PIECE):
            worker.stdin.write(view[start : start + _PIECE])
            await worker.stdin.drain()
        await worker.stdin.drain()

    async def _read(self) -> tuple[Head, bytes]:
        worker = self._worker
        if worker is None or worker.stdout is None:
            raise _WorkerDied("it is gone")
        head_size, body_size = PREFIX.unpack(await worker.stdout.readexactly(PREFIX.size))
        head: Head = json.loads(await worker.stdout.readexactly(head_size))
        body = await worker.stdout.readexactly(body_size)
        if "crash" in head:
            raise _WorkerDied(head["crash"])
        if "error" in head:
            raise _error(head["error"], head["message"])
        return head, body

    # --- the worker --------------------------------------------------------------------------------------------------

    async def _ensure_worker(self) -> None:
        if self._stopped:
            raise EvaluatorFailed("the evaluator has been stopped")
        if self._worker is not None and self._worker.returncode is None:
            return
        if self.device:
            self.restarts += 1
        await self._end_worker()
        threads = self._arguments[0]
        root = str(Path(fedcoin.__file__).parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }
        # In a session of its own, Ctrl-C in a terminal does not reach it. -P keeps the working directory off the path.
        self._worker = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-c", self._command, *self._arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True, env=environment, limit=4 * _PIECE,
        )  # fmt: skip
        self._errors = asyncio.create_task(self._listen(self._worker))
        try:
            hello, _ = await asyncio.wait_for(self._read(), _SECONDS_TO_START)
        except TimeoutError as error:
            raise _WorkerDied(f"it was not ready after {_SECONDS_TO_START:.0f} s") from error
        if self._stopped:
            raise _WorkerDied("it has been stopped")
        self.device = hello["device"]

    async def _listen(self, worker: asyncio.subprocess.Process) -> None:
        """Keeps the last lines that the worker prints, for the reason if it dies."""
        assert worker.stderr is not None, "standard error is a pipe"
        while piece := await worker.stderr.read(4096):
            for line in piece.decode(errors="replace").splitlines():
                self._last_words.append(line)
                log.debug("evaluator: %s", line)

    async def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        errors, self._errors = self._errors, None
        if worker is None:
            return
        if worker.stdin is not None:
            worker.stdin.close()  # the end of its input is its sign to go
        # What nobody reads any more must be read, or the end of the pipe is never seen.
        rest = asyncio.create_task(_read_out(worker.stdout))
        try:
            await asyncio.wait_for(worker.wait(), self._stop_seconds)
        except TimeoutError:
            with suppress(ProcessLookupError):
                worker.kill()
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.wait(), self._stop_seconds)
        await asyncio.wait({rest, *filter(None, [errors])}, timeout=_STOP_SECONDS)
        for task in filter(None, [rest, errors]):
            task.cancel()
        if worker.stdin is not None:
            with suppress(OSError):
                await worker.stdin.wait_closed()

    def _why(self, error: Exception) -> str:
        status = self._worker.returncode if self._worker else None
        said = str(error) if isinstance(error, _WorkerDied) else " / ".join(list(self._last_words)[-3:])
        exit_status = f"exit status {status}" if status is not None else ""
        return ", ".join(filter(None, [exit_status, said])) or "no reason given"


async def _read_out(stream: asyncio.StreamReader | None) -> None:
    with suppress(RuntimeError, OSError):  # RuntimeError: somebody is reading it yet, and will see its end
        while stream is not None and await stream.read(_PIECE):
            pass


def _error(code: str, message: str) -> FedCoinError:
    """The FedCoinError of that code."""
    classes = [FedCoinError]
    for kind in classes:
        classes += kind.__subclasses__()
        if kind.__dict__.get("code") == code:
            return kind(message)
    return EvaluatorFailed(f"{code}: {message}")
