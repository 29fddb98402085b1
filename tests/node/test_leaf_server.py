"""Handing out leaves to auditors."""

import asyncio
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
SUMS = np.cumsum(ROWS, axis=0)


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


async def test_paths_lead_to_the_root_of_the_size_that_was_announced(store: ChainStore) -> None:
    server = LeafServer(store)
    for size in (1, 5, 12):
        proofs = await server.proofs(RACE, size, range(size))
        for proof in proofs:
            assert proof.leaf == encode_leaf(SUMS[proof.index])
            verify_inclusion(proof.leaf, proof.index, size, proof.path, root_of(size))


async def test_leaves_that_came_later_are_there_too(store: ChainStore) -> None:
    server = LeafServer(store)
    assert len(await server.proofs(RACE, 12, [11])) == 1
    store.put_leaves(RACE, 12, ROWS[12:])
    (proof,) = await server.proofs(RACE, 20, [19])
    verify_inclusion(proof.leaf, 19, 20, proof.path, root_of(20))
    (proof,) = await server.proofs(RACE, 12, [3])
    verify_inclusion(proof.leaf, 3, 12, proof.path, root_of(12))


@pytest.mark.parametrize(
    ("size", "indices"), [(13, [0]), (0, [0]), (5, [5]), (5, [-1]), (12, [0] * (MAX_INDICES + 1)), (2**63, [1])]
)
async def test_leaves_that_are_not_there_are_refused(store: ChainStore, size: int, indices: list[int]) -> None:
    with pytest.raises(LeavesNotFound):
        await LeafServer(store).proofs(RACE, size, indices)


async def test_an_unknown_race_is_refused_and_takes_no_memory(store: ChainStore) -> None:
    server = LeafServer(store)
    for number in range(100):
        with pytest.raises(LeavesNotFound):
            await server.proofs(number.to_bytes(32, "big"), 1, [0])
    assert not server._logs


async def test_only_so_many_leaves_stay_in_memory(store: ChainStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaf_server, "_CACHED_VALUES", 3 * ROWS.size)
    server = LeafServer(store)
    for number in range(10):
        race = bytes([number]) * 32
        store.put_leaves(race, 0, ROWS)
        await server.proofs(race, 20, [0])
    assert list(server._logs) == [bytes([number]) * 32 for number in (7, 8, 9)]
    store.drop_leaves(keep=1)
    with pytest.raises(LeavesNotFound):
        await server.proofs(RACE, 12, [0])


async def test_a_long_race_is_read_in_slices_and_other_work_goes_on(
    store: ChainStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaf_server, "_VALUES_A_SLICE", 9)
    server, turns = LeafServer(store), 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(other_work())
    answers = await asyncio.gather(
        server.proofs(RACE, 12, [11]), server.proofs(RACE, 5, [4]), server.proofs(RACE, 12, [0])
    )
    other.cancel()
    assert turns >= 4
    for (proof,), size in zip(answers, (12, 5, 12), strict=True):
        verify_inclusion(proof.leaf, proof.index, size, proof.path, root_of(size))


async def test_a_race_that_is_dropped_meanwhile_is_refused(store: ChainStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaf_server, "_VALUES_A_SLICE", 9)
    waiting = asyncio.create_task(LeafServer(store).proofs(RACE, 12, [11]))
    await asyncio.sleep(0)
    store.drop_leaves(keep=0)
    with pytest.raises(LeavesNotFound):
        await waiting
