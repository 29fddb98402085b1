"""Loads a local network of miners with signed transfers and measures it.

    python tools/load.py --seconds 120 --rate 250 --json runs/load.json --plot runs/load.svg
    python tools/load.py --soak 30 --rate 200 --json runs/soak.json --plot runs/soak.svg

`make load` and `make soak` do so. Miners run as they would anywhere: one process each, with an evaluator of its own at
full speed. Transfers are signed here, outside the measured processes; the status is asked for by yet another process.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in (str(ROOT), str(ROOT / "tools")):
    if folder not in sys.path:
        sys.path.insert(0, folder)

from loadlib.options import read_options  # noqa: E402
from loadlib.plot import write_plot  # noqa: E402
from loadlib.report import table  # noqa: E402
from loadlib.run import Run, show  # noqa: E402

from fedcoin.core.errors import FedCoinError  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Runs what the command line asks for. Status 1: a miner failed, or something accepted was lost."""
    options = read_options(arguments)
    # SIGTERM ends the run as Ctrl-C does, so that no miner stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        place = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedcoin-load-")))
        run = Run(options, place, (lambda text: None) if options.quiet else show)
        try:
            report = asyncio.run(run.perform())
        except FedCoinError as error:
            print(f"\n{error.code}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            return 130
        show("")
        try:
            if options.json is not None:
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            if options.plot is not None:
                write_plot(options.plot, run.rows)
        except OSError as error:
            print(f"load.py: {error}", file=sys.stderr)
            return 1
    print(table(report))
    return 0 if report["end"]["agree"] and not report["end"]["lost"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
