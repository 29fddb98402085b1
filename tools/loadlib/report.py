"""The figures of a run, as a dictionary and as a table."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = 1
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One moment of the measured time."""

    at: float
    """Seconds since the measurement began."""
    accepted: int
    """Transactions since the start."""
    mined: int
    processes: dict[str, tuple[float, int, int]]
    """Name → CPU seconds, bytes resident, open file handles."""


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` (0 to 1) of them do not exceed; None for none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> dict[str, float | int | None]:
    """p50, p99 and largest, in seconds."""
    return {
        "count": len(values),
        "p50_s": percentile(values, 0.50),
        "p90_s": percentile(values, 0.90),
        "p99_s": percentile(values, 0.99),
        "most_s": max(values, default=None),
    }


def process_figures(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """By process: share of one core, and memory and handles at the beginning, at most, and at the end."""
    names = rows[0].processes if rows else {}
    found = {}
    for name in names:
        seen = [(row.at, *row.processes[name]) for row in rows if name in row.processes]
        seconds = seen[-1][0] - seen[0][0]
        found[name] = {
            "cpu_share": (seen[-1][1] - seen[0][1]) / seconds if seconds > 0 else 0.0,
            "cpu_s": seen[-1][1] - seen[0][1],
            "rss_first": seen[0][2],
            "rss_most": max(one[2] for one in seen),
            "rss_last": seen[-1][2],
            "handles_first": seen[0][3],
            "handles_most": max(one[3] for one in seen),
            "handles_last": seen[-1][3],
        }
    return found


def machine() -> dict[str, Any]:
    """What it ran on."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return {"cpu": name, "cores": os.cpu_count(), "python": platform.python_version()}


def table(report: dict[str, Any]) -> str:
    """For people."""
    rates, cpu = report["rates"], report["cpu_per_mined_ms"]
    confirmation, status = report["confirmation"], report["status"]
    lines = [
        f"{report['machine']['cpu']}, {report['machine']['cores']} cores; {report['options']['miners']} miners, "
        f"{report['options']['accounts']} accounts, {report['seconds']:.0f} s measured",
        "",
        "| What | Figure |",
        "|---|---|",
        f"| handed in and accepted | {rates['accepted']:.1f} transactions/s |",
        f"| mined | {rates['mined']:.1f} transactions/s in {report['blocks']['count']} blocks |",
        f"| largest block | {report['blocks']['most_transactions']} transactions, "
        f"{(report['blocks']['most_bytes'] or 0) / MIB:.2f} MiB as protobuf |",
        f"| accepted to mined | p50 {_seconds(confirmation['p50_s'])}, p99 {_seconds(confirmation['p99_s'])} |",
        f"| status RPC while mining | p50 {_ms(status['p50_s'])}, p99 {_ms(status['p99_s'])}, "
        f"most {_ms(status['most_s'])} of {status['count']} |",
        f"| CPU time a mined transaction | {_milli(cpu['node'])} in each miner's process, "
        f"{_milli(cpu['all_nodes'])} in all {report['options']['miners']} together |",
        f"| accepted transactions lost | {report['end']['lost']} |",
        f"| miners agree on tip and state root | {'yes' if report['end']['agree'] else 'NO'} "
        f"at height {report['end']['height']} |",
        f"| refused and handed in again | {report['refusals'] or 'none'} |",
        "",
        "| Process | Share of a core | RSS first → last (most), MiB | File handles first → last (most) |",
        "|---|---|---|---|",
    ]
    for name, one in report["processes"].items():
        lines.append(
            f"| {name} | {one['cpu_share']:.2f} | {one['rss_first'] / MIB:.0f} → {one['rss_last'] / MIB:.0f} "
            f"({one['rss_most'] / MIB:.0f}) | {one['handles_first']} → {one['handles_last']} ({one['handles_most']}) |"
        )
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{1000 * value:.1f} ms"


def _milli(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"
