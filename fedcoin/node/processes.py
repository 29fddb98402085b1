"""Child processes that never outlive their parent: started with a log file each, watched, and stopped together.

Each child is the leader of a session of its own, so that Ctrl-C in a terminal reaches the parent alone, which then
stops the children in good order; and each reads its standard input from a pipe that the parent holds open, whose end
tells it that the parent is gone, even by kill -9.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedcoin.core.errors import ProcessFailed

LOG_LINES = 12
"""Shown of a child that has failed."""
READY_SECONDS = 60.0
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass
class Child:
    """A process and what it writes."""

    name: str
    process: asyncio.subprocess.Process
    log: Path
    ready_file: Path
    expected: bool = False
    """It is meant to end by itself."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.returncode is None

    def last_lines(self, count: int = LOG_LINES) -> list[str]:
        """The end of its log."""
        with suppress(OSError):
            return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
        return []

    def failure(self, what: str) -> ProcessFailed:
        """An error with the end of the log in it."""
        return ProcessFailed(f"{self.name} {what}; its log {self.log} ends: " + " | ".join(self.last_lines()))


class ProcessGroup:
    """Children that are stopped together."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """`folder` gets their logs and ready files; `environment` is added to ours, less its FEDCOIN_ variables."""
        self._folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FEDCOIN_")}
        self._environment = {**inherited, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self.children: list[Child] = []

    async def start(self, name: str, command: Sequence[str], *, ends: bool = False) -> Child:
        """Start a child. `{ready}` in the command stands for its ready file; `ends`: it is meant to end by itself."""
        self._folder.mkdir(parents=True, exist_ok=True)
        log, ready_file = self._folder / f"{name}.log", self._folder / f"{name}.ready"
        ready_file.unlink(missing_ok=True)
        words = [word.replace("{ready}", str(ready_file)) for word in command]
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )
        child = Child(name, process, log, ready_file, ends)
        self.children.append(child)
        return child

    async def ready(self, child: Child, seconds: float = READY_SECONDS) -> str:
        """HOST:PORT once the child listens. Raises ProcessFailed when it ends before, or takes too long."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not child.ready_file.exists():
            if not child.running:
                raise child.failure(f"ended with status {child.process.returncode} before it was ready")
            if asyncio.get_running_loop().time() > deadline:
                raise child.failure(f"was not ready after {seconds:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
        return child.ready_file.read_text(encoding="utf-8").strip()

    async def watch(self) -> None:
        """Never returns; raises ProcessFailed as soon as a child ends that should not, or that ends with an error."""
        while True:
            for child in self.children:
                status = child.process.returncode
                if status is not None and (status != 0 or not child.expected):
                    raise child.failure(f"ended with status {status}")
            await asyncio.sleep(4 * _POLL_SECONDS)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """SIGTERM to all, and SIGKILL to the whole session of each that has not ended after `seconds`."""
        for child in reversed(self.children):
            if child.running:
                with suppress(ProcessLookupError):
                    child.process.terminate()
        running = [asyncio.ensure_future(child.process.wait()) for child in self.children]
        if running:
            await asyncio.wait(running, timeout=seconds)
        for child in self.children:
            # Also where the leader has ended: a process that it started must not stay behind.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)
        await asyncio.gather(*running, return_exceptions=True)
