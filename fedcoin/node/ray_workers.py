"""The workers of a Ray cluster, kept at the number that the cluster has room for: started, watched, replaced."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import fedcoin
from fedcoin.core.errors import EvaluatorFailed, RayUnavailable
from fedcoin.node.evaluator_frames import Head
from fedcoin.node.ray_cluster import Cluster, RayOptions, WorkerLost
from fedcoin.node.ray_division import Division, Piece
from fedcoin.node.ray_plan import Node, Place, places, threads_for, wants_gpus
from fedcoin.node.ray_worker import Answer

log = logging.getLogger("fedcoin.ray")

_STEP_SECONDS = 0.1
_LOOK_SECONDS = 5.0
"""Between two looks at which nodes there are."""
_START_SECONDS = 90.0
_OTHERS_SECONDS = 15.0
"""How long the start waits for further workers once there is one."""
_MOST_PAUSE = 60.0
"""Before a worker is tried again on a node where it does not start."""


class Stopping(Exception):
    """The miner wants no more answers."""


class Refused(Exception):
    """A worker answered with an error, which is the answer to the request."""

    def __init__(self, head: Head) -> None:
        super().__init__(head["message"])
        self.head = head


@dataclass(frozen=True, eq=False)
class Call:
    """What a worker is doing."""

    reference: Any
    """Ray's future of its answer."""
    began: float
    problem: bytes = b""
    """Which it opens or works on; empty: it is starting."""
    piece: Piece | None = None
    """Of the iterations of `division`; None: it opens the problem."""
    division: Division | None = None


@dataclass(eq=False)
class Worker:
    """One actor."""

    handle: Any
    place: Place
    call: Call | None
    about: Head | None = None
    """What it said when it was ready; None before."""
    loaded: dict[bytes, Head] = field(default_factory=dict)
    """Its answers for problems that it opened."""
    refused: dict[bytes, Head] = field(default_factory=dict)
    """Its errors for problems that it could not open."""
    rates: dict[bytes, float] = field(default_factory=dict)
    """Iterations per second of each problem, of late."""
    iterations: int = 0
    """Done so far."""

    @property
    def view(self) -> Head:
        """For the miner: host, pid, device, iterations."""
        about = self.about or {}
        return {**{name: about.get(name) for name in ("host", "pid", "device")}, "iterations": self.iterations}


