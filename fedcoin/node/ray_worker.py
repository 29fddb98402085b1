"""What runs on the nodes of a Ray cluster: one worker with the evaluators of the last few problems.

Ray pickles what the driver and its workers say to each other. They are one miner's own machines, and nothing comes that
way from the network but bytes: the blobs of a problem, which the worker checks as any evaluator does. Answers are plain
values; an error goes back as its code and message.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

import fedcoin
from fedcoin.core.errors import FedCoinError
from fedcoin.core.task import PROBLEM
from fedcoin.node.evaluator_frames import Head
from fedcoin.node.evaluator_worker import Evaluations

Answer = tuple[Head, bytes]

_SLICE_SECONDS = 1.0


class RayWorker:
    """Made into an actor by the driver (ray_cluster.py). It does one thing at a time."""

    def __init__(self, threads: int, device: str, memory_mb: int) -> None:
        """Takes note; `ready` does the work, so that its errors can be told."""
        self._threads = threads
        self._device = device
        self._memory_mb = memory_mb
        self._evaluations: Evaluations | None = None

    def ready(self) -> Answer:
        """Gets ready and says what this worker is: version, host, pid, device."""
        from fedcoin.learning.device import limit_threads, resolve_device

        try:
            limit_threads(self._threads)
            device = str(resolve_device(self._device))
        except FedCoinError as error:
            return _error(error)
        self._evaluations = Evaluations(device, self._memory_mb)
        about = {"version": fedcoin.__version__, "host": platform.node(), "pid": os.getpid(), "device": device}
        return about, b""

    def load(self, problem: bytes, digests: Sequence[bytes], *blobs: bytes) -> Answer:
        """Opens and prepares a problem with the blobs of these digests: {clients, samples}, or an error."""
        requests = [({"op": "blob", "digest": digest.hex()}, blob) for digest, blob in zip(digests, blobs, strict=True)]
        answer: Answer | None = None
        for head, body in [*requests, ({"op": "load"}, problem)]:
            answer = self._answer(head, body)
        assert answer is not None, "a load is answered"
        if "error" not in answer[0]:
            name = PROBLEM.decode(problem).id().hex()
            prepared: Head = {"done": False}
            while not prepared["done"]:
                step = self._answer({"op": "prepare", "problem": name, "seconds": _SLICE_SECONDS}, b"")
                assert step is not None, "a prepare is answered"
                prepared = step[0]
                if "error" in prepared:
                    return step
        return answer

    def leaves(self, problem: bytes, race: bytes, miner: bytes, indices: Sequence[int]) -> Answer:
        """The leaves of iterations `indices` of a miner in a race: {clients, …} + rows, {missing}, or an error."""
        head = {
            "op": "recompute",
            "problem": problem.hex(),
            "race": race.hex(),
            "miner": miner.hex(),
            "indices": list(indices),
        }
        answer = self._answer(head, b"")
        assert answer is not None, "a recompute is answered"
        return answer

    def _answer(self, head: Head, body: bytes) -> Answer | None:
        assert self._evaluations is not None, "ready"
        try:
            return self._evaluations.answer(head, body)
        except FedCoinError as error:
            return _error(error)


def _error(error: FedCoinError) -> Answer:
    return {"error": error.code, "message": str(error)}, b""
