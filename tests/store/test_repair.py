"""What finds a damaged database, what is left of it, and the block that a miner has signed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fedcoin.core.errors import StoreCorrupt, StoreUnavailable
from fedcoin.store import database as seam
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.database import Database, set_aside
from fedcoin.store.salvage import Salvage, open_salvage
from fedcoin.store.signed import SignedBlock
from tests.support.damage import cut_log, cut_table, delete_current, flip_log

REPOSITORY = Path(__file__).parents[2]

_WRITER = """
import os, signal, sys
from pathlib import Path
from fedcoin.store.database import Database
database = Database(Path(sys.argv[1]), ("a",))
for number in range(200):
    database.put("a", number.to_bytes(2, "big"), os.urandom(300))
    if number == 100:
        database.sync()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A folder whose process was killed: 101 writes are synced, 200 are in the log."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, "-c", _WRITER, str(tmp_path)], env=environment, check=False, timeout=120)
    return tmp_path


def test_kill_9_loses_nothing(killed: Path) -> None:
    database = Database(killed, ("a",))
    assert len(database.scan("a")) == 200
    database.close()


@pytest.mark.parametrize("damage", [flip_log, cut_log])
def test_a_log_that_ends_too_early_is_found_at_the_start(killed: Path, damage: object) -> None:
    damage(killed)  # type: ignore[operator]
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="has lost writes"):
            Database(killed, ("a",))


def test_what_was_not_synced_may_be_missing_after_the_machine_started_anew(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = max(killed.glob("*.log"))
    with log.open("r+b") as file:
        file.truncate(int(log.stat().st_size * 0.8))  # some 160 writes
    monkeypatch.setattr(seam, "_BOOT", b"another boot....")
    database = Database(killed, ("a",))
    assert 101 <= len(database.scan("a")) < 200
    database.close()


def test_a_marked_database_is_refused_until_it_is_set_aside(tmp_path: Path, fake: ModuleType) -> None:
    (tmp_path / "key.json").write_text("precious")
    store = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    store.mark_damaged("a read has failed")
    store.close()
    with pytest.raises(StoreCorrupt, match="a read has failed"):
        ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    aside = set_aside(tmp_path)
    assert (aside / "CURRENT").exists()
    assert (tmp_path / "key.json").read_text() == "precious"
    fresh = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    assert fresh.is_empty
    fresh.close()
    assert set_aside(tmp_path) != aside


@pytest.mark.parametrize("damage", [None, cut_table, delete_current])
def test_salvage_reads_what_it_can_and_writes_nothing(tmp_path: Path, fake: ModuleType, damage: object) -> None:
    chain = fake.FakeChain()
    store = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    store.initialise(fake.GENESIS)
    for salt in range(5):
        store.adopt(chain.adoption(0, [salt]))
    store.put_pending(chain.blocks[0].transactions[0])
    store.close()
    if damage is cut_table:
        Database(tmp_path, seam_families()).close()
    before = None
    if damage is not None:
        damage(tmp_path)  # type: ignore[operator]
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".sst", ".log")}
    salvage = open_salvage(tmp_path)
    if salvage is None:
        assert damage is not None
        return
    blocks = list(salvage.chain_blocks())
    assert blocks == chain.blocks[: len(blocks)]
    if damage is None:
        assert len(blocks) == 5
        assert list(salvage.pending()) == [chain.blocks[0].transactions[0]]
    salvage.close()
    if before is not None:
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before}


def seam_families() -> tuple[str, ...]:
    from fedcoin.store.layout import CHAIN_FAMILIES

    return CHAIN_FAMILIES


def test_salvage_copies_into_a_new_store(tmp_path: Path, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    old = ChainStore(tmp_path / "old", fake.CHAIN_ID, fake.DEPTH)
    old.initialise(fake.GENESIS)
    old.adopt(chain.adoption(0, [1]))
    waiting = fake.make_block(chain.tip, 2, 3).transactions[0]
    old.put_pending(waiting)
    old.put_blob(bytes(32), b"its digest is another")
    old.close()
    new = ChainStore(tmp_path / "new", fake.CHAIN_ID, fake.DEPTH)
    salvage = Salvage(tmp_path / "old")
    salvage.copy_into(new)
    salvage.close()
    assert new.pending() == [waiting]
    assert new.get_blob(bytes(32)) is None
    new.close()


def test_the_signed_block_is_kept_whole_or_refused(tmp_path: Path, fake: ModuleType) -> None:
    kept = SignedBlock(tmp_path)
    assert kept.read() is None
    first, second = fake.make_block(fake.CHAIN_ID, 1, 1), fake.make_block(fake.CHAIN_ID, 2, 2)
    kept.keep(first)
    kept.keep(second)
    assert SignedBlock(tmp_path).read() == second
    file = tmp_path / "signed-block"
    data = bytearray(file.read_bytes())
    data[50] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoreCorrupt, match="--no-mine"):
        kept.read()
    with pytest.raises(StoreUnavailable):
        SignedBlock(tmp_path / "nowhere").keep(first)
