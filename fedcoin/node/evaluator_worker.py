"""The evaluator's own process: `main()` with the arguments <threads> <device> <memory in MiB, or 0>.

It reads requests from standard input and answers on what was its standard output (see evaluator_frames.py), one at a
time. It keeps the evaluators of the last few problems. When its input ends its parent has gone, and so does it.

    request                                            answer
    -------------------------------------------------  -------------------------------------------------------------
    (on start)                                         {device, threads}
    {op: "blob", digest} + blob                        none; kept until the next "load"
    {op: "drop"}                                       none; forgets such blobs
    {op: "load"} + problem                             {clients, samples}
    {op: "prepare", problem, seconds}                  {done, clients, samples, evaluated, evaluations}; or
                                                       {missing: true}: load it first
    {op: "mine", problem, race, miner, start, seconds, {clients, count, seconds} + rows; or {missing: true}: load
     limit}                                            and prepare it first, until that is done
    {op: "recompute", problem, race, miner, indices}   the same
    any                                                {error, message}: a FedCoinError; the worker goes on
    any                                                {crash}: anything else; the worker ends
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import numpy as np

from fedcoin.core.errors import FedCoinError
from fedcoin.core.task import PROBLEM, Problem
from fedcoin.node.evaluator_frames import Head, Leaves, claim_output, read_frame, rows_body, write_frame
from fedcoin.node.pace import Pace
from fedcoin.node.preparation import KeptPreparations, Preparer
from fedcoin.shapley.iterations import Iterations

NICENESS = 5
"""Of this process: a node with blocks to verify gets three quarters of a core that both want. Not more, because beside
other programs on a busy machine a race would take minutes."""
CACHED_PROBLEMS = 3
"""Evaluators kept: the race's, and those of audits."""
_KEPT_BYTES = 32 << 20
"""Of preparations, also of problems whose evaluators are gone: some seven problems of 1,024 clients."""


class Loaded:
    """A problem ready for evaluation, once it is prepared."""

    def __init__(self, iterations: Iterations, samples: int) -> None:
        self.iterations = iterations
        self.samples = samples
        self.preparer = Preparer(iterations)
        self.pace = Pace()


class Evaluations:
    """Does what requests ask for."""

    def __init__(self, device: str, memory_mb: int = 0) -> None:
        """`memory_mb`: working memory of one problem's evaluation at most, in MiB; 0: chosen from what is free."""
        self._device = device
        self._memory_limit = memory_mb << 20 or None
        self._blobs: dict[bytes, bytes] = {}
        self._loaded: OrderedDict[bytes, Loaded] = OrderedDict()
        self._preparations = KeptPreparations(_KEPT_BYTES)

    def answer(self, head: Head, body: bytes) -> tuple[Head, bytes] | None:
        """The answer to one request. Raises the FedCoinErrors of `open_evaluator`, and SamplerDoesNotFit."""
        if head["op"] == "blob":
            self._blobs[bytes.fromhex(head["digest"])] = body
            return None
        if head["op"] == "drop":
            self._blobs.clear()
            return None
        if head["op"] == "load":
            blobs, self._blobs = self._blobs, {}
            loaded = self._load(PROBLEM.decode(body), blobs)
            return {"clients": loaded.iterations.clients, "samples": loaded.samples}, b""
        key = bytes.fromhex(head["problem"])
        if key not in self._loaded:
            return {"missing": True}, b""
        self._loaded.move_to_end(key)
        loaded = self._loaded[key]
        if head["op"] == "prepare":
            return _prepare(loaded, head["seconds"]), b""
        if not loaded.preparer.done:
            return {"missing": True}, b""
        race, miner = bytes.fromhex(head["race"]), bytes.fromhex(head["miner"])
        began = time.monotonic()
        if head["op"] == "mine":
            rows = _mine(loaded, race, miner, head["start"], head["seconds"], head["limit"])
        else:
            rows = loaded.iterations.leaves(race, miner, head["indices"])
        seconds = time.monotonic() - began
        return {"clients": loaded.iterations.clients, "count": len(rows), "seconds": seconds}, rows_body(rows)

    def _load(self, problem: Problem, blobs: dict[bytes, bytes]) -> Loaded:
        from fedcoin.learning.evaluator import open_problem

        key = problem.id()
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        while len(self._loaded) >= CACHED_PROBLEMS:  # before memory for one more is taken
            self._loaded.popitem(last=False)
        evaluator = open_problem(problem, blobs, self._device, self._memory_limit)
        iterations = Iterations(problem.sampler, evaluator, self._preparations.get(key))
        self._preparations.keep(key, iterations.preparation)
        self._loaded[key] = loaded = Loaded(iterations, evaluator.samples)
        return loaded


