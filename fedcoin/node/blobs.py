"""Getting the blobs of a problem: from the store, from its server, from any peer that has them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from fedcoin.core.errors import BlobMismatch, BlobNotFound, BlobNotWanted, BlobTooLarge, FedCoinError
from fedcoin.core.task import Problem
from fedcoin.rpc.handlers import BlobHandler
from fedcoin.store.chain_store import ChainStore

log = logging.getLogger("fedcoin.blobs")

PARALLEL_DOWNLOADS = 4


class BlobExchange:
    """Blobs that this node has a use for, and nothing else: nobody can fill its disk with what it did not ask for."""

    def __init__(
        self, store: ChainStore, limit: int, sources: Callable[[], Sequence[BlobHandler]], wanted: Callable[[], set[bytes]]
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
        """All blobs of a problem, by digest. Raises BlobNotFound, naming one that nobody hands out."""
        sources = [*also, *self._sources()]

        async def one(digest: bytes) -> tuple[bytes, bytes]:
            async with self._parallel:
                return digest, self._store.get_blob(digest) or await self._download(digest, sources)

        return dict(await asyncio.gather(*(one(digest) for digest in dict.fromkeys(problem.blobs))))

    async def _download(self, digest: bytes, sources: Sequence[BlobHandler]) -> bytes:
        for source in sources:
            try:
                size = await source.blob_size(digest)
                if size is None or size > self._limit:
                    continue
                data = await source.get_blob(digest)
                _check(digest, data)
            except FedCoinError as error:
                log.debug("blob %s: %s", digest.hex()[:12], error)
                continue
            self._store.put_blob(digest, data)
            return data
        raise BlobNotFound(f"none of {len(sources)} peers hands out blob {digest.hex()}")


def _check(digest: bytes, data: bytes) -> None:
    if hashlib.sha256(data).digest() != digest:
        raise BlobMismatch(f"the bytes are not those of digest {digest.hex()}")
