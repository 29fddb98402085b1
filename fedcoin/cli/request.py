"""`fedcoin request`: deposit money for a model, follow its training, receive the model and a bill."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fedcoin.cli.amounts import AMOUNT, format_amount, format_fdc
from fedcoin.cli.bill import bill_to_json, print_bill
from fedcoin.cli.connection import FILE, key_option, open_key, tls_options
from fedcoin.cli.localnet_view import describe_order
from fedcoin.cli.output import console, json_option, parse_id
from fedcoin.cli.params import RATIO, SHARES, member_of, names_of, sampler_option
from fedcoin.cli.program import now_ms, run_until_stopped, until_eof_option, write_bytes, write_text
from fedcoin.cli.roles import SERVER_PORT, miners_option
from fedcoin.core.errors import ModelNotReady, OrderExpired, Unavailable
from fedcoin.core.task import Aggregation, Baseline, Sampler, Utility
from fedcoin.node.bill import Bill
from fedcoin.node.chain_view import ChainView
from fedcoin.node.genesis_file import load_genesis
from fedcoin.node.order_form import OrderForm, fill_in
from fedcoin.node.requester import (
    DepositConfirmed,
    DepositSent,
    OfferAccepted,
    OrderEvent,
    Requester,
    RoundsSettled,
    ServerProgress,
)
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server_client import ServerClient
from fedcoin.rpc.tls import ClientTls
from fedcoin.rpc.views import OrderState

T = TypeVar("T")

_MODEL_TRIES = 20
_MINUTE_MS = 60_000


@click.command()
@click.option("--genesis", type=FILE, required=True, envvar="FEDCOIN_GENESIS", help="The network's genesis file.")
@key_option()
@click.option(
    "--server", default=f"127.0.0.1:{SERVER_PORT}", show_default=True, metavar="HOST:PORT", help="The FL server."
)
@miners_option
@click.option("--budget", type=AMOUNT, help="The deposit V for all rounds, such as 100 or 12.5.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=1, show_default=True, help="Rounds of training.")
@click.option("--dataset", default="digits", show_default=True, help="Its test samples measure the clients' worth.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where named data sets lie.")
@click.option(
    "--model", default="mlp-64", show_default=True, help="softmax, mlp-64, mlp-128-64, cnn, torchvision:resnet18 …"
)
@click.option(
    "--shares",
    type=SHARES,
    default="7:1:2",
    show_default=True,
    help="TrainPrice : ComPrice : SapPrice.",
)
@click.option("--ratio", type=RATIO, default="1/1", show_default=True, help="Each round's price by the one before.")
@click.option(
    "--aggregation", type=names_of(Aggregation), default="unweighted", show_default=True, help="FedAvg's mean."
)
@click.option("--utility", type=names_of(Utility), default="accuracy", show_default=True, help="What a model is worth.")
@click.option("--baseline", type=names_of(Baseline), default="zero", show_default=True, help="What no update is worth.")
@sampler_option
@click.option("--min-clients", type=click.IntRange(1, 1024), default=1, show_default=True, help="In every round.")
@click.option("--evaluation-samples", type=click.IntRange(0), default=0, help="Test samples to use. [default: all]")
@click.option(
    "--expires",
    type=click.IntRange(1),
    default=24 * 60,
    show_default=True,
    metavar="MINUTES",
    help="What is not earned by then is refunded.",
)
@click.option("--fee", type=AMOUNT, help="For the block winner. [default: the least that the chain takes]")
@click.option(
    "--confirmations",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Blocks that the deposit must have before it counts.",
)
@click.option("--order", "order_id", metavar="ID", help="Go on with an order that was placed before.")
@click.option("--out", type=FILE, default="model.safetensors", show_default=True, help="Where the model goes.")
@click.option("--bill", "bill_path", type=FILE, help="Write the bill as JSON, too.")
@tls_options
@json_option
@until_eof_option
def request(
    genesis: Path,
    key_path: Path,
    server: str,
    miners: tuple[str, ...],
    fee: int | None,
    expires: int,
    confirmations: int,
    order_id: str | None,
    out: Path,
    bill_path: Path | None,
    tls: ClientTls | None,
    as_json: bool,
    until_eof: bool,
    **wishes: Any,
) -> None:
    """Buy a model: deposit --budget, follow the rounds, receive the model and a bill.

    The money lies in an escrow on the chain, which pays clients, server and miners when a round is settled, and refunds
    the rest when the order expires. Ctrl-C only stops looking: go on with --order.
    """
    if wishes["budget"] is None and order_id is None:
        raise click.UsageError("Give --budget for a new order, or --order to go on with an old one.")
    key = open_key(key_path)
    network = load_genesis(genesis).genesis

    async def work() -> tuple[bytes | None, Bill, bytes]:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(MinerClient(address, tls=tls)) for address in miners]
            seller = await stack.enter_async_context(ServerClient(server, tls=tls))
            chain = ChainView(clients, network.id())
            buyer = Requester(key, chain, seller, now_ms)
            with _Follower(console(stderr=True)) as follower:
                if order_id is not None:
                    placed = parse_id(order_id, "order id")
                    await follower.watch(buyer.follow(placed, confirmations))
                else:
                    order, evaluation_set = fill_in(
                        _form(wishes), (await seller.info()).address, now_ms() + expires * _MINUTE_MS
                    )
                    paid = network.params.min_fee if fee is None else fee
                    placed = await follower.watch(buyer.place_order(order, evaluation_set, paid, confirmations))
            info = await chain.order(placed)
            model = await _patiently(lambda: buyer.fetch_model(placed)) if info.state is OrderState.FINISHED else None
            return model, await buyer.final_bill(placed), placed

    model, bill, placed = run_until_stopped(work(), until_eof)
    if model is not None:
        write_bytes(out, model)
    told = bill_to_json(bill, str(out) if model is not None else None)
    if bill_path is not None:
        write_text(bill_path, json.dumps(told, indent=2) + "\n")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        print_bill(bill)
        click.echo(f"model: {out} ({len(model)} bytes)" if model is not None else "no model: see the refund above")
    if model is None:
        raise OrderExpired(
            f"order {placed.hex()} expired after {len(bill.rounds)} of {bill.order.rounds} rounds; "
            f"{format_amount(bill.returned_total)} came back"
        )


def _form(wishes: dict[str, Any]) -> OrderForm:
    return OrderForm(
        amount=wishes["budget"],
        rounds=wishes["rounds"],
        dataset=wishes["dataset"],
        data_root=wishes["data_root"],
        model=wishes["model"],
        shares=wishes["shares"],
        ratio=wishes["ratio"],
        aggregation=member_of(Aggregation, wishes["aggregation"]),
        utility=member_of(Utility, wishes["utility"]),
        baseline=member_of(Baseline, wishes["baseline"]),
        sampler=member_of(Sampler, wishes["sampler"]),
        min_clients=wishes["min_clients"],
        evaluation_samples=wishes["evaluation_samples"],
    )


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The chain may have settled the last round a moment before the server knows."""
    for attempt in range(_MODEL_TRIES):
        try:
            return await ask()
        except (ModelNotReady, Unavailable):
            if attempt == _MODEL_TRIES - 1:
                raise
            await asyncio.sleep(0.5)
    raise ModelNotReady  # not reached


