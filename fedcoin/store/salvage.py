"""What can still be read of a damaged database, to begin a new one with.

Everything is checked again by whoever takes it: blocks against the rules, transactions against the state, blobs by
digest. What cannot be read is passed over.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from fedcoin.core.block import BLOCK, Block
from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.errors import FedCoinError, StoreCorrupt
from fedcoin.core.task import TASK
from fedcoin.core.transaction import TRANSACTION, Transaction
from fedcoin.store.blobs import BlobTable
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.database import Database, Pair
from fedcoin.store.identity import decoded
from fedcoin.store.layout import BLOCKS, CHAIN_FAMILIES, PENDING, TASKS, TREE, TREE_ENTRY
from fedcoin.store.leaves import LeafTable
from fedcoin.store.peers import PeerTable

log = logging.getLogger("fedcoin.store")

T = TypeVar("T")

_LEAVES_AT_ONCE = 4096
_PAGE = 256


class Salvage(BlobTable, LeafTable, PeerTable):
    """A damaged miner's database, read only. `close` gives it free."""

    def __init__(self, path: Path) -> None:
        """Opens what lies in folder `path`. Raises StoreCorrupt, StoreUnavailable where nothing can be read."""
        self.path = path
        self._db = Database(path, CHAIN_FAMILIES, salvage=True)

    def chain_blocks(self) -> Iterator[Block]:
        """Blocks of all branches that can be read, parents first, as far as the list of them can be read."""
        for _, data in self._pairs(TREE):
            try:
                body = self._db.get(BLOCKS, decoded(TREE_ENTRY, data, "tree entry").block)
                if body is not None:
                    yield decoded(BLOCK, body, "block")
            except StoreCorrupt:
                continue

    def pending(self) -> Iterator[Transaction]:
        """Transactions that were accepted and not confirmed."""
        for _, data in self._pairs(PENDING):
            try:
                yield decoded(TRANSACTION, data, "pending transaction")
            except StoreCorrupt:
                continue

    def copy_into(self, store: ChainStore) -> None:
        """Takes over what no peer could give back: waiting transactions, tasks, leaves, blobs, the address book.

        Raises StoreUnavailable if `store` cannot be written.
        """
        for transaction in self.pending():
            store.put_pending(transaction)
        for _, data in self._pairs(TASKS):
            task = self._try(partial(decoded, TASK, data, "task"))
            if task is not None:
                store.put_task(task)
        for peer in self._try(self.peers) or []:
            store.put_peer(peer)
        for race in self._try(self.races) or []:
            self._try(partial(self._copy_leaves, store, race))
        for digest, _ in self._try(self.blobs) or []:
            blob = self._try(partial(self.get_blob, digest))
            if blob is not None and len(digest) == HASH_SIZE and hashlib.sha256(blob).digest() == digest:
                store.put_blob(digest, blob)

    def close(self) -> None:
        """Gives the folder free."""
        self._db.close()

    def _copy_leaves(self, store: ChainStore, race: bytes) -> None:
        start = 0
        while len(rows := self.leaves(race, start, _LEAVES_AT_ONCE)):
            store.put_leaves(race, start, rows)
            start += len(rows)

    def _pairs(self, family: str) -> Iterator[Pair]:
        """All pairs of a family up to the first that cannot be read, a page at a time."""
        after = b""
        while page := self._try(partial(self._db.scan, family, after, limit=_PAGE)):
            yield from page
            after = page[-1][0] + b"\x00"

    def _try(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except StoreCorrupt as error:
            log.warning("not readable any more: %s", error)
            return None
        except ValueError as error:  # leaves that do not follow those that are there
            log.warning("not taken over: %s", error)
            return None


def open_salvage(path: Path) -> Salvage | None:
    """What is left in folder `path`; None where nothing can be read."""
    try:
        return Salvage(path)
    except FedCoinError as error:
        log.warning("nothing of %s can be read: %s", path, error)
        return None
