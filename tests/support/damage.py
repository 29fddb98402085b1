"""Damage to the files of a RocksDB database that nobody has open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def _files(folder: Path, pattern: str) -> list[Path]:
    found = sorted((path for path in folder.glob(pattern) if path.stat().st_size), key=lambda path: path.stat().st_size)
    assert found, f"no {pattern} in {folder}"
    return found


def _flip(path: Path, share: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * share)] ^= 0x10
    path.write_bytes(data)


def flip_log(folder: Path) -> None:
    """One bit in the first half of the write-ahead log."""
    _flip(_files(folder, "*.log")[-1], 0.3)


def cut_log(folder: Path) -> None:
    """The write-ahead log ends in the middle."""
    path = _files(folder, "*.log")[-1]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip_tables(folder: Path) -> None:
    """One bit in the data of each table."""
    for path in _files(folder, "*.sst"):
        _flip(path, 0.2)


def cut_table(folder: Path) -> None:
    """The largest table ends in the middle."""
    path = _files(folder, "*.sst")[-1]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def delete_table(folder: Path) -> None:
    """The largest table is gone."""
    _files(folder, "*.sst")[-1].unlink()


def cut_manifest(folder: Path) -> None:
    """The list of tables ends in the middle."""
    path = _files(folder, "MANIFEST-*")[-1]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def delete_current(folder: Path) -> None:
    """What names the list of tables is gone."""
    (folder / "CURRENT").unlink()


KINDS: dict[str, Callable[[Path], None]] = {
    "a flipped bit in the log": flip_log,
    "a log cut short": cut_log,
    "flipped bits in tables": flip_tables,
    "a table cut short": cut_table,
    "a deleted table": delete_table,
    "a manifest cut short": cut_manifest,
    "a deleted CURRENT": delete_current,
}
