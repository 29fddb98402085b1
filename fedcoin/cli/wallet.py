"""`fedcoin keys`, `balance`, `send`, `tx`, `history`, `register-miner`, `leave`: what an account holder needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from fedcoin.cli.amounts import AMOUNT, format_amount, format_both
from fedcoin.cli.connection import (
    FILE,
    NodeChoice,
    choose_address,
    key_option,
    node_options,
    open_key,
    read_passphrase,
    submit,
    wait_for,
)
from fedcoin.cli.output import format_time, json_option, parse_id, plain, print_fields, print_json, print_table
from fedcoin.core.fraud import DoubleSign, FraudVote
from fedcoin.core.keys import address_of, format_address, parse_address
from fedcoin.core.transaction import (
    Body,
    MinerLeave,
    MinerRegistration,
    Order,
    Payment,
    PaymentKind,
    Transaction,
    Transfer,
)
from fedcoin.node.key_file import inspect_key_file, random_key, write_key_file
from fedcoin.rpc.views import HistoryEntry, TransactionInfo, TransactionState

_WAIT_HELP = "Wait until it stands this many blocks deep in the chain."


@click.group()
def keys() -> None:
    """Make and show key files. A key is an account: whoever has it and its passphrase can spend what it holds."""


@keys.command("new")
@click.argument("path", type=FILE, metavar="FILE")
@click.option("--plain", "unencrypted", is_flag=True, help="Do not encrypt the key: for trials only.")
@json_option
def new_key(path: Path, unencrypted: bool, as_json: bool) -> None:
    """Make a key and write it to FILE, encrypted with a passphrase. FILE must not exist."""
    key = random_key()
    write_key_file(path, key, None if unencrypted else read_passphrase(path, new=True), plain=unencrypted)
    _show_key(path, as_json)


@keys.command("show")
@click.argument("path", type=FILE, metavar="FILE")
@json_option
def show_key(path: Path, as_json: bool) -> None:
    """Show the address and public key of FILE. No passphrase is needed; the private key is never shown."""
    _show_key(path, as_json)


def _show_key(path: Path, as_json: bool) -> None:
    shown = inspect_key_file(path)
    for warning in shown.warnings:
        click.echo(f"warning: {warning}", err=True)
    fields = {
        "file": str(path),
        "address": format_address(shown.address),
        "public_key": shown.public_key.hex(),
        "encrypted": shown.encrypted,
    }
    if as_json:
        print_json(fields)
    else:
        print_fields((name.replace("_", " "), value) for name, value in fields.items())


@click.command()
@click.argument("address", required=False)
@key_option(required=False)
@node_options
@json_option
def balance(address: str | None, key_path: Path | None, node: NodeChoice, as_json: bool) -> None:
    """Show what the account ADDRESS holds, or that of a key file."""
    wanted = choose_address(address, key_path)

    async def ask() -> Any:
        async with node.open() as miner:
            return await miner.account(wanted)

    account = asyncio.run(ask())
    if as_json:
        print_json(account)
        return
    print_fields(
        [
            ("address", format_address(account.address)),
            ("balance", format_both(account.balance)),
            ("transactions made", account.nonce),
            ("waiting", max(0, account.pending_nonce - account.nonce)),
            ("as of block", account.height),
        ]
    )


@click.command()
@click.argument("recipient")
@click.argument("amount", type=AMOUNT)
@key_option()
@click.option("--fee", type=AMOUNT, help="For the block winner. [default: the least that the chain takes]")
@click.option("--wait", type=click.IntRange(0), default=0, metavar="N", help=_WAIT_HELP)
@node_options
@json_option
def send(
    recipient: str, amount: int, key_path: Path, fee: int | None, wait: int, node: NodeChoice, as_json: bool
) -> None:
    """Send AMOUNT to the address RECIPIENT.

    AMOUNT is in FDC, such as 12.5, or in units of a hundred-millionth, such as '1250000000 units'.
    """
    body = Transfer(parse_address(recipient), amount)
    _submit(node, key_path, body, fee, wait, as_json, f"{format_amount(amount)} to {recipient}")


@click.command("register-miner")
@key_option()
@click.option("--name", required=True, help="A word for people, such as the name of the machine.")
@click.option("--fee", type=AMOUNT, help="For the block winner. [default: the least that the chain takes]")
@click.option("--wait", type=click.IntRange(0), default=0, metavar="N", help=_WAIT_HELP)
@node_options
@json_option
def register_miner(key_path: Path, name: str, fee: int | None, wait: int, node: NodeChoice, as_json: bool) -> None:
    """Register the key as a miner, so that it may take part in races from the next block on.

    Besides the fee the chain's bond leaves the account. It comes back some time after `fedcoin leave`, unless the miner
    is convicted of fraud by then.
    """
    _submit(node, key_path, MinerRegistration(name), fee, wait, as_json, f"registration of {name}")


@click.command()
@key_option()
@click.option("--fee", type=AMOUNT, help="For the block winner. [default: the least that the chain takes]")
@click.option("--wait", type=click.IntRange(0), default=0, metavar="N", help=_WAIT_HELP)
@node_options
@json_option
def leave(key_path: Path, fee: int | None, wait: int, node: NodeChoice, as_json: bool) -> None:
    """Stop the key from mining. The chain gives its bond back after as many blocks as the genesis says."""
    _submit(node, key_path, MinerLeave(), fee, wait, as_json, "the miner leaves")


def _submit(
    node: NodeChoice,
    key_path: Path,
    body: Body,
    fee: int | None,
    wait: int,
    as_json: bool,
    what: str,
) -> None:
    key = open_key(key_path)

    async def hand_in() -> tuple[bytes, int, int, TransactionInfo | None]:
        async with node.open() as miner:
            transaction_id, nonce, paid = await submit(miner, key, body, fee)
            return transaction_id, nonce, paid, await wait_for(miner, transaction_id, wait) if wait else None

    transaction_id, nonce, paid, info = asyncio.run(hand_in())
    height = info.height if info is not None else None
    if as_json:
        print_json({"transaction": transaction_id, "nonce": nonce, "fee": paid, "height": height})
        return
    state = f"confirmed in block {height}" if info is not None else "waits for a block (see fedcoin tx)"
    print_fields(
        [("sent", what), ("fee", format_amount(paid)), ("transaction", transaction_id.hex()), ("state", state)]
    )


@click.command()
@click.argument("transaction_id", metavar="ID")
@node_options
@json_option
def tx(transaction_id: str, node: NodeChoice, as_json: bool) -> None:
    """Show the transaction ID and how far it has come. Status 1 if the node does not know it."""
    wanted = parse_id(transaction_id, "transaction id")

    async def ask() -> TransactionInfo:
        async with node.open() as miner:
            return await miner.transaction(wanted)

    info = asyncio.run(ask())
    if as_json:
        print_json(info)
    else:
        print_fields([("transaction", wanted.hex()), ("state", _describe_state(info)), *_describe(info.transaction)])
    if info.state is TransactionState.UNKNOWN:
        click.get_current_context().exit(1)


def _describe_state(info: TransactionInfo) -> str:
    if info.state is TransactionState.CONFIRMED:
        return f"confirmed in block {info.height}, {info.confirmations} confirmations"
    return "waits for a block" if info.state is TransactionState.PENDING else "unknown to this node"


def _describe(transaction: Transaction | None) -> list[tuple[str, object]]:
    if transaction is None:
        return []
    body = transaction.body
    rows: list[tuple[str, object]] = [
        ("from", format_address(transaction.sender_address)),
        ("nonce", transaction.nonce),
        ("fee", format_amount(transaction.fee)),
    ]
    if isinstance(body, Transfer):
        return [*rows, ("to", format_address(body.recipient)), ("amount", format_both(body.amount))]
    if isinstance(body, Order):
        return [
            *rows,
            ("order for server", format_address(body.server)),
            ("deposit", format_both(body.amount)),
            ("rounds", body.rounds),
            ("model", body.model.name),
            ("train : com : sap", f"{body.train_share} : {body.com_share} : {body.sap_share}"),
            ("expires", format_time(body.expiry)),
        ]
    if isinstance(body, MinerRegistration):
        return [*rows, ("registers miner", body.name)]
    if isinstance(body, MinerLeave):
        return [*rows, ("miner", "leaves")]
    if isinstance(body, FraudVote):
        return [*rows, ("votes in fraud case", body.case.hex())]
    if isinstance(body, DoubleSign):
        return [*rows, ("double signature of", _miner(body.first.winner)), ("at height", body.first.height)]
    return [*rows, ("accuses", _miner(body.estimate.miner)), ("of leaf", body.accused.index)]


def _miner(public_key: bytes) -> str:
    return format_address(address_of(public_key))


@click.command()
@click.argument("address", required=False)
@key_option(required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Entries to show.")
@node_options
@json_option
def history(address: str | None, key_path: Path | None, limit: int, node: NodeChoice, as_json: bool) -> None:
    """Show what came to and left the account ADDRESS, or that of a key file; newest first."""
    wanted = choose_address(address, key_path)

    async def ask() -> list[HistoryEntry]:
        async with node.open() as miner:
            return list(await miner.history(wanted, None, limit))

    entries = asyncio.run(ask())
    if as_json:
        print_json({"address": wanted, "entries": plain(entries)})
        return
    print_table(
        ("block", "time", "what", "other side", ">amount (FDC)"),
        [
            (
                entry.height,
                format_time(entry.timestamp),
                _what(entry.payment) if entry.payment else "transaction",
                format_address(entry.counterparty) if entry.counterparty else "",
                ("+" if entry.amount > 0 else "") + format_amount(entry.amount).removesuffix(" FDC"),
            )
            for entry in entries
        ],
    )


def _what(payment: Payment) -> str:
    """Why a block has paid; bonds belong to no round."""
    name = payment.kind.name.lower()
    bonds = (PaymentKind.BOND, PaymentKind.REWARD, PaymentKind.DAMAGES)
    return name if payment.kind in bonds else f"{name} of round {payment.round + 1}"
