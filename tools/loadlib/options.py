"""What the command line of tools/load.py asks for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Sizes of a run."""

    miners: int
    seconds: float
    """Of the measured time, after the warm-up."""
    warm_up: float
    rate: float
    """Transactions a second handed in, to all miners together; 0: as many as are taken."""
    accounts: int
    waiting: int
    """Transactions that may wait for a block at most, over all accounts."""
    batch: int
    """Transactions of one call; 1: SubmitTransaction, more: PropagateTransactions."""
    audit_interval_ms: int
    probes: float
    """Status calls a second, to each miner."""
    folder: Path | None
    json: Path | None
    plot: Path | None
    quiet: bool
    profile: bool
    """Miners run under cProfile and leave their figures in the folder."""


def read_options(arguments: list[str] | None = None) -> Options:
    """Ends the program with status 2 and one line for arguments that do not fit."""
    parser = argparse.ArgumentParser(
        prog="load.py",
        description="Starts miners on this machine, hands in signed transfers, and measures what becomes of them.",
    )
    whole = _number(int)
    real = _number(float)
    parser.add_argument("--miners", type=whole, default=4, help="processes, 2 at least (4)")
    parser.add_argument("--seconds", type=real, default=60.0, help="measured time (60)")
    parser.add_argument("--soak", type=real, metavar="MINUTES", help="the same as --seconds 60·MINUTES")
    parser.add_argument("--warm-up", type=real, default=15.0, metavar="SECONDS", help="load before measuring (15)")
    parser.add_argument("--rate", type=float, default=250.0, help="transactions a second; 0: all that are taken (250)")
    parser.add_argument("--accounts", type=whole, default=2000, help="senders, all in the genesis (2000)")
    parser.add_argument("--waiting", type=whole, default=6000, help="unconfirmed transactions at most (6000)")
    parser.add_argument("--batch", type=whole, default=1, help="transactions in one call (1)")
    parser.add_argument("--audit-interval-ms", type=whole, default=5000, help="the chain's, see genesis (5000)")
    parser.add_argument("--probes", type=real, default=10.0, help="status calls a second to each miner (10)")
    parser.add_argument("--folder", type=Path, help="keys, chains and logs stay here; otherwise they are removed")
    parser.add_argument("--json", type=Path, help="the figures as JSON")
    parser.add_argument("--plot", type=Path, help="memory and rate over time as SVG")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument("--profile", action="store_true", help="miners leave cProfile's figures in --folder")
    given = parser.parse_args(arguments)
    if given.miners < 2:
        parser.error("argument --miners: 2 at least, because the winner's S is compared with that of others")
    if given.rate < 0:
        parser.error("argument --rate: not negative")
    if given.batch > 256:
        parser.error("argument --batch: 256 at most")
    if given.profile and given.folder is None:
        parser.error("argument --profile: needs --folder")
    return Options(
        miners=given.miners,
        seconds=60.0 * given.soak if given.soak else given.seconds,
        warm_up=given.warm_up,
        rate=given.rate,
        accounts=given.accounts,
        waiting=given.waiting,
        batch=given.batch,
        audit_interval_ms=given.audit_interval_ms,
        probes=given.probes,
        folder=given.folder,
        json=given.json,
        plot=given.plot,
        quiet=given.quiet,
        profile=given.profile,
    )


def _number(kind: type) -> type:
    def read(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise ValueError
        return value

    read.__name__ = "positive number"
    return read  # type: ignore[return-value]
