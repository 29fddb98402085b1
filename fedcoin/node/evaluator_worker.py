"""The evaluator's own process: `main()` with the arguments <threads> <device>.

It reads requests from standard input and answers on what was its standard output (see evaluator_frames.py), one at a
time. It keeps the evaluators of the last few problems. When its input ends its parent has gone, and so does it.

    request                                            answer
    -------------------------------------------------  -------------------------------------------------------------
    (on start)                                         {device, threads}
    {op: "blob", digest} + blob                        none; kept until the next "load"
    {op: "drop"}                                       none; forgets such blobs
    {op: "load"} + problem                             {clients, samples}
    {op: "mine", problem, race, miner, start, seconds, {clients, count, seconds} + rows; or {missing: true}
     limit}
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
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fedcoin.core.errors import FedCoinError
from fedcoin.core.task import PROBLEM, Problem
from fedcoin.node.evaluator_frames import Head, Leaves, frame_start, read_frame, rows_body
from fedcoin.shapley.permutations import permutation, permutations

if TYPE_CHECKING:
    from fedcoin.learning.evaluator import TorchEvaluator

CACHED_PROBLEMS = 3
"""Evaluators kept: the race's, and those of audits."""
_MOST_AT_ONCE = 256
"""Iterations evaluated together at most."""


class Loaded:
    """A problem ready for evaluation."""

    def __init__(self, evaluator: TorchEvaluator, samples: int) -> None:
        self.evaluator = evaluator
        self.samples = samples
        self.seconds_each: float | None = None
        """How long an iteration took of late."""


class Evaluations:
    """Does what requests ask for."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._blobs: dict[bytes, bytes] = {}
        self._loaded: OrderedDict[bytes, Loaded] = OrderedDict()

    def answer(self, head: Head, body: bytes) -> tuple[Head, bytes] | None:
        """The answer to one request. Raises the FedCoinErrors of `open_evaluator`."""
        if head["op"] == "blob":
            self._blobs[bytes.fromhex(head["digest"])] = body
            return None
        if head["op"] == "drop":
            self._blobs.clear()
            return None
        if head["op"] == "load":
            blobs, self._blobs = self._blobs, {}
            loaded = self._load(PROBLEM.decode(body), blobs)
            return {"clients": loaded.evaluator.clients, "samples": loaded.samples}, b""
        key = bytes.fromhex(head["problem"])
        if key not in self._loaded:
            return {"missing": True}, b""
        self._loaded.move_to_end(key)
        loaded = self._loaded[key]
        race, miner = bytes.fromhex(head["race"]), bytes.fromhex(head["miner"])
        began = time.monotonic()
        if head["op"] == "mine":
            rows = _mine(loaded, race, miner, head["start"], head["seconds"], head["limit"])
        else:
            rows = _recompute(loaded, race, miner, head["indices"])
        seconds = time.monotonic() - began
        return {"clients": loaded.evaluator.clients, "count": len(rows), "seconds": seconds}, rows_body(rows)

    def _load(self, problem: Problem, blobs: dict[bytes, bytes]) -> Loaded:
        from fedcoin.learning.evaluation_set import decode_evaluation_set
        from fedcoin.learning.evaluator import open_evaluator

        while len(self._loaded) >= CACHED_PROBLEMS:  # before memory for one more is taken
            self._loaded.popitem(last=False)
        evaluator = open_evaluator(
            problem.model,
            blobs[problem.base_model],
            [blobs[update.digest] for update in problem.updates],
            [update.samples for update in problem.updates],
            blobs[problem.evaluation_set],
            problem.aggregation,
            problem.utility,
            problem.baseline,
            self._device,
        )
        _, labels = decode_evaluation_set(blobs[problem.evaluation_set], problem.model)
        loaded = Loaded(evaluator, len(labels))
        self._loaded[problem.id()] = loaded
        return loaded


def _mine(loaded: Loaded, race: bytes, miner: bytes, start: int, seconds: float, limit: int) -> Leaves:
    """As many iterations from `start` as fit in about `seconds`, at least 1 and at most `limit` (Alg. 1 lines 4–12)."""
    from fedcoin.learning.evaluator import marginals

    clients = loaded.evaluator.clients
    pieces: list[Leaves] = []
    done = 0
    deadline = time.monotonic() + seconds
    while done < limit:
        left = deadline - time.monotonic()
        if done and left < (loaded.seconds_each or 0.0):
            break
        fit = int(left / loaded.seconds_each) if loaded.seconds_each else 1
        count = max(1, min(fit, limit - done, _MOST_AT_ONCE))
        began = time.monotonic()
        pieces.append(marginals(loaded.evaluator, permutations(race, miner, start + done, count, clients)))
        loaded.seconds_each = max((time.monotonic() - began) / count, 1e-6)
        done += count
    return np.concatenate(pieces)


def _recompute(loaded: Loaded, race: bytes, miner: bytes, indices: list[int]) -> Leaves:
    """The leaves of given iterations of anyone."""
    from fedcoin.learning.evaluator import marginals

    clients = loaded.evaluator.clients
    orders = [permutation(race, miner, index, clients) for index in indices]
    return marginals(loaded.evaluator, np.array(orders, dtype=np.int64).reshape(-1, clients))


def serve(requests: queue.Queue[tuple[Head, bytes]], output: BinaryIO, threads: int, device: str) -> None:
    """Answers requests for ever, or until something happens that is no FedCoinError."""

    def send(head: Head, body: bytes = b"") -> None:
        output.write(frame_start(head, len(body)))
        output.write(body)
        output.flush()

    try:
        from fedcoin.learning.device import limit_threads, resolve_device

        limit_threads(threads)
        chosen = str(resolve_device(device))
        send({"device": chosen, "threads": threads})
        evaluations = Evaluations(chosen)
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


def _read(requests: queue.Queue[tuple[Head, bytes]]) -> None:
    """Reads requests as they come, so that the end of the input is seen at once, also during an evaluation."""
    source = sys.stdin.buffer

    def take(count: int) -> bytes:
        data = source.read(count)
        if len(data) < count:
            raise EOFError
        return data

    try:
        while True:
            requests.put(read_frame(take))
    except (EOFError, OSError, ValueError):
        os._exit(0)


def main() -> None:
    """Runs the worker until its input ends."""
    # Ctrl-C and a service manager's SIGTERM are the parent's to handle; this process ends with it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Whatever a library prints goes to standard error and not between the frames.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.Queue[tuple[Head, bytes]] = queue.Queue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    try:
        serve(requests, output, int(sys.argv[1]), sys.argv[2])
    except BrokenPipeError:
        pass
    finally:
        # Threads of torch can abort an orderly exit.
        os._exit(0)


if __name__ == "__main__":
    main()
