"""Where everything of a miner lies in its database.

    family        key                                          value
    ------------  -------------------------------------------  ------------------------------------------------------
    default       "role" "version" "chain"                     whose folder this is (identity.py)
                  "tip"                                        hash of the adopted tip ‖ u64 height
                  "meta/" name                                 anything small that the node wants to keep
    blocks        block hash                                   the block, canonical; of all branches
    tree          u64 sequence number                          block hash ‖ parent hash ‖ u64 height, as they came in
    heights       u64 height                                   block hash, of the adopted chain; the genesis has none
    state         the ledger's key                             the ledger's value, at the tip
    undo          block hash                                   vector of (state key, value before or absent); kept for
                                                               the blocks above the finalised height only
    transactions  transaction id                               block hash ‖ u64 height ‖ u32 index in the block
    pending       transaction id                               the transaction, canonical: not confirmed yet
    history       address (20) ‖ u64 height ‖ u32 movement     a movement on the account (history.py)
    tasks         task hash                                    the task, canonical
    blobs         "s" digest                                   u64 size; there once the blob is complete
                  "d" digest ‖ u32 piece                       4 MiB of the blob
    leaves        "r" u64 sequence number                      race id, in the order in which races were begun
                  "n" race id                                  u64 sequence number ‖ u16 K
                  "l" race id ‖ u64 index of the first         K·i64 for each leaf, big-endian
    peers         address, UTF-8                               public key and when last seen

Integers are big-endian, so keys sort by height and by index. Everything that a change of tip touches (state, heights,
undo, tip, transactions, pending, history, blocks, tree) is written in one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.core.encoding import HASH_SIZE, Codec, Struct, blob, optional, raw, u32, u64, vector

BLOCKS = "blocks"
TREE = "tree"
HEIGHTS = "heights"
STATE = "state"
UNDO = "undo"
TRANSACTIONS = "transactions"
PENDING = "pending"
HISTORY = "history"
TASKS = "tasks"
BLOBS = "blobs"
LEAVES = "leaves"
PEERS = "peers"

CHAIN_FAMILIES = (BLOCKS, TREE, HEIGHTS, STATE, UNDO, TRANSACTIONS, PENDING, HISTORY, TASKS, BLOBS, LEAVES, PEERS)

TIP_KEY = b"tip"
META_PREFIX = b"meta/"

_ANY = 2**32 - 1


@dataclass(frozen=True)
class Tip:
    """The adopted tip."""

    block: bytes
    height: int


@dataclass(frozen=True)
class TreeEntry:
    """A block's place in the tree of all branches."""

    block: bytes
    parent: bytes
    height: int


@dataclass(frozen=True)
class TransactionLocation:
    """Where a confirmed transaction stands."""

    block: bytes
    height: int
    index: int
    """In the block's list of transactions."""


@dataclass(frozen=True)
class StateEntry:
    """A state key with the value that it had before a block; None: it was absent."""

    key: bytes
    value: bytes | None


TIP = Struct(Tip, "fedcoin/store/tip", block=raw(HASH_SIZE), height=u64)
TREE_ENTRY = Struct(TreeEntry, "fedcoin/store/tree", block=raw(HASH_SIZE), parent=raw(HASH_SIZE), height=u64)
LOCATION = Struct(TransactionLocation, "fedcoin/store/location", block=raw(HASH_SIZE), height=u64, index=u32)
_STATE_ENTRY = Struct(StateEntry, "fedcoin/store/undo-entry", key=blob(_ANY), value=optional(blob(_ANY)))
UNDO_DATA: Codec[tuple[StateEntry, ...]] = vector(_STATE_ENTRY.codec, _ANY)
