"""A network of real processes that tests pause, kill and start again: three miners, an FL server, three clients."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fedcoin.core.block import Block
from fedcoin.core.errors import Unavailable
from fedcoin.core.genesis import Allocation
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UNITS_PER_FDC, UTILITY_SCALE
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import Order, PaymentKind
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.node.chain_view import ChainView
from fedcoin.node.genesis_file import make_genesis, write_genesis
from fedcoin.node.key_file import write_key_file
from fedcoin.node.miner import now_ms
from fedcoin.node.network_report import supply_of
from fedcoin.node.order_form import OrderForm, fill_in
from fedcoin.node.requester import Requester
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server_client import ServerClient

T = TypeVar("T")

NAMES = ("m0", "m1", "m2", "server", "requester", "payer", "poor", "c0", "c1", "c2")
ROLES = ("m0", "m1", "m2", "server", "clients", "client")
MINERS = ROLES[:3]
KEYS = {name: PrivateKey(hashlib.sha256(name.encode()).digest()) for name in NAMES}
DEADLINE_SECONDS = 8
BUDGET = 50
FEE = DEFAULT_PARAMS.min_fee


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def build_town(programs: Any, roles: Sequence[str] = ROLES) -> Town:
    """A network of its own in the programs' folder, started."""
    town = plan_town(programs)
    for name in roles:
        town.launch(name)
    for name in roles:
        town.ready(name)
    return town


def plan_town(programs: Any) -> Town:
    """As `build_town`, with nothing started yet."""
    folder = programs.folder
    for name, key in KEYS.items():
        write_key_file(folder / f"{name}.json", key, None, plain=True)
    params = replace(
        DEFAULT_PARAMS,
        name="town",
        target_interval_ms=2_000,
        audit_interval_ms=500,
        initial_difficulty=UTILITY_SCALE // 200,
    )
    supply = 1_000 * UNITS_PER_FDC
    shares = {"requester": supply - 5_000 - 100 * UNITS_PER_FDC, "payer": 100 * UNITS_PER_FDC, "poor": 5_000}
    made = make_genesis(
        params,
        [Allocation(KEYS[name].address, amount) for name, amount in shares.items()],
        [KEYS[name].public_key for name in MINERS],
        now_ms() - 1_000,
    )
    write_genesis(folder / "genesis.json", made)
    return Town(programs, made.chain_id, supply_of(made.genesis), {name: free_address() for name in ROLES}, {})


def terms(server: str) -> tuple[Order, bytes]:
    """The town's usual order, and its evaluation set."""
    form = OrderForm(BUDGET * UNITS_PER_FDC, 1, "digits", None, "softmax", min_clients=2, evaluation_samples=60)
    return fill_in(form, KEYS[server].address, now_ms() + 3_600_000)


