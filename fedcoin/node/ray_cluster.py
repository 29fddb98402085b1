"""Ray itself: the only module that imports it, when a cluster is opened in the driver process (ray_driver.py)."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fedcoin.core.errors import RayUnavailable
from fedcoin.node.ray_plan import Node, Place
from fedcoin.node.ray_worker import Answer, RayWorker

LOCAL = "local"
"""The address that means: start Ray on this machine."""
_KNOCK_SECONDS = 5.0


@dataclass(frozen=True)
class RayOptions:
    """What the driver is told."""

    address: str
    """HOST:PORT of the cluster's head, `auto`, or `local`."""
    workers: int
    """At most; 0: as many as the cluster has room for."""
    threads: int
    """CPU threads of a worker; 0: chosen (see places())."""
    device: str
    """auto, cpu or cuda."""
    memory_mb: int
    """Of one problem's evaluation in one worker; 0: chosen from what is free."""
    patience: float
    """Seconds that a request waits for a cluster without workers."""
    folder: str
    """Where a Ray that is started here keeps its files. It is removed in the end."""


class WorkerLost(Exception):
    """A worker or its node is gone, or failed in a way that leaves nothing to go on from."""


class Cluster:
    """A connection to a Ray cluster: its nodes, workers on them, and what they are asked."""

    def __init__(self, options: RayOptions) -> None:
        """Connects, or starts Ray here. Raises RayUnavailable."""
        self._memory_mb = options.memory_mb
        self._folder = ""
        started_here: dict[str, Any] = {}
        # The driver computes nothing; how many threads a worker has is its own affair.
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.pop(name, None)
        # Ray reads these when it is imported. It is to tell nobody that it is used.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if options.address == LOCAL:
            # Who reaches Ray's ports can run programs: they listen on the loopback interface, and ask for a token.
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
            os.environ.pop("RAY_ADDRESS", None)
            self._folder = options.folder
            started_here = {
                "num_cpus": max((os.cpu_count() or 2) - 1, options.workers * (options.threads or 1), options.threads),
                "include_dashboard": False,
                "_temp_dir": self._folder,
                **({"num_gpus": 0} if options.device == "cpu" else {}),
            }
        else:
            _knock(options.address)
        try:
            import ray
        except ImportError as error:
            self._tidy()
            raise RayUnavailable(f"Ray cannot be imported ({error}): pip install 'fedcoin[ray]'") from error
        self._ray = ray
        try:
            ray.init(
                address=options.address,
                log_to_driver=False,
                logging_level="ERROR",
                ignore_reinit_error=False,
                **started_here,
            )
        except Exception as error:  # Ray has no one error for this: ConnectionError, RuntimeError, ValueError, RayError
            self._tidy()
            raise RayUnavailable(f"no Ray cluster at {options.address}: {_first_line(error)}") from error
        self._actor_class = ray.remote(RayWorker)

    def nodes(self) -> list[Node]:
        """The nodes that are alive. Raises WorkerLost if nobody knows."""
        try:
            rows = self._ray.nodes()
        except self._ray.exceptions.RayError as error:
            raise WorkerLost(_first_line(error)) from error
        return [
            Node(
                row["NodeID"],
                row["NodeManagerHostname"],
                int(row["Resources"].get("CPU", 0)),
                int(row["Resources"].get("GPU", 0)),
            )
            for row in rows
            if row["Alive"]
        ]

    def start_worker(self, place: Place) -> Any:
        """A new worker's handle. It comes to life when Ray has room for it on its node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return self._actor_class.options(
            num_cpus=0 if place.gpu else place.threads,
            num_gpus=1 if place.gpu else 0,
            # A worker that dies is replaced by the pool, which knows where there is room.
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.node.name, soft=False),
        ).remote(place.threads, place.device, self._memory_mb)

    def end_worker(self, handle: Any) -> None:
        """Ends a worker at once, if it is not gone already."""
        with suppress(Exception):
            self._ray.kill(handle, no_restart=True)

    def put(self, data: bytes) -> Any:
        """Lays bytes into the cluster's object store, once for all workers; they stay while the reference is kept."""
        return self._ray.put(data)

    def wait(self, calls: Sequence[Any], seconds: float) -> list[Any]:
        """Those of `calls` that have an answer or have failed, as soon as there is one, [] after `seconds`."""
        done, _ = self._ray.wait(list(calls), num_returns=1, timeout=seconds)
        if done and len(calls) > 1:
            done, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        return list(done)

    def answer(self, call: Any) -> Answer:
        """The answer to a call that is done. Raises WorkerLost if there will be none."""
        try:
            answer: Answer = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            raise WorkerLost(_first_line(error)) from error
        return answer

    def close(self) -> None:
        """Ends all workers, and Ray where it was started here."""
        with suppress(Exception):
            self._ray.shutdown()
        self._tidy()

    def _tidy(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def _knock(address: str) -> None:
    """Raises RayUnavailable if nobody listens at HOST:PORT, which Ray itself says only after minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in address:
        return  # `auto`, or another form that Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RayUnavailable(
            f"nobody answers at {address} ({error}): start the cluster with `ray start --head`, or see --ray-address"
        ) from error


def _first_line(error: Exception) -> str:
    """What Ray says, without the pages that follow."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
