"""A whole network as processes on this machine: miners, an FL server, clients, and a requester that buys a model.

Every process is one of the programs that a person would start by hand, with the same flags; what this adds is keys, a
genesis file, free ports handed over through ready files, and a look at what happens.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError, ProcessFailed
from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import bond_address
from fedcoin.node.block_audit import audit_block
from fedcoin.node.data_shares import ShareFacts
from fedcoin.node.genesis_file import write_genesis
from fedcoin.node.key_file import random_key, write_key_file
from fedcoin.node.localnet_plan import LocalnetPlan, client_facts
from fedcoin.node.network_report import (
    NetworkReport,
    NodeRow,
    account_rows,
    block_row,
    client_rows,
    read_accounts,
    read_blocks,
    supply_of,
)
from fedcoin.node.processes import Child, ProcessGroup
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server_client import ServerClient
from fedcoin.rpc.views import MiningProgress, OrderPhase, OrderProgress

_POLL_SECONDS = 0.5
_AGREE_SECONDS = 60.0
"""Miners have this long to agree on a tip after the requester has its model."""


class Observer(Protocol):
    """Who is told what happens."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def block(self, block: Block) -> None:
        """The chain has a new tip."""

    def order(self, progress: OrderProgress) -> None:
        """The server has come further with the order."""

    def mining(self, progress: Mapping[str, MiningProgress]) -> None:
        """Where each miner stands in its race."""


@dataclass(frozen=True)
class Member:
    """A process of the network that listens."""

    name: str
    address: str
    """HOST:PORT."""


