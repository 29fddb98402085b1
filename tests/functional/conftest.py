"""The real programs as real processes, started as a person would start them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90.0


@dataclass
class Running:
    """A role that runs."""

    process: subprocess.Popen[bytes]
    log: Path
    address: str

    def text(self) -> str:
        """What it has written."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9, its children included."""
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def pause(self) -> None:
        """It does nothing any more, but its connections stay open."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on after `pause`."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(30)


class ByHand:
    """Starts programs in a folder, and ends them with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "FEDCOIN_PASSPHRASE": "a passphrase for tests"}
        self._running: list[Running] = []

    def tool(self, *words: object, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """`fedcoin …`; with `ok` a status other than 0 fails the test."""
        command = [sys.executable, str(ROOT / "cmd" / "fedcoin"), *map(str, words)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert not ok or done.returncode == 0, done.stderr
        return done

    def ask(self, *words: object) -> Any:
        """`fedcoin … --json`, parsed."""
        return json.loads(self.tool(*words, "--json").stdout)

    def begin(self, program: str, *words: object, name: str = "", around: Sequence[object] = ()) -> Running:
        """Start a program; does not wait until it listens. `around`: a command that runs it, `nsenter …` say."""
        log = self.folder / f"{name or program}.log"
        command = [*map(str, around), sys.executable, str(ROOT / "cmd" / program), *map(str, words)]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        running = Running(process, log, "")
        self._running.append(running)
        return running

    def start(self, program: str, *words: object, name: str, listen: str = "127.0.0.1:0") -> Running:
        """Start a role and wait until it listens."""
        return self.await_ready(self.launch(program, *words, name=name, listen=listen), name)

    def launch(
        self, program: str, *words: object, name: str, listen: str = "127.0.0.1:0", around: Sequence[object] = ()
    ) -> Running:
        """Start a role; others may be started meanwhile. Its address is what it was told until `await_ready`."""
        ready = self.folder / f"{name}.ready"
        ready.unlink(missing_ok=True)
        running = self.begin(program, "--listen", listen, "--ready-file", ready, *words, name=name, around=around)
        running.address = listen
        return running

    def await_ready(self, running: Running, name: str) -> Running:
        """Wait until a launched role listens."""
        ready = self.folder / f"{name}.ready"
        wait_until(lambda: ready.exists() or running.process.poll() is not None, READY_SECONDS, running.text)
        assert running.process.poll() is None, running.text()
        running.address = ready.read_text().strip()
        return running

    def close(self) -> None:
        """SIGTERM to all, and SIGKILL to what is left."""
        for running in reversed(self._running):
            if running.process.poll() is None:
                running.resume()  # what is paused would not hear of it
                running.process.terminate()
        for running in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)


def wait_until(condition: Callable[[], Any], seconds: float, explain: Callable[[], str] = lambda: "") -> Any:
    """The first true value of `condition`; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not so after {seconds} s: {explain()[-3000:]}"
        time.sleep(0.1)
    return value


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[ByHand]:
    """Programs started by hand in a folder of their own."""
    programs = ByHand(tmp_path)
    yield programs
    programs.close()


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    """Programs that all tests of a file share."""
    started = ByHand(tmp_path_factory.mktemp("programs"))
    yield started
    started.close()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keeps a line of the table that `make faults` prints: what was seen."""

    def keep(seen: str) -> None:
        path = os.environ.get("FAULTS_REPORT")
        if path:
            with open(path, "a", encoding="utf-8") as report:
                report.write(json.dumps({"test": request.node.name, "seen": seen}) + "\n")

    return keep


@pytest.fixture
def until() -> Callable[..., Any]:
    """`wait_until`."""
    return wait_until
