"""How the user tool finds a node, a key and its passphrase, and hands in transactions."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from fedcoin.cli.output import parse_id
from fedcoin.core.block import Block
from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.errors import BlobNotFound, IdMalformed, NotFound, PassphraseNeeded, Unavailable, WrongGenesis
from fedcoin.core.keys import PrivateKey, parse_address
from fedcoin.core.transaction import Body, sign_transaction
from fedcoin.node.key_file import inspect_key_file, read_key_file
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.tls import ClientTls
from fedcoin.rpc.views import TransactionInfo, TransactionState

PASSPHRASE_VARIABLE = "FEDCOIN_PASSPHRASE"
DEFAULT_NODE = "127.0.0.1:7070"
_MAX_HEIGHT = 2**64 - 1
"""A height is u64."""
FILE = click.Path(path_type=Path, dir_okay=False)
"""A file that need not exist."""

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class NodeChoice:
    """Which miner to ask, and how."""

    address: str
    chain_id: bytes | None
    tls: ClientTls | None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MinerHandler]:
        """A connection. Raises WrongGenesis where the node is of another chain than wanted."""
        async with MinerClient(self.address, tls=self.tls) as client:
            if self.chain_id is not None and (found := (await client.status()).chain_id) != self.chain_id:
                raise WrongGenesis(f"{self.address} runs chain {found.hex()}, wanted is {self.chain_id.hex()}")
            yield client

    @asynccontextmanager
    async def open_peers(self) -> AsyncIterator[Peers]:
        """This node and the miners that it knows."""
        async with AsyncExitStack() as stack:
            own = await stack.enter_async_context(MinerClient(self.address, tls=self.tls))
            addresses = {peer.public_key: peer.address for peer in await own.peers()}
            yield Peers(own, (await own.status()).public_key, addresses, self.tls, stack)


class Peers:
    """A miner and those that it knows, connected to when they are needed."""

    def __init__(
        self,
        own: MinerClient,
        public_key: bytes,
        addresses: Mapping[bytes, str],
        tls: ClientTls | None,
        stack: AsyncExitStack,
    ) -> None:
        self._known: dict[bytes, MinerClient] = {public_key: own}
        self._addresses = addresses
        self._tls = tls
        self._stack = stack

    async def miner(self, public_key: bytes) -> MinerHandler | None:
        """The miner with that key; None where nobody knows its address."""
        if public_key not in self._known and public_key in self._addresses:
            client = MinerClient(self._addresses[public_key], tls=self._tls)
            self._known[public_key] = await self._stack.enter_async_context(client)
        return self._known.get(public_key)

    async def blob(self, digest: bytes) -> bytes:
        """A blob, from the first that holds it. Raises BlobNotFound."""
        for public_key in (*self._known, *self._addresses):
            miner = await self.miner(public_key)
            try:
                if miner is not None:
                    return await miner.get_blob(digest)
            except (NotFound, Unavailable):
                continue
        raise BlobNotFound(f"neither this node nor any miner that it knows holds blob {digest.hex()} any more")


def tls_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--tls-ca, --tls-cert and --tls-key; the command gets them as `tls`, a ClientTls or None."""

    @wraps(function)
    def choose(tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None, **options: Any) -> Any:
        tls = ClientTls(tls_ca, tls_cert, tls_key) if tls_ca or tls_cert or tls_key else None
        return function(tls=tls, **options)

    for option in (
        click.option("--tls-key", type=FILE, envvar="FEDCOIN_TLS_KEY", help="Key of --tls-cert (PEM)."),
        click.option("--tls-cert", type=FILE, envvar="FEDCOIN_TLS_CERT", help="Our certificate (PEM), for mutual TLS."),
        click.option(
            "--tls-ca", type=FILE, envvar="FEDCOIN_TLS_CA", help="Use TLS, and trust these authorities (PEM)."
        ),
    ):
        choose = option(choose)
    return choose


def node_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--node, --chain-id and the TLS options; the command gets them as `node`, a NodeChoice."""

    @wraps(function)
    def choose(node: str, chain_id: str | None, tls: ClientTls | None, **options: Any) -> Any:
        return function(node=NodeChoice(node, parse_id(chain_id, "chain id") if chain_id else None, tls), **options)

    chosen = tls_options(choose)
    for option in (
        click.option("--chain-id", envvar="FEDCOIN_CHAIN_ID", help="Refuse a node of another chain than this."),
        click.option(
            "--node",
            envvar="FEDCOIN_NODE",
            default=DEFAULT_NODE,
            show_default=True,
            metavar="HOST:PORT",
            help="The miner to ask.",
        ),
    ):
        chosen = option(chosen)
    return chosen


def key_option(required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--key FILE."""
    return click.option(
        "--key",
        "key_path",
        type=FILE,
        envvar="FEDCOIN_KEY",
        required=required,
        help=f"Key file; its passphrase is asked for, or taken from {PASSPHRASE_VARIABLE}.",
    )


def read_passphrase(path: Path, new: bool = False) -> str:
    """The passphrase of a key file, from the environment or asked for. Raises PassphraseNeeded."""
    if passphrase := os.environ.get(PASSPHRASE_VARIABLE):
        return passphrase
    if not sys.stdin.isatty():
        raise PassphraseNeeded(f"{path} needs a passphrase: set {PASSPHRASE_VARIABLE}, or run this on a terminal")
    prompt = f"{'New passphrase' if new else 'Passphrase'} for {path}"
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True))


def open_key(path: Path) -> PrivateKey:
    """The key in a file, decrypted; says on standard error what is unsafe about the file."""
    shown = inspect_key_file(path)
    for warning in shown.warnings:
        click.echo(f"warning: {warning}", err=True)
    return read_key_file(path, read_passphrase(path) if shown.encrypted else None)


def choose_address(text: str | None, key_path: Path | None) -> bytes:
    """The address given, or the key file's (no passphrase is needed for it)."""
    if text:
        return parse_address(text)
    if key_path is None:
        raise click.UsageError("Give an ADDRESS, or a key file with --key.")
    return inspect_key_file(key_path).address


async def submit(node: MinerHandler, key: PrivateKey, body: Body, fee: int | None) -> tuple[bytes, int, int]:
    """Signs and hands in a transaction; a fee of None is the least that the chain takes. Returns (id, nonce, fee)."""
    chain_id = (await node.status()).chain_id
    if fee is None:
        fee = (await node.genesis()).params.min_fee
    nonce = (await node.account(key.address)).pending_nonce
    return await node.submit(sign_transaction(key, chain_id, nonce, fee, body), None), nonce, fee


async def wait_for(node: MinerHandler, transaction_id: bytes, confirmations: int) -> TransactionInfo:
    """Waits until a transaction stands that deep in the chain (1: in the tip)."""
    while True:
        info = await node.transaction(transaction_id)
        if info.state is TransactionState.CONFIRMED and info.confirmations >= confirmations:
            return info
        await asyncio.sleep(_POLL_SECONDS)


async def find_block(node: MinerHandler, which: str | None) -> Block:
    """A block by height, hash or nothing (the tip)."""
    if which is None or which == "tip":
        return await node.block(None, None)
    if which.isdecimal() and len(which) < 2 * HASH_SIZE:
        if int(which) > _MAX_HEIGHT:
            raise IdMalformed(f"{which!r} is no block: no height is above {_MAX_HEIGHT}")
        return await node.block(None, int(which))
    return await node.block(parse_id(which, "block: give a height or a hash"), None)
