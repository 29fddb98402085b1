"""A role's own program without limits on rates and without bans: what a fuzzer sends shall meet the decoders.

    python -m fuzzlib.unlimited fedcoin-miner --genesis …

Sizes of messages, lengths of calls and everything behind them are as always.
"""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import replace
from typing import Any

from fedcoin.rpc import server
from fedcoin.rpc.limits import Limits
from fedcoin.rpc.score import BanRule, Scores

_KEPT = ("idle_seconds", "slow_seconds", "slowest", "peers")
"""Times, and what is remembered: not how much may be asked."""
WIDE = replace(Limits(), **{name: type(value)(1e9) for name, value in vars(Limits()).items() if name not in _KEPT})
PROGRAMS = {"fedcoin-miner": "miner", "fedcoin-server": "server", "fedcoin-client": "client"}


def without_limits() -> dict[str, Any]:
    """Options of `serve` that refuse nobody for how much or how badly he asks."""
    return {"limits": WIDE, "scores": Scores(BanRule(seconds=0), time.monotonic)}


def main() -> None:
    """Runs the program that the command line names, with the rest of the command line."""
    listen = server.serve

    async def serve(*arguments: Any, **options: Any) -> Any:
        return await listen(*arguments, **{**options, **without_limits()})

    server.serve = serve
    program = importlib.import_module(f"fedcoin.cli.{PROGRAMS[sys.argv[1]]}")
    program.main(sys.argv[2:])


if __name__ == "__main__":
    main()
