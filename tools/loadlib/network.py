"""Miners as processes of this machine, with a genesis that gives every sender an account."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedcoin.core.genesis import Allocation
from fedcoin.core.params import UNITS_PER_FDC, ChainParams
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.node.genesis_file import make_genesis, write_genesis
from fedcoin.node.key_file import random_key, write_key_file
from fedcoin.node.processes import Child, ProcessGroup
from fedcoin.node.worker import Worker

ALLOCATION = 1_000 * UNITS_PER_FDC
"""Units of every sender and every miner at the start."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Miner:
    """One that runs."""

    name: str
    address: str
    """HOST:PORT."""
    pid: int


class Network:
    """Starts and stops the miners."""

    def __init__(self, folder: Path, miners: int, audit_interval_ms: int, profile: bool = False) -> None:
        """`folder` gets keys, chains and logs; `profile`: miners run under cProfile."""
        self.folder = folder
        self.miners: list[Miner] = []
        self.chain_id = b""
        self._count = miners
        self._interval = audit_interval_ms
        self._profile = profile
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.processes = ProcessGroup(folder / "logs", {"PYTHONPATH": path})

    async def start(self, senders: Sequence[bytes]) -> None:
        """All miners, connected to the first one. `senders`: addresses with money. Raises ProcessFailed."""
        genesis = await self._make_genesis(senders)
        first = await self._begin(0, genesis, ())
        self.miners.append(await self._ready(first))
        children = [await self._begin(number, genesis, (self.miners[0].address,)) for number in range(1, self._count)]
        for child in children:
            self.miners.append(await self._ready(child))

    async def stop(self) -> None:
        """Ends them all."""
        await self.processes.stop()

    def check(self) -> None:
        """Raises ProcessFailed if one has ended."""
        for child in self.processes.children:
            if not child.running:
                raise child.failure(f"ended with status {child.process.returncode}")

    async def _make_genesis(self, senders: Sequence[bytes]) -> Path:
        keys = [random_key() for _ in range(self._count)]
        for number, key in enumerate(keys):
            write_key_file(self.folder / "keys" / f"miner-{number}.json", key, None, plain=True)
        params = replace(DEFAULT_PARAMS, name="load", audit_interval_ms=self._interval)
        owners = [*senders, *(key.address for key in keys)]
        path, worker = self.folder / "genesis.json", Worker()
        try:
            # Elsewhere, because torch, which trains the first problem's clients, would stay in our memory.
            self.chain_id = await worker.run(_write, path, params, owners, [key.public_key for key in keys])
        finally:
            worker.stop()
        return path

    async def _begin(self, number: int, genesis: Path, peers: Sequence[str]) -> Child:
        name = f"miner-{number}"
        command = [sys.executable]
        if self._profile:
            command += ["-m", "cProfile", "-o", str(self.folder / f"{name}.prof")]
        command += ["-m", "fedcoin.cli.miner", "--genesis", str(genesis)]
        command += ["--listen", "127.0.0.1:0", "--ready-file", "{ready}", "--until-eof", "--threads", "1"]
        command += ["--key", str(self.folder / "keys" / f"{name}.json"), "--data", str(self.folder / name)]
        command += [word for peer in peers for word in ("--peer", peer)]
        return await self.processes.start(name, command)

    async def _ready(self, child: Child) -> Miner:
        return Miner(child.name, await self.processes.ready(child, 120.0), child.process.pid)


def _write(path: Path, params: ChainParams, owners: Sequence[bytes], miners: Sequence[bytes]) -> bytes:
    """Makes the genesis file; returns the chain id."""
    allocations = [Allocation(address, ALLOCATION) for address in owners]
    file = make_genesis(params, allocations, miners, time.time_ns() // 1_000_000)
    write_genesis(path, file)
    return file.chain_id
