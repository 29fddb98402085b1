"""A miner's database: blocks of all branches, the state at the tip, indexes, and what mining needs (see layout.py)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedcoin.consensus.messages import AdoptChain
from fedcoin.core.block import BLOCK, Block
from fedcoin.core.encoding import HASH_SIZE, raw, u64
from fedcoin.core.errors import StoreCorrupt
from fedcoin.core.task import TASK, Task
from fedcoin.core.transaction import TRANSACTION, Transaction
from fedcoin.store.adoption import AdoptionWriter
from fedcoin.store.blobs import BlobTable
from fedcoin.store.database import DEFAULT, Batch, Database
from fedcoin.store.history import HistoryRow, read_history
from fedcoin.store.identity import check_identity, decoded
from fedcoin.store.layout import (
    BLOCKS,
    CHAIN_FAMILIES,
    HEIGHTS,
    LOCATION,
    META_PREFIX,
    PENDING,
    STATE,
    TASKS,
    TIP,
    TIP_KEY,
    TRANSACTIONS,
    TREE,
    TREE_ENTRY,
    UNDO,
    UNDO_DATA,
    Tip,
    TransactionLocation,
    TreeEntry,
)
from fedcoin.store.leaves import LeafTable
from fedcoin.store.peers import PeerTable

ROLE = "miner"


@dataclass(frozen=True)
class LoadedChain:
    """What a node starts from."""

    tip: bytes
    """Hash of the adopted tip; the chain id right after the genesis."""
    height: int
    state: dict[bytes, bytes]
    """At the tip."""
    tree: list[tuple[bytes, bytes, int]]
    """(hash, parent, height) of every block of every branch, parents first; without the genesis."""


class ChainStore(BlobTable, LeafTable, PeerTable):
    """The database in a miner's data folder. Methods that read may raise StoreCorrupt, all may raise StoreUnavailable.

    Nothing is synced but by `initialise`, `adopt` and `sync`.
    """

    def __init__(self, path: Path, chain_id: bytes, finality_depth: int, miner_bond: int = 0) -> None:
        """Opens or creates the folder `path` of chain `chain_id`. Undo data is kept for `finality_depth` blocks.

        `miner_bond`: of the chain's parameters, for the history of those that register.

        Raises DataFolderInUse, WrongChain, WrongDataFolder, StoreCorrupt, StoreUnavailable.
        """
        self.path = path
        self.chain_id = chain_id
        self._finality_depth = finality_depth
        self._miner_bond = miner_bond
        self._db = Database(path, CHAIN_FAMILIES)
        self._at_hand = OrderedDict()
        try:
            check_identity(self._db, path, ROLE, chain_id)
            self._tip = self._read_tip()
            last = self._db.scan(TREE, limit=1, reverse=True)
            self._next_in_tree = decoded(u64, last[0][0], "tree key") + 1 if last else 0
        except BaseException:
            self._db.close()
            raise

    # --- the chain ---------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether the genesis has yet to be stored."""
        return self._tip is None

    def initialise(self, state: Mapping[bytes, bytes]) -> None:
        """Stores the state of the genesis, synced. A chain that is there is kept and nothing is written."""
        if self._tip is not None:
            return
        tip = Tip(self.chain_id, 0)
        batch = Batch()
        for key, value in state.items():
            batch.put(STATE, key, value)
        batch.put(DEFAULT, TIP_KEY, TIP.encode(tip))
        self._db.write(batch)
        self._db.sync()
        self._tip = tip

    def load(self) -> LoadedChain:
        """Everything that a node holds in memory. Raises StoreCorrupt, also where there is no chain yet."""
        tip = self._adopted_tip()
        if tip.height:
            block = self.get_block(tip.block)
            if block is None or block.id() != tip.block or self.block_hash_at(tip.height) != tip.block:
                raise StoreCorrupt(f"the stored tip {tip.block.hex()} is not there: restore a copy, or sync again")
        entries = [decoded(TREE_ENTRY, data, "tree entry") for _, data in self._db.scan(TREE)]
        tree = [(entry.block, entry.parent, entry.height) for entry in entries]
        return LoadedChain(tip.block, tip.height, dict(self._db.scan(STATE)), tree)

    def put_block(self, block: Block) -> None:
        """Keeps a block of whatever branch. Its parent must have been kept before (or be the genesis)."""
        batch = Batch()
        if self._add_block(batch, block, block.id()):
            self._db.write(batch)
            self._next_in_tree += 1

    def get_block(self, block_hash: bytes) -> Block | None:
        """A block of whatever branch, or None."""
        data = self._db.get(BLOCKS, block_hash)
        return None if data is None else decoded(BLOCK, data, "block")

    def get_undo(self, block_hash: bytes) -> dict[bytes, bytes | None] | None:
        """State key → value before the block (None: absent); None where it is not held (any more)."""
        data = self._db.get(UNDO, block_hash)
        if data is None:
            return None
        return {entry.key: entry.value for entry in decoded(UNDO_DATA, data, "undo data")}

    def block_hash_at(self, height: int) -> bytes | None:
        """Hash of the adopted block at a height (the chain id at 0), or None above the tip."""
        if height == 0:
            return self.chain_id
        data = self._db.get(HEIGHTS, u64.write(height)) if height > 0 else None
        return None if data is None else decoded(raw(HASH_SIZE), data, "block hash")

    def write_adoption(self, adoption: AdoptChain) -> None:
        """Moves the tip: one atomic write, not synced. Nothing may be sent before `sync` has returned.

        State, heights, undo data, transaction index and history of the undone blocks go, those of the applied ones
        come. Raises StoreCorrupt if the adoption does not start at the stored tip or lacks undo data.
        """
        tip = self._adopted_tip()
        batch = Batch()
        writer = AdoptionWriter(batch, self.chain_id, self._finality_depth, self._miner_bond)
        for block in adoption.undone:
            tip = writer.undo(tip, block, self.get_undo(tip.block))
        fork = tip
        added = 0
        for applied in adoption.applied:
            tip = writer.apply(tip, applied)
            added += self._add_block(batch, applied.block, tip.block, added)
        writer.finish(fork, tip, {height: self.block_hash_at(height) for height in writer.finalised(fork, tip)})
        self._db.write(batch)
        self._tip = tip
        self._next_in_tree += added

    def adopt(self, adoption: AdoptChain) -> None:
        """`write_adoption` and `sync`."""
        self.write_adoption(adoption)
        self.sync()

    def sync(self) -> None:
        """Returns once everything written so far is on the disk. Call it in a thread: it lets others run meanwhile."""
        self._db.sync()

    # --- indexes -----------------------------------------------------------------------------------------------------

    def transaction_location(self, transaction_id: bytes) -> TransactionLocation | None:
        """Where an adopted block holds the transaction, or None."""
        data = self._db.get(TRANSACTIONS, transaction_id)
        return None if data is None else decoded(LOCATION, data, "transaction location")

    def history(self, address: bytes, before: tuple[int, int] | None = None, limit: int = 100) -> list[HistoryRow]:
        """Movements on an account on the adopted chain, newest first, those before (height, index)."""
        return read_history(self._db, address, before, limit)

    def put_pending(self, *transactions: Transaction) -> None:
        """Keeps transactions of the mempool. One goes when a block with it is adopted, and comes back if undone."""
        batch = Batch()
        for transaction in transactions:
            batch.put(PENDING, transaction.id(self.chain_id), TRANSACTION.encode(transaction))
        self._db.write(batch)

    def pending(self) -> list[Transaction]:
        """Transactions that are kept and not confirmed; some may have become invalid."""
        return [decoded(TRANSACTION, data, "pending transaction") for _, data in self._db.scan(PENDING)]

    def drop_pending(self, transaction_ids: Iterable[bytes]) -> None:
        """Forgets pending transactions, where they are there."""
        batch = Batch()
        for name in transaction_ids:
            batch.delete(PENDING, name)
        self._db.write(batch)

    # --- tasks and notes ---------------------------------------------------------------------------------------------

    def put_task(self, task: Task) -> None:
        """Keeps a Shapley task."""
        self._db.put(TASKS, task.id(self.chain_id), TASK.encode(task))

    def get_task(self, task_hash: bytes) -> Task | None:
        """A task, or None."""
        data = self._db.get(TASKS, task_hash)
        return None if data is None else decoded(TASK, data, "task")

    def tasks(self) -> list[Task]:
        """All tasks that are kept."""
        return [decoded(TASK, data, "task") for _, data in self._db.scan(TASKS)]

    def delete_task(self, task_hash: bytes) -> None:
        """Forgets a task, if it is there."""
        batch = Batch()
        batch.delete(TASKS, task_hash)
        self._db.write(batch)

    def put_meta(self, name: str, value: bytes) -> None:
        """Keeps something small under a name."""
        self._db.put(DEFAULT, META_PREFIX + name.encode(), value)

    def get_meta(self, name: str) -> bytes | None:
        """What was kept under a name, or None."""
        return self._db.get(DEFAULT, META_PREFIX + name.encode())

    @property
    def damage(self) -> StoreCorrupt | None:
        """What a read has found to be damaged, whoever asked; the node must not go on then."""
        return self._db.damage

    def mark_damaged(self, reason: str) -> None:
        """Damage that was met at work may not show at the next start: this makes it known there."""
        self._db.mark_damaged(reason)

    def close(self) -> None:
        """Gives the folder free."""
        self._db.close()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _read_tip(self) -> Tip | None:
        data = self._db.get(DEFAULT, TIP_KEY)
        return None if data is None else decoded(TIP, data, "tip")

    def _adopted_tip(self) -> Tip:
        if self._tip is None:
            raise StoreCorrupt(f"{self.path} holds no chain yet: it must be initialised from the genesis")
        return self._tip

    def _add_block(self, batch: Batch, block: Block, block_hash: bytes, ahead: int = 0) -> bool:
        """Adds a block and its place in the tree, unless it is there. `ahead`: blocks in the batch before it."""
        if self._db.get(BLOCKS, block_hash) is not None:
            return False
        entry = TreeEntry(block_hash, block.header.previous, block.header.height)
        batch.put(BLOCKS, block_hash, BLOCK.encode(block))
        batch.put(TREE, u64.write(self._next_in_tree + ahead), TREE_ENTRY.encode(entry))
        return True