class Workers:
    """Those that are there."""

    def __init__(self, cluster: Cluster, options: RayOptions, stopping: Callable[[], bool]) -> None:
        """`stopping` is asked often; once it says True, Stopping is raised."""
        self._cluster = cluster
        self._options = options
        self._stopping = stopping
        self._all: list[Worker] = []
        self._gpus = False
        self._threads = options.threads
        self._next_look = 0.0
        self._last_ready = 0.0
        """When there was a worker, or a request began."""
        self._failures: Counter[str] = Counter()
        """By node: starts that failed, one after the other."""
        self._not_before: dict[str, float] = {}
        self._refusal: Head | None = None
        """Of a worker that could not start."""
        self.why = ""
        """The last reason why a worker was lost."""
        self.lost = 0
        """Workers that were ready and are no more."""
        self.lost_opening = 0
        """Those of them that were opening a problem, since the request began."""

    @property
    def ready(self) -> list[Worker]:
        """Those that can be asked, or are at work."""
        return [worker for worker in self._all if worker.about is not None]

    def open(self) -> None:
        """Starts workers and waits until there are some.

        Raises RayUnavailable, DeviceUnavailable, Refused, Stopping.
        """
        nodes = self._nodes()
        self._gpus = wants_gpus(nodes, self._options.device)
        wanted = self._options.workers
        if wanted and not self._threads and not self._gpus:
            self._threads = threads_for(nodes, wanted)
        if not places(nodes, wanted, self._threads, self._gpus):
            raise RayUnavailable(
                f"the Ray cluster at {self._options.address} has no room for a worker "
                f"({len(nodes)} nodes, {sum(node.cpus for node in nodes)} CPUs, {self._threads or 1} threads each)"
            )
        deadline = time.monotonic() + _START_SECONDS
        self._look(nodes)
        while any(worker.about is None for worker in self._all) and time.monotonic() < deadline:
            if self.ready:
                deadline = min(deadline, time.monotonic() + _OTHERS_SECONDS)
            self.step(lambda *_: None)
        if not self.ready:
            if self._refusal is not None:
                raise Refused(self._refusal)
            why = self.why or f"none was ready after {_START_SECONDS:.0f} s"
            raise RayUnavailable(f"no worker starts on the Ray cluster at {self._options.address}: {why}")

    def begin(self) -> None:
        """A request begins: patience starts anew."""
        self._last_ready = time.monotonic()
        self.lost_opening = 0

    def tend(self) -> None:
        """Looks after the workers. Raises Stopping, and EvaluatorFailed when there has been none for too long."""
        if self._stopping():
            raise Stopping
        self.look()
        now = time.monotonic()
        if self.ready:
            self._last_ready = now
        elif now - self._last_ready > self._options.patience:
            raise EvaluatorFailed(
                f"the Ray cluster at {self._options.address} has had no worker for {self._options.patience:.0f} s "
                f"({self.why or 'none has started'}): see `ray status`, or start a node with `ray start`"
            )

    def look(self) -> None:
        """From time to time, looks which nodes there are."""
        if time.monotonic() >= self._next_look:
            try:
                self._look(self._nodes())
            except RayUnavailable as error:
                self._next_look = time.monotonic() + _LOOK_SECONDS
                self.why = str(error)

    def step(self, take_in: Callable[[Worker, Call, Answer], None]) -> None:
        """Waits a little for answers, and hands over each but those of workers that were starting."""
        if self._stopping():
            raise Stopping
        calls = {worker.call.reference: worker for worker in self._all if worker.call is not None}
        if not calls:
            time.sleep(_STEP_SECONDS)
            return
        for reference in self._cluster.wait(list(calls), _STEP_SECONDS):
            worker = calls[reference]
            call = worker.call
            if call is None or worker not in self._all:
                continue
            try:
                answer = self._cluster.answer(reference)
            except WorkerLost as error:
                self._lose(worker, str(error))
                continue
            worker.call = None
            if worker.about is None:
                self._welcome(worker, answer[0])
            else:
                take_in(worker, call, answer)

    # --- coming and going --------------------------------------------------------------------------------------------

    def _nodes(self) -> list[Node]:
        try:
            return self._cluster.nodes()
        except WorkerLost as error:
            raise RayUnavailable(f"the Ray cluster at {self._options.address} does not answer: {error}") from error

    def _look(self, nodes: list[Node]) -> None:
        """Gives up workers of nodes that are gone, and starts those for which there is room."""
        now = time.monotonic()
        self._next_look = now + _LOOK_SECONDS
        alive = {node.name for node in nodes}
        for worker in [worker for worker in self._all if worker.place.node.name not in alive]:
            self._lose(worker, f"node {worker.place.node.host} is gone", blame=False)
        planned = places(nodes, self._options.workers, self._threads, self._gpus)
        missing = Counter(planned) - Counter(worker.place for worker in self._all)
        for place in list(missing.elements())[: max(0, len(planned) - len(self._all))]:
            if now < self._not_before.get(place.node.name, 0.0):
                continue
            handle = self._cluster.start_worker(place)
            self._all.append(Worker(handle, place, Call(handle.ready.remote(), now)))

    def _welcome(self, worker: Worker, about: Head) -> None:
        """Takes up a worker that is ready, if it is and is of this version."""
        if "error" in about:
            self._refusal = about
            self._lose(worker, about["message"])
        elif about["version"] != fedcoin.__version__:
            self._lose(
                worker, f"{about['host']} has FedCoin {about['version']}, the miner {fedcoin.__version__}: install that"
            )
        else:
            worker.about = about
            self._failures.pop(worker.place.node.name, None)
            log.debug("worker %s of %s, %s", about["pid"], about["host"], about["device"])

    def _lose(self, worker: Worker, why: str, blame: bool = True) -> None:
        """Gives a worker up, and its work back. `blame`: it may have been lost over that work."""
        self._all.remove(worker)
        self._cluster.end_worker(worker.handle)
        self.why = why
        log.warning("a worker on %s is lost: %s", worker.place.node.host, why)
        now = time.monotonic()
        if worker.about is not None:
            self.lost += 1
        else:
            node = worker.place.node.name
            self._failures[node] += 1
            self._not_before[node] = now + min(_MOST_PAUSE, 2.0 ** self._failures[node])
        call = worker.call
        if call is not None and call.division is not None and call.piece is not None:
            call.division.lose(call.piece, blame)
        elif call is not None and call.problem:
            self.lost_opening += blame
        self._next_look = min(self._next_look, now)  # it is replaced at once
