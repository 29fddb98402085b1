"""Locked, foreign, damaged and full data folders, and kill -9: an error that says what to do, or no loss."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from fedcoin.core.errors import (
    DataFolderInUse,
    FedCoinError,
    StoreCorrupt,
    StoreUnavailable,
    WrongChain,
    WrongDataFolder,
)
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.database import Database
from fedcoin.store.layout import CHAIN_FAMILIES
from fedcoin.store.server_store import ServerStore

REPOSITORY = Path(__file__).parents[2]


def python(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=environment)


def test_folder_is_locked_while_open_and_free_after_close(store: ChainStore, fake: ModuleType) -> None:
    with pytest.raises(DataFolderInUse) as raised:
        ChainStore(store.path, fake.CHAIN_ID, fake.DEPTH)
    assert raised.value.code == "DATA_FOLDER_IN_USE"
    store.close()
    store.close()
    ChainStore(store.path, fake.CHAIN_ID, fake.DEPTH).close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.load()


def test_another_chain_is_refused_and_the_folder_stays_free(store: ChainStore, fake: ModuleType) -> None:
    store.close()
    with pytest.raises(WrongChain, match="belongs to chain 6363"):
        ChainStore(store.path, b"d" * 32, fake.DEPTH)
    ChainStore(store.path, fake.CHAIN_ID, fake.DEPTH).close()


def test_another_role_is_refused(store: ChainStore, fake: ModuleType, tmp_path: Path) -> None:
    store.close()
    with pytest.raises(WrongDataFolder):
        ServerStore(store.path, fake.CHAIN_ID)
    ServerStore(tmp_path / "server", fake.CHAIN_ID).close()
    with pytest.raises(WrongDataFolder):
        ChainStore(tmp_path / "server", fake.CHAIN_ID, fake.DEPTH)


def test_path_that_cannot_be_a_folder_is_unavailable(tmp_path: Path, fake: ModuleType) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreUnavailable, match="free space, permissions"):
            ChainStore(path, fake.CHAIN_ID, fake.DEPTH)


@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*", "*.sst"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "overwritten", "deleted"])
def test_damaged_file_is_store_corrupt(tmp_path: Path, fake: ModuleType, pattern: str, damage: str) -> None:
    chain = fake.FakeChain()
    store = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    store.initialise(fake.GENESIS | {bytes([n % 256, n // 256]): random.Random(n).randbytes(50) for n in range(2000)})
    store.adopt(chain.adoption(0, [1, 2, 3]))
    store.close()
    Database(tmp_path, CHAIN_FAMILIES).close()  # moves what the log holds into tables
    path = max(tmp_path.glob(pattern), key=lambda file: file.stat().st_size)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        for at in range(len(data) // 4, len(data) // 4 + 8):
            data[at] ^= 0xFF
        path.write_bytes(data)
    elif damage == "overwritten":
        path.write_bytes(random.Random(1).randbytes(len(data)))
    else:
        path.unlink()
    with pytest.raises(StoreCorrupt, match="restore a copy"):
        _read_everything(tmp_path, fake)


def _read_everything(path: Path, fake: ModuleType) -> None:
    store = ChainStore(path, fake.CHAIN_ID, fake.DEPTH)
    try:
        store.load()
        fake.replay(store)
    finally:
        store.close()


def test_values_that_do_not_decode_are_store_corrupt(store: ChainStore, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    store.adopt(chain.adoption(0, [1]))
    store.close()
    database = Database(store.path, CHAIN_FAMILIES)
    for family, key in (
        ("blocks", chain.tip),
        ("undo", chain.tip),
        ("transactions", b"t" * 32),
        ("blobs", b"s" + b"b" * 32),
        ("peers", b"a:1"),
    ):
        database.put(family, key, b"junk")
    database.close()
    again = ChainStore(store.path, fake.CHAIN_ID, fake.DEPTH)
    for read in (
        again.load,
        again.peers,
        lambda: again.get_block(chain.tip),
        lambda: again.get_undo(chain.tip),
        lambda: again.transaction_location(b"t" * 32),
        lambda: again.get_blob(b"b" * 32),
    ):
        with pytest.raises(StoreCorrupt):
            read()
    again.close()


def test_damaged_folder_can_be_closed_while_its_error_is_held(tmp_path: Path, fake: ModuleType) -> None:
    database = Database(tmp_path, ("a",))
    for number in range(3000):
        database.put("a", number.to_bytes(4, "big"), random.Random(number).randbytes(100))
    database.close()
    Database(tmp_path, ("a",)).close()
    table = max(tmp_path.glob("*.sst"), key=lambda file: file.stat().st_size)
    data = bytearray(table.read_bytes())
    data[len(data) // 2] ^= 0xFF
    table.write_bytes(data)
    database = Database(tmp_path, ("a",))
    with pytest.raises(StoreCorrupt) as held:
        database.scan("a")
    database.close()
    Database(tmp_path, ("a",)).close()
    assert isinstance(held.value, FedCoinError)


_FULL = """
import resource, sys
from pathlib import Path
from fedcoin.core.errors import StoreUnavailable
from fedcoin.store.database import Database
from fedcoin.store.layout import CHAIN_FAMILIES
database = Database(Path(sys.argv[1]), ("a",))
database.put("a", b"kept", b"1")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for attempt in (lambda: database.put("a", b"big", bytes(3 << 20)), database.sync, database.close):
    try:
        attempt()
        print("ok")
    except StoreUnavailable as error:
        print(error.code)
