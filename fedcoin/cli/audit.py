"""`fedcoin audit BLOCK`: does the payout of a settled block hold?"""

from __future__ import annotations

import asyncio

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedcoin.cli.amounts import format_amount
from fedcoin.cli.connection import NodeChoice, find_block, node_options
from fedcoin.cli.output import console, json_option, plain, print_fields, print_json, print_table
from fedcoin.core.keys import address_of, format_address
from fedcoin.node.block_audit import BlockAudit, audit_block


@click.command()
@click.argument("which", metavar="HEIGHT|HASH")
@click.option(
    "--iterations",
    type=click.IntRange(1),
    metavar="N",
    help="Recompute only N iterations of each estimate, drawn at random. The miners are asked for those leaves.",
)
@click.option("--seed", type=int, help="Of that draw. [default: a fresh one]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:<index>.")
@node_options
@json_option
def audit(which: str, iterations: int | None, seed: int | None, device: str, node: NodeChoice, as_json: bool) -> None:
    """Recompute a settled block's Shapley vector and say whether its payout holds.

    Updates and evaluation set are fetched by digest, and every iteration behind every estimate of the certificate is
    computed again from its public permutation. Then the average, the distance, and each payment are checked to the
    unit. Exit status 0: HOLDS, 1: DOES NOT HOLD, or an error on standard error that kept it from
    being checked.
    """
    result = asyncio.run(_audit(which, iterations, seed, device, node))
    if as_json:
        print_json({"verdict": "HOLDS" if result.holds else "DOES NOT HOLD", "holds": result.holds, **plain(result)})
    else:
        _print(result)
    if not result.holds:
        click.get_current_context().exit(1)


async def _audit(which: str, iterations: int | None, seed: int | None, device: str, node: NodeChoice) -> BlockAudit:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeRemainingColumn(),
    )
    async with node.open() as miner, node.open_peers() as peers:
        block = await find_block(miner, which)
        with Progress(*columns, console=console(stderr=True), transient=True) as bar:
            line = bar.add_task("recomputing", total=None, unit="iterations")

            def prepared(done: int, total: int) -> None:
                bar.update(line, description="preparing", unit="coalitions", completed=done, total=total)

            def advanced(done: int, total: int) -> None:
                bar.update(line, description="recomputing", unit="iterations", completed=done, total=total)

            return await audit_block(
                miner, block, peers.blob, peers.miner, iterations, seed, device, advanced, prepared
            )


def _print(result: BlockAudit) -> None:
    print_fields(
        [
            ("block", f"{result.height} ({result.block.hex()})"),
            ("settles", f"order {result.order.hex()}, round {result.round + 1}"),
        ]
    )
    print_table(
        ("estimate of", ">iterations", ">recomputed", ">largest difference", "verdict"),
        [
            (
                format_address(address_of(item.miner)),
                item.time,
                item.recomputed,
                "none, to the bit" if item.exact else f"{item.deviation:.2e}",
                item.reason or "holds",
            )
            for item in result.estimates
        ],
    )
    print_table(
        ("client", ">Shapley value", ">recomputed", ">paid (FDC)", ">due (FDC)"),
        [
            (
                format_address(item.address),
                f"{item.shapley:+.6f}",
                "sampled" if item.recomputed is None else f"{item.recomputed:+.6f}",
                format_amount(item.paid).removesuffix(" FDC"),
                format_amount(item.due).removesuffix(" FDC"),
            )
            for item in result.clients
        ],
    )
    for reason in result.reasons:
        click.echo(f"- {reason}")
    click.echo("HOLDS" if result.holds else "DOES NOT HOLD")
