"""Options that the three role programs share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from fedcoin.cli.connection import FILE
from fedcoin.node.config import TlsPaths

MINER_PORT, SERVER_PORT, CLIENT_PORT = 7070, 7080, 7090
"""Where each role listens, unless it is told otherwise."""


SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
"""click's settings of a program."""


def epilog(prefix: str) -> str:
    """Where options come from."""
    return (
        "Every option can also stand in the --config file (TOML, named as here without the dashes in front), or in "
        f"the environment as {prefix}_<OPTION>. Flags come first, then the environment, then the file."
    )


def node_config_options(port: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--genesis, --listen, --advertise and --tls-…; the command gets `node_fields`, for its configuration."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def choose(
            genesis: Path,
            listen: str,
            advertise: str,
            tls_cert: Path | None,
            tls_key: Path | None,
            tls_ca: Path | None,
            max_connections: int,
            ban_ms: int,
            **options: Any,
        ) -> Any:
            fields = {
                "genesis": genesis,
                "listen": listen,
                "advertise": advertise,
                "tls": TlsPaths(tls_cert, tls_key, tls_ca),
                "max_connections": max_connections,
                "ban_ms": ban_ms,
            }
            return function(node_fields=fields, **options)

        chosen: Callable[..., Any] = choose
        for option in (
            click.option(
                "--ban",
                "ban_ms",
                type=click.IntRange(0),
                default=600_000,
                show_default=True,
                metavar="MS",
                help="How long who sends too much that is invalid is refused; 0: nobody is.",
            ),
            click.option(
                "--max-connections",
                type=click.IntRange(1),
                default=512,
                show_default=True,
                help="Connections of callers at most.",
            ),
            click.option(
                "--tls-ca",
                type=FILE,
                help="Authorities (PEM) that sign certificates; with it both sides must show one.",
            ),
            click.option("--tls-key", type=FILE, help="Key of --tls-cert (PEM, P-256 or RSA)."),
            click.option("--tls-cert", type=FILE, help="Certificate (PEM): serve with TLS."),
            click.option(
                "--advertise", default="", metavar="HOST:PORT", help="Where others reach this node. [default: --listen]"
            ),
            click.option(
                "--listen",
                default=f"127.0.0.1:{port}",
                show_default=True,
                metavar="HOST:PORT",
                help="Where to serve; 0.0.0.0:PORT for other machines, port 0 for any free one.",
            ),
            click.option(
                "--genesis", type=FILE, required=True, help="The network's genesis file (see fedcoin genesis)."
            ),
        ):
            chosen = option(chosen)
        return chosen

    return decorate


def miners_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--miner, repeated; the command gets `miners`."""
    return click.option(
        "--miner",
        "miners",
        multiple=True,
        required=True,
        metavar="HOST:PORT",
        help="A miner to ask about the chain; repeat it for more, in case one does not answer.",
    )(function)


def learning_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--device and --threads."""
    for option in (
        click.option(
            "--threads", type=click.IntRange(0), default=0, help="CPU threads for learning. [default: cores minus one]"
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:<index>."),
    ):
        function = option(function)
    return function