"""


@pytest.mark.functional
def test_full_disk_is_store_unavailable_and_keeps_what_was_there(tmp_path: Path) -> None:
    child = python("-c", _FULL, str(tmp_path))
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert out.split()[0] == "STORE_UNAVAILABLE"
    assert set(out.split()) <= {"STORE_UNAVAILABLE", "ok"}
    database = Database(tmp_path, ("a",))
    assert database.get("a", b"kept") == b"1"
    assert database.get("a", b"big") is None
    database.close()


@pytest.mark.functional
def test_folder_of_a_running_process_is_in_use(tmp_path: Path, fake: ModuleType) -> None:
    child = python(str(Path(__file__).with_name("fake_chain.py")), str(tmp_path), "1")
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(DataFolderInUse, match="another process"):
            ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    finally:
        child.kill()
        child.communicate()


@pytest.mark.functional
def test_killed_at_any_moment_the_store_equals_a_replay_of_its_blocks(tmp_path: Path, fake: ModuleType) -> None:
    rng = random.Random(7)
    folder, copy = tmp_path / "data", tmp_path / "straight"
    for attempt in range(10):
        child = python(str(Path(__file__).with_name("fake_chain.py")), str(folder), str(attempt))
        assert child.stdout is not None
        for _ in range(rng.randrange(2, 40)):
            while child.stdout.readline() != "writing\n":
                pass
        moment = time.perf_counter() + rng.uniform(0, 0.0006)
        while time.perf_counter() < moment:
            pass
        child.kill()
        rest, _ = child.communicate()
        store = ChainStore(folder, fake.CHAIN_ID, fake.DEPTH)
        loaded, chain = store.load(), fake.replay(store)
        said = [int(line) for line in rest.split() if line.isdecimal()]
        # It died after its last word, before or after the write of one more block.
        assert not said or loaded.height in (said[-1], said[-1] + 1)
        assert loaded.state == chain.states[-1]
        assert loaded.height == len(chain.blocks)
        shutil.rmtree(copy, ignore_errors=True)
        straight, other = fake.FakeChain(), ChainStore(copy, fake.CHAIN_ID, fake.DEPTH)
        other.initialise(fake.GENESIS)
        for block in chain.blocks:
            applied = fake.effect(straight.states[-1], block)
            straight.states.append(fake.move(straight.states[-1], dict(applied.changes)))
            other.write_adoption(fake.AdoptChain((), (applied,)))
        for key in fake.KEYS:
            assert store.history(key.address, limit=10_000) == other.history(key.address, limit=10_000)
        for height in range(loaded.height + 3):
            assert store.block_hash_at(height) == other.block_hash_at(height)
            name = other.block_hash_at(height)
            if name is not None:
                assert store.get_undo(name) == other.get_undo(name)
        assert {entry[0] for entry in loaded.tree} >= {block.id() for block in chain.blocks}
        other.close()
        store.close()