class _Follower:
    """Shows an order's progress on standard error: a bar on a terminal, lines elsewhere."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._last = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rounds"),
            TimeElapsedColumn(),
            console=screen,
            disable=not screen.is_terminal,
        )
        self._line = self._bar.add_task("offering the order", total=None)

    def __enter__(self) -> _Follower:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    async def watch(self, events: Any) -> bytes:
        """Shows events until the order has ended; returns its id."""
        order_id = b""
        async for event in events:
            if isinstance(event, DepositSent):
                order_id = event.order_id
            self._show(event)
        return order_id

    def _show(self, event: OrderEvent) -> None:
        if isinstance(event, OfferAccepted):
            self._say("the FL server accepts the order")
        elif isinstance(event, DepositSent):
            self._say(f"deposit sent, order {event.order_id.hex()}")
        elif isinstance(event, DepositConfirmed):
            self._say(
                f"deposit of {format_amount(event.info.order.amount)} confirmed in block {event.info.confirmed_height}"
            )
            self._bar.update(self._line, total=event.info.order.rounds)
        elif isinstance(event, ServerProgress):
            self._say(describe_order(event.progress))
        elif isinstance(event, RoundsSettled):
            self._bar.update(self._line, completed=event.info.rounds_settled, total=event.info.order.rounds)
            self._say(
                f"{event.info.rounds_settled} of {event.info.order.rounds} rounds settled, "
                f"{format_fdc(event.info.escrow)} FDC left in escrow"
            )

    def _say(self, text: str) -> None:
        if text == self._last:
            return
        self._last = text
        if self._screen.is_terminal:
            self._bar.update(self._line, description=text)
        else:
            self._screen.print(text, soft_wrap=True)
