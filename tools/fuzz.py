"""Fuzzes for long: state machines of ledger and chain, and malformed messages to the processes of each role.

    python tools/fuzz.py --steps 1000000 --messages 1000000
    python tools/fuzz.py --only miner --messages 20000 --seed 7

`make fuzz` does so; STEPS, MESSAGES, SEED and ONLY are its options. A number of 0 leaves a part out. The last lines are
tables of what was done, and the exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in (str(ROOT), str(ROOT / "tools")):
    if folder not in sys.path:
        sys.path.insert(0, folder)
os.environ.setdefault("FEDCOIN_FUZZ", "1")  # examples at random; read when tests/fuzz is imported

from fuzzlib.machines import MACHINES, run_machine, steps_table  # noqa: E402
from fuzzlib.siege import Outcome, besiege, table  # noqa: E402
from fuzzlib.village import ROLES, Village  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Runs what the command line asks for; the exit status."""
    options = _options(arguments)
    print(f"seed {options.seed}", flush=True)
    wanted = options.only or [*MACHINES, *ROLES]
    machines = [name for name in MACHINES if name in wanted] if options.steps else []
    roles = [name for name in ROLES if name in wanted] if options.messages else []
    steps = options.steps // max(1, len(machines))
    runs = [run_machine(name, steps, options.seed, _say) for name in machines]
    outcomes = _besiege_all(roles, options.messages, options.seed, options.folder) if roles else []
    failures = [f"{run.name}: {run.failure}" for run in runs if run.failure]
    failures += [f"{outcome.role}: {failure}" for outcome in outcomes for failure in outcome.failures]
    for failure in failures[:50]:
        print(failure)
    if runs:
        print("\n" + steps_table(runs))
    if outcomes:
        print("\n" + table(outcomes))
        for outcome in outcomes:
            answers = dict(outcome.tally.answers.most_common())
            print(f"{outcome.role}: {answers}, {outcome.tally.abused} connections abused")
    return 1 if failures else 0


def _besiege_all(roles: list[str], messages: int, seed: int, folder: Path | None) -> list[Outcome]:
    with tempfile.TemporaryDirectory(prefix="fedcoin-fuzz-") as made:
        village = Village(folder or Path(made))
        try:
            village.start()
            _say(f"an order was {'settled' if village.buy() else 'not settled: see request.log'}")
            return [asyncio.run(besiege(role, village.running[role], messages, seed, _say)) for role in roles]
        finally:
            _say(f"exit statuses: {village.close()}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of all state machines together")
    parser.add_argument("--messages", type=int, default=1_000_000, help="to each role")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(2**32), help="the same one makes the same messages"
    )
    parser.add_argument("--only", nargs="*", choices=[*MACHINES, *ROLES], help="machines and roles; all unless given")
    parser.add_argument(
        "--folder", type=Path, help="where the processes run and log; a new one that is removed otherwise"
    )
    return parser.parse_args(arguments)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
