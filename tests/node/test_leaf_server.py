"""Handing out leaves to auditors."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedcoin.core.errors import LeavesNotFound
from fedcoin.core.merkle import verify_inclusion
from fedcoin.node import leaf_server
from fedcoin.node.leaf_server import MAX_INDICES, LeafServer
from fedcoin.shapley.leaves import LeafLog, encode_leaf
from fedcoin.store.chain_store import ChainStore

RACE = b"r" * 32
ROWS = np.arange(60, dtype=np.int64).reshape(20, 3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChainStore]:
    opened = ChainStore(tmp_path, b"c" * 32, 10)
    opened.put_leaves(RACE, 0, ROWS[:12])
    yield opened
    opened.close()


def root_of(size: int) -> bytes:
    log = LeafLog(3)
    log.extend(ROWS[:size])
    return log.root()


def test_paths_lead_to_the_root_of_the_size_that_was_announced(store: ChainStore) -> None:
    server = LeafServer(store)
    for size in (1, 5, 12):
        proofs = server.proofs(RACE, size, range(size))
        for proof in proofs:
            assert proof.leaf == encode_leaf(ROWS[proof.index])
            verify_inclusion(proof.leaf, proof.index, size, proof.path, root_of(size))


def test_leaves_that_came_later_are_there_too(store: ChainStore) -> None:
    server = LeafServer(store)
    assert len(server.proofs(RACE, 12, [11])) == 1
    store.put_leaves(RACE, 12, ROWS[12:])
    (proof,) = server.proofs(RACE, 20, [19])
    verify_inclusion(proof.leaf, 19, 20, proof.path, root_of(20))
    (proof,) = server.proofs(RACE, 12, [3])
    verify_inclusion(proof.leaf, 3, 12, proof.path, root_of(12))


def test_a_stretch_comes_in_pieces_of_whole_leaves(store: ChainStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaf_server, "PIECE_BYTES", 100)
    pieces = list(LeafServer(store).pieces(RACE, 2, 9))
    assert [len(piece) for piece in pieces] == [96, 96, 24]
    assert b"".join(pieces) == ROWS[2:11].astype(">i8").tobytes()


@pytest.mark.parametrize(("start", "count"), [(0, 13), (12, 1), (5, 8), (2**40, 1), (0, 0)])
def test_a_stretch_that_is_not_there_is_refused(store: ChainStore, start: int, count: int) -> None:
    with pytest.raises(LeavesNotFound):
        list(LeafServer(store).pieces(RACE, start, count))


@pytest.mark.parametrize(
    ("size", "indices"), [(13, [0]), (0, [0]), (5, [5]), (5, [-1]), (12, [0] * (MAX_INDICES + 1)), (2**63, [1])]
)
def test_leaves_that_are_not_there_are_refused(store: ChainStore, size: int, indices: list[int]) -> None:
    with pytest.raises(LeavesNotFound):
        LeafServer(store).proofs(RACE, size, indices)


def test_an_unknown_race_is_refused_and_takes_no_memory(store: ChainStore) -> None:
    server = LeafServer(store)
    for number in range(100):
        with pytest.raises(LeavesNotFound):
            server.proofs(number.to_bytes(32, "big"), 1, [0])
    assert not server._logs


def test_only_the_last_few_races_stay_in_memory(store: ChainStore) -> None:
    server = LeafServer(store)
    for number in range(10):
        race = bytes([number]) * 32
        store.put_leaves(race, 0, ROWS)
        server.proofs(race, 20, [0])
    assert len(server._logs) == 3
    store.drop_leaves(keep=1)
    with pytest.raises(LeavesNotFound):
        server.proofs(RACE, 12, [0])
