"""A state machine of the chain: blocks on any branch, reorganisations, invalid blocks, restarts, in any order.

A node that only follows gets them as a peer would send them. What holds after every step: its tip is valid and no valid
chain that it has taken in is longer (down to the finalised depth); its state is that of a replay, and so is what its
storage holds; what it refuses changes nothing.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fedcoin.consensus.messages import AdoptChain, Effect, ReceiveBlock, ReceiveTransaction, StoreBlock, Tick
from fedcoin.consensus.posap import PoSap, PoSapSettings
from fedcoin.core.errors import FedCoinError
from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import Transfer
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.state import supply
from tests.fuzz.block_forge import FAULTS, BlockForge
from tests.fuzz.ledger_material import KEYS, PARAMS, SUPPLY, genesis
from tests.support.memory_storage import MemoryStorage

CHAIN_PARAMS = replace(PARAMS, heartbeat_ms=1, finality_depth=6, bond_blocks=6)
FOLLOWER = PrivateKey(b"\x0f" * 32)
SETTINGS = PoSapSettings(mine=False, patience_ms=-1)
NUMBERS = st.integers(0, 40)
LATER = st.integers(1, 2000)


class ChainMachine(RuleBasedStateMachine):
    """See the head of this file."""

    steps_done: ClassVar[int] = 0
    """Rules that have run, of all examples."""
    seen: ClassVar[dict[str, int]] = {}
    """What has happened, of all examples: reorganisations, their blocks, refusals by code."""

    @initialize()
    def begin(self) -> None:
        self.genesis = genesis(CHAIN_PARAMS)
        self.forge = BlockForge(self.genesis)
        self.storage = MemoryStorage(self.genesis)
        self.node = PoSap(self.genesis, self.storage, FOLLOWER, random.Random(1), SETTINGS)
        self.now = self.genesis.timestamp + 10**9
        self.held_back: list[bytes] = []
        """Made, and not handed over yet."""
        self.too_deep: set[bytes] = set()
        """Valid blocks that were once known and forked off below the finalised depth."""

    # --- what happens ------------------------------------------------------------------------------------------------

    @rule(number=NUMBERS, later=LATER, settles=st.booleans())
    def grow(self, number: int, later: int, settles: bool) -> None:
        """A block on the tip."""
        self.hand_over(self.forge.make(self.node.chain.tip, number, later, settles))

    @rule(depth=st.integers(0, 8), length=st.integers(1, 8), number=NUMBERS, later=LATER, settles=st.booleans())
    def branch(self, depth: int, length: int, number: int, later: int, settles: bool) -> None:
        """Blocks that fork off below the tip, shorter or longer than what they fork off from."""
        tree, block_hash = self.node.chain.tree, self.node.chain.tip
        block_hash = tree.ancestor(block_hash, max(0, tree.height(block_hash) - depth))
        for index in range(length):
            block_hash = self.forge.make(block_hash, number + 3 * index, later + index, settles)
            self.hand_over(block_hash, more_follows=index < length - 1)

    @rule(pick=st.integers(0, 200), number=NUMBERS, later=LATER, fault=st.sampled_from(FAULTS))
    def wrong(self, pick: int, number: int, later: int, fault: str) -> None:
        """A block with a fault, on the tip or any block that was ever made."""
        self.hand_over(self.forge.make(self.somewhere(pick), number, later, False, fault))

    @rule(pick=st.integers(0, 200), number=NUMBERS, later=LATER, settles=st.booleans())
    def anywhere(self, pick: int, number: int, later: int, settles: bool) -> None:
        """A block on whatever was made before: an old one, an invalid one, one that nobody has handed over."""
        self.hand_over(self.forge.make(self.somewhere(pick), number, later, settles))

    @rule(pick=st.integers(0, 200), number=NUMBERS, later=LATER, length=st.integers(1, 4))
    def hold_back(self, pick: int, number: int, later: int, length: int) -> None:
        """Blocks that somebody makes and keeps for now."""
        block_hash = self.somewhere(pick)
        for index in range(length):
            block_hash = self.forge.make(block_hash, number + index, later, False)
            self.held_back.append(block_hash)

    @rule(backwards=st.booleans())
    def hand_over_all(self, backwards: bool) -> None:
        """All that was held back, or its last block first."""
        for block_hash in self.held_back[::-1] if backwards else self.held_back:
            self.hand_over(block_hash)
        if not backwards:
            self.held_back = []

    @rule(name=st.sampled_from(["alice", "bob", "x0"]), amount=st.integers(0, 20_000), gap=st.integers(-1, 2))
    def transaction(self, name: str, amount: int, gap: int) -> None:
        """A transaction for the mempool, which blocks may make invalid later."""
        key = KEYS[name]
        nonce = max(0, get_account(self.node.chain.state, key.address).nonce + gap)
        self.step(ReceiveTransaction(self.forge.signed(key, nonce, Transfer(KEYS["x1"].address, amount))))

    @rule(milliseconds=st.integers(0, 10_000) | st.just(700_000))
    def time_passes(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.step(Tick())

    @rule()
    def restart(self) -> None:
        """The node goes on from what its storage holds."""
        tip = self.node.chain.tip
        stored = self.storage.stored_chain()
        self.node = PoSap(self.genesis, self.storage, FOLLOWER, random.Random(2), SETTINGS, stored)
        assert self.node.chain.tip == tip
        self.step(Tick())

    def somewhere(self, pick: int) -> bytes:
        """The tip, or one of the blocks made last."""
        choices = [self.node.chain.tip, *list(self.forge.made)[-12:]]
        return choices[pick % len(choices)]

    # --- how the node takes it ---------------------------------------------------------------------------------------

    def hand_over(self, block_hash: bytes, more_follows: bool = False) -> None:
        self.now += 1
        self.step(ReceiveBlock(self.forge.made[block_hash].block, "peer", more_follows))

    def step(self, event: ReceiveBlock | ReceiveTransaction | Tick) -> None:
        chain = self.node.chain
        before = chain.tip, len(chain.tree), len(self.node.mempool)
        try:
            effects = self.node.step(event, self.now)
        except FedCoinError as error:
            assert (chain.tip, len(chain.tree), len(self.node.mempool)) == before
            self.count(error.code)
            return
        for effect in effects:
            self.perform(effect)

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, StoreBlock):
            self.storage.blocks[effect.block.id()] = effect.block
        elif isinstance(effect, AdoptChain):
            self.storage.adopt(effect)
            if effect.undone:
                self.count("reorganisations")
                self.count("blocks undone", len(effect.undone))

    def count(self, what: str, number: int = 1) -> None:
        self.seen[what] = self.seen.get(what, 0) + number

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def one_more(self) -> None:
        ChainMachine.steps_done += 1

    @invariant()
    def the_tip_is_valid_and_nothing_longer_is(self) -> None:
        chain, tree = self.node.chain, self.node.chain.tree
        assert self.forge.is_valid(chain.tip)
        for block_hash, made in self.forge.made.items():
            if not made.valid or not tree.contains(block_hash):
                continue
            if tree.fork_depth(chain.tip, block_hash) > CHAIN_PARAMS.finality_depth:
                self.too_deep.add(block_hash)
            if made.block.header.height > chain.height or tree.is_invalid(block_hash):
                assert self.forked_too_deep(block_hash)

    def forked_too_deep(self, block_hash: bytes) -> bool:
        """A branch that has once forked off below the finalised depth is out of the running for good."""
        while block_hash in self.forge.made:
            if block_hash in self.too_deep:
                return True
            block_hash = self.forge.made[block_hash].block.header.previous
        return False

    @invariant()
    def the_state_is_that_of_a_replay(self) -> None:
        chain = self.node.chain
        replayed = self.forge.state(chain.tip)
        assert chain.state.entries() == replayed.entries() == self.storage.state.entries()
        assert chain.state.root() == replayed.root()
        assert self.storage.tip == chain.tip
        assert supply(chain.state) == SUPPLY

    @invariant()
    def waiting_transactions_can_be_mined(self) -> None:
        chain, pool = self.node.chain, self.node.mempool
        timestamp = chain.parent_of_next().timestamp + 1
        winner = KEYS["m0"].address
        chosen = pool.select(chain.state, timestamp, winner, chain.height + 1, 50)
        for transaction in chosen:
            assert transaction.nonce >= get_account(chain.state, transaction.sender_address).nonce
