"""The plots of docs/performance.md, from a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchlib.report import significant

# Text stays text, and the same figures give the same bytes.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "fedcoin", "font.size": 10, "axes.spines.top": False}
_CONTENDERS = (
    ("algorithm1_s", "Algorithm 1 as written", "#8c8c8c"),
    ("algorithm1_tuned_s", "the same, tuned", "#b9a5c9"),
    ("pydvl_s", "pyDVL", "#c9a227"),
    ("shapiq_s", "shapiq", "#7a9e4f"),
    ("fedcoin_s", "FedCoin", "#1f5fa8"),
    ("bound_s", "bound: operations and bytes alone", "#d9d9d9"),
)
_SAMPLERS = {"PERMUTATION": "#8c8c8c", "ANTITHETIC": "#c9a227", "HYBRID": "#1f5fa8", "EXACT": "#b5483a"}


def plot(report: dict[str, Any], folder: Path) -> list[Path]:
    """Writes the plots that the report has figures for; their paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(_STYLE):
        if "workloads" in report:
            written.append(_save(speed(report["workloads"]), folder / "speed.svg"))
        for name, figures in report.get("samplers", {}).items():
            written.append(_save(convergence(name, figures), folder / f"samplers-{name.lower()}.svg"))
    return written


def speed(workloads: dict[str, Any]) -> Figure:
    """Seconds per iteration of every contender and workload, with the bound."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(_CONTENDERS)
    for place, (key, label, colour) in enumerate(_CONTENDERS):
        bars = [(at, figures[key]) for at, figures in enumerate(workloads.values()) if figures[key] is not None]
        positions = [at + (place - (len(_CONTENDERS) - 1) / 2) * width for at, _ in bars]
        heights = [1e3 * seconds for _, seconds in bars]
        axes.bar(positions, heights, width * 0.92, label=label, color=colour, edgecolor="#555555", linewidth=0.4)
        for position, height in zip(positions, heights, strict=True):
            axes.annotate(
                significant(height), (position, height), (0, 2), textcoords="offset points", ha="center", fontsize=6.5
            )
    axes.set_yscale("log")
    axes.set_ylabel("time of one iteration, ms (logarithmic)")
    axes.set_xticks(range(len(workloads)), [_caption(name, figures) for name, figures in workloads.items()])
    axes.set_title("One iteration of Algorithm 1 (K coalition evaluations): less is better", fontsize=11)
    axes.margins(y=0.08)
    figure.legend(loc="outside lower center", ncols=len(_CONTENDERS), fontsize=8, frameon=False)
    axes.spines["right"].set_visible(False)
    return figure


def convergence(name: str, figures: dict[str, Any]) -> Figure:
    """Distance from the reference against cost, both logarithmic, for every sampler."""
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    axes = figure.add_subplot()
    for sampler, found in figures["samplers"].items():
        points = found["curve"]
        costs = [point["cost"] for point in points]
        colour = _SAMPLERS.get(sampler, "#444444")
        axes.plot(costs, [point["error"] for point in points], color=colour, label=sampler.lower(), linewidth=1.8)
        axes.fill_between(
            costs,
            [point["least"] for point in points],
            [point["most"] for point in points],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    _reference_slope(axes, figures)
    right = axes.get_xlim()[1]
    for target in (1e-2, 1e-3):
        axes.axhline(target, color="#aaaaaa", linewidth=0.8, linestyle=":")
        axes.annotate(f"{target:g}", (right, target), (-3, 2), textcoords="offset points", fontsize=8, ha="right")
    axes.set_xlabel(f"cost, in units of K = {figures['clients']} coalition evaluations, preparation included")
    axes.set_ylabel("‖S − S*‖₂, in accuracy (1 = all images right)")
    axes.set_title(f"{name}: error of the mean of so many iterations", fontsize=11)
    plan = figures["plan"]
    axes.legend(
        title=f"root mean square of {plan['miners']} miners (shaded: least to most);\n"
        f"beyond {plan['iterations']:,} iterations one miner",
        title_fontsize=8,
        fontsize=9,
        frameon=False,
        loc="lower left",
    )
    axes.spines["right"].set_visible(False)
    return figure


def _reference_slope(axes: Axes, figures: dict[str, Any]) -> None:
    """1/√n through the plain sampler's variance."""
    variance = figures["samplers"]["PERMUTATION"]["variance"]
    longest = max(found["curve"][-1]["cost"] for found in figures["samplers"].values())
    costs = [1.0, longest]
    axes.plot(
        costs,
        [(variance / cost) ** 0.5 for cost in costs],
        color="#333333",
        linestyle="--",
        linewidth=0.9,
        label="slope 1/√n",
    )


def _caption(name: str, figures: dict[str, Any]) -> str:
    return f"{name}\n{figures['clients']} clients, {figures['model']}\n{figures['images']:,} images"


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    return path
