"""The smallest network of real processes: two miners, an FL server, an FL client; and what they take of the machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedcoin.core.genesis import Allocation
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UNITS_PER_FDC, UTILITY_SCALE
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.node.genesis_file import make_genesis, write_genesis
from fedcoin.node.key_file import write_key_file

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("miner", "server", "client")
_NAMES = (*ROLES, "partner", "requester")
_READY_SECONDS = 240.0
_STOP_SECONDS = 60.0
_TRIES = 4


@dataclass
class Process:
    """A role that runs."""

    popen: subprocess.Popen[bytes]
    log: Path
    address: str = ""

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None

    def resident(self) -> int:
        """Resident memory in bytes, without its children's."""
        text = Path(f"/proc/{self.popen.pid}/status").read_text(encoding="ascii")
        line = next(line for line in text.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def handles(self) -> int:
        """Open file handles."""
        return len(os.listdir(f"/proc/{self.popen.pid}/fd"))

    def text(self) -> str:
        """What it has logged."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass
class Village:
    """The network; to be closed."""

    folder: Path
    running: dict[str, Process] = field(default_factory=dict)

    def start(self) -> None:
        """Makes keys and a genesis and starts the four. Raises RuntimeError if one does not come up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = {name: PrivateKey(bytes([0x31 + index]) * 32) for index, name in enumerate(_NAMES)}
        for name, key in keys.items():
            write_key_file(self.folder / f"{name}.json", key, None, plain=True)
        params = replace(DEFAULT_PARAMS, initial_difficulty=UTILITY_SCALE // 50, audit_interval_ms=1000)
        allocations = [Allocation(key.address, 10_000 * UNITS_PER_FDC) for key in keys.values()]
        miners = [keys["miner"].public_key, keys["partner"].public_key]
        genesis = make_genesis(params, allocations, miners, time.time_ns() // 1_000_000)
        write_genesis(self.folder / "genesis.json", genesis)
        self._role("fedcoin-miner", "miner", "--data", "miner-data")
        peer = self.running["miner"].address
        self._role("fedcoin-miner", "partner", "--data", "partner-data", "--peer", peer)
        known = ("--miner", peer, "--miner", self.running["partner"].address)
        self._role("fedcoin-server", "server", "--data", "server-data", "--round-deadline", "10", *known)
        server = ("--server", self.running["server"].address)
        self._role(
            "fedcoin-client", "client", "--dataset", "digits", "--shares", "1", "--samples", "60", *server, *known
        )

    def buy(self) -> bool:
        """A whole order of one round, so that there are tasks, estimates and settled blocks. False if it failed."""
        words = [
            *("request", "--genesis", "genesis.json", "--key", "requester.json", "--budget", "10", "--rounds", "1"),
            *("--server", self.running["server"].address, "--miner", self.running["miner"].address),
            *("--model", "softmax", "--evaluation-samples", "60"),
        ]
        command = [sys.executable, str(ROOT / "cmd" / "fedcoin"), *words]
        with (self.folder / "request.log").open("wb") as log:
            return any(  # a loaded machine may be too slow for the deadlines of calls
                subprocess.run(command, cwd=self.folder, stdout=log, stderr=log, timeout=600, check=False).returncode
                == 0
                for _ in range(_TRIES)
            )

    def close(self) -> dict[str, int]:
        """SIGTERM to all, and SIGKILL to what is left; the exit status by name."""
        for process in reversed(self.running.values()):
            process.popen.terminate()
        for process in self.running.values():
            try:
                process.popen.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.popen.pid, signal.SIGKILL)
                process.popen.wait()
        return {name: process.popen.returncode for name, process in self.running.items()}

    def _role(self, program: str, name: str, *words: str) -> None:
        ready, log = self.folder / f"{name}.ready", self.folder / f"{name}.log"
        command = [
            *(sys.executable, "-m", "fuzzlib.unlimited", program, "--genesis", "genesis.json", "--key", f"{name}.json"),
            *("--listen", "127.0.0.1:0", "--ready-file", str(ready), "--device", "cpu", "--threads", "1", *words),
            "--until-eof",  # it ends with the tool, however that ends
        ]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tools")])
        with log.open("wb") as output:
            popen = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": paths},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        process = self.running[name] = Process(popen, log)
        end = time.monotonic() + _READY_SECONDS
        while not ready.exists():
            if not process.alive or time.monotonic() > end:
                raise RuntimeError(f"{name} did not start:\n{process.text()[-2000:]}")
            time.sleep(0.1)
        process.address = ready.read_text(encoding="ascii").strip()
