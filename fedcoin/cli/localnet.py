"""`fedcoin localnet`: a whole network on this machine, from the genesis to the last payout."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fedcoin.cli.amounts import AMOUNT
from fedcoin.cli.connection import FILE
from fedcoin.cli.localnet_view import LocalnetView, print_report
from fedcoin.cli.output import console, json_option
from fedcoin.cli.params import DIFFICULTY, sampler_option
from fedcoin.cli.program import run_until_stopped, write_text
from fedcoin.core.errors import ConfigInvalid, FedCoinError
from fedcoin.node.localnet import Localnet
from fedcoin.node.localnet_plan import LocalnetPlan
from fedcoin.node.network_report import NetworkReport

_CLIENTS_A_PROCESS = 50


@click.command()
@click.option("--miners", type=click.IntRange(2, 100), default=3, show_default=True, help="Miner processes.")
@click.option("--clients", type=click.IntRange(1, 1024), default=10, show_default=True, help="FL clients.")
@click.option(
    "--client-processes", type=click.IntRange(1), help="Processes that host them. [default: one for every 50]"
)
@click.option(
    "--types",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Quality of their data: T0 has samples of all classes, each further type of one class less.",
)
@click.option("--samples", type=click.IntRange(1), help="Of each client. [default: as many as all can have]")
@click.option("--rounds", type=click.IntRange(1, 1000), default=2, show_default=True, help="Rounds of training.")
@click.option(
    "--dataset", default="digits", show_default=True, help="digits, mnist, fashion-mnist, cifar10, or a folder or file."
)
@click.option("--data-root", type=click.Path(path_type=Path), help="Where named data sets lie.")
@click.option(
    "--model", default="mlp-32", show_default=True, help="softmax, mlp-64, mlp-128-64, cnn, torchvision:resnet18 …"
)
@click.option("--budget", type=AMOUNT, default="1000", show_default=True, help="What the requester deposits.")
@click.option(
    "--difficulty",
    type=DIFFICULTY,
    default="0.003",
    show_default=True,
    help="D of the first task; smaller is harder, and more exact.",
)
@click.option(
    "--interval",
    type=click.IntRange(1),
    default=15_000,
    show_default=True,
    metavar="MS",
    help="Time that a Shapley task should take; D follows it.",
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
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=0.3, show_default=True, help="Of SGD."
)
@click.option(
    "--utility",
    type=click.Choice(["accuracy", "negative-loss"]),
    default="accuracy",
    show_default=True,
    help="What a model is worth.",
)
@sampler_option
@click.option("--evaluation-samples", type=click.IntRange(0), default=0, help="Test samples to use. [default: all]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the division of the data.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:<index>.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of each process.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for keys, chains and logs; must be empty. [default: a temporary one]",
)
@click.option("--keep", is_flag=True, help="Keep a temporary folder.")
@click.option("--verify", is_flag=True, help="Audit every settled block at the end.")
@click.option("--report", type=FILE, help="Write the report as JSON.")
@json_option
def localnet(
    data_dir: Path | None, keep: bool, report: Path | None, as_json: bool, client_processes: int | None, **options: Any
) -> None:
    """Run a whole network on this machine: miners, an FL server, clients, and a requester who buys a model.

    Every part is a process of its own, on free ports of 127.0.0.1. What happens is shown as it happens; at the end
    stand what each client's data were worth and what it was paid, and every balance. The sum is checked against the
    genesis.
    """
    plan = _plan(client_processes, options)
    plan.check()
    if data_dir is not None and data_dir.exists() and any(data_dir.iterdir()):
        raise ConfigInvalid(f"--data-dir {data_dir} is not empty: give a new folder")
    folder = data_dir if data_dir is not None else Path(tempfile.mkdtemp(prefix="fedcoin-localnet-"))
    folder.mkdir(parents=True, exist_ok=True)
    kept = keep or data_dir is not None
    try:
        result = run_until_stopped(_run(plan, folder, as_json))
        if report is not None:
            write_text(report, json.dumps(result.to_json(), indent=2) + "\n")
        if as_json:
            click.echo(json.dumps(result.to_json(), indent=2))
        else:
            print_report(console(), result)
            if report is not None:
                click.echo(f"report: {report}")
        result.check()
    except FedCoinError:
        kept = True
        click.echo(f"logs and chains are kept in {folder}", err=True)
        raise
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
        elif keep:
            click.echo(f"folder: {folder}", err=True)


def _plan(client_processes: int | None, options: dict[str, Any]) -> LocalnetPlan:
    plan = LocalnetPlan(
        **{name: value for name, value in options.items() if name not in ("interval", "utility")},
        target_interval_ms=options["interval"],
        utility=options["utility"],
    )
    return replace(plan, client_processes=client_processes or -(-plan.clients // _CLIENTS_A_PROCESS))


async def _run(plan: LocalnetPlan, folder: Path, quiet: bool) -> NetworkReport:
    with LocalnetView(console(stderr=quiet)) as view:
        network = Localnet(plan, folder, view)
        try:
            return await network.run()
        finally:
            view.note("stopping all processes")
            await asyncio.shield(network.stop())