def _prepare(loaded: Loaded, seconds: float) -> Head:
    """Goes on with the preparation for about `seconds`, and says how far it is."""
    done = loaded.preparer.work(seconds)
    state = loaded.iterations.preparation
    return {
        "done": done,
        "clients": loaded.iterations.clients,
        "samples": loaded.samples,
        "evaluated": state.evaluated,
        "evaluations": len(state.values),
    }


def _mine(loaded: Loaded, race: bytes, miner: bytes, start: int, seconds: float, limit: int) -> Leaves:
    """As many iterations from `start` as fit in about `seconds`, at most `limit` (Alg. 1 lines 4–12).

    At least 1, and more where that takes hardly longer (see Pace).
    """
    pieces: list[Leaves] = []
    done = 0
    deadline = time.monotonic() + seconds
    while done < limit:
        left = deadline - time.monotonic()
        # Not for a few more, either: few at once take longer each, and would be what the next batch goes by.
        if done and not (left >= seconds / 10 and loaded.pace.fits(left)):
            break
        count = loaded.pace.count(left, limit - done)
        began = time.monotonic()
        pieces.append(loaded.iterations.leaves(race, miner, range(start + done, start + done + count)))
        loaded.pace.took(count, time.monotonic() - began)
        done += count
    return np.concatenate(pieces)


def serve(
    requests: queue.Queue[tuple[Head, bytes]],
    output: BinaryIO,
    threads: int,
    device: str,
    memory_mb: int = 0,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Answers requests for ever, or until something happens that is no FedCoinError.

    `started`: called once the slow imports are done.
    """

    send = partial(write_frame, output)
    try:
        from fedcoin.learning.device import limit_threads, resolve_device

        limit_threads(threads)
        chosen = str(resolve_device(device))
        started()
        send({"device": chosen, "threads": threads})
        evaluations = Evaluations(chosen, memory_mb)
        while True:
            head, body = requests.get()
            try:
                answer = evaluations.answer(head, body)
            except FedCoinError as error:
                answer = {"error": error.code, "message": str(error)}, b""
            if answer is not None:
                send(*answer)
    except FedCoinError as error:
        send({"error": error.code, "message": str(error)})
    except BrokenPipeError:
        pass
    except Exception as error:
        # A CUDA error or memory that has run out leaves no state to go on from.
        send({"crash": f"{type(error).__name__}: {error}"[:2000]})


def _step_back() -> None:
    """Lets the node go first, which answers peers and people. On an idle core it makes no difference."""
    os.nice(NICENESS)


def _read(requests: queue.Queue[tuple[Head, bytes]]) -> None:
    """Reads requests as they come, so that the end of the input is seen at once, also during an evaluation."""
    try:
        while True:
            requests.put(read_frame(sys.stdin.buffer))
    except (EOFError, OSError, ValueError):
        os._exit(0)


def main() -> None:
    """Runs the worker until its input ends."""
    # Ctrl-C and a service manager's SIGTERM are the parent's to handle; this process ends with it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    output = claim_output()
    requests: queue.Queue[tuple[Head, bytes]] = queue.Queue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    try:
        serve(requests, output, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), _step_back)
    except BrokenPipeError:
        pass
    finally:
        # Threads of torch can abort an orderly exit.
        os._exit(0)


if __name__ == "__main__":
    main()
