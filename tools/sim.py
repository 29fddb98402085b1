"""Runs seeds of the simulated network (tests/sim).

    make sim SEEDS=n [FIRST=m] [GAINS=k]    many seeds; what adversaries gain over k seeds
    make sim SEED=n                         one seed, event by event

The last lines are a table of what was seen; every failing seed is named with the command that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.sim.gains import Gain, measure_gains  # noqa: E402
from tests.sim.scenario import Result, run_seed, run_seeds  # noqa: E402

_CHUNK = 5


def main(arguments: list[str] | None = None) -> int:
    """The exit status is 1 if a seed has failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed alone and print its events")
    parser.add_argument("--seeds", type=int, default=300, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--gains", type=int, default=0, help="measure what each adversary gains, over so many seeds")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return _one(chosen.seed)
    status = _many(chosen.first, chosen.seeds, chosen.processes) if chosen.seeds else 0
    if chosen.gains:
        _print_gains(measure_gains(range(chosen.gains), chosen.processes))
    return status


def _one(seed: int) -> int:
    result = run_seed(seed, print)
    print(f"\n{result.plan}")
    print(
        f"seed {seed}: {result.failure or 'ok'}; height {result.height}, {result.steps} steps, digest {result.digest}"
    )
    return 1 if result.failure else 0


def _many(first: int, count: int, processes: int) -> int:
    began = time.monotonic()
    results: list[Result] = []
    parts = [range(start, min(start + _CHUNK, first + count)) for start in range(first, first + count, _CHUNK)]
    shown = began
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for part in pool.map(run_seeds, parts):
            results += part
            now = time.monotonic()
            if now - shown > 10:
                shown = now
                failed = sum(bool(result.failure) for result in results)
                print(f"{len(results)} of {count} seeds, {failed} failed, {now - began:.0f} s", flush=True)
    _print_table(results, time.monotonic() - began)
    return 1 if any(result.failure for result in results) else 0


def _print_table(results: list[Result], seconds: float) -> None:
    failed = [result for result in results if result.failure]
    settled = sorted(result.settled_ms for result in results if not result.failure) or [0]
    counts: dict[str, int] = defaultdict(int)
    dishonest: dict[str, int] = defaultdict(int)
    for result in results:
        for name, number in result.counts.items():
            counts[name] += number
        for kind in result.plan.dishonest:
            dishonest[kind.__name__] += 1
    rows = [
        ("seeds", f"{len(results)}"),
        ("failed", f"{len(failed)}"),
        ("with dishonest miners", f"{sum(bool(result.plan.dishonest) for result in results)}"),
        (
            "with crashes, cuts, clock jumps",
            " ".join(f"{_share(results, name)}" for name in ("crashes", "cuts", "jumps")),
        ),
        ("steps", f"{sum(result.steps for result in results)}"),
        ("blocks on the final chains", f"{sum(result.height for result in results)}"),
        ("deepest reorganisation", f"{max(result.deepest for result in results)}"),
        (
            "settled after faults: median, 99 %, most",
            " ".join(f"{_at(settled, q) / 1000:.1f}" for q in (0.5, 0.99, 1)) + " s",
        ),
        ("acts of people", ", ".join(f"{name} {number}" for name, number in sorted(counts.items()))),
        ("adversaries", ", ".join(f"{name} {number}" for name, number in sorted(dishonest.items()))),
        ("time", f"{seconds:.0f} s, {seconds / len(results):.3f} s a seed"),
    ]
    print()
    for name, value in rows:
        print(f"{name:<44}{value}")
    for result in failed:
        print(f"FAILED: make sim SEED={result.plan.seed}    # {result.failure}")


def _share(results: list[Result], name: str) -> int:
    return sum(bool(getattr(result.plan, name)) for result in results)


def _at(values: list[int], quantile: float) -> int:
    return values[min(len(values) - 1, int(quantile * len(values)))]


def _print_gains(gains: Iterable[Gain]) -> None:
    print(f"\n{'adversary':<22}{'blocks':>8}{'income':>10}{'honest':>10}{'ratio':>8}  of one honest miner of its speed")
    for gain in gains:
        print(f"{gain.name:<22}{gain.blocks:>8}{gain.income:>10.3f}{gain.honest:>10.3f}{gain.ratio:>8.2f}  {gain.note}")


if __name__ == "__main__":
    sys.exit(main())
