"""What a local network shows while it runs: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fedcoin.cli.amounts import format_amount
from fedcoin.cli.output import make_table
from fedcoin.core.block import Block
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import PaymentKind
from fedcoin.node.network_report import NetworkReport, block_row
from fedcoin.rpc.views import MiningProgress, OrderPhase, OrderProgress

_KEPT_LINES = 12
_PLAIN_SECONDS = 5.0


class LocalnetView:
    """Takes what happens and shows it. Use as a context manager."""

    def __init__(self, screen: Console, norm: int = 2) -> None:
        self._screen = screen
        self._norm = norm
        self._started = time.monotonic()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._mining: Mapping[str, MiningProgress] = {}
        self._order: OrderProgress | None = None
        self._told = ""
        self._height = 0
        self._told_mining = 0.0
        self._live = Live(get_renderable=self._render, console=screen, refresh_per_second=4, transient=True)

    def __enter__(self) -> LocalnetView:
        if self._screen.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live.is_started:
            self._live.stop()
            for line in self._lines:
                self._screen.print(Text(line))

    # --- what happens ---

    def note(self, text: str) -> None:
        """Something worth a line."""
        line = f"{time.monotonic() - self._started:7.1f} s  {text}"
        self._lines.append(line)
        if not self._live.is_started:
            self._screen.print(Text(line), soft_wrap=True)

    def block(self, block: Block) -> None:
        """The chain has a new tip."""
        row = block_row(block, self._norm)
        kind = "TASK" if block.header.kind is RaceKind.TASK else "AUDIT"
        if row.height <= self._height:
            self.note(f"two miners won at once: the chain is reorganised at block {row.height}")
        self._height = row.height
        self.note(
            f"block {row.height} {kind:5} won by {row.winner[:12]}… after {row.time} iterations, "
            f"distance {row.distance:.5f} ≤ D {row.difficulty:.5f}, {row.transactions} transactions"
        )
        clients = [payment.amount for payment in block.payments if payment.kind is PaymentKind.CLIENT]
        if block.task is not None:
            self.note(
                f"round {block.task.round + 1} settled: {len(clients)} of {len(block.task.contributors)} clients paid, "
                f"{format_amount(min(clients, default=0))} to {format_amount(max(clients, default=0))}, "
                f"together {format_amount(sum(clients))}"
            )
        for payment in block.payments:
            if payment.kind in (PaymentKind.RETURN, PaymentKind.REFUND):
                self.note(f"{payment.kind.name.lower()} of {format_amount(payment.amount)} to the requester")

    def order(self, progress: OrderProgress) -> None:
        """The server has come further with the order."""
        self._order = progress
        text = describe_order(progress)
        if text != self._told:
            self._told = text
            self.note(text)

    def mining(self, progress: Mapping[str, MiningProgress]) -> None:
        """Where each miner stands in its race."""
        self._mining = progress
        now = time.monotonic()
        if not self._live.is_started and now - self._told_mining >= _PLAIN_SECONDS:
            self._told_mining = now
            for name, race in progress.items():
                if race.active:
                    self.note(f"{name} {describe_race(race)}")

    # --- how it looks ---

    def _render(self) -> Group:
        parts: list[Table | Text] = [Text(f"{time.monotonic() - self._started:.0f} s", style="dim")]
        if self._order is not None:
            parts.append(Text(describe_order(self._order), style="bold"))
        if self._mining:
            parts.append(mining_table(self._mining))
        parts += [Text(line) for line in self._lines]
        return Group(*parts)


def describe_order(progress: OrderProgress) -> str:
    """Where an order stands, in one line."""
    place = f"round {progress.round + 1} of {progress.rounds}" if progress.rounds else ""
    words = {
        OrderPhase.OFFERED: "order: waits for the deposit to be confirmed",
        OrderPhase.WAITING: f"order: waits, {place}",
        OrderPhase.TRAINING: f"order: training, {place}, {progress.updates} of {progress.clients} updates",
        OrderPhase.MINING: f"order: Shapley task published, {place}, {progress.clients} clients",
        OrderPhase.FINISHED: "order: finished",
        OrderPhase.FAILED: "order: failed",
    }[progress.phase]
    return f"{words} ({progress.message})" if progress.message else words


def describe_race(race: MiningProgress) -> str:
    """Where a miner stands, in one line."""
    kind = RaceKind(race.kind).name if race.kind else "no race"
    return (
        f"{kind}: {race.iterations} iterations, {race.iterations_per_second:.1f} a second, "
        f"distance {format_distance(race.distance)} of D {race.difficulty:.5f}, "
        f"heard from {race.heard_from} of {race.quorum} needed"
    )


def format_distance(value: float) -> str:
    """A distance, or `unknown`."""
    return "unknown" if value < 0 else f"{value:.5f}"


def mining_table(progress: Mapping[str, MiningProgress]) -> Table:
    """All miners' races."""
    rows = [
        (
            name,
            RaceKind(race.kind).name if race.active and race.kind else "idle",
            race.iterations if race.active else "",
            f"{race.iterations_per_second:.1f}" if race.active else "",
            format_distance(race.distance) if race.active else "",
            f"{race.difficulty:.5f}" if race.active else "",
            f"{race.heard_from} / {race.quorum}" if race.active else "",
        )
        for name, race in progress.items()
    ]
    return make_table(("miner", "race", ">iterations", ">a second", ">distance", ">D", ">heard / needed"), rows)


