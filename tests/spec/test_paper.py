"""docs/paper.md: every line of Algorithms 1 to 3 and every row of Table 1 has its place, and the places exist."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

from fedcoin.core.block import BlockHeader

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
LINES = {"1": 28, "2": 17, "3": 15}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = PAGE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def numbers(cell: str) -> set[int]:
    found: set[int] = set()
    for part in cell.split(","):
        first, _, last = part.strip().partition("–")
        found |= set(range(int(first), int(last or first) + 1))
    return found


@pytest.mark.parametrize("algorithm", LINES)
def test_every_line_of_an_algorithm_has_a_row(algorithm: str) -> None:
    covered = [numbers(row[0]) for row in rows(f"Algorithm {algorithm}")]
    assert sorted(number for row in covered for number in row) == list(range(1, LINES[algorithm] + 1))


def test_every_row_of_table_1_has_a_field() -> None:
    named = {name for row in rows("Table 1") for name in re.findall(r"`(\w+)`", row[1])}
    assert len(rows("Table 1")) == 7
    assert named <= {field.name for field in fields(BlockHeader)}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(fedcoin\.[\w.]+)`", PAGE))))
def test_every_name_of_code_exists(name: str) -> None:
    parts = name.split(".")
    module = import_module(".".join(parts[:3]))
    assert reduce(getattr, parts[3:], module) is not None


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE))))
def test_every_test_exists(test: str) -> None:
    path, name = test.split("::")
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
