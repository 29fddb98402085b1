"""`fedcoin miners`, `frauds`: who may mine, with what bond, and who is accused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click

from fedcoin.cli.amounts import format_fdc
from fedcoin.cli.connection import NodeChoice, node_options
from fedcoin.cli.output import json_option, print_json, print_table, short
from fedcoin.core.keys import address_of, format_address
from fedcoin.ledger.miners import MinerStanding
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.views import FraudCaseInfo, MinerInfo

T = TypeVar("T", MinerInfo, FraudCaseInfo)

_PAGE = 100


def _limit_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help=f"{what} to show.")


@click.command()
@_limit_option("Miners")
@node_options
@json_option
def miners(limit: int, node: NodeChoice, as_json: bool) -> None:
    """List the chain's miners: standing, bond, and since when."""
    found = _read(node, lambda miner, last: miner.miners(last.public_key if last else b"", _PAGE), limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("miner", "name", "standing", ">bond (FDC)", ">registered in"),
        [
            (
                format_address(address_of(info.public_key)),
                info.name,
                _standing(info),
                format_fdc(info.bond),
                info.registered_height or "genesis",
            )
            for info in found
        ],
    )


@click.command()
@_limit_option("Cases")
@node_options
@json_option
def frauds(limit: int, node: NodeChoice, as_json: bool) -> None:
    """List the open fraud cases: which miners are accused, by whom, and how many have confirmed it."""
    found = _read(node, lambda miner, last: miner.fraud_cases(last.case_id if last else b"", _PAGE), limit)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no fraud case is open")
        return
    print_table(
        ("case", "accused", "reporter", "state", ">votes", ">opened in", ">lapses in", "order"),
        [
            (
                short(info.case_id),
                format_address(address_of(info.accused)),
                format_address(info.reporter),
                "convicted" if info.decided else "open",
                len(info.votes),
                info.opened_height,
                info.lapse_height,
                short(info.order) if info.order else "",
            )
            for info in found
        ],
    )


def _read(node: NodeChoice, page: Callable[[MinerHandler, T | None], Awaitable[Sequence[T]]], limit: int) -> list[T]:
    """Up to `limit` items, page by page; `page(miner, last item)`."""

    async def ask() -> list[T]:
        found: list[T] = []
        async with node.open() as miner:
            while len(found) < limit:
                following = await page(miner, found[-1] if found else None)
                if not following:
                    break
                found += following
        return found[:limit]

    return asyncio.run(ask())


def _standing(info: MinerInfo) -> str:
    if info.standing is MinerStanding.REGISTERED:
        return "active" if info.active else "not heard"
    return f"{info.standing.name.lower()} since block {info.since}"