@dataclass
class Town:
    """Three miners, a server, and three clients in two processes."""

    programs: Any
    chain_id: bytes
    supply: int
    addresses: dict[str, str]
    running: dict[str, Any]
    more: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Further words on a role's command line."""
    around: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """A command that runs the role's program."""
    reached: dict[str, str] = field(default_factory=dict)
    """Where this process reaches a role, if that is not its address."""

    @property
    def folder(self) -> Path:
        return Path(self.programs.folder)

    def words(self, name: str) -> tuple[str, ...]:
        """The command line of a role."""
        common = ("--genesis", "genesis.json", "--device", "cpu", "--threads", "1")
        miners = ("--miner", self.addresses["m0"], "--miner", self.addresses["m1"])
        if name.startswith("m"):
            peers = [
                word for other in ("m0", "m1", "m2") if other != name for word in ("--peer", self.addresses[other])
            ]
            more = ("--key", f"{name}.json", "--data", f"{name}-data", "--estimate-interval", "200", *peers)
            return "fedcoin-miner", *common, *more, *self.more.get(name, ())
        if name == "server":
            more = ("--key", "server.json", "--data", "server-data", "--round-deadline", str(DEADLINE_SECONDS))
            return "fedcoin-server", *common, *miners, *more
        keys, first = (("c0", "c1"), "0") if name == "clients" else (("c2",), "2")
        hosted = [word for key in keys for word in ("--key", f"{key}.json")]
        data = ("--dataset", "digits", "--shares", "3", "--types", "3", "--samples", "60", "--first-share", first)
        return "fedcoin-client", *common, *miners, "--server", self.addresses["server"], *hosted, *data

    def launch(self, name: str) -> None:
        program, *words = self.words(name)
        self.running[name] = self.programs.launch(
            program, *words, name=name, listen=self.addresses[name], around=self.around.get(name, ())
        )

    def ready(self, name: str) -> None:
        self.programs.await_ready(self.running[name], name)

    def restart(self, name: str) -> None:
        """kill -9, then the same command line again."""
        self.running[name].kill()
        self.launch(name)
        self.ready(name)

    def miner(self, name: str, ask: Callable[[MinerClient], Awaitable[T]]) -> T:
        """What a miner answers."""

        async def call() -> T:
            async with MinerClient(self.reached.get(name, self.addresses[name])) as client:
                return await ask(client)

        return asyncio.run(call())

    def patiently(self, name: str, ask: Callable[[MinerClient], Awaitable[T]], seconds: float = 60) -> T:
        """As `miner`, for one that was away: our own connections to it wait a little before they try again."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.miner(name, ask)
            except Unavailable:
                if time.monotonic() > end:
                    raise

    def request(self, name: str, **changes: Any) -> Any:
        """`fedcoin request` with the town's terms, begun."""
        wishes: dict[str, Any] = {
            "--key": "requester.json",
            "--server": self.addresses["server"],
            "--miner": self.addresses["m0"],
            "--genesis": "genesis.json",
            "--budget": BUDGET,
            "--rounds": 1,
            "--model": "softmax",
            "--min-clients": 2,
            "--evaluation-samples": 60,
            "--out": f"{name}.safetensors",
            **changes,
        }
        words = [word for pair in wishes.items() for word in pair]
        return self.programs.begin("fedcoin", "request", *words, name=name)

    def buy(self) -> bytes:
        """As `fedcoin request`, up to the deposit; returns the order's id."""

        async def call() -> bytes:
            async with MinerClient(self.addresses["m0"]) as miner, ServerClient(self.addresses["server"]) as server:
                buyer = Requester(KEYS["requester"], ChainView((miner,), self.chain_id), server, now_ms)
                order, evaluation_set = terms("server")
                await buyer.offer(order, evaluation_set)
                return (await buyer.deposit(order, FEE)).id(self.chain_id)

        return asyncio.run(call())

    def clients(self) -> int:
        """How many clients the server has heard of lately."""

        async def call() -> int:
            async with ServerClient(self.addresses["server"]) as server:
                return (await server.info()).clients

        return asyncio.run(call())

    def blocks(self, name: str = "m0") -> list[Block]:
        """The adopted chain."""

        async def collect(client: MinerClient) -> list[Block]:
            return [block async for block in client.blocks_after([self.chain_id], 10_000)]

        return self.miner(name, collect)

    def racing(self, name: str) -> bool:
        """Whether a miner works on a TASK race."""
        progress = self.miner(name, lambda client: client.mining())
        return progress.kind == RaceKind.TASK and progress.iterations > 0

    def pause_two(self, until: Callable[..., Any]) -> None:
        """Pauses m1 and m2: without them nobody can win, so a race of m0 lasts. They have m0's tip."""
        until(lambda: len(self.standings()) == 1, 60, lambda: str(self.standings()))
        for name in ("m1", "m2"):
            self.running[name].pause()

    def resume_two(self) -> None:
        """After `pause_two`."""
        for name in ("m1", "m2"):
            self.running[name].resume()

    def standings(self) -> set[tuple[bytes, bytes]]:
        """Tip and state root of the three miners; one pair when they agree."""

        async def ask(client: MinerClient) -> tuple[bytes, bytes]:
            status = await client.status()
            return status.tip, status.state_root

        return {self.patiently(name, ask) for name in MINERS}

    def check_money(self) -> None:
        """All the money is there, every round of every order was settled once, clients have what was paid to them."""
        accounts = self.miner("m1", lambda client: client.accounts(limit=1_000))
        assert sum(account.balance for account in accounts) == self.supply
        blocks = self.blocks()
        settled = [(block.task.order, block.task.round) for block in blocks if block.task is not None]
        assert len(settled) == len(set(settled))
        clients = {KEYS[name].address: 0 for name in ("c0", "c1", "c2")}
        for block in blocks:
            for payment in block.payments:
                if payment.kind is PaymentKind.CLIENT:
                    clients[payment.payee] += payment.amount
        balances = {account.address: account.balance for account in accounts}
        assert {address: balances.get(address, 0) for address in clients} == clients