class Localnet:
    """Starts the network, follows one order through it, and reports. `stop` ends every process."""

    def __init__(self, plan: LocalnetPlan, folder: Path, observer: Observer) -> None:
        """`folder` gets keys, chains, logs and the requester's model and bill."""
        self.plan = plan
        self.folder = folder
        self._observer = observer
        package_root = str(Path(__file__).resolve().parents[2])
        python_path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
        self.processes = ProcessGroup(folder / "logs", {"PYTHONPATH": python_path})
        self._keys: dict[str, PrivateKey] = {}
        self._roles: dict[bytes, str] = {}
        self._miners: list[Member] = []
        self._server: Member | None = None
        self._started = 0.0

    async def run(self) -> NetworkReport:
        """The whole story. Raises ProcessFailed as soon as a process fails, and whatever the nodes report."""
        self._started = time.monotonic()
        story = asyncio.ensure_future(self._story())
        watch = asyncio.ensure_future(self.processes.watch())
        try:
            await asyncio.wait({story, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
            return await story
        finally:
            for task in (story, watch):
                task.cancel()
            await asyncio.gather(story, watch, return_exceptions=True)

    async def stop(self) -> None:
        """Ends every process."""
        await self.processes.stop()

    # --- the story ---

    async def _story(self) -> NetworkReport:
        shares = await asyncio.to_thread(self.plan.shares)
        await asyncio.to_thread(self.plan.check_order)
        self._make_keys(shares)
        genesis = await asyncio.to_thread(self._make_genesis, shares)
        await self._start_miners(genesis)
        await self._start_server(genesis)
        # The server waits for the clients, so the requester need not: their starts overlap.
        clients = await self._start_clients(genesis)
        requester = await self._start_requester(genesis)
        for child in clients:
            await self.processes.ready(child)
        self._observer.note(
            f"{self.plan.clients} clients run in {len(clients)} process{'es' if len(clients) > 1 else ''}"
        )
        async with AsyncExitStack() as stack:
            miners = {
                member.name: await stack.enter_async_context(MinerClient(member.address)) for member in self._miners
            }
            server = await stack.enter_async_context(ServerClient(self._address_of_server()))
            following = [
                asyncio.ensure_future(self._follow_blocks(next(iter(miners.values())))),
                asyncio.ensure_future(self._follow_mining(miners)),
                asyncio.ensure_future(self._follow_order(next(iter(miners.values())), server)),
            ]
            try:
                status = await requester.process.wait()
                if status:
                    raise requester.failure(f"ended with status {status}")
                return await self._report(miners, server, shares)
            finally:
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)

    def _make_keys(self, shares: list[ShareFacts]) -> None:
        # Plain files: the keys are as short-lived as the network, and each encrypted one costs half a second to open.
        names = [(f"miner-{number}", "miner") for number in range(self.plan.miners)]
        names += [("server", "server"), ("requester", "requester")]
        names += [(f"client-{share.index}", "client") for share in shares]
        for name, role in names:
            key = random_key()
            write_key_file(self._key_path(name), key, None, plain=True)
            self._keys[name] = key
            self._roles[key.address] = role
            if role == "miner":
                self._roles[bond_address(key.public_key)] = "bond"

    def _make_genesis(self, shares: list[ShareFacts]) -> Path:
        miners = [self._keys[f"miner-{number}"].public_key for number in range(self.plan.miners)]
        path = self.folder / "genesis.json"
        write_genesis(path, self.plan.genesis(self._keys["requester"].address, miners, time.time_ns() // 1_000_000))
        self._observer.note(
            f"genesis made: {self.plan.miners} miners, "
            f"{len(shares)} clients of {len({share.type for share in shares})} types of data, folder {self.folder}"
        )
        return path

    async def _start_miners(self, genesis: Path) -> None:
        for number in range(self.plan.miners):
            name = f"miner-{number}"
            command = [*self._role("miner", genesis, name), "--data", str(self.folder / name)]
            command += ["--threads", str(self.plan.threads), "--device", self.plan.device]
            for member in self._miners[:1]:
                command += ["--peer", member.address]
            child = await self.processes.start(name, command)
            if number == 0:
                self._miners.append(Member(name, await self.processes.ready(child)))
        for child in self.processes.children[1 : self.plan.miners]:
            self._miners.append(Member(child.name, await self.processes.ready(child)))
        self._observer.note("miners listen on " + ", ".join(member.address for member in self._miners))

    async def _start_server(self, genesis: Path) -> None:
        command = [*self._role("server", genesis, "server"), "--data", str(self.folder / "server")]
        command += [*self._miner_flags(), "--clients-per-round", str(self.plan.clients)]
        command += ["--iterations", str(self.plan.iterations), "--batch-size", str(self.plan.batch_size)]
        command += ["--learning-rate", str(self.plan.learning_rate), "--seed", str(self.plan.seed)]
        child = await self.processes.start("server", command)
        self._server = Member("server", await self.processes.ready(child))
        self._observer.note(f"FL server listens on {self._server.address}")

    async def _start_clients(self, genesis: Path) -> list[Child]:
        plan, children = self.plan, []
        for number, (first, count) in enumerate(plan.client_groups()):
            name = f"clients-{number}" if plan.client_processes > 1 else "clients"
            command = [sys.executable, "-m", "fedcoin.cli.client", *self._common(genesis)]
            for index in range(first, first + count):
                command += ["--key", str(self._key_path(f"client-{index}"))]
            command += ["--server", self._address_of_server(), *self._miner_flags(), *plan.data_flags()]
            command += ["--first-share", str(first), "--threads", str(plan.threads)]
            children.append(await self.processes.start(name, command))
        return children

    async def _start_requester(self, genesis: Path) -> Child:
        plan = self.plan
        command = [sys.executable, "-m", "fedcoin.cli.main", "request", "--json", "--until-eof"]
        command += ["--key", str(self._key_path("requester")), "--genesis", str(genesis), *self._miner_flags()]
        command += ["--server", self._address_of_server(), "--budget", f"{plan.budget} units"]
        command += ["--rounds", str(plan.rounds), "--model", plan.model, "--dataset", plan.dataset]
        command += ["--data-root", str(plan.data_root)] if plan.data_root else []
        command += ["--utility", plan.utility, "--sampler", plan.sampler]
        command += ["--evaluation-samples", str(plan.evaluation_samples)]
        command += ["--min-clients", str(plan.clients), "--expires", str(plan.expires_minutes)]
        command += ["--out", str(self.folder / "model.safetensors"), "--bill", str(self.folder / "bill.json")]
        return await self.processes.start("requester", command, ends=True)

    # --- following ---

    async def _follow_blocks(self, miner: MinerClient) -> None:
        next_height = 1
        while True:
            with suppress(FedCoinError):
                async for block in miner.watch_blocks(next_height):
                    next_height = block.header.height + 1
                    self._observer.block(block)
            await asyncio.sleep(_POLL_SECONDS)

    async def _follow_mining(self, miners: Mapping[str, MinerClient]) -> None:
        while True:
            with suppress(FedCoinError):
                found = await asyncio.gather(*(miner.mining() for miner in miners.values()))
                self._observer.mining(dict(zip(miners, found, strict=True)))
            await asyncio.sleep(_POLL_SECONDS)

    async def _follow_order(self, miner: MinerClient, server: ServerClient) -> None:
        while True:
            with suppress(FedCoinError):
                for order in await miner.orders():
                    async for progress in server.watch_order(order.order_id):
                        self._observer.order(progress)
                        if progress.phase in (OrderPhase.FINISHED, OrderPhase.FAILED):
                            return
            await asyncio.sleep(_POLL_SECONDS)

    # --- the end ---

    async def _report(
        self, miners: Mapping[str, MinerClient], server: ServerClient, shares: list[ShareFacts]
    ) -> NetworkReport:
        nodes = await self._agreement(miners)
        first = next(iter(miners.values()))
        genesis, blocks = await first.genesis(), await read_blocks(first)
        accounts = await read_accounts(first)
        for name, miner in miners.items():
            # Same state root, so same balances; asked all the same, because that is what people care about.
            if (await miner.status()).tip.hex() == nodes[0].tip and await read_accounts(miner) != accounts:
                raise ProcessFailed(f"{name} tells other balances than {nodes[0].name} for the same block")
        accuracy: list[float] = []
        for order in await first.orders():
            accuracy += [report.accuracy for report in (await server.order_progress(order.order_id)).reports]
        audits = await self._audit(first, blocks) if self.plan.verify else ()
        return NetworkReport(
            network=genesis.params.name,
            chain_id=genesis.id().hex(),
            settings={
                key: str(value) if isinstance(value, Path) else value for key, value in asdict(self.plan).items()
            },
            blocks=tuple(block_row(block, genesis.params.norm) for block in blocks),
            clients=client_rows(client_facts(shares, self._keys), blocks),
            accounts=account_rows(accounts, self._roles, blocks),
            nodes=nodes,
            audits=audits,
            supply_genesis=supply_of(genesis),
            supply_now=sum(account.balance for account in accounts),
            model_accuracy=tuple(accuracy),
            wall_seconds=time.monotonic() - self._started,
        )

    async def _agreement(self, miners: Mapping[str, MinerClient]) -> tuple[NodeRow, ...]:
        deadline = time.monotonic() + _AGREE_SECONDS
        while True:
            rows = []
            for name, miner in miners.items():
                status = await miner.status()
                row = (status.height, status.tip.hex(), status.state_root.hex())
                rows.append(NodeRow(name, miner.address, *row))
            if len({(row.tip, row.state_root) for row in rows}) == 1:
                return tuple(rows)
            if time.monotonic() > deadline:
                stand = "; ".join(f"{row.name} at {row.height} {row.tip[:12]}" for row in rows)
                raise ProcessFailed(f"the miners do not agree on a tip after {_AGREE_SECONDS:.0f} s: {stand}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _audit(self, miner: MinerClient, blocks: Sequence[Block]) -> tuple[dict[str, Any], ...]:
        async def nobody(_: bytes) -> None:
            return None

        audits = []
        for block in blocks:
            if block.task is not None:
                result = await audit_block(miner, block, miner.get_blob, nobody, device=self.plan.device)
                self._observer.note(
                    f"audit of block {result.height}: " + ("HOLDS" if result.holds else "; ".join(result.reasons))
                )
                audits.append(
                    {
                        "height": result.height,
                        "holds": result.holds,
                        "reasons": list(result.reasons),
                        "iterations": sum(item.recomputed for item in result.estimates),
                        "exact": all(item.exact for item in result.estimates),
                    }
                )
        return tuple(audits)

    # --- command lines ---

    def _role(self, role: str, genesis: Path, name: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            f"fedcoin.cli.{role}",
            *self._common(genesis),
            "--key",
            str(self._key_path(name)),
        ]

    def _common(self, genesis: Path) -> list[str]:
        return ["--genesis", str(genesis), "--listen", "127.0.0.1:0", "--ready-file", "{ready}", "--until-eof"]

    def _miner_flags(self) -> list[str]:
        return [word for member in self._miners for word in ("--miner", member.address)]

    def _key_path(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.json"

    def _address_of_server(self) -> str:
        if self._server is None:
            raise ProcessFailed("the FL server has not been started")
        return self._server.address
