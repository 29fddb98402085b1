"""The seam to RocksDB: the one class that holds rocksdict's objects.

Everything is raw bytes (rocksdict pickles by default), every column family is named on open, and errors of the engine
become the errors of `fedcoin.core.errors`. RocksDB keeps its lock for as long as any object of it lives, so none leaves
this module: reads return bytes and lists.

A write is in the operating system's hands when `write` returns, so `kill -9` loses nothing; `sync` makes it survive a
loss of power as well, and lets other threads run meanwhile. After a loss of power the log is replayed up to its first
damaged record: a consistent moment, never half a batch.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rocksdict import DBRecoveryMode, Options, Rdict, WriteBatch

from fedcoin.core.errors import DataFolderInUse, FedCoinError, StoreCorrupt, StoreUnavailable, WrongDataFolder

DEFAULT = "default"
"""RocksDB's own column family."""

_MEMORY = 64 << 20
"""Bytes of writes held in memory, over all column families."""
_LOG = 128 << 20
"""Bytes of write-ahead log at most, before what it holds is moved into tables."""
_DATABASE_FILES = ("MANIFEST-*", "*.sst", "*.blob")

Pair = tuple[bytes, bytes]


class Batch:
    """Changes that are written together or not at all. Later ones win over earlier ones."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, bytes, bytes | None]] = []

    def put(self, family: str, key: bytes, value: bytes) -> None:
        """Sets a key of a column family."""
        self.changes.append((family, key, value))

    def delete(self, family: str, key: bytes) -> None:
        """Removes a key, if it is there."""
        self.changes.append((family, key, None))


class Database:
    """An open database. `close` gives the folder free; every method raises StoreUnavailable after it."""

    def __init__(self, path: Path, families: Sequence[str]) -> None:
        """Opens or creates the database in folder `path`, with these column families besides the default one.

        Raises DataFolderInUse, WrongDataFolder, StoreCorrupt, StoreUnavailable.
        """
        self._path = path
        self._syncing = threading.Lock()
        self._root: Rdict | None = None
        with _translated(path):
            path.mkdir(parents=True, exist_ok=True)
            _refuse_lost_files(path)
            self._root = Rdict(str(path), options=_options(), column_families={name: _options() for name in families})
            self._families = {name: self._root.get_column_family(name) for name in families}
            self._handles = {name: self._root.get_column_family_handle(name) for name in (DEFAULT, *families)}
        self._families[DEFAULT] = self._root

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        with self._engine():
            value: bytes | None = self._families[family].get(key)
            return value

    def scan(
        self,
        family: str,
        start: bytes = b"",
        stop: bytes | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> list[Pair]:
        """Up to `limit` pairs with start ≤ key < stop (no `stop`: to the end), ascending, or from the top down."""
        with self._engine():
            return list(self._walk(family, start, stop, limit, reverse))

    def prefixed(self, family: str, prefix: bytes, limit: int | None = None, reverse: bool = False) -> list[Pair]:
        """Up to `limit` pairs whose key starts with `prefix`."""
        return self.scan(family, prefix, after_prefix(prefix), limit, reverse)

    def write(self, batch: Batch) -> None:
        """Writes all of a batch in one step. It is not synced."""
        with self._engine() as root:
            writes = WriteBatch(raw_mode=True)
            for family, key, value in batch.changes:
                if value is None:
                    writes.delete(key, self._handles[family])
                else:
                    writes.put(key, value, self._handles[family])
            root.write(writes)

    def put(self, family: str, key: bytes, value: bytes) -> None:
        """Writes one key. It is not synced."""
        batch = Batch()
        batch.put(family, key, value)
        self.write(batch)

    def sync(self) -> None:
        """Returns once everything written so far is on the disk. To be called in a thread: it waits for the disk."""
        with self._syncing, self._engine() as root:
            root.flush_wal(True)

    def close(self) -> None:
        """Gives the folder free. Closing twice is fine. Raises StoreUnavailable if the last writes fail."""
        with self._syncing:
            root, self._root = self._root, None
            if root is None:
                return
            families, self._families, self._handles = self._families, {}, {}
            with _translated(self._path):
                try:
                    for family in families.values():
                        if family is not root:
                            family.close()
                finally:
                    root.close()

    def _walk(self, family: str, start: bytes, stop: bytes | None, limit: int | None, reverse: bool) -> Iterator[Pair]:
        iterator = self._families[family].iter()
        try:
            if not reverse:
                iterator.seek(start)
            elif stop is None:
                iterator.seek_to_last()
            else:
                iterator.seek_for_prev(stop)
                if iterator.valid() and iterator.key() == stop:
                    iterator.prev()
            count = 0
            while iterator.valid() and (limit is None or count < limit):
                key = iterator.key()
                if key < start or (stop is not None and key >= stop):
                    break
                yield key, iterator.value()
                count += 1
                if reverse:
                    iterator.prev()
                else:
                    iterator.next()
            # At damaged data RocksDB's iterators just end; only this tells.
            iterator.status()
        finally:
            # A traceback would otherwise keep the iterator, and with it the lock, alive after close.
            del iterator

    @contextmanager
    def _engine(self) -> Iterator[Rdict]:
        if self._root is None:
            raise StoreUnavailable(f"the data folder {self._path} is closed")
        with _translated(self._path):
            yield self._root


def after_prefix(prefix: bytes) -> bytes | None:
    """The smallest key above all that start with `prefix`; None where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_db_write_buffer_size(_MEMORY)
    options.set_max_total_wal_size(_LOG)
    options.set_keep_log_file_num(3)
    options.set_paranoid_checks(True)
    return options


def _refuse_lost_files(path: Path) -> None:
    # Without CURRENT RocksDB would begin an empty database beside the old one's files.
    if not (path / "CURRENT").exists() and any(next(path.glob(pattern), None) for pattern in _DATABASE_FILES):
        raise StoreCorrupt(f"{path} has lost its file CURRENT: restore a copy, or remove the folder and sync again")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turns what rocksdict raises (bare Exceptions with RocksDB's text) into our errors."""
    try:
        yield
    except FedCoinError:
        raise
    except Exception as error:
        raise _translate(path, str(error)) from error


def _translate(path: Path, text: str) -> FedCoinError:
    text = " ".join(text.split())
    if "While lock file" in text or "lock hold by current process" in text:
        return DataFolderInUse(f"{path} is in use by another process: stop it first, or choose another data folder")
    if "Column families not opened" in text:
        return WrongDataFolder(f"{path} is the data folder of another role or version: choose another folder")
    lost = "No such file" in text and any(name in text for name in ("MANIFEST", ".sst", ".blob", "CURRENT"))
    if "Corruption" in text or lost:
        return StoreCorrupt(f"{path} is damaged ({text}): restore a copy, or remove the folder and sync again")
    return StoreUnavailable(f"{path} cannot be read or written ({text}): look at free space, permissions and the disk")
