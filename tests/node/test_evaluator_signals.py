"""What becomes of the evaluator process when its parent is stopped."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.functional

_PARENT = """
import asyncio, signal, sys
# Started from a script in the background, everything inherits that SIGINT is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
from fedcoin.node.evaluator_process import EvaluatorProcess
async def main():
    process = EvaluatorProcess()
    await process.start(1, "cpu")
    print(process.pid, flush=True)
    await asyncio.Event().wait()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    """A process with an evaluator, in a process group of its own."""
    root = str(Path(__file__).parents[2])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", _PARENT, root], start_new_session=True, **pipes)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_worker_ends_with_its_parent_and_prints_nothing(parent: subprocess.Popen[str], number: signal.Signals) -> None:
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    os.killpg(parent.pid, number)
    out, errors = parent.communicate(timeout=120)
    assert _ended(worker, 10)
    assert "Traceback" not in out + errors
    assert out.strip() == ("interrupted" if number == signal.SIGINT else "")


def _ended(pid: int, seconds: float) -> bool:
    """Whether the process has ended within that time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)
