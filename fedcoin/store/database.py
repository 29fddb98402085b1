"""The seam to RocksDB: the one class that holds rocksdict's objects.

Everything is raw bytes (rocksdict pickles by default), every column family is named on open, and errors of the engine
become the errors of `fedcoin.core.errors`. RocksDB keeps its lock for as long as any object of it lives, so none leaves
this module: reads return bytes and lists.

A write is in the operating system's hands when `write` returns, so `kill -9` loses nothing; `sync` makes it survive a
loss of power as well, and lets other threads run meanwhile. After a loss of power the log is replayed up to its first
damaged record: a consistent moment, never half a batch. The file SYNCED notes how far writes and syncs have come; a
database that ends before that has lost what it was to keep (a log cut short, a flipped bit in it), and is not opened.
What was not synced may be missing after a loss of power only, so not before the machine has started anew.
"""

from __future__ import annotations

import os
import struct
import threading
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rocksdict import AccessType, DBRecoveryMode, Options, Rdict, WriteBatch

from fedcoin.core.errors import DataFolderInUse, FedCoinError, StoreCorrupt, StoreUnavailable, WrongDataFolder

DEFAULT = "default"
"""RocksDB's own column family."""

_MEMORY = 64 << 20
"""Bytes of writes held in memory, over all column families."""
_LOG = 128 << 20
"""Bytes of write-ahead log at most, before what it holds is moved into tables."""
_DATABASE_FILES = ("MANIFEST-*", "*.sst", "*.blob")
_OTHER_FILES = ("CURRENT", "IDENTITY", "LOCK", "LOG", "LOG.old.*", "OPTIONS-*", "*.log", "*.dbtmp", "rocksdict-*")
_SYNCED = "SYNCED"
_DAMAGED = "DAMAGED"

_NOTE = struct.Struct(">QQ16sI")


def _boot() -> bytes:
    """What differs each time that the machine starts; random where the system does not tell."""
    with suppress(OSError, ValueError):
        return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip()).bytes
    return os.urandom(16)


_BOOT = _boot()

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


@dataclass(frozen=True)
class _Noted:
    """What the file SYNCED says: sequence numbers of the last synced and of the last write."""

    synced: int
    written: int
    boot: bytes = _BOOT

    def encode(self) -> bytes:
        data = _NOTE.pack(self.synced, self.written, self.boot, 0)[:-4]
        return data + zlib.crc32(data).to_bytes(4, "big")

    @classmethod
    def read(cls, data: bytes) -> _Noted:
        """Zeros where nothing is noted."""
        if len(data) != _NOTE.size or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "big"):
            return cls(0, 0)
        return cls(*_NOTE.unpack(data)[:3])


