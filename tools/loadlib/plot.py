"""Memory and rates over time, as an SVG file without any library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from loadlib.report import MIB, Row

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 860, 240, 70, 150, 30, 30
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")
_POINTS = 400

Line = tuple[str, list[tuple[float, float]]]


def write_plot(path: Path, rows: Sequence[Row], window: float = 15.0) -> None:
    """`window`: seconds over which rates are averaged. Raises OSError."""
    rates: list[Line] = [
        ("accepted", _rates([(row.at, row.accepted) for row in rows], window)),
        ("mined", _rates([(row.at, row.mined) for row in rows], window)),
    ]
    names = [name for name in (rows[0].processes if rows else {}) if not name.endswith("evaluator")]
    memory: list[Line] = [
        (name, [(row.at, row.processes[name][1] / MIB) for row in rows if name in row.processes]) for name in names
    ]
    handles: list[Line] = [
        (name, [(row.at, float(row.processes[name][2])) for row in rows if name in row.processes]) for name in names
    ]
    charts = [
        _chart("transactions a second", rates, 0),
        _chart("resident memory, MiB", memory, _HEIGHT),
        _chart("open file handles", handles, 2 * _HEIGHT),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{3 * _HEIGHT}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(charts) + "</svg>\n", encoding="utf-8")


def _rates(points: list[tuple[float, int]], window: float) -> list[tuple[float, float]]:
    found, behind = [], 0
    for at, count in points:
        while at - points[behind][0] > window:
            behind += 1
        since, before = points[behind]
        if at > since:
            found.append((at, (count - before) / (at - since)))
    return found


def _chart(title: str, lines: list[Line], top: int) -> str:
    x_most = max((x for _, points in lines for x, _ in points), default=1.0) or 1.0
    y_most = max((y for _, points in lines for _, y in points), default=1.0) * 1.1 or 1.0
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    floor = top + _TOP + height
    parts = [f'<text x="{_LEFT}" y="{top + 18}" font-weight="bold">{escape(title)}</text>']
    for quarter in range(5):
        y = floor - height * quarter / 4
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{y_most * quarter / 4:.0f}</text>')
        x = _LEFT + width * quarter / 4
        parts.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{x_most * quarter / 4:.0f} s</text>')
    for number, (name, points) in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        step = max(1, len(points) // _POINTS)
        path = " ".join(
            f"{_LEFT + width * x / x_most:.1f},{floor - height * y / y_most:.1f}" for x, y in points[::step]
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        y = top + _TOP + 14 * number + 8
        parts.append(f'<text x="{_LEFT + width + 10}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return "".join(parts)
