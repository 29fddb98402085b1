"""`fedcoin-client`: one or more FL clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fedcoin.cli.amounts import AMOUNT
from fedcoin.cli.connection import FILE, open_key
from fedcoin.cli.program import Command, common_options, name_environment, now_ms, role_options, run_role, setup_logging
from fedcoin.cli.roles import (
    CLIENT_PORT,
    SERVER_PORT,
    SETTINGS,
    epilog,
    learning_options,
    miners_option,
    node_config_options,
)
from fedcoin.node.config import ClientConfig, ClientSettings
from fedcoin.node.data_shares import ShareRule

_PREFIX = "FEDCOIN_CLIENT"


@click.command(cls=Command, context_settings=SETTINGS, epilog=epilog(_PREFIX))
@node_config_options(CLIENT_PORT)
@click.option(
    "--key",
    "keys",
    type=FILE,
    multiple=True,
    required=True,
    help="Key file of a client; repeat it to host several clients in this process.",
)
@click.option(
    "--server",
    default=f"127.0.0.1:{SERVER_PORT}",
    show_default=True,
    metavar="HOST:PORT",
    help="The FL server to work for.",
)
@miners_option
@click.option(
    "--dataset",
    default="digits",
    show_default=True,
    help="digits, mnist, fashion-mnist, cifar10, or a folder or file of your own.",
)
@click.option("--data-root", type=click.Path(path_type=Path), help="Where named data sets lie.")
@click.option(
    "--shares",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Divide the data set among this many clients, as the paper does (trials); 1: all of it is ours.",
)
@click.option(
    "--first-share",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="The share of the first --key; the next keys have the next shares.",
)
@click.option(
    "--types",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Client types T0, T1 …: each has samples of one class less.",
)
@click.option("--samples", type=click.IntRange(1), help="Of each share. [default: as many as all can have]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the division.")
@click.option("--min-train-price", type=AMOUNT, default="0", show_default=True, help="Decline rounds that offer less.")
@learning_options
@role_options
@common_options
def main(
    node_fields: dict[str, Any],
    keys: tuple[Path, ...],
    server: str,
    miners: tuple[str, ...],
    dataset: str,
    data_root: Path | None,
    shares: int,
    first_share: int,
    types: int,
    samples: int | None,
    seed: int,
    min_train_price: int,
    device: str,
    threads: int,
    log_level: str,
    ready_file: Path | None,
    until_eof: bool,
) -> None:
    """Run one or more FL clients of a FedCoin network.

    Each has its own key, which is its account, and its own data, which never leave this process. A client joins the FL
    server, trains when it is selected, hands in a signed update, and is paid on the chain for what the update was
    worth. It runs until SIGTERM or Ctrl-C.
    """
    setup_logging(log_level)
    config = ClientConfig(
        key_file=keys[0],
        more_key_files=keys[1:],
        **node_fields,
        server=server,
        miners=miners,
        data=ShareRule(dataset, data_root, shares, types, samples, seed),
        first_share=first_share,
        device=device,
        threads=threads,
        settings=ClientSettings(min_train_price=min_train_price, device=device),
    )
    config.check()
    opened = [open_key(path) for path in keys]
    if len({key.address for key in opened}) < len(opened):
        raise click.UsageError("The same key is given twice: each client needs one of its own.")

    def open_clients() -> Any:
        from fedcoin.node.client_role import ClientRole

        return ClientRole(config, opened, now_ms)

    run_role(open_clients, ready_file, until_eof)


name_environment(main, _PREFIX)

if __name__ == "__main__":
    main()
