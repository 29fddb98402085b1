"""Blobs: only what is wanted, only what fits its digest, from whoever has it."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedcoin.core.errors import BlobMismatch, BlobNotFound, BlobNotWanted, BlobTooLarge, NoRoomForBlobs, PeerUnreachable
from fedcoin.core.task import Problem, UpdateRef
from fedcoin.node import downloads as downloads_module
from fedcoin.node.blobs import BlobExchange
from fedcoin.node.publishers import MAX_TASKS, Publishers
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.store.chain_store import ChainStore
from tests.support.game import make_problem

BLOBS = tuple(f"blob {number}".encode() * 10 for number in range(4))
LIMIT = 100


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def problem() -> Problem:
    base, evaluation, *updates = map(digest_of, BLOBS)
    refs = tuple(UpdateRef(update, 1) for update in updates)
    return replace(make_problem(2), base_model=base, evaluation_set=evaluation, updates=refs)


class Source:
    """Somebody who hands out blobs."""

    def __init__(self, blobs: dict[bytes, bytes], size: int | None = None, slow: bool = False) -> None:
        self.blobs = blobs
        self.size = size
        self.slow = slow
        self.asked: list[bytes] = []

    async def blob_size(self, digest: bytes) -> int | None:
        if self.slow:
            await asyncio.Event().wait()
        return self.size if self.size is not None else len(self.blobs[digest]) if digest in self.blobs else None

    async def get_blob(self, digest: bytes) -> bytes:
        self.asked.append(digest)
        return self.blobs[digest]


class Gone(Source):
    async def blob_size(self, digest: bytes) -> int | None:
        raise PeerUnreachable("gone")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChainStore]:
    opened = ChainStore(tmp_path, b"c" * 32, 10)
    yield opened
    opened.close()


def exchange(store: ChainStore, *sources: Source, wanted: bool = True) -> BlobExchange:
    digests = set(problem().blobs) if wanted else set()
    return BlobExchange(store, LIMIT, lambda: sources, lambda: digests)  # type: ignore[arg-type,return-value]


HONEST = {digest_of(data): data for data in BLOBS}


async def test_blobs_come_from_whoever_has_them_and_are_asked_for_once(store: ChainStore) -> None:
    first = Source({digest_of(BLOBS[0]): BLOBS[0]})
    second = Source(HONEST)
    blobs = exchange(store, Gone({}), first, second)
    fetched = await blobs.fetch(problem())
    assert dict(fetched) == HONEST
    assert first.asked == [digest_of(BLOBS[0])]
    assert sorted(second.asked) == sorted(digest_of(data) for data in BLOBS[1:])
    assert dict(await blobs.fetch(problem())) == HONEST
    assert len(second.asked) == 3
    with pytest.raises(KeyError):
        fetched[b"of another problem"]


async def test_those_who_published_the_task_are_asked_too(store: ChainStore) -> None:
    publisher, peer = Source(HONEST), Source({})
    await exchange(store, peer).fetch(problem(), (publisher,))  # type: ignore[arg-type]
    assert sorted(publisher.asked) == sorted(HONEST)


async def test_a_liar_is_passed_over(store: ChainStore) -> None:
    liar = Source(dict.fromkeys(HONEST, b"something else"))
    boaster = Source(HONEST, size=LIMIT + 1)
    fetched = await exchange(store, liar, boaster, Source(HONEST)).fetch(problem())
    assert dict(fetched) == HONEST
    assert boaster.asked == []


async def test_a_source_that_does_not_answer_holds_up_nobody(
    store: ChainStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Source(HONEST, slow=True)
    fetched = await asyncio.wait_for(exchange(store, silent, Source(HONEST)).fetch(problem()), 5)
    assert dict(fetched) == HONEST
    monkeypatch.setattr(downloads_module, "PATIENCE_SECONDS", 0.02)
    with pytest.raises(BlobNotFound):
        await exchange(store, silent).fetch(replace(problem(), base_model=digest_of(b"more")))


async def test_more_bytes_than_announced_and_allowed_are_not_kept(store: ChainStore) -> None:
    large = b"x" * (LIMIT + 1)
    wanted = replace(problem(), base_model=digest_of(large))
    liar = Source({**HONEST, digest_of(large): large}, size=10)
    with pytest.raises(BlobNotFound):
        await exchange(store, liar).fetch(wanted)
    assert store.blob_size(digest_of(large)) is None


async def test_a_blob_that_nobody_has_is_named_and_the_others_are_kept(store: ChainStore) -> None:
    missing = digest_of(BLOBS[3])
    source = Source({digest: data for digest, data in HONEST.items() if digest != missing})
    with pytest.raises(BlobNotFound, match=missing.hex()):
        await exchange(store, source).fetch(problem())
    assert store.blob_size(digest_of(BLOBS[0])) == len(BLOBS[0])


async def test_what_is_handed_in_must_be_wanted_fit_and_be_what_it_says(store: ChainStore) -> None:
    blobs = exchange(store)
    with pytest.raises(BlobTooLarge):
        blobs.put(digest_of(BLOBS[0]), b"x" * (LIMIT + 1))
    with pytest.raises(BlobNotWanted):
        blobs.put(digest_of(b"unwanted"), b"unwanted")
    with pytest.raises(BlobMismatch):
        blobs.put(digest_of(BLOBS[0]), b"another")
    with pytest.raises(BlobNotFound):
        blobs.get(digest_of(BLOBS[0]))
    blobs.put(digest_of(BLOBS[0]), BLOBS[0])
    assert blobs.get(digest_of(BLOBS[0])) == BLOBS[0]
    with pytest.raises(BlobNotWanted):
        exchange(store, wanted=False).put(digest_of(BLOBS[1]), BLOBS[1])


async def test_publishers_are_bounded_and_those_of_open_tasks_stay() -> None:
    made: list[str] = []

    def connect(address: str) -> MinerClient:
        made.append(address)
        return MinerClient(address)

    publishers = Publishers(connect, lambda: {b"open"})
    publishers.note(b"open", "server:7080")
    publishers.note(b"open", "relay:7070")
    publishers.note(b"open", "nowhere:0")
    for number in range(10 * MAX_TASKS):
        publishers.note(number.to_bytes(4, "big"), f"flood:{1 + number}")
    assert len(publishers) == MAX_TASKS
    assert made == [], "nobody is called before a blob is wanted"
    assert [client.address for client in publishers.of(b"open")] == ["server:7080", "relay:7070"]
    assert publishers.of(b"unknown") == []
    for number in range(100):
        publishers.note(b"open", f"more:{1 + number}")
    assert len(publishers.of(b"open")) == 4
    await publishers.close()


async def test_one_that_hands_out_a_byte_a_day_gets_a_rival(store: ChainStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads_module, "NEXT_SECONDS", 0.02)

    class Trickle(Source):
        async def get_blob(self, digest: bytes) -> bytes:
            self.asked.append(digest)
            await asyncio.Event().wait()
            return b""

    slow = [Trickle(HONEST) for _ in range(10)]
    honest = Source(HONEST)
    fetched = await asyncio.wait_for(exchange(store, *slow, honest).fetch(problem()), 10)
    assert dict(fetched) == HONEST
    assert slow[0].asked, "the first that answers is asked first"


async def test_blobs_of_open_tasks_have_a_budget_and_those_of_no_task_go(store: ChainStore) -> None:
    first, second, third = (bytes([number]) * 60 for number in range(3))
    wanted = {digest_of(first)}
    blobs = BlobExchange(store, LIMIT, list, lambda: wanted, budget=130)
    blobs.put(digest_of(first), first)
    wanted |= {digest_of(second), digest_of(third)}
    blobs.put(digest_of(second), second)
    with pytest.raises(NoRoomForBlobs, match="130"):
        blobs.put(digest_of(third), third)
    wanted.remove(digest_of(first))  # the chain has moved on
    blobs.put(digest_of(third), third)
    assert [store.blob_size(digest_of(data)) for data in (first, second, third)] == [None, 60, 60]
    blobs.drop({digest_of(second)})
    wanted.clear()
    blobs.drop({digest_of(second)})
    assert [store.blob_size(digest_of(data)) for data in (second, third)] == [60, None], "audits come yet"
