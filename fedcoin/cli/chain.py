"""`fedcoin chain`, `block`, `task`, `peers`, `orders`, `order`: what a miner knows."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from fedcoin.cli.amounts import format_amount, format_both
from fedcoin.cli.connection import NodeChoice, find_block, node_options
from fedcoin.cli.localnet_view import describe_race, format_distance
from fedcoin.cli.output import (
    format_time,
    json_option,
    parse_id,
    plain,
    print_fields,
    print_json,
    print_table,
    short,
)
from fedcoin.core.block import Block
from fedcoin.core.keys import address_of, format_address
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.node.network_report import block_row
from fedcoin.rpc.views import OrderInfo

_MAX_PAGE = 100


@click.command()
@click.option("--limit", type=click.IntRange(0, 1000), default=10, show_default=True, help="Latest blocks to show.")
@node_options
@json_option
def chain(limit: int, node: NodeChoice, as_json: bool) -> None:
    """Show the node's chain: its id, tip, state root, and the latest blocks."""

    async def ask() -> tuple[Any, Any, list[Block]]:
        async with node.open() as miner:
            status, genesis = await miner.status(), await miner.genesis()
            heights = range(status.height, max(0, status.height - limit), -1)
            return status, genesis, [await miner.block(None, height) for height in heights]

    status, genesis, blocks = asyncio.run(ask())
    rows = [block_row(block, genesis.params.norm) for block in blocks]
    if as_json:
        print_json({"status": status, "blocks": rows})
        return
    print_fields(
        [
            ("network", status.network),
            ("chain id", status.chain_id.hex()),
            ("height", status.height),
            ("tip", status.tip.hex()),
            ("state root", status.state_root.hex()),
            ("peers", status.peers),
            ("syncing", "yes" if status.syncing else "no"),
        ]
    )
    if rows:
        print_table(
            (">block", "kind", "winner", ">iterations", ">distance", ">D", ">transactions", ">paid (FDC)", "time"),
            [
                (
                    row.height,
                    row.kind,
                    row.winner,
                    row.time,
                    f"{row.distance:.5f}",
                    f"{row.difficulty:.5f}",
                    row.transactions,
                    format_amount(row.paid).removesuffix(" FDC"),
                    format_time(row.timestamp),
                )
                for row in rows
            ],
        )


@click.command()
@click.argument("which", required=False, metavar="[HEIGHT|HASH]")
@node_options
@json_option
def block(which: str | None, node: NodeChoice, as_json: bool) -> None:
    """Show a block of the chain; without argument the tip.

    Table 1 of the paper (winner, averaged S, winner's S, difficulty and so on), the estimates that its average rests
    on, its transactions and what it pays.
    """

    async def ask() -> tuple[Block, int]:
        async with node.open() as miner:
            return await find_block(miner, which), (await miner.genesis()).params.norm

    found, norm = asyncio.run(ask())
    if as_json:
        print_json(
            {
                "hash": found.id(),
                **plain(found),
                "winner_address": address_of(found.header.winner),
                "distance": block_row(found, norm).distance,
                "transaction_ids": [item.id(found.header.chain_id) for item in found.transactions],
            }
        )
    else:
        _print_block(found, norm)


def _print_block(found: Block, norm: int) -> None:
    header, row = found.header, block_row(found, norm)
    print_fields(
        [
            ("block", f"{header.height} ({row.kind.upper()})"),
            ("hash", row.hash),
            ("previous hash", header.previous.hex()),
            ("time", format_time(header.timestamp)),
            ("winner", f"{row.winner} (key {header.winner.hex()})"),
            ("difficulty D", f"{row.difficulty:.9f}"),
            ("distance", f"{row.distance:.9f}"),
            ("merkle root", header.merkle_root.hex()),
            ("state root", header.state_root.hex()),
            ("task", header.task.hex()),
            *([("order", f"{found.task.order.hex()}, round {found.task.round + 1}")] if found.task else []),
        ]
    )
    print_table(
        ("miner", ">iterations", ">share of S̄"),
        [
            (
                format_address(address_of(item.miner)),
                item.time,
                "winner" if place == 0 else f"{item.time / max(1, header.averaged_time):.1%}",
            )
            for place, item in enumerate(found.certificate)
        ],
        "Certificate",
    )
    names = (
        [format_address(item.address) for item in found.task.contributors]
        if found.task
        else [f"update {index}" for index in range(len(header.averaged_total))]
    )
    print_table(
        ("client", ">averaged S", ">winner's S"),
        [
            (
                name,
                f"{mean / (max(1, header.averaged_time) * UTILITY_SCALE):+.6f}",
                f"{own / (max(1, header.winner_time) * UTILITY_SCALE):+.6f}",
            )
            for name, mean, own in zip(names, header.averaged_total, header.winner_total, strict=False)
        ],
        "Shapley values",
    )
    if found.payments:
        print_table(
            ("payment", "from", "to", ">amount (FDC)"),
            [
                (
                    item.kind.name.lower(),
                    format_address(item.payer),
                    format_address(item.payee),
                    format_amount(item.amount).removesuffix(" FDC"),
                )
                for item in found.payments
            ],
            "Payments",
        )
    if found.transactions:
        print_table(
            ("transaction", "from", "kind", ">fee (FDC)"),
            [
                (
                    item.id(header.chain_id).hex(),
                    format_address(item.sender_address),
                    type(item.body).__name__,
                    format_amount(item.fee).removesuffix(" FDC"),
                )
                for item in found.transactions
            ],
            "Transactions",
        )


