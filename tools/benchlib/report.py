"""What people and programs read: a table, and JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_HEAD = (
    *("workload", "Algorithm 1", "tuned", "pyDVL", "shapiq", "FedCoin"),
    *("ratio", "bound", "share", "memory", "counts off by"),
)


def table(workloads: dict[str, dict[str, Any]]) -> str:
    """Milliseconds per iteration and what follows from them, as a Markdown table."""
    rows = [_HEAD, *(_row(name, figures) for name, figures in workloads.items())]
    return markdown(rows)


def rates_line(workloads: dict[str, dict[str, Any]]) -> str:
    """What the machine could do meanwhile, least and most of the workloads' medians."""
    said = []
    for name, unit, what in (
        ("square_gflops", "GFLOP/s", "large product"),
        ("layer_gflops", "GFLOP/s", "last layer's product"),
        ("copy_gbytes", "GB/s", "copy"),
    ):
        values = [figures["rates"][name] for figures in workloads.values()]
        said.append(f"{what} {significant(min(values))} to {significant(max(values))} {unit}")
    return "meanwhile: " + ", ".join(said)


def markdown(rows: list[tuple[str, ...]]) -> str:
    """A Markdown table, first row first, columns aligned for a terminal too; numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = [
        [
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in padded]
    rule = "|" + "|".join(("-" * (width + 1)) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def milliseconds(seconds: float | None) -> str:
    """Three figures and the unit, or what a null means."""
    return "not installed" if seconds is None else f"{significant(1e3 * seconds)} ms"


def significant(value: float) -> str:
    """Three figures, with commas for thousands and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Writes the whole file or nothing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _row(name: str, figures: dict[str, Any]) -> tuple[str, ...]:
    return (
        name,
        milliseconds(figures["algorithm1_s"]),
        milliseconds(figures["algorithm1_tuned_s"]),
        milliseconds(figures["pydvl_s"]),
        milliseconds(figures["shapiq_s"]),
        milliseconds(figures["fedcoin_s"]),
        f"{significant(figures['ratio'])}×",
        milliseconds(figures["bound_s"]),
        f"{100 * figures['share_of_bound']:.0f}%",
        f"{figures['peak_rss_bytes'] / 2**20:,.0f} MiB",
        f"{figures['max_count_difference']} (mean {figures['mean_count_difference']:.2g})",
    )


def sampler_table(figures: dict[str, Any]) -> str:
    """Costs in units of K evaluations, preparation included, as a Markdown table.

    Behind each measured cost, in parentheses, the one that the measured variance lets expect. The time of an iteration
    is relative to that of a permutation.
    """
    targets = list(next(iter(figures["samplers"].values()))["cost_to_reach"])
    last = targets[-1]
    plain = figures["samplers"]["PERMUTATION"]["iteration_s"]
    head = ("sampler", "preparation", "time of one", "variance", "times less", *(f"to {target}" for target in targets))
    rows: list[tuple[str, ...]] = [(*head, f"times fewer to {last}")]
    for name, found in figures["samplers"].items():
        costs = [_both(found["cost_to_reach"][target], found["cost_expected"][target]) for target in targets]
        rows.append(
            (
                name.lower(),
                significant(found["preparation_cost"]),
                f"{significant(found['iteration_s'] / plain)}×",
                "–" if found["variance"] is None else f"{found['variance']:.3g}",
                "–" if found["times_less_variance"] is None else significant(found["times_less_variance"]),
                *costs,
                _both(found["times_fewer"][last], found["times_fewer_expected"][last]),
            )
        )
    refused = [f"\n\n{name.lower()}: {why}" for name, why in figures["refused"].items()]
    return markdown(rows) + "".join(refused)


def _both(measured: float | None, expected: float | None) -> str:
    first, second = ("–" if value is None else significant(value) for value in (measured, expected))
    return f"{first} ({second})"
