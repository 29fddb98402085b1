"""The tree of known blocks, the adopted chain in it, and the state at its tip."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fedcoin.consensus.messages import AdoptChain, AppliedBlock
from fedcoin.consensus.transition import apply_block
from fedcoin.consensus.verified import Verified
from fedcoin.consensus.verify import Parent, verify_in_state
from fedcoin.core.block import Block
from fedcoin.core.errors import BelowFinality, FedCoinError
from fedcoin.core.genesis import Genesis
from fedcoin.core.task import Problem
from fedcoin.core.transaction import MinerRegistration
from fedcoin.ledger.fork_choice import BlockTree
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.miners import MinerStanding, find_miner, was_there
from fedcoin.ledger.problems import last_problem
from fedcoin.ledger.state import ACCOUNT_KEY, State

_CACHED_BODIES = 64
_CACHED_UNDO = 512
_CACHED_ITEMS = 16_384
"""Transactions of the cached bodies, and entries of the cached undo data, at most: full blocks would take hundreds of
megabytes."""
_CACHED_CHECKS = 8


class ChainStorage(Protocol):
    """Where blocks and undo data lie. What was handed out as an effect must be found here afterwards."""

    def get_block(self, block_hash: bytes) -> Block | None:
        """The block, on whatever branch."""

    def get_undo(self, block_hash: bytes) -> Mapping[bytes, bytes | None] | None:
        """What `AppliedBlock.undo` said when the block was adopted."""


@dataclass(frozen=True)
class StoredChain:
    """A chain as it was stored, to go on from."""

    tip: bytes
    state: Mapping[bytes, bytes]
    tree: tuple[tuple[bytes, bytes, int], ...]
    """(hash, parent, height) of every block, in the order in which they were first seen."""
    signed: int = 0
    """Highest height at which our key has signed a block, whether or not the stored chain knows of it."""


class Chain:
    """The longest acceptable chain. Invalid input leaves it untouched."""

    def __init__(self, genesis: Genesis, storage: ChainStorage, stored: StoredChain | None = None) -> None:
        """Starts at the genesis, or where `stored` left off. Raises InvalidGenesis."""
        self.genesis = genesis
        self.params = genesis.params
        self.chain_id = genesis.id()
        self.tree = BlockTree(self.chain_id)
        self._storage = storage
        self._bodies: OrderedDict[bytes, Block] = OrderedDict()
        self._undo: dict[bytes, Mapping[bytes, bytes | None]] = {}
        self._checked: dict[bytes, AppliedBlock] = {}
        """Blocks that keep all rules on their parent, with what they change: the same whenever that is asked for."""
        self.verified = Verified(self.chain_id, self.params)
        """Signatures that need no second look."""
        if stored is None:
            self.state = genesis_state(genesis)
            self.tip = self.chain_id
        else:
            self.state = State(stored.state)
            self.tip = stored.tip
            for block_hash, parent, height in stored.tree:
                self.tree.insert(block_hash, parent, height)

    @property
    def height(self) -> int:
        """Height of the tip."""
        return self.tree.height(self.tip)

    def parent_of_next(self) -> Parent:
        """The tip, as the next block's parent."""
        return self.as_parent(self.tip)

    def as_parent(self, block_hash: bytes) -> Parent:
        """A known block, or the genesis, as a parent."""
        if block_hash == self.chain_id:
            return Parent(self.chain_id, 0, self.genesis.timestamp)
        header = self.block(block_hash).header
        return Parent(block_hash, header.height, header.timestamp)

    def block(self, block_hash: bytes) -> Block:
        """The body of a known block. Raises KeyError."""
        block = self._bodies.get(block_hash) or self._storage.get_block(block_hash)
        if block is None:
            raise KeyError(block_hash.hex())
        return block

    def problem_of(self, block: Block) -> Problem | None:
        """The problem of the race that a known block has ended; None if it names another than its branch settled last.

        Not simply the one in the state, which is the tip's: the block may lie on another branch, or further up.
        """
        if block.task is not None:
            return block.task.problem
        problem = last_problem(self.state)
        if problem.id() != block.header.task:
            problem = self._settled_below(block)
        fits = problem.id() == block.header.task and problem.clients == len(block.header.averaged_total)
        return problem if fits else None

    def _settled_below(self, block: Block) -> Problem:
        below = block.header.previous
        while below != self.chain_id:
            block = self.block(below)
            if block.task is not None:
                return block.task.problem
            below = block.header.previous
        return self.genesis.problem

    def may_mine_on(self, parent: bytes, miner: bytes) -> bool:
        """Whether a miner may stand in a certificate on a known block, as far as tip and branch show."""
        record = find_miner(self.state, miner)
        if record is not None and was_there(record, self.tree.height(parent)):
            if record.standing is MinerStanding.REGISTERED:
                return True
            # It has left or was convicted on our branch: below that block, and on other branches, it may have mined.
            # One of which nothing is left has left below the finalised depth.
            return not self.tree.is_ancestor(self.tree.ancestor(self.tip, record.since), parent)
        # On another branch it may have registered after the fork.
        below = self.tree.parent(parent)
        while below is not None and not self.tree.is_ancestor(below, self.tip):
            block = self.block(below)
            if any(tx.sender == miner and isinstance(tx.body, MinerRegistration) for tx in block.transactions):
                return True
            below = block.header.previous
        return False

    def verify_depth(self, parent: bytes) -> None:
        """Raises BelowFinality for a block whose parent, a known one, lies too deep."""
        # Heights first: walking down to where an old branch forks off would be work for nothing.
        deep = self.height - self.tree.height(parent) > self.params.finality_depth
        if deep or self.tree.fork_depth(self.tip, parent) > self.params.finality_depth:
            raise BelowFinality

    def insert(self, block: Block) -> bytes:
        """Makes a block known without adopting it. Raises UnknownParent, HeightMismatch. Returns its hash."""
        block_hash = block.id()
        self.tree.insert(block_hash, block.header.previous, block.header.height)
        self._bodies[block_hash] = block
        while len(self._bodies) > _CACHED_BODIES or (
            len(self._bodies) > 1 and sum(len(body.transactions) for body in self._bodies.values()) > _CACHED_ITEMS
        ):
            self._bodies.popitem(last=False)
        return block_hash

    def state_at(self, block_hash: bytes) -> State | None:
        """The state after a block of the adopted chain; None if it is not on it or final already."""
        if self.height - self.tree.height(block_hash) > self.params.finality_depth:
            return None
        if not self.tree.is_ancestor(block_hash, self.tip):
            return None
        state = self.state.fork()
        for gone in self.path_to(block_hash)[0]:
            state.apply(self._undo_of(gone))
        return state

    def check_on_tip(self, block: Block, after: State | None = None) -> None:
        """Raises the error of the rule that `block` would break on the tip.

        `after`: what executing it has given already, where it is our own; it is not executed again then.
        """
        checked = self._apply(self.state, block, after)
        self._checked[block.id()] = checked
        while len(self._checked) > _CACHED_CHECKS:
            del self._checked[next(iter(self._checked))]

    def path_to(self, block_hash: bytes) -> tuple[list[bytes], list[bytes]]:
        """Blocks to undo (from the tip downwards) and to apply (upwards) to get from the tip to `block_hash`."""
        return self.tree.path(self.tip, block_hash)

    def adopt(self, block_hash: bytes) -> AdoptChain:
        """Moves the tip to a known block; undoes and reapplies state exactly.

        Raises InvalidBranch for a block on the way that breaks a rule, or if the branch forks off below the finalised
        depth; the chain is then as before, and that block and its descendants are marked invalid.
        """
        undo, apply = self.path_to(block_hash)
        if len(undo) > self.params.finality_depth:
            # It was kept when the fork was not yet that deep.
            self.tree.mark_invalid(apply[0])
            raise InvalidBranch(apply[0], BelowFinality())
        scratch = self.state.fork()
        undone = tuple(self.block(gone) for gone in undo)
        for gone in undo:
            scratch.apply(self._undo_of(gone))
        applied = []
        for joined in apply:
            block = self.block(joined)
            try:
                item = self._checked.pop(joined, None) or self._apply(scratch, block)
            except FedCoinError as error:
                self.tree.mark_invalid(joined)
                raise InvalidBranch(joined, error) from error
            applied.append(item)
            scratch.apply(item.changes)
        self.state.apply(scratch.changes())
        self.tip = block_hash
        self._remember_undo(undo, applied)
        return AdoptChain(undone, tuple(applied))

    def _apply(self, state: State, block: Block, after: State | None = None) -> AppliedBlock:
        parent = self.as_parent(block.header.previous)
        if after is None:
            after = apply_block(state, block, parent, self.chain_id, self.params, self.verified)
        else:
            verify_in_state(block, parent, state, self.chain_id, self.params)
        return AppliedBlock(block, after.changes(), after.undo())

    def _undo_of(self, block_hash: bytes) -> Mapping[bytes, bytes | None]:
        undo = self._undo.get(block_hash)
        if undo is None:
            undo = self._storage.get_undo(block_hash)
        if undo is None:
            raise KeyError(f"no undo data for {block_hash.hex()}")
        return undo

    def _remember_undo(self, gone: Iterable[bytes], applied: Iterable[AppliedBlock]) -> None:
        for block_hash in gone:
            self._undo.pop(block_hash, None)
        fresh = 0
        for item in applied:
            self._undo[item.block.id()] = item.undo
            fresh += 1
        # Older ones lie in the storage by now; these bridge the time until an effect is performed.
        while len(self._undo) > _CACHED_UNDO or (
            len(self._undo) > fresh and sum(map(len, self._undo.values())) > _CACHED_ITEMS
        ):
            self._undo.pop(next(iter(self._undo)))


def touched_accounts(adoption: AdoptChain) -> set[bytes] | None:
    """Addresses of the accounts that an adoption has changed; None, for any, where blocks were undone."""
    if adoption.undone:
        return None
    names = (key for applied in adoption.applied for key in applied.changes)
    return {name[len(ACCOUNT_KEY) :] for name in names if name.startswith(ACCOUNT_KEY)}


class InvalidBranch(Exception):
    """A branch could not be adopted: `block_hash` on it breaks a rule."""

    def __init__(self, block_hash: bytes, error: FedCoinError) -> None:
        super().__init__(f"{block_hash.hex()}: {error.code}")
        self.block_hash = block_hash
        self.error = error
