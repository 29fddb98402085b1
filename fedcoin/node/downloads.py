"""Getting one blob from sources of which some may be slow, absent, or hostile."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Sequence

from fedcoin.core.errors import BlobMismatch, BlobNotFound, BlobTooLarge, FedCoinError
from fedcoin.rpc.handlers import BlobHandler

log = logging.getLogger("fedcoin.blobs")

PATIENCE_SECONDS = 20.0
"""How long sources may take to say whether they have a blob; and one source over the blob itself, with a second more
for each SLOWEST bytes of it."""
SLOWEST = 1 << 20
NEXT_SECONDS = 3.0
"""A source that is not done by then, with a second more for each USUAL bytes, gets a rival."""
USUAL = 8 << 20
MOST_AT_ONCE = 4
"""Sources that hand out the same blob to us at once; one more, and the first of them is given up."""


async def download(digest: bytes, sources: Sequence[BlobHandler], limit: int) -> bytes:
    """The blob, its digest checked. `limit`: bytes at most. Raises BlobNotFound if no source hands it out.

    All sources are asked at once whether they have it, so that one that does not answer costs no time; and who is slow
    to hand it out, as one may be that wants to keep us from it, gets rivals.
    """
    # A list: of sources that answer together the one named first is tried first.
    asked = [asyncio.create_task(_size(source, digest)) for source in sources]
    offers: deque[tuple[BlobHandler, int]] = deque()
    running: dict[asyncio.Task[bytes | None], float] = {}
    """Transfers, the oldest first, and when each gets a rival."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    try:
        while asked or offers or running:
            now = time.monotonic()
            if offers and all(due <= now for due in running.values()):
                if len(running) >= MOST_AT_ONCE:
                    oldest = next(iter(running))
                    del running[oldest]
                    await _ended(oldest)
                source, size = offers.popleft()
                transfer = asyncio.create_task(_take(source, digest, size, limit))
                running[transfer] = now + NEXT_SECONDS + size / USUAL
                continue
            if not running and now >= give_up:
                log.debug("blob %s: the rest does not answer", digest.hex()[:12])
                break
            due = max(running.values(), default=give_up) if offers or not running else None
            await asyncio.wait(
                {*asked, *running},
                timeout=None if due is None else max(0.01, due - now),
                return_when=asyncio.FIRST_COMPLETED,
            )
            for ended in [task for task in running if task.done()]:
                del running[ended]
                data = ended.result()
                if data is not None:
                    return data
            for answer in [task for task in asked if task.done()]:
                asked.remove(answer)
                source, found = answer.result()
                if found is not None and found <= limit:
                    offers.append((source, found))
    finally:
        await _ended(*asked, *running)
    raise BlobNotFound(f"none of {len(sources)} peers hands out blob {digest.hex()}")


def check_digest(digest: bytes, data: bytes) -> None:
    """Raises BlobMismatch unless the bytes are those of the digest."""
    if hashlib.sha256(data).digest() != digest:
        raise BlobMismatch(f"the bytes are not those of digest {digest.hex()}")


async def _take(source: BlobHandler, digest: bytes, size: int, limit: int) -> bytes | None:
    """The blob from one source; None if that fails."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS + size / SLOWEST):
            data = await source.get_blob(digest)
        if len(data) > limit:
            raise BlobTooLarge(f"{len(data)} bytes came where {size} were announced")
        check_digest(digest, data)
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


async def _ended(*tasks: asyncio.Task[bytes | None] | asyncio.Task[tuple[BlobHandler, int | None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
