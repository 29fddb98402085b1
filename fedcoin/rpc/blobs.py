"""Large bytes in pieces: size checked before memory is taken, SHA-256 after the last piece."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from fedcoin.core.errors import BlobMismatch, BlobTooLarge, TransferCutShort

CHUNK_BYTES = 2**20
"""Bytes of one piece at most."""


def chunks(data: bytes) -> Iterator[bytes]:
    """`data` in pieces of CHUNK_BYTES."""
    view = memoryview(data)
    for start in range(0, len(data), CHUNK_BYTES):
        yield bytes(view[start : start + CHUNK_BYTES])


class Assembly:
    """Puts pieces together. Memory grows with what arrives, never with what was announced."""

    def __init__(self, digest: bytes, size: int, limit: int) -> None:
        """Raises BlobTooLarge if `size` (bytes, as announced) is above `limit`."""
        if size > limit:
            raise BlobTooLarge(f"{size} bytes are announced, at most {limit} are taken")
        self._digest = digest
        self._size = size
        self._hash = hashlib.sha256()
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        """Takes the next piece. Raises BlobMismatch if it is empty, too large, or more than was announced."""
        if not 0 < len(chunk) <= CHUNK_BYTES:
            raise BlobMismatch(f"a piece of {len(chunk)} bytes; pieces have 1 to {CHUNK_BYTES}")
        if len(self._data) + len(chunk) > self._size:
            raise BlobMismatch(f"more than the announced {self._size} bytes arrive")
        self._hash.update(chunk)
        self._data += chunk

    def finish(self) -> bytes:
        """All bytes. Raises TransferCutShort if some are missing, BlobMismatch if the digest is another."""
        if len(self._data) != self._size:
            raise TransferCutShort(f"{len(self._data)} of {self._size} announced bytes have arrived")
        if self._hash.digest() != self._digest:
            raise BlobMismatch(f"the bytes have SHA-256 {self._hash.hexdigest()}, not {self._digest.hex()}")
        return bytes(self._data)