class Database:
    """An open database. `close` gives the folder free; every method raises StoreUnavailable after it."""

    def __init__(self, path: Path, families: Sequence[str], *, salvage: bool = False) -> None:
        """Opens or creates the database in folder `path`, with these column families besides the default one.

        `salvage`: to read what is left of a damaged one; nothing is written. Raises DataFolderInUse, WrongDataFolder,
        StoreCorrupt, StoreUnavailable.
        """
        self._path = path
        self._syncing = threading.Lock()
        self._root: Rdict | None = None
        self._noting = threading.Lock()
        self._synced: int | None = None
        self._noted = _Noted(0, 0)
        self.damage: StoreCorrupt | None = None
        """What a read has found to be damaged, whoever asked."""
        access = AccessType.read_only() if salvage else AccessType.read_write()
        with _translated(path):
            path.mkdir(parents=True, exist_ok=True)
            _refuse_lost_files(path)
            if not salvage:
                _refuse_marked(path)
            columns = {name: _options(salvage) for name in families}
            self._root = Rdict(str(path), options=_options(salvage), column_families=columns, access_type=access)
            self._families = {name: self._root.get_column_family(name) for name in families}
            self._handles = {name: self._root.get_column_family_handle(name) for name in (DEFAULT, *families)}
            self._families[DEFAULT] = self._root
            if not salvage:
                try:
                    self._check_synced()
                except BaseException:
                    self.close()
                    raise

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
            self._note(written=root.latest_sequence_number())

    def put(self, family: str, key: bytes, value: bytes) -> None:
        """Writes one key. It is not synced."""
        batch = Batch()
        batch.put(family, key, value)
        self.write(batch)

    def sync(self) -> None:
        """Returns once everything written so far is on the disk. To be called in a thread: it waits for the disk."""
        with self._syncing, self._engine() as root:
            reached = root.latest_sequence_number()
            root.flush_wal(True)
            self._note(synced=reached)

    def mark_damaged(self, reason: str) -> None:
        """The next start will find the database damaged, also if what it reads then is not. Raises StoreUnavailable."""
        with _translated(self._path):
            (self._path / _DAMAGED).write_text(reason + "\n")

    def close(self) -> None:
        """Gives the folder free. Closing twice is fine. Raises StoreUnavailable if the last writes fail."""
        with self._syncing:
            root, self._root = self._root, None
            if root is None:
                return
            with self._noting:
                if self._synced is not None:
                    os.close(self._synced)
                    self._synced = None
            families, self._families, self._handles = self._families, {}, {}
            with _translated(self._path):
                try:
                    for family in families.values():
                        if family is not root:
                            family.close()
                finally:
                    root.close()

    def _check_synced(self) -> None:
        """Raises StoreCorrupt if the database ends before what it must hold."""
        assert self._root is not None, "open"
        reached = self._root.latest_sequence_number()
        self._synced = os.open(self._path / _SYNCED, os.O_RDWR | os.O_CREAT, 0o644)
        noted = _Noted.read(os.pread(self._synced, _NOTE.size, 0))
        kept = noted.written if noted.boot == _BOOT else noted.synced
        if reached < kept:
            raise StoreCorrupt(
                f"{self._path} has lost writes {reached + 1} to {kept}, which it held once (its log is cut short or "
                "damaged): restore a copy, or remove the folder and sync again"
            )
        self._noted = _Noted(noted.synced, reached)

    def _note(self, synced: int = 0, written: int = 0) -> None:
        # Not synced itself: it is as new as the log after kill -9, and of `synced` no newer after a loss of power.
        with self._noting:
            if self._synced is not None:
                noted = self._noted
                self._noted = _Noted(max(noted.synced, synced), max(noted.written, written))
                os.pwrite(self._synced, self._noted.encode(), 0)

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
        try:
            with _translated(self._path):
                yield self._root
        except StoreCorrupt as error:
            self.damage = self.damage or error
            raise


def set_aside(path: Path) -> Path:
    """Moves the database in folder `path` into a new folder in it, which is returned. Other files stay.

    Raises StoreUnavailable.
    """
    numbers = [int(name) for found in path.glob("damaged-*") if (name := found.name.partition("-")[2]).isdecimal()]
    aside = path / f"damaged-{max(numbers, default=0) + 1}"
    with _translated(path):
        aside.mkdir()
        # CURRENT late: before that, an interrupted move leaves a database that is found to be damaged again.
        for pattern in (*_DATABASE_FILES, *_OTHER_FILES[1:], _SYNCED, _OTHER_FILES[0], _DAMAGED):
            for file in path.glob(pattern):
                file.rename(aside / file.name)
    return aside


def after_prefix(prefix: bytes) -> bytes | None:
    """The smallest key above all that start with `prefix`; None where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def _options(salvage: bool = False) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(not salvage)
    options.create_missing_column_families(not salvage)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    options.set_db_write_buffer_size(_MEMORY)
    options.set_max_total_wal_size(_LOG)
    options.set_keep_log_file_num(3)
    options.set_paranoid_checks(not salvage)
    return options


def _refuse_lost_files(path: Path) -> None:
    # Without CURRENT RocksDB would begin an empty database beside the old one's files.
    if not (path / "CURRENT").exists() and any(next(path.glob(pattern), None) for pattern in _DATABASE_FILES):
        raise StoreCorrupt(f"{path} has lost its file CURRENT: restore a copy, or remove the folder and sync again")


def _refuse_marked(path: Path) -> None:
    marker = path / _DAMAGED
    if marker.exists():
        reason = " ".join(marker.read_text(errors="replace").split()) or "it was marked so"
        raise StoreCorrupt(f"{path} was found to be damaged when it was last used: {reason}")


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
