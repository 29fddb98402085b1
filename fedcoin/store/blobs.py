"""Content-addressed blobs: model updates, starting models, evaluation sets. Whoever stores one has checked it."""

from __future__ import annotations

from collections import OrderedDict

from fedcoin.core.encoding import HASH_SIZE, u32, u64
from fedcoin.core.errors import StoreCorrupt
from fedcoin.store.database import Batch, Database
from fedcoin.store.identity import decoded
from fedcoin.store.layout import BLOBS

PIECE_SIZE = 4 << 20
"""Bytes of a blob under one key."""
PART_SIZE = 256 << 10
"""Bytes that are handed out at once. On its way to a caller that does not read, such a part is held five times."""
_PIECES_AT_HAND = 8

_SIZE, _DATA = b"s", b"d"


class BlobTable:
    """What ChainStore and ServerStore have in common about blobs."""

    _db: Database
    _at_hand: OrderedDict[bytes, bytes]
    """The pieces read last, since those who download a blob do so at about the same time."""

    def put_blob(self, digest: bytes, data: bytes) -> None:
        """Keeps a blob. One that is there already is left as it is."""
        if self.blob_size(digest) is not None:
            return
        for piece, start in enumerate(range(0, len(data), PIECE_SIZE)):
            self._db.put(BLOBS, _DATA + digest + u32.write(piece), data[start : start + PIECE_SIZE])
        # The size comes last, so that half a blob is none.
        self._db.put(BLOBS, _SIZE + digest, u64.write(len(data)))

    def get_blob(self, digest: bytes) -> bytes | None:
        """The blob, or None. Raises StoreCorrupt."""
        size = self.blob_size(digest)
        if size is None:
            return None
        data = b"".join(piece for _, piece in self._db.prefixed(BLOBS, _DATA + digest))
        if len(data) != size:
            raise StoreCorrupt(f"blob {digest.hex()} has {len(data)} bytes of {size}: restore a copy, or sync again")
        return data

    def blob_part(self, digest: bytes, start: int) -> bytes:
        """Bytes of a blob from `start` on, PART_SIZE at most; none where it is not held."""
        piece, skipped = divmod(start, PIECE_SIZE)
        return self._piece(_DATA + digest + u32.write(piece))[skipped : skipped + PART_SIZE]

    def blob_size(self, digest: bytes) -> int | None:
        """Bytes of the blob, or None where it is not held; the blob itself is not read."""
        data = self._db.get(BLOBS, _SIZE + digest)
        return None if data is None else decoded(u64, data, "blob size")

    def blobs(self) -> list[tuple[bytes, int]]:
        """Digest and size of every blob."""
        pairs = self._db.prefixed(BLOBS, _SIZE)
        return [(key[-HASH_SIZE:], decoded(u64, data, "blob size")) for key, data in pairs]

    def _piece(self, key: bytes) -> bytes:
        data = self._at_hand.pop(key, None) or self._db.get(BLOBS, key)
        if data is None:
            return b""
        self._at_hand[key] = data
        while len(self._at_hand) > _PIECES_AT_HAND:
            self._at_hand.popitem(last=False)
        return data

    def delete_blob(self, digest: bytes) -> None:
        """Forgets a blob, if it is there."""
        self._at_hand.clear()
        size = self.blob_size(digest)
        if size is None:
            return
        batch = Batch()
        batch.delete(BLOBS, _SIZE + digest)
        for piece in range(-(-size // PIECE_SIZE)):
            batch.delete(BLOBS, _DATA + digest + u32.write(piece))
        self._db.write(batch)
