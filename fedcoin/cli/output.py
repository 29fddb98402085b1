"""How results are shown: tables and lines for people, JSON for programs. In JSON amounts are units, ids hexadecimal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.errors import IdMalformed
from fedcoin.core.keys import ADDRESS_SIZE, PUBLIC_KEY_SIZE, address_of, format_address

_WIDTH = 180
"""Columns where the output is no terminal, so that ids stay whole."""


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON (amounts in units) instead of text.")(
        function
    )


def console(stderr: bool = False) -> Console:
    """A console on the present standard output."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _WIDTH, highlight=False)


def print_json(value: Any) -> None:
    """`value` as indented JSON on standard output."""
    click.echo(json.dumps(plain(value), indent=2))


def plain(value: Any) -> Any:
    """`value` as JSON knows it: dataclasses become objects, enums words, bytes hexadecimal, addresses their text."""
    if isinstance(value, bytes):
        return format_address(value) if len(value) == ADDRESS_SIZE else value.hex()
    if isinstance(value, Enum):
        return value.name.lower()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def print_fields(rows: Iterable[tuple[str, object]], title: str = "") -> None:
    """Names and values, one a line."""
    grid = Table.grid(padding=(0, 2))
    for name, value in rows:
        grid.add_row(Text(name, style="dim"), Text(str(value), overflow="fold"))
    screen = console()
    if title:
        screen.print(Text(title, style="bold"))
    screen.print(grid)


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """A table; columns whose name begins with `>` are aligned to the right."""
    table = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Prints `make_table`."""
    console().print(make_table(columns, rows, title))


def format_time(milliseconds: int) -> str:
    """A time since 1970 as UTC text; `never` for 0."""
    if milliseconds <= 0:
        return "never"
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms since 1970"


def short(value: bytes) -> str:
    """The first digits of an id, or the address of a public key, for progress lines."""
    if len(value) == PUBLIC_KEY_SIZE:
        value = address_of(value)
    text = format_address(value) if len(value) == ADDRESS_SIZE else value.hex()
    return f"{text[:12]}…"


def parse_id(text: str, what: str = "id", size: int = HASH_SIZE) -> bytes:
    """The bytes of a hash, id or public key in hexadecimal. Raises IdMalformed."""
    digits = text.strip().lower().removeprefix("0x")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = b""
    if len(data) != size:
        raise IdMalformed(f"{text!r} is no {what}: expected {2 * size} hexadecimal digits")
    return data
