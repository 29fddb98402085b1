"""The worker process: torch stays in it, and it neither outlives its parent nor takes it along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedcoin.core.errors import ModelDoesNotFit, WorkerFailed
from fedcoin.core.model import ModelSpec
from fedcoin.node.learning_jobs import ModelFacts, describe_model
from fedcoin.node.worker import Worker
from tests.support.game import MODEL


def _bug() -> None:
    raise ZeroDivisionError("a bug")


async def test_results_errors_and_crashes_come_back_from_the_process() -> None:
    worker = Worker()
    try:
        assert await worker.run(describe_model, MODEL) == ModelFacts(10, 1024 + 8 + 4 * 10 + 2 * 256 + 4 * 14)
        with pytest.raises(ModelDoesNotFit):
            await worker.run(describe_model, ModelSpec(MODEL.family, "bad", (0,), 2, MODEL.layers))
        with pytest.raises(WorkerFailed, match="ZeroDivisionError: a bug"):
            await worker.run(_bug)
        assert await worker.run(os.getpid) != os.getpid()
        with pytest.raises(WorkerFailed, match="died"):
            await worker.run(os._exit, 1)
        assert (await worker.run(describe_model, MODEL)).parameters == 10
    finally:
        worker.stop()


def test_an_fl_server_does_not_import_torch() -> None:
    code = "import sys, fedcoin.node.server_role; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


_PARENT = """
import asyncio, os, sys
from fedcoin.node.worker import Worker

async def main():
    worker = Worker()
    print(await worker.run(os.getpid), flush=True)
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    # The worker holds the pipe's other end as well: that there is an end to what can be read shows that it is gone.
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -9
    assert int(done.stdout) > 0, done.stderr
