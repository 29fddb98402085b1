"""One run: start the miners, load them, measure, let them finish, and look whether anything was lost."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedcoin.core.errors import FedCoinError
from fedcoin.rpc.miner_client import MinerClient
from loadlib.chain_watch import ChainWatch
from loadlib.network import Network
from loadlib.options import Options
from loadlib.probe import Probe
from loadlib.report import SCHEMA, Row, machine, process_figures, spread
from loadlib.traffic import Ledger, Traffic
from loadlib.usage import children, usage
from loadlib.wallets import Purse, Wallets

_FINISH_SECONDS = 90.0
"""Miners have this long to mine what was accepted, and to agree."""
_START_SECONDS = 120.0
"""Miners have this long for their first block, after the warm-up."""
_LONG = 600.0
"""Measured seconds from which samples are taken every 5 s instead of every second."""


class Run:
    """Everything that is measured."""

    def __init__(self, options: Options, folder: Path, note: Callable[[str], None]) -> None:
        """`folder` gets keys, chains and logs; `note` is told how it goes."""
        self._options = options
        self._note = note
        self._wallets = Wallets(options.accounts)
        self._network = Network(folder, options.miners, options.audit_interval_ms, options.profile)
        self._ledger = Ledger()
        self.rows: list[Row] = []

    async def perform(self) -> dict[str, Any]:
        """The report. Raises ProcessFailed, and what a miner that cannot be reached raises."""
        try:
            await self._network.start(self._wallets.addresses)
            return await self._loaded()
        finally:
            await self._network.stop()

    async def _loaded(self) -> dict[str, Any]:
        options, network = self._options, self._network
        watch = ChainWatch(network.miners[0].address, self._ledger)
        traffic = self._traffic()
        tasks = [asyncio.create_task(one) for one in (watch.run(), *(each.run() for each in traffic))]
        probe: Probe | None = None
        try:
            await self._wait(options.warm_up, tasks)
            # The first race waits for evaluators that are still importing, which says nothing about the rest.
            deadline = time.monotonic() + _START_SECONDS
            while not watch.blocks and time.monotonic() < deadline:
                await self._wait(0.5, tasks)
            probe = Probe([miner.address for miner in network.miners], options.probes)
            began = time.monotonic()
            await self._measure(began, watch, tasks, probe)
            ended = time.monotonic()
            samples = await probe.stop()
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks[1:], return_exceptions=True)
            for each in traffic:
                await each.close()
            end = await self._finish()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._report(watch, [seconds for _, seconds in samples], began, ended, end)

    def _traffic(self) -> list[Traffic]:
        options, miners = self._options, self._network.miners
        share = options.rate / len(miners)
        found = []
        for number, miner in enumerate(miners):
            purse = Purse(self._wallets.senders[number :: len(miners)], self._network.chain_id)
            found.append(Traffic(miner.address, purse, self._ledger, share, options.waiting, options.batch))
        return found

    async def _measure(self, began: float, watch: ChainWatch, tasks: list[asyncio.Task[None]], probe: Probe) -> None:
        every = 5.0 if self._options.seconds >= _LONG else 1.0
        self._sample(began, watch, probe)
        while (left := began + self._options.seconds - time.monotonic()) > 0.05:
            await self._wait(min(every, left), tasks)
            self._sample(began, watch, probe)
            self._progress()

    async def _wait(self, seconds: float, tasks: list[asyncio.Task[None]]) -> None:
        """Lets time pass. Raises what has ended a task or a miner meanwhile."""
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        self._network.check()

    def _sample(self, began: float, watch: ChainWatch, probe: Probe) -> None:
        processes = {}
        watched = [("load generator", os.getpid()), *((miner.name, miner.pid) for miner in self._network.miners)]
        for miner in self._network.miners:
            watched += [(f"{miner.name} evaluator", pid) for pid in children(miner.pid)[:1]]
        watched += [("probe", probe.pid)] if probe.pid is not None else []
        for name, pid in watched:
            seen = usage(pid)
            if seen is not None:
                processes[name] = (seen.cpu, seen.rss, seen.handles)
        self.rows.append(Row(time.monotonic() - began, self._ledger.accepted, watch.mined, processes))

    def _progress(self) -> None:
        first, last = self.rows[max(0, len(self.rows) - 16)], self.rows[-1]
        seconds = max(last.at - first.at, 1e-6)
        self._note(
            f"{last.at:6.0f} s  accepted {(last.accepted - first.accepted) / seconds:6.1f}/s  "
            f"mined {(last.mined - first.mined) / seconds:6.1f}/s  waiting {len(self._ledger.waiting):5d}"
        )

    async def _finish(self) -> dict[str, Any]:
        """Nothing more is handed in: everything accepted must be mined, and all miners agree."""
        deadline = time.monotonic() + _FINISH_SECONDS
        clients = [MinerClient(miner.address) for miner in self._network.miners]
        agree, height = False, 0
        while time.monotonic() < deadline and not (agree and not self._ledger.waiting):
            self._note(f"finishing: {len(self._ledger.waiting)} wait")
            await asyncio.sleep(0.5)
            with suppress(FedCoinError):
                found = await asyncio.gather(*(client.status() for client in clients))
                agree = len({(status.tip, status.state_root) for status in found}) == 1
                height = found[0].height
        await asyncio.gather(*(client.close() for client in clients))
        return {"lost": len(self._ledger.waiting), "agree": agree, "height": height}

    def _report(
        self, watch: ChainWatch, status: list[float], began: float, ended: float, end: dict[str, Any]
    ) -> dict[str, Any]:
        options, rows = self._options, self.rows
        seconds = rows[-1].at - rows[0].at
        processes = process_figures(rows)
        mined = rows[-1].mined - rows[0].mined
        nodes = [processes[miner.name]["cpu_s"] for miner in self._network.miners if miner.name in processes]
        blocks = [block for block in watch.blocks if began <= block.at <= ended]
        return {
            "schema": SCHEMA,
            "machine": machine(),
            "options": {
                key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()
            },
            "seconds": seconds,
            "rates": {
                "accepted": (rows[-1].accepted - rows[0].accepted) / seconds,
                "mined": mined / seconds,
            },
            "blocks": {
                "count": len(blocks),
                "most_transactions": max((block.transactions for block in blocks), default=0),
                "most_bytes": max((block.bytes for block in blocks), default=0),
            },
            "confirmation": spread([took for at, took in watch.confirmed if began <= at <= ended]),
            "status": spread(status),
            "cpu_per_mined_ms": {
                "node": 1000 * sum(nodes) / len(nodes) / mined if mined and nodes else None,
                "all_nodes": 1000 * sum(nodes) / mined if mined else None,
            },
            "processes": processes,
            "refusals": dict(self._ledger.refusals),
            "end": end,
            "series": [asdict(row) for row in rows],
        }


def show(text: str) -> None:
    """One line that the next one replaces, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
