"""The last block that this miner has signed, in a file of its own beside the database.

Two blocks of one height signed by one key cost its miner the bond. The chain in the database keeps a miner from that;
this file does where the database was lost: it is written and synced before anybody can see the block, and tells up to
which height the key has signed.

    sha256 of the rest ‖ the block, canonical
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from fedcoin.core.block import BLOCK, Block
from fedcoin.core.errors import MalformedEncoding, StoreCorrupt, StoreUnavailable

_NAME = "signed-block"
_DIGEST = 32


class SignedBlock:
    """Keeps the highest block that we have signed. `folder` is a miner's data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._draft = folder / f"{_NAME}.new"

    def read(self) -> Block | None:
        """The block; None if none was signed yet. Raises StoreCorrupt, StoreUnavailable."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be read: {error.strerror or error}") from error
        try:
            if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
                raise MalformedEncoding("its checksum is wrong")
            return BLOCK.decode(data[_DIGEST:])
        except MalformedEncoding as error:
            raise StoreCorrupt(
                f"{self._path} is damaged ({error}), so it is not known up to which height this key has signed, and "
                "signing a height twice costs the bond: run the node with --no-mine until it has caught up with the "
                "others, then remove the file"
            ) from error

    def keep(self, block: Block) -> None:
        """Returns once the block is on the disk, in place of the one before. Raises StoreUnavailable."""
        data = BLOCK.encode(block)
        try:
            with self._draft.open("wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
                file.flush()
                os.fsync(file.fileno())
            self._draft.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path} cannot be written ({error.strerror or error}): look at free space, permissions and the "
                "disk"
            ) from error
