"""Blobs, leaves, peers, tasks, and the server's records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.task import Aggregation, Baseline, Problem, Sampler, Task, UpdateRef, Utility
from fedcoin.store import blobs
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.database import after_prefix
from fedcoin.store.peers import PeerRecord
from fedcoin.store.server_store import ServerStore

RACE, OTHER = b"r" * 32, b"\xff" * 32


def test_blob_in_pieces_comes_back_whole(store: ChainStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "PIECE_SIZE", 10)
    for digest, data in ((b"\xff" * 32, bytes(range(35))), (b"e" * 32, b""), (b"x" * 32, b"0123456789")):
        store.put_blob(digest, data)
        assert store.get_blob(digest) == data
        assert store.blob_size(digest) == len(data)
    assert sorted(size for _, size in store.blobs()) == [0, 10, 35]
    store.delete_blob(b"\xff" * 32)
    assert store.get_blob(b"\xff" * 32) is None
    assert store.blob_size(b"\xff" * 32) is None
    assert store.get_blob(b"x" * 32) == b"0123456789"


def test_leaves_come_back_in_order_and_by_range(store: ChainStore) -> None:
    rows = np.arange(60, dtype=np.int64).reshape(20, 3) - 30
    for start, stop in ((0, 4), (4, 5), (5, 20)):
        store.put_leaves(RACE, start, rows[start:stop])
    store.put_leaves(OTHER, 0, rows[:2, :1])
    assert store.leaf_count(RACE) == 20
    assert np.array_equal(store.leaves(RACE), rows)
    for start, count in ((0, 1), (3, 4), (4, 1), (5, 3), (19, 5), (25, 2)):
        assert np.array_equal(store.leaves(RACE, start, count), rows[start : start + count])
    assert np.array_equal(store.leaves(OTHER), rows[:2, :1])
    assert store.leaves(b"n" * 32).shape == (0, 0)


def test_leaves_repeated_after_a_restart_are_skipped_and_gaps_refused(store: ChainStore) -> None:
    rows = np.arange(30, dtype=np.int64).reshape(10, 3)
    store.put_leaves(RACE, 0, rows[:6])
    store.put_leaves(RACE, 2, rows[2:4])
    store.put_leaves(RACE, 4, rows[4:])
    assert np.array_equal(store.leaves(RACE), rows)
    with pytest.raises(ValueError, match="follow"):
        store.put_leaves(RACE, 11, rows[:1])
    with pytest.raises(ValueError, match="follow"):
        store.put_leaves(RACE, 10, rows[:1, :2])


def test_only_the_newest_races_keep_their_leaves(store: ChainStore) -> None:
    races = [bytes([9 - index]) * 32 for index in range(5)]
    for race in races:
        store.put_leaves(race, 0, np.ones((2, 2), dtype=np.int64))
    store.drop_leaves(keep=2)
    assert store.races() == races[3:]
    assert [store.leaf_count(race) for race in races] == [0, 0, 0, 2, 2]
    store.put_leaves(races[0], 0, np.ones((1, 2), dtype=np.int64))
    assert store.races() == [*races[3:], races[0]]


def test_peer_is_replaced_under_its_address_and_removed(store: ChainStore) -> None:
    store.put_peer(PeerRecord("b:1", b"", 0))
    store.put_peer(PeerRecord("a:1", b"k" * 33, 5))
    store.put_peer(PeerRecord("b:1", b"l" * 33, 6))
    assert store.peers() == [PeerRecord("a:1", b"k" * 33, 5), PeerRecord("b:1", b"l" * 33, 6)]
    store.remove_peer("a:1")
    store.remove_peer("never:1")
    assert [peer.address for peer in store.peers()] == ["b:1"]


def test_tasks_by_their_hash(store: ChainStore) -> None:
    spec = ModelSpec(ModelFamily.LAYERS, "softmax", (2,), 2, (Layer(LayerKind.LINEAR, 2),))
    refs = (UpdateRef(b"u" * 32, 3),)
    terms = (Aggregation.WEIGHTED, Utility.ACCURACY, Baseline.ZERO, Sampler.PERMUTATION)
    problem = Problem(spec, *terms, b"b" * 32, b"e" * 32, refs)
    task = Task(b"s" * 33, b"o" * 32, 0, b"p" * 32, 7, 1, 2, problem, (), 2, 5, 1, 9, b"g" * 64)
    name = task.id(store.chain_id)
    store.put_task(task)
    assert store.get_task(name) == task
    assert store.tasks() == [task]
    store.delete_task(name)
    assert store.get_task(name) is None


def test_smallest_key_above_a_prefix() -> None:
    assert after_prefix(b"ab") == b"ac"
    assert after_prefix(b"a\xff\xff") == b"b"
    assert after_prefix(b"\xff") is None
    assert after_prefix(b"") is None


def test_server_records_survive_reopening_with_their_types(tmp_path: Path) -> None:
    order, client = b"\xff" * 32, b"\x02" + b"k" * 32
    record = {"id": b"\x00\x01", "n": 2**60, "x": 0.5, "t": "é", "no": None, "l": [True, {"b": b""}]}
    store = ServerStore(tmp_path, b"c" * 32)
    store.put_order(order, record)
    store.put_order(b"a" * 32, {})
    store.put_round(order, 0, {"n": 0})
    store.put_round(order, 300, {"n": 300})
    store.put_update(order, 300, client, record)
    store.put_meta("next", {"order": order})
    store.put_blob(b"d" * 32, b"data")
    store.sync()
    store.close()
    store = ServerStore(tmp_path, b"c" * 32)
    assert store.get_order(order) == record
    assert set(store.orders()) == {order, b"a" * 32}
    assert store.rounds(order) == {0: {"n": 0}, 300: {"n": 300}}
    assert store.get_round(order, 1) is None
    assert store.updates(order, 300) == {client: record}
    assert store.updates(order, 0) == {}
    assert store.get_meta("next") == {"order": order}
    assert store.get_blob(b"d" * 32) == b"data"
    store.delete_order(order)
    assert (store.get_order(order), store.rounds(order), store.updates(order, 300)) == (None, {}, {})
    assert store.get_order(b"a" * 32) == {}
    store.close()
