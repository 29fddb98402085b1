"""Getting the blobs of a problem: from the store, from its server, from any peer that has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from fedcoin.core.errors import BlobNotFound, BlobNotWanted, BlobTooLarge, NoRoomForBlobs, StoreCorrupt
from fedcoin.core.task import Problem
from fedcoin.node.downloads import check_digest, download
from fedcoin.rpc.handlers import BlobHandler
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.blobs")

PARALLEL_DOWNLOADS = 4
MAX_SOURCES = 16
"""Who is asked for one blob."""
DEFAULT_BUDGET = 16 << 30
"""Bytes of blobs that no settled problem needs."""


class StoredBlobs(Mapping[bytes, bytes]):
    """The blobs of a problem, by digest: each is read when it is asked for, so that they are never all in memory."""

    def __init__(self, store: ChainStore, digests: Iterable[bytes]) -> None:
        self._store = store
        self._digests = tuple(dict.fromkeys(digests))

    def __getitem__(self, digest: bytes) -> bytes:
        """Raises KeyError for a digest of another problem, BlobNotFound for a blob that has been dropped."""
        if digest not in self._digests:
            raise KeyError(digest.hex())
        try:
            data = self._store.get_blob(digest)
        except StoreCorrupt:
            self._store.delete_blob(digest)  # others have it yet
            data = None
        if data is None:
            raise BlobNotFound(f"blob {digest.hex()} is no longer held")
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


class BlobExchange:
    """Blobs that this node has a use for, and nothing else: nobody can fill its disk with what it did not ask for."""

    def __init__(
        self,
        store: ChainStore,
        limit: int,
        sources: Callable[[], Sequence[BlobHandler]],
        wanted: Callable[[], set[bytes]],
        budget: int = DEFAULT_BUDGET,
    ) -> None:
        """`limit`: bytes of one blob. `sources`: whom to ask. `wanted`: digests of all open problems.

        `budget`: bytes of all blobs at most that no settled problem needs: who orders little and publishes much must
        not fill the disk.
        """
        self._store = store
        self._limit = limit
        self._sources = sources
        self._wanted = wanted
        self._budget = budget
        self._settled: Set[bytes] = frozenset()
        self._used = sum(size for _, size in store.blobs())
        self._parallel = asyncio.Semaphore(PARALLEL_DOWNLOADS)
        self._in_background = asyncio.Semaphore(1)

    @property
    def limit(self) -> int:
        """Bytes of one blob at most."""
        return self._limit

    def size(self, digest: bytes) -> int | None:
        """Bytes of a blob, None where it is not held."""
        return self._store.blob_size(digest)

    def get(self, digest: bytes) -> bytes:
        """A blob that is held. Raises BlobNotFound."""
        data = self._store.get_blob(digest)
        if data is None:
            raise BlobNotFound(f"this node does not hold blob {digest.hex()}")
        return data

    def part(self, digest: bytes, start: int) -> bytes:
        """A piece of a blob from byte `start` on. Raises BlobNotFound."""
        data = self._store.blob_part(digest, start)
        if not data:
            raise BlobNotFound(f"this node does not hold blob {digest.hex()}")
        return data

    def expect(self, digest: bytes, size: int) -> bool:
        """Judges a blob that somebody is about to hand in, before memory is taken; False if it is held already.

        Raises BlobTooLarge, BlobNotWanted.
        """
        if self._store.blob_size(digest) is not None:
            return False
        if size > self._limit:
            raise BlobTooLarge(f"the blob has {size} bytes, {self._limit} are allowed")
        if digest not in self._wanted():
            raise BlobNotWanted("no open task needs this blob; publish the task first")
        return True

    def put(self, digest: bytes, data: bytes) -> None:
        """Keeps a blob that somebody hands us. Raises BlobTooLarge, BlobNotWanted, BlobMismatch."""
        if self.expect(digest, len(data)):
            check_digest(digest, data)
            self._keep(digest, data)

    async def fetch(
        self, problem: Problem, also: Iterable[BlobHandler] = (), *, background: bool = False
    ) -> Mapping[bytes, bytes]:
        """All blobs of a problem, by digest. `also`: whom to ask, besides the peers.

        `background`: one blob at a time, without taking turns from those that are waited for. Raises BlobNotFound,
        naming one that nobody hands out, BlobTooLarge if there is no room for them; what has been fetched by then is
        kept.
        """
        digests = tuple(dict.fromkeys(problem.blobs))
        missing = [digest for digest in digests if self._store.blob_size(digest) is None]
        if missing:
            sources = [*also, *self._sources()][:MAX_SOURCES]
            turns = self._in_background if background else self._parallel
            ended = await asyncio.gather(*(self._get(one, sources, turns) for one in missing), return_exceptions=True)
            for error in ended:
                if error is not None:
                    raise error
        return StoredBlobs(self._store, digests)

    def drop(self, settled: Set[bytes], lately: Set[bytes] = frozenset()) -> None:
        """Forgets blobs of which no problem has need. `settled`: digests of those that were settled.

        `lately`: of tasks that were open on one of the last tips, and may be published again; they go if there is no
        room.
        """
        self._settled = settled
        needed = settled | lately | self._wanted()
        self._used = 0
        for digest, size in self._store.blobs():
            if digest not in needed:
                self._store.delete_blob(digest)
            elif digest not in settled:
                self._used += size

    def _keep(self, digest: bytes, data: bytes) -> None:
        if self._used + len(data) > self._budget:
            self.drop(self._settled)
        if self._used + len(data) > self._budget:
            raise NoRoomForBlobs(
                f"open tasks have {self._used} bytes of blobs already, {self._budget} are kept at most"
            )
        self._store.put_blob(digest, data)
        if digest not in self._settled:
            self._used += len(data)

    async def _get(self, digest: bytes, sources: Sequence[BlobHandler], turns: asyncio.Semaphore) -> None:
        async with turns:
            if self._store.blob_size(digest) is None:  # or somebody has handed it in meanwhile
                self._keep(digest, await download(digest, sources, self._limit))