def print_report(screen: Console, report: NetworkReport) -> None:
    """The closing tables."""
    screen.print(
        make_table(
            ("client", "type", ">samples", ">EMD", ">Shapley value", ">paid (FDC)"),
            [
                (
                    row.address,
                    row.type,
                    row.samples,
                    f"{row.emd:.3f}",
                    "took no part" if row.shapley is None else f"{row.shapley:+.5f}",
                    format_amount(row.paid).removesuffix(" FDC"),
                )
                for row in report.clients
            ],
            "Clients: quality of data, worth, pay",
        )
    )
    types = sorted({row.type for row in report.clients}, key=lambda name: int(name[1:]))
    if len(types) < len(report.clients):
        screen.print(
            make_table(("type", ">clients", ">EMD", ">mean Shapley value", ">mean pay (FDC)"), _by_type(report))
        )
    screen.print(
        make_table(
            ("account", "role", ">balance (FDC)"),
            [(row.address, row.role, format_amount(row.balance).removesuffix(" FDC")) for row in report.accounts],
            "Balances",
        )
    )
    for number, value in enumerate(report.model_accuracy, start=1):
        screen.print(f"accuracy of the model after round {number}: {value:.4f}")
    for audit in report.audits:
        screen.print(f"audit of block {audit['height']}: {'HOLDS' if audit['holds'] else 'DOES NOT HOLD'}")
    same = "equals" if report.supply_now == report.supply_genesis else "DIFFERS FROM"
    screen.print(
        f"sum of all balances {format_amount(report.supply_now)} {same} the genesis "
        f"{format_amount(report.supply_genesis)}; {len(report.nodes)} miners agree on "
        f"block {report.nodes[0].height} ({report.nodes[0].tip[:12]}…); {report.wall_seconds:.1f} s"
    )


def _by_type(report: NetworkReport) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for name in sorted({row.type for row in report.clients}, key=lambda name: int(name[1:])):
        members = [row for row in report.clients if row.type == name]
        values = [row.shapley for row in members if row.shapley is not None]
        rows.append(
            (
                name,
                len(members),
                f"{sum(row.emd for row in members) / len(members):.3f}",
                f"{sum(values) / len(values):+.5f}" if values else "took no part",
                format_amount(sum(row.paid for row in members) // len(members)).removesuffix(" FDC"),
            )
        )
    return rows
