"""A miner's start: its chain as it was left, or, where the database is damaged, a new one from what is left of it.

A damaged database is moved aside, never removed. The new one begins at the genesis; the blocks that can still be read
are checked and adopted as if a peer had sent them, and peers give the rest. Until the chain has come up again to the
height at which our key signed last, PoSap signs no block (see docs/adr/0011).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from fedcoin.consensus.chain import StoredChain
from fedcoin.consensus.messages import ReceiveBlock
from fedcoin.core.errors import FedCoinError, StoreCorrupt, StoreUnavailable
from fedcoin.ledger.fork_choice import BlockTree
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.state import State
from fedcoin.node.engine import Engine
from fedcoin.node.genesis_file import GenesisFile
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.database import set_aside
from fedcoin.store.salvage import Salvage, open_salvage
from fedcoin.store.signed import SignedBlock

log = logging.getLogger("fedcoin.miner")


@dataclass
class Opened:
    """A data folder, ready to work with."""

    store: ChainStore
    chain: StoredChain
    height: int
    damaged: Path | None = None
    """Where a damaged database was moved to."""


def open_data(folder: Path, genesis_file: GenesisFile, *, mine: bool = True) -> Opened:
    """Opens a miner's data folder; repairs it if it must.

    `mine`: whether blocks will be signed. Raises DataFolderInUse, WrongChain, WrongDataFolder, StoreUnavailable, and
    StoreCorrupt where it cannot be known up to which height our key has signed.
    """
    try:
        opened = _open(folder, genesis_file)
    except StoreCorrupt as error:
        log.error("[%s] %s", error.code, error)
        aside = set_aside(folder)
        log.warning("the damaged database is kept in %s; a new one takes its place", aside)
        opened = _open(folder, genesis_file)
        opened.damaged = aside
    try:
        signed = SignedBlock(folder).read() if mine else None
    except BaseException:
        opened.store.close()
        raise
    if signed is not None:
        height = signed.header.height
        opened.chain = StoredChain(opened.chain.tip, opened.chain.state, opened.chain.tree, height)
        if height > opened.height:
            log.warning("this key has signed a block at height %d: none is signed before the chain is there", height)
    return opened


async def restore(engine: Engine, opened: Opened) -> None:
    """Brings back what is left of a damaged database, and a block that we signed and nobody has seen.

    Raises StoreUnavailable.
    """
    salvage = open_salvage(opened.damaged) if opened.damaged is not None else None
    if salvage is not None:
        try:
            salvage.copy_into(opened.store)
            count = await _replay(engine, salvage)
        finally:
            salvage.close()
        log.warning(
            "%d blocks were read back, height %d; peers are asked for the rest", count, engine.posap.chain.height
        )
    signed = SignedBlock(opened.store.path).read() if engine.posap.settings.mine else None
    if signed is not None and not engine.posap.chain.tree.contains(signed.id()):
        await _offer(engine, ReceiveBlock(signed))


async def _replay(engine: Engine, salvage: Salvage) -> int:
    count = 0
    for block in salvage.chain_blocks():
        count += await _offer(engine, ReceiveBlock(block, more_follows=True))
    return count


async def _offer(engine: Engine, event: ReceiveBlock) -> bool:
    try:
        await engine.feed(event)
    except StoreUnavailable:
        raise
    except FedCoinError as error:
        log.debug("block %s is not taken: %s", event.block.id().hex()[:12], error.code)
        return False
    return True


def _open(folder: Path, genesis_file: GenesisFile) -> Opened:
    genesis = genesis_file.genesis
    params = genesis.params
    store = ChainStore(folder, genesis_file.chain_id, params.finality_depth, params.miner_bond)
    try:
        if store.is_empty:
            store.initialise(genesis_state(genesis).entries())
        loaded = store.load()
        chain = StoredChain(loaded.tip, loaded.state, tuple(loaded.tree))
        _verify(store, chain, loaded.height, params.finality_depth, genesis_state(genesis))
    except BaseException:
        store.close()
        raise
    return Opened(store, chain, loaded.height)


def _verify(store: ChainStore, chain: StoredChain, height: int, depth: int, genesis: State) -> None:
    """What the node will build on: the state, all branches, and the blocks that a reorganisation may still undo.

    Raises StoreCorrupt.
    """
    tree = BlockTree(store.chain_id)
    try:
        for block_hash, parent, at in chain.tree:
            tree.insert(block_hash, parent, at)
    except FedCoinError as error:
        raise StoreCorrupt(f"the stored blocks in {store.path} do not hang together: {error.code}") from error
    at_tip = store.get_block(chain.tip) if height else None
    root = at_tip.header.state_root if at_tip is not None else genesis.root()
    if not tree.contains(chain.tip) or State(chain.state).root() != root:
        raise StoreCorrupt(f"the stored state in {store.path} is not that of its tip {chain.tip.hex()}")
    for number in range(height, max(0, height - depth), -1):
        name = store.block_hash_at(number)
        if name is None or store.get_block(name) is None or store.get_undo(name) is None:
            raise StoreCorrupt(f"block {number} in {store.path} is not there any more, or cannot be undone")
