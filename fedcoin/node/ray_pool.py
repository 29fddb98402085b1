"""The workers of a Ray cluster as one evaluator: who opens which problem, who does which iterations.

One request at a time. A worker has one call under way at most, so that nothing waits behind a slow one.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from fedcoin.core.errors import EvaluatorFailed
from fedcoin.core.task import PROBLEM
from fedcoin.node.evaluator_frames import Head, Leaves, rows_from
from fedcoin.node.ray_cluster import Cluster
from fedcoin.node.ray_division import Division, Piece
from fedcoin.node.ray_worker import Answer
from fedcoin.node.ray_workers import Call, Refused, Worker, Workers

PROBLEMS = 6
"""Whose blobs stay in the object store. Workers keep fewer open, and open one again when it is asked for."""
MOST_LOSSES = 3
"""Workers that one piece of work may cost: it is at fault then, not they."""
_REFUSALS = 2
"""Workers that must refuse a problem: a single one may just have too little memory."""
_OVERDUE_FACTOR, _OVERDUE_SECONDS = 2.0, 1.0
"""A piece that takes so many times as long as it should, and so much longer, is given to a second worker too."""
_OVERDUE_UNKNOWN = 30.0
"""Seconds that a worker may take whose speed is not known yet, or to open a problem, before another one tries too."""


class WorkerPool:
    """Opens problems and does iterations. Raises Stopping, Refused and EvaluatorFailed everywhere."""

    def __init__(self, cluster: Cluster, workers: Workers) -> None:
        """`workers` are open."""
        self._cluster = cluster
        self._workers = workers
        self._problems: OrderedDict[bytes, tuple[bytes, list[bytes], list[Any]]] = OrderedDict()
        """Encoded problem, digests of its blobs, and references to these."""
        self._division: Division | None = None
        """Of the request under way."""
        self._refusal: Head | None = None
        """An error over that request."""

    def load(self, encoded: bytes, blobs: Mapping[bytes, Any]) -> Head:
        """Opens and prepares a problem in one worker, and lets the others begin to: {clients, samples}.

        `blobs`: references by digest.
        """
        decoded = PROBLEM.decode(encoded)
        problem = decoded.id()
        digests = list(dict.fromkeys(decoded.blobs))
        self._problems[problem] = (encoded, digests, [blobs[digest] for digest in digests])
        self._problems.move_to_end(problem)
        while len(self._problems) > PROBLEMS:
            self._forget(next(iter(self._problems)))
        for worker in self._workers.ready:
            worker.refused.pop(problem, None)
        return self._ready(problem)

    def prepared(self, problem: bytes) -> Head | None:
        """As `load`, of a problem that was loaded; None: it is not here."""
        if problem not in self._problems:
            return None
        self._problems.move_to_end(problem)
        return self._ready(problem)

    def _ready(self, problem: bytes) -> Head:
        try:
            return self._opened(problem)
        except (EvaluatorFailed, Refused):
            self._forget(problem)
            raise

    def mine(self, problem: bytes, race: bytes, miner: bytes, start: int, seconds: float, limit: int) -> Leaves | None:
        """Iterations from `start`, as many as fit in about `seconds`, int64 [n, K]; None: the problem is not here."""
        division = Division(limit, seconds, time.monotonic())
        return self._run(problem, race, miner, range(start, start + limit), division)

    def recompute(self, problem: bytes, race: bytes, miner: bytes, indices: Sequence[int]) -> Leaves | None:
        """The leaves of iterations `indices`, int64 [len, K]; None: the problem is not here."""
        return self._run(problem, race, miner, indices, Division(len(indices), None, time.monotonic()))

    def _forget(self, problem: bytes) -> None:
        del self._problems[problem]
        for worker in self._workers.ready:
            for known in (worker.loaded, worker.refused, worker.rates):
                known.pop(problem, None)

    # --- opening a problem -------------------------------------------------------------------------------------------

    def _opened(self, problem: bytes) -> Head:
        """What the first worker says that has opened it."""
        self._workers.begin()
        while True:
            self._workers.tend()
            ready = self._workers.ready
            if any(problem in worker.loaded for worker in ready):
                self._open_everywhere(problem)
                return next(worker.loaded[problem] for worker in ready if problem in worker.loaded)
            refusals = [worker.refused[problem] for worker in ready if problem in worker.refused]
            if ready and len(refusals) >= min(_REFUSALS, len(ready)):
                raise Refused(refusals[0])
            if self._workers.lost_opening >= MOST_LOSSES:
                raise EvaluatorFailed(_died(self._workers.why))
            # One at a time: what kills workers or is malformed should not reach all of them.
            if not any(_opens(worker, problem) for worker in ready):
                idle = [worker for worker in ready if worker.call is None and problem not in worker.refused]
                for worker in idle[:1]:
                    self._open(worker, problem)
            self._workers.step(self._take_in)

    def _open(self, worker: Worker, problem: bytes) -> None:
        encoded, digests, references = self._problems[problem]
        call = worker.handle.load.remote(encoded, digests, *references)
        worker.call = Call(call, time.monotonic(), problem)

    def _open_everywhere(self, problem: bytes) -> None:
        for worker in self._workers.ready:
            if worker.call is None and problem not in worker.loaded and problem not in worker.refused:
                self._open(worker, problem)

    # --- iterations --------------------------------------------------------------------------------------------------

    def _run(
        self, problem: bytes, race: bytes, miner: bytes, indices: Sequence[int], division: Division
    ) -> Leaves | None:
        if problem not in self._problems:
            return None
        self._problems.move_to_end(problem)
        self._workers.begin()
        self._division, self._refusal = division, None
        while True:
            self._workers.tend()
            if self._refusal is not None:
                raise Refused(self._refusal)
            opened = any(problem in worker.loaded for worker in self._workers.ready)
            if division.most_losses >= MOST_LOSSES or (not opened and self._workers.lost_opening >= MOST_LOSSES):
                raise EvaluatorFailed(_died(self._workers.why))
            self._refused_by_all(problem)
            for worker, piece in self._pieces(problem, division):
                wanted = [indices[position] for position in range(piece.begin, piece.end)]
                call = worker.handle.leaves.remote(problem, race, miner, wanted)
                worker.call = Call(call, time.monotonic(), problem, piece, division)
            if division.finished:
                return division.rows()
            self._workers.step(self._take_in)

    def _pieces(self, problem: bytes, division: Division) -> list[tuple[Worker, Piece]]:
        """What idle workers are to do now. Those without the problem begin to open it."""
        self._open_everywhere(problem)
        able = [worker for worker in self._workers.ready if problem in worker.loaded]
        rates = [worker.rates[problem] for worker in able if problem in worker.rates]
        usual = sum(rates) / len(rates) if rates else 1.0
        total = sum(worker.rates.get(problem, usual) for worker in able)
        now = time.monotonic()
        given = []
        for worker in sorted(able, key=lambda worker: -worker.rates.get(problem, usual)):
            if worker.call is not None:
                continue
            rate = worker.rates.get(problem)
            piece = division.take(rate, (rate or usual) / total, now) or self._overdue(problem, division, now)
            if piece is not None:
                given.append((worker, piece))
        return given

    def _overdue(self, problem: bytes, division: Division, now: float) -> Piece | None:
        """A piece whose worker does not answer: its node may be lost, which Ray notices late."""
        for worker in self._workers.ready:
            call = worker.call
            if call is None or call.division is not division or call.piece is None:
                continue
            rate = worker.rates.get(problem)
            due = _OVERDUE_FACTOR * len(call.piece) / rate + _OVERDUE_SECONDS if rate else _OVERDUE_UNKNOWN
            if now - call.began > due and division.take_copy(call.piece):
                return call.piece
        return None

    def _refused_by_all(self, problem: bytes) -> None:
        ready = self._workers.ready
        if ready and all(problem in worker.refused for worker in ready):
            raise Refused(ready[0].refused[problem])

    # --- answers -----------------------------------------------------------------------------------------------------

    def _take_in(self, worker: Worker, call: Call, answer: Answer) -> None:
        head, body = answer
        if call.piece is None or call.division is None:
            (worker.refused if "error" in head else worker.loaded)[call.problem] = head
            return
        if "missing" in head:
            worker.loaded.pop(call.problem, None)
        elif "error" in head and call.division is self._division:
            self._refusal = head
        if "missing" in head or "error" in head:
            call.division.lose(call.piece, blame=False)
            return
        rate = len(call.piece) / max(time.monotonic() - call.began, 1e-6)
        known = worker.rates.get(call.problem)
        worker.rates[call.problem] = rate if known is None else (rate + known) / 2
        worker.iterations += len(call.piece)
        call.division.answer(call.piece, rows_from(body, head["clients"]))


def _opens(worker: Worker, problem: bytes) -> bool:
    """Whether a worker is opening a problem, and has not been at it for so long that another had better try."""
    call = worker.call
    if call is None or call.problem != problem or call.piece is not None:
        return False
    return time.monotonic() - call.began < _OVERDUE_UNKNOWN


def _died(why: str) -> str:
    return f"{MOST_LOSSES} workers of the Ray cluster died over the same work ({why}): is there enough memory?"
