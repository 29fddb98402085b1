"""A node in a process of its own, whose memory and patience an attack is measured by.

    python -m tests.support.victim miner|server FOLDER

serves until its standard input ends. A miner has a real store, chain, mempool, peers and RPCs, and no evaluator.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedcoin.rpc.calls import Deadlines
from fedcoin.rpc.limits import Limits
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import serve

ROOT = Path(__file__).resolve().parents[2]
READY = "listening on "
LARGE_BLOB = bytes(48 << 20)
"""What a miner holds for those who ask."""


class Victim:
    """The process, as its attacker's test sees it."""

    def __init__(self, role: str, folder: Path) -> None:
        words = [sys.executable, "-m", "tests.support.victim", role, str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith(READY), f"it did not start: {line!r}"
        self.address = line.removeprefix(READY).strip()

    @property
    def alive(self) -> bool:
        """Whether it runs yet."""
        return self._process.poll() is None

    @property
    def resident(self) -> int:
        """Bytes of memory that it holds now."""
        return self._status("VmRSS")

    @property
    def peak(self) -> int:
        """Bytes of memory that it has held at most since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Begin to measure anew."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    @property
    def handles(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) << 10


async def latencies(address: str, calls: int = 20) -> Sequence[float]:
    """Seconds that an honest caller waits for each of `calls` status requests over a connection of its own."""
    # However long it takes on a busy machine: what counts is that it is not refused.
    async with MinerClient(address, deadlines=Deadlines(call=120.0)) as client:
        await client.status()
        taken = []
        for _ in range(calls):
            began = time.monotonic()
            await client.status()
            taken.append(time.monotonic() - began)
        return sorted(taken)


async def _serve(role: str, folder: Path) -> None:
    if role == "miner":
        from tests.support.miner_parts import Parts
        from tests.support.network import make_genesis

        parts = Parts(folder, make_genesis(3))
        parts.store.put_blob(hashlib.sha256(LARGE_BLOB).digest(), LARGE_BLOB)
        handler: Any = parts.service
    else:
        from tests.support.tiny_federation import Federation

        federation = Federation(folder)
        await federation.begin()
        handler = federation.requests
    running = await serve(handler, "127.0.0.1:0", limits=Limits())
    print(f"{READY}{running.address}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await running.stop(0)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2])))
