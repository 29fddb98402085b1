"""CPU time, memory and file handles of processes, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """Of one process at one moment."""

    cpu: float
    """Seconds so far."""
    rss: int
    """Bytes."""
    handles: int
    """Open file descriptors."""


def usage(pid: int) -> Usage | None:
    """None if the process has ended."""
    folder = Path("/proc") / str(pid)
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = int((folder / "statm").read_text().split()[1])
        handles = len(os.listdir(folder / "fd"))
    except (OSError, IndexError):
        return None
    return Usage((int(fields[11]) + int(fields[12])) / _TICK, pages * _PAGE, handles)


def children(pid: int) -> list[int]:
    """Processes that `pid` has started."""
    found: list[int] = []
    for entry in (Path("/proc") / str(pid) / "task").glob("*/children"):
        try:
            found += [int(word) for word in entry.read_text().split()]
        except OSError:
            continue
    return found
