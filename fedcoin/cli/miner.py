"""`fedcoin-miner`: a full node that evaluates coalitions, mines blocks and keeps the chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fedcoin.cli.connection import key_option, open_key
from fedcoin.cli.program import Command, common_options, name_environment, role_options, run_role, setup_logging
from fedcoin.cli.roles import MINER_PORT, SETTINGS, epilog, learning_options, node_config_options
from fedcoin.node.config import EVALUATORS, MinerConfig

_PREFIX = "FEDCOIN_MINER"


@click.command(cls=Command, context_settings=SETTINGS, epilog=epilog(_PREFIX))
@node_config_options(MINER_PORT)
@key_option()
@click.option(
    "--data",
    "data_folder",
    type=click.Path(path_type=Path, file_okay=False),
    default="miner-data",
    show_default=True,
    help="Folder of the chain; one process at a time may use it.",
)
@click.option("--peer", "peers", multiple=True, metavar="HOST:PORT", help="A miner to begin with; repeat it for more.")
@click.option("--name", default="", help="Register under this name, if the key is no miner of the chain yet.")
@click.option("--mine/--no-mine", default=True, show_default=True, help="Whether to work on Shapley tasks.")
@click.option("--max-peers", type=click.IntRange(1), default=64, show_default=True, help="Connections to other miners.")
@click.option(
    "--mempool",
    "mempool_capacity",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Transactions that may wait.",
)
@click.option(
    "--audit-share",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    help="Work spent on recomputing others' iterations, as a share of own mining.",
)
@click.option(
    "--estimate-interval",
    "estimate_interval_ms",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="MS",
    help="How often the estimate is broadcast while a race runs.",
)
@click.option(
    "--evaluator-memory",
    "evaluator_memory_mb",
    type=click.IntRange(0),
    default=0,
    metavar="MIB",
    help="Working memory of one task's evaluation at most. [default: chosen from what is free]",
)
@click.option(
    "--blob-budget",
    "blob_budget_mb",
    type=click.IntRange(1),
    default=16_384,
    show_default=True,
    metavar="MIB",
    help="Disk for the updates of tasks that are not settled yet at most.",
)
@click.option(
    "--evaluator",
    type=click.Choice(EVALUATORS),
    default="local",
    show_default=True,
    help="Evaluate on this machine, or on a Ray cluster of your own (needs fedcoin[ray]).",
)
@click.option(
    "--ray-address",
    default="",
    metavar="HOST:PORT",
    help="Head of the Ray cluster. [default: RAY_ADDRESS, or a Ray that is started on this machine]",
)
@click.option(
    "--ray-workers",
    type=click.IntRange(0),
    default=0,
    help="Workers on the Ray cluster at most. [default: as many as it has room for]",
)
@learning_options
@role_options
@common_options
def main(
    node_fields: dict[str, Any],
    key_path: Path,
    log_level: str,
    ready_file: Path | None,
    until_eof: bool,
    **options: Any,
) -> None:
    """Run a miner of a FedCoin network.

    It keeps the whole chain, relays transactions and blocks, and competes in computing the Shapley values of the
    clients of each training round (PoSap); the winner of a race makes the block that pays them. It runs until SIGTERM
    or Ctrl-C and keeps everything.
    """
    setup_logging(log_level)
    config = MinerConfig(key_file=key_path, **node_fields, **options)
    config.check()
    key = open_key(key_path)

    def open_miner() -> Any:
        from fedcoin.node.miner import MinerNode

        return MinerNode(config, key)

    run_role(open_miner, ready_file, until_eof)


name_environment(main, _PREFIX)

if __name__ == "__main__":
    main()