@click.command()
@node_options
@json_option
def task(node: NodeChoice, as_json: bool) -> None:
    """Show the open Shapley task and how far the node's race has come."""

    async def ask() -> tuple[Any, Any]:
        async with node.open() as miner:
            return await miner.mining(), await miner.open_tasks()

    race, tasks = asyncio.run(ask())
    if as_json:
        print_json({"mining": race, "open_tasks": tasks})
        return
    if not tasks:
        click.echo("no Shapley task is open")
    for item in tasks:
        print_fields(
            [
                ("order", f"{item.order.hex()}, round {item.round + 1}"),
                ("clients", item.problem.clients),
                ("model", item.problem.model.name),
                ("utility", item.problem.utility.name.lower()),
                ("TrainPrice", format_both(item.train_price)),
                ("ComPrice", format_both(item.com_price)),
                ("SapPrice", format_both(item.sap_price)),
                ("difficulty D", f"{item.difficulty / UTILITY_SCALE:.9f}"),
                ("opened", format_time(item.opened_at)),
                ("expires", format_time(item.expiry)),
            ],
            "Open Shapley task",
        )
    click.echo(f"race: {describe_race(race)}" if race.active else "the miner is idle")
    if race.estimates:
        print_table(
            ("miner", ">iterations", ">distance"),
            [(short(item.miner), item.time, format_distance(item.distance)) for item in race.estimates],
        )


@click.command()
@node_options
@json_option
def peers(node: NodeChoice, as_json: bool) -> None:
    """Show the miners that the node knows."""

    async def ask() -> Any:
        async with node.open() as miner:
            return list(await miner.peers())

    known = asyncio.run(ask())
    if as_json:
        print_json(known)
        return
    print_table(
        ("address", "miner", "connected", ">height", "last heard"),
        [
            (
                peer.address,
                format_address(address_of(peer.public_key)) if peer.public_key else "unknown",
                "yes" if peer.connected else "no",
                peer.height,
                format_time(peer.last_seen),
            )
            for peer in known
        ],
    )


@click.command()
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Orders to show.")
@node_options
@json_option
def orders(limit: int, node: NodeChoice, as_json: bool) -> None:
    """List the orders of the chain."""

    async def ask() -> list[OrderInfo]:
        async with node.open() as miner:
            found: list[OrderInfo] = []
            while len(found) < limit:
                after = found[-1].order_id if found else b""
                page = await miner.orders(after, min(_MAX_PAGE, limit - len(found)))
                if not page:
                    break
                found += page
            return found

    known = asyncio.run(ask())
    if as_json:
        print_json(known)
        return
    print_table(
        ("order", "state", ">rounds settled", ">deposit (FDC)", ">in escrow (FDC)", "requester"),
        [
            (
                info.order_id.hex(),
                info.state.name.lower(),
                f"{info.rounds_settled} of {info.order.rounds}",
                format_amount(info.order.amount).removesuffix(" FDC"),
                format_amount(info.escrow).removesuffix(" FDC"),
                short(info.requester),
            )
            for info in known
        ],
    )


@click.command()
@click.argument("order_id", metavar="ID")
@node_options
@json_option
def order(order_id: str, node: NodeChoice, as_json: bool) -> None:
    """Show the order ID: its terms, and how far the chain has settled it."""
    wanted = parse_id(order_id, "order id")

    async def ask() -> OrderInfo:
        async with node.open() as miner:
            return await miner.order(wanted)

    info = asyncio.run(ask())
    if as_json:
        print_json(info)
        return
    terms = info.order
    print_fields(
        [
            ("order", info.order_id.hex()),
            ("state", info.state.name.lower()),
            ("requester", format_address(info.requester)),
            ("FL server", format_address(terms.server)),
            ("deposit V", format_both(terms.amount)),
            ("in escrow", format_both(info.escrow)),
            ("rounds settled", f"{info.rounds_settled} of {terms.rounds}"),
            ("train : com : sap", f"{terms.train_share} : {terms.com_share} : {terms.sap_share}"),
            ("schedule", terms.schedule.name.lower()),
            ("model", f"{terms.model.name} for {terms.model.input_shape}, {terms.model.classes} classes"),
            ("aggregation", terms.aggregation.name.lower()),
            ("utility", terms.utility.name.lower()),
            ("baseline", terms.baseline.name.lower()),
            ("sampler", terms.sampler.name.lower()),
            ("evaluation set", terms.evaluation_set.hex()),
            ("clients at least", terms.min_clients),
            ("expires", format_time(terms.expiry)),
            ("confirmed in block", f"{info.confirmed_height} ({info.confirmations} confirmations)"),
        ]
    )
