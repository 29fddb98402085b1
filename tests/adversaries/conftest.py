"""What each attack has gained, as a table at the end of `make adversaries`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

LONG = os.environ.get("FEDCOIN_ADVERSARIES") == "long"
"""The long form: more of everything."""

_GAINS: list[tuple[str, str]] = []

Gained = Callable[[str, str], None]


@pytest.fixture
def gained() -> Gained:
    """Notes an attack and what it has gained."""
    return lambda attack, measure: _GAINS.append((attack, measure))


@pytest.fixture
def scale() -> Callable[[int, int], int]:
    """The first number by default, the second one in the long form."""
    return lambda short, long: long if LONG else short


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the table."""
    if LONG and _GAINS:
        terminalreporter.section("what the adversaries gained")
        width = max(len(attack) for attack, _ in _GAINS)
        for attack, measure in _GAINS:
            terminalreporter.write_line(f"{attack:<{width}}  {measure}")
