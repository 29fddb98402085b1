"""A miner's evaluator on a Ray cluster of its own (`--evaluator ray`): for the miner one more evaluator process.

That process is Ray's driver. A value depends on its own walk alone, so the leaves are those of a single machine,
wherever they are computed; between processors of different kinds they may differ by rounding, which audits tolerate.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass

from fedcoin.core.errors import RayUnavailable
from fedcoin.node.evaluator_frames import Head
from fedcoin.node.evaluator_process import EvaluatorProcess
from fedcoin.node.ray_plan import check_device

PATIENCE_SECONDS = 60.0
"""How long a request waits for a worker while the cluster has none."""
_STOP_SECONDS = 10.0
"""Somewhat longer than the driver gives Ray."""


@dataclass(frozen=True)
class RayWorkerView:
    """A worker as the driver sees it."""

    host: str
    pid: int
    """On that host."""
    device: str
    iterations: int
    """That it has done so far."""


class RayEvaluator(EvaluatorProcess):
    """The RaceEvaluator of a Ray cluster. `pid` is the driver's; `restarts` counts drivers and workers."""

    _command = "from fedcoin.node.ray_driver import main; main()"
    _stop_seconds = _STOP_SECONDS

    def __init__(self, address: str = "", workers: int = 0, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`address`: HOST:PORT of the cluster's head; empty: what RAY_ADDRESS says, or a new Ray on this machine.

        `workers`: at most; 0: as many as the cluster has room for. `patience_seconds`: how long a request waits for a
        worker while the cluster has none.
        """
        super().__init__()
        self._address = address or os.environ.get("RAY_ADDRESS", "") or "local"
        self._count = workers
        self._patience = patience_seconds
        self._folder = ""
        """Of a Ray that is started here."""
        self._workers_lost = 0
        """Of the present driver."""
        self.workers: tuple[RayWorkerView, ...] = ()
        """As of the last answer."""

    async def start(self, threads: int | None = None, device: str = "auto", memory_mb: int = 0) -> None:
        """Connects to the cluster, or starts one, and starts its workers.

        `threads`: of each worker; None: all those of its node, or as many as let `workers` find room. `memory_mb`: as
        in EvaluatorProcess, in each worker. Raises RayUnavailable, DeviceUnavailable, EvaluatorFailed.
        """
        if not _installed():
            raise RayUnavailable("Ray is not installed: pip install 'fedcoin[ray]'")
        check_device(device)
        if self._address == "local":
            self._folder = await asyncio.to_thread(_make_folder)
        settings = (threads or 0, device, memory_mb, self._address, self._count, self._patience, self._folder)
        await self._start(*map(str, settings))

    async def stop(self) -> None:
        """Ends Ray's driver, its workers, and Ray itself if it was started here."""
        await super().stop()
        if self._folder:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _end_worker(self) -> None:
        driver = self.pid
        await super()._end_worker()
        if driver is not None:
            # Of a Ray that was started here and whose driver was killed, some processes would go on for a minute.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(driver, signal.SIGKILL)

    async def _read(self) -> tuple[Head, bytes]:
        head, body = await super()._read()
        if "workers" in head:
            self.workers = tuple(RayWorkerView(**view) for view in head["workers"])
            self.device = head["device"]
            # A new driver begins at 0 again.
            self.restarts += head["lost"] - self._workers_lost if head["lost"] > self._workers_lost else 0
            self._workers_lost = head["lost"]
        return head, body


def _make_folder() -> str:
    """A folder with a short path: Ray keeps sockets there, whose paths may have some hundred bytes at most."""
    return tempfile.mkdtemp(prefix="fedcoin-ray-", dir="/tmp" if os.path.isdir("/tmp") else None)


def _installed() -> bool:
    try:
        return importlib.util.find_spec("ray") is not None
    except ValueError:  # somebody has put something without a specification in its place
        return False
