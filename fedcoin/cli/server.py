"""`fedcoin-server`: an FL server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fedcoin.cli.amounts import AMOUNT
from fedcoin.cli.connection import key_option, open_key
from fedcoin.cli.program import Command, common_options, name_environment, now_ms, role_options, run_role, setup_logging
from fedcoin.cli.roles import SERVER_PORT, SETTINGS, epilog, learning_options, miners_option, node_config_options
from fedcoin.node.config import ServerConfig, ServerSettings
from fedcoin.node.rounds import RoundSettings
from fedcoin.rpc.views import TrainingSettings

_PREFIX = "FEDCOIN_SERVER"


@click.command(cls=Command, context_settings=SETTINGS, epilog=epilog(_PREFIX))
@node_config_options(SERVER_PORT)
@key_option()
@miners_option
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default="server-data",
    show_default=True,
    help="Folder of orders, rounds and updates; one process at a time may use it.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Passes over its data that a client trains in a round.",
)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Samples in a gradient step.")
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=0.1, show_default=True, help="Of SGD."
)
@click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True, help="Of SGD.")
@click.option(
    "--clients-per-round",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How many to select; 0: all that are there.",
)
@click.option(
    "--round-deadline",
    type=click.IntRange(1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="Updates must arrive within this time.",
)
@click.option(
    "--heard-within",
    type=click.IntRange(1),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Clients not heard for this long are not selected.",
)
@click.option(
    "--confirmations",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Blocks that a deposit or settlement must have before it counts.",
)
@click.option("--max-rounds", type=click.IntRange(1), default=1000, show_default=True, help="Of an order.")
@click.option("--min-com-price", type=AMOUNT, default="0", show_default=True, help="ComPrice that an order must offer.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the selection of clients.")
@learning_options
@role_options
@common_options
def main(
    node_fields: dict[str, Any],
    key_path: Path,
    miners: tuple[str, ...],
    data: Path,
    device: str,
    threads: int,
    log_level: str,
    ready_file: Path | None,
    until_eof: bool,
    **options: Any,
) -> None:
    """Run an FL server of a FedCoin network.

    It takes the orders that name its address once their deposit is confirmed, has clients train, averages their
    updates, and publishes each round's Shapley task to the miners. It is paid ComPrice for every settled round. It runs
    until SIGTERM or Ctrl-C, and goes on where it was when it is started again.
    """
    setup_logging(log_level)
    config = ServerConfig(
        key_file=key_path,
        **node_fields,
        miners=miners,
        data_folder=data,
        device=device,
        threads=threads,
        settings=_settings(options),
    )
    config.check()
    key = open_key(key_path)

    def open_server() -> Any:
        from fedcoin.node.server_role import ServerRole

        return ServerRole(config, key, now_ms)

    run_role(open_server, ready_file, until_eof)


def _settings(options: dict[str, Any]) -> ServerSettings:
    return ServerSettings(
        confirmations=options["confirmations"],
        rounds=RoundSettings(
            clients_per_round=options["clients_per_round"],
            deadline_ms=1000 * options["round_deadline"],
            heard_within_ms=1000 * options["heard_within"],
            seed=options["seed"],
        ),
        training=TrainingSettings(
            options["iterations"], options["batch_size"], options["learning_rate"], options["momentum"]
        ),
        max_rounds=options["max_rounds"],
        min_com_price=options["min_com_price"],
    )


name_environment(main, _PREFIX)

if __name__ == "__main__":
    main()
