"""`fedcoin genesis`: the file that a new network begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from fedcoin.cli.amounts import AMOUNT, format_amount, format_both, parse_amount
from fedcoin.cli.connection import FILE
from fedcoin.cli.output import json_option, parse_id, print_fields, print_json
from fedcoin.cli.params import DIFFICULTY
from fedcoin.cli.program import now_ms
from fedcoin.core.errors import AmountMalformed
from fedcoin.core.genesis import Allocation
from fedcoin.core.keys import PUBLIC_KEY_SIZE, parse_address
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.node.genesis_file import make_genesis, write_genesis
from fedcoin.node.key_file import inspect_key_file
from fedcoin.node.network_report import supply_of


@click.command()
@click.argument("path", type=FILE, metavar="FILE")
@click.option("--name", default=DEFAULT_PARAMS.name, show_default=True, help="Name of the network, for people.")
@click.option(
    "--miner",
    "miners",
    multiple=True,
    required=True,
    metavar="KEY",
    help="Public key of a first miner, or its key file; repeat it, two miners at least.",
)
@click.option(
    "--allocate",
    "allocations",
    multiple=True,
    required=True,
    metavar="ADDRESS=FDC",
    help="What an account has at the start; repeat it. There will never be more money than this.",
)
@click.option(
    "--difficulty",
    type=DIFFICULTY,
    default=str(DEFAULT_PARAMS.initial_difficulty / UTILITY_SCALE),
    show_default=True,
    help="D of the first TASK block; smaller is harder, and more exact.",
)
@click.option(
    "--interval",
    type=click.IntRange(1),
    default=DEFAULT_PARAMS.target_interval_ms,
    show_default=True,
    metavar="MS",
    help="Time that a Shapley task should take; D follows it.",
)
@click.option(
    "--audit-interval",
    type=click.IntRange(1),
    default=DEFAULT_PARAMS.audit_interval_ms,
    show_default=True,
    metavar="MS",
    help="The same for AUDIT blocks, which confirm payments between tasks.",
)
@click.option(
    "--heartbeat",
    type=click.IntRange(0),
    default=DEFAULT_PARAMS.heartbeat_ms,
    show_default=True,
    metavar="MS",
    help="Make an empty block after this long without one; 0: never.",
)
@click.option(
    "--norm",
    type=click.IntRange(0, 8),
    default=DEFAULT_PARAMS.norm,
    show_default=True,
    help="p of the p-distance; 0 for the maximum norm.",
)
@click.option(
    "--min-fee", type=AMOUNT, default=f"{DEFAULT_PARAMS.min_fee} units", show_default=True, help="Of every transaction."
)
@click.option(
    "--bond",
    type=AMOUNT,
    default=format_amount(DEFAULT_PARAMS.miner_bond),
    show_default=True,
    help="What each miner leaves with the chain, and loses if it is convicted of fraud. The first miners get theirs on "
    "top of what is allocated.",
)
@click.option(
    "--bond-blocks",
    type=click.IntRange(1),
    default=DEFAULT_PARAMS.bond_blocks,
    show_default=True,
    metavar="N",
    help="A bond comes back this many blocks after its miner has left; at least as many as --finality.",
)
@click.option(
    "--finality",
    type=click.IntRange(1),
    default=DEFAULT_PARAMS.finality_depth,
    show_default=True,
    metavar="BLOCKS",
    help="No branch that forks deeper than this is ever adopted.",
)
@json_option
def genesis(
    path: Path,
    name: str,
    miners: tuple[str, ...],
    allocations: tuple[str, ...],
    difficulty: int,
    interval: int,
    audit_interval: int,
    heartbeat: int,
    norm: int,
    min_fee: int,
    bond: int,
    bond_blocks: int,
    finality: int,
    as_json: bool,
) -> None:
    """Make the genesis file FILE of a new network.

    It names the first miners and how much money each account has; miners get their bonds besides. Its hash is the chain
    id, so everybody needs the very same file.
    """
    params = replace(
        DEFAULT_PARAMS,
        name=name,
        initial_difficulty=difficulty,
        min_difficulty=min(DEFAULT_PARAMS.min_difficulty, difficulty),
        max_difficulty=max(DEFAULT_PARAMS.max_difficulty, difficulty),
        target_interval_ms=interval,
        audit_interval_ms=audit_interval,
        heartbeat_ms=heartbeat,
        norm=norm,
        min_fee=min_fee,
        miner_bond=bond,
        bond_blocks=bond_blocks,
        finality_depth=finality,
    )
    made = make_genesis(
        params, [_allocation(text) for text in allocations], [_miner(text) for text in miners], now_ms()
    )
    write_genesis(path, made)
    supply = supply_of(made.genesis)
    if as_json:
        print_json({"file": str(path), "chain_id": made.chain_id, "supply": supply, "miners": len(made.genesis.miners)})
        return
    print_fields(
        [
            ("file", path),
            ("chain id", made.chain_id.hex()),
            ("supply", format_both(supply)),
            ("miners", f"{len(made.genesis.miners)}, each with a bond of {format_both(bond)}"),
        ]
    )


def _miner(text: str) -> bytes:
    if Path(text).is_file():
        return inspect_key_file(Path(text)).public_key
    return parse_id(text, "public key", PUBLIC_KEY_SIZE)


def _allocation(text: str) -> Allocation:
    address, separator, amount = text.partition("=")
    if not separator:
        raise AmountMalformed(f"{text!r} is no ADDRESS=FDC, such as fdc1…=1000")
    return Allocation(parse_address(address), parse_amount(amount))
