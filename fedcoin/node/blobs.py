"""Getting the blobs of a problem: from the store, from its server, from any peer that has them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from fedcoin.core.errors import BlobMismatch, BlobNotFound, BlobNotWanted, BlobTooLarge, FedCoinError, StoreCorrupt
from fedcoin.core.task import Problem
from fedcoin.rpc.handlers import BlobHandler
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.blobs")

PARALLEL_DOWNLOADS = 4
MAX_SOURCES = 16
"""Who is asked for one blob."""
PATIENCE_SECONDS = 20.0
"""How long one source may take over a blob, and a second more for each SLOWEST bytes of it; then the next is asked."""
SLOWEST = 1 << 20


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
    ) -> None:
        """`limit`: bytes of one blob. `sources`: whom to ask. `wanted`: digests of all open problems."""
        self._store = store
        self._limit = limit
        self._sources = sources
        self._wanted = wanted
        self._parallel = asyncio.Semaphore(PARALLEL_DOWNLOADS)

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

    def put(self, digest: bytes, data: bytes) -> None:
        """Keeps a blob that somebody hands us. Raises BlobTooLarge, BlobNotWanted, BlobMismatch."""
        if len(data) > self._limit:
            raise BlobTooLarge(f"the blob has {len(data)} bytes, {self._limit} are allowed")
        if digest not in self._wanted():
            raise BlobNotWanted("no open task needs this blob; publish the task first")
        _check(digest, data)
        self._store.put_blob(digest, data)

    async def fetch(self, problem: Problem, also: Iterable[BlobHandler] = ()) -> Mapping[bytes, bytes]:
        """All blobs of a problem, by digest. `also`: whom to ask, besides the peers.

        Raises BlobNotFound, naming one that nobody hands out; what has been fetched by then is kept.
        """
        digests = tuple(dict.fromkeys(problem.blobs))
        missing = [digest for digest in digests if self._store.blob_size(digest) is None]
        if missing:
            sources = [*also, *self._sources()][:MAX_SOURCES]
            ended = await asyncio.gather(*(self._get(one, sources) for one in missing), return_exceptions=True)
            for error in ended:
                if error is not None:
                    raise error
        return StoredBlobs(self._store, digests)

    async def _get(self, digest: bytes, sources: Sequence[BlobHandler]) -> None:
        async with self._parallel:
            if self._store.blob_size(digest) is None:  # or somebody has handed it in meanwhile
                self._store.put_blob(digest, await self._download(digest, sources))

    async def _download(self, digest: bytes, sources: Sequence[BlobHandler]) -> bytes:
        # All at once are asked whether they have it, so that one that does not answer costs no time.
        asked = [asyncio.create_task(_size(source, digest)) for source in sources]
        try:
            for answer in asyncio.as_completed(asked, timeout=PATIENCE_SECONDS):
                source, size = await answer
                if size is not None and size <= self._limit:
                    data = await self._take(source, digest, size)
                    if data is not None:
                        return data
        except TimeoutError:
            log.debug("blob %s: the rest does not answer", digest.hex()[:12])
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        raise BlobNotFound(f"none of {len(sources)} peers hands out blob {digest.hex()}")

    async def _take(self, source: BlobHandler, digest: bytes, size: int) -> bytes | None:
        """The blob from one source; None if that fails."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS + size / SLOWEST):
                data = await source.get_blob(digest)
            if len(data) > self._limit:
                raise BlobTooLarge(f"{len(data)} bytes came where {size} were announced")
            _check(digest, data)
        except (FedCoinError, TimeoutError, OSError) as error:
            log.debug("blob %s: %r", digest.hex()[:12], error)
            return None
        return data


async def _size(source: BlobHandler, digest: bytes) -> tuple[BlobHandler, int | None]:
    try:
        return source, await source.blob_size(digest)
    except (FedCoinError, OSError) as error:
        log.debug("blob %s: %r", digest.hex()[:12], error)
        return source, None


def _check(digest: bytes, data: bytes) -> None:
    if hashlib.sha256(data).digest() != digest:
        raise BlobMismatch(f"the bytes are not those of digest {digest.hex()}")
