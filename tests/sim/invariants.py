"""What must hold in every run, whatever the seed. Each rule is one function that raises InvariantBroken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fedcoin.consensus.messages import AdoptChain, Effect, SendBlock
from fedcoin.consensus.transition import apply_block
from fedcoin.core.block import Block
from fedcoin.core.transaction import Transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.miners import MinerStanding, miners
from fedcoin.ledger.state import State, supply
from tests.sim.bond_rules import bonds_come_back_once, bonds_hold_what_they_should, votes_once, who_is_out_stays_out
from tests.sim.broken import InvariantBroken
from tests.sim.node import SimNode

if TYPE_CHECKING:
    from tests.sim.world import World


class Invariants:
    """Watches the honest nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._supply = sum(allocation.amount for allocation in world.genesis.allocations)
        self._acknowledged: dict[int, dict[bytes, Transaction]] = {}
        """Node → what it has stored and passed on."""
        self._at_crash: dict[int, tuple[bytes, int, frozenset[bytes]]] = {}
        self._settled: dict[int, set[tuple[bytes, int]]] = {}
        self._transactions: dict[int, set[bytes]] = {}
        self._signed: dict[tuple[bytes, int], bytes] = {}
        """(miner, height) → the one block that it has announced there."""
        self._replayed: dict[bytes, State] = {}
        self.deepest = 0
        """Blocks that one reorganisation has undone at most."""

    # --- as things happen --------------------------------------------------------------------------------------------

    def stepped(self, node: SimNode, effects: Sequence[Effect]) -> None:
        """A step of an honest node is done, with all its effects."""
        for effect in effects:
            if isinstance(effect, AdoptChain):
                self._adopted(node, effect)
            elif isinstance(effect, SendBlock) and effect.block.header.winner == node.key.public_key:
                self._signs_once(effect.block)
        votes_once(node, effects)

    def acknowledged(self, node: SimNode, transaction: Transaction) -> None:
        """A node has stored a transaction and told others of it."""
        self._acknowledged.setdefault(node.index, {})[transaction.id(self._world.chain_id)] = transaction

    def crashed(self, node: SimNode) -> None:
        """What is on the disk now must be there after the restart; a power cut excuses what was not yet synced."""
        disk = node.disk
        height = disk.blocks[disk.tip].header.height if disk.blocks.get(disk.tip) else 0
        self._at_crash[node.index] = disk.tip, height, frozenset(disk.blocks)
        if node.power_fails:
            self._acknowledged[node.index] = dict(disk.waiting)

    def restarted(self, node: SimNode) -> None:
        """A node has come back with what its disk held."""
        chain = node.running.chain
        tip, height, blocks = self._at_crash.pop(node.index)
        if chain.tip != tip or chain.height != height:
            raise InvariantBroken(f"{node.name} has forgotten its tip at height {height}")
        missing = [block for block in blocks if not chain.tree.contains(block)]
        if missing:
            raise InvariantBroken(f"{node.name} has lost {len(missing)} stored blocks")
        self._rebuild(node)
        if node.honest:
            self._same_as_replay(node)

    # --- rules -------------------------------------------------------------------------------------------------------

    def _adopted(self, node: SimNode, effect: AdoptChain) -> None:
        if len(effect.undone) > self._world.genesis.params.finality_depth:
            raise InvariantBroken(f"{node.name} undid {len(effect.undone)} blocks, more than are final")
        self.deepest = max(self.deepest, len(effect.undone))
        settled = self._settled.setdefault(node.index, set())
        done = self._transactions.setdefault(node.index, set())
        for block in effect.undone:
            done -= {transaction.id(self._world.chain_id) for transaction in block.transactions}
            if block.task is not None:
                settled.discard((block.task.order, block.task.round))
        for applied in effect.applied:
            self._joins(node, applied.block, settled, done)
        state = node.running.chain.state
        if supply(state) != self._supply:
            raise InvariantBroken(f"{node.name}: the supply is {supply(state)}, not {self._supply}")
        for record in miners(state):
            if record.standing is MinerStanding.CONVICTED and record.public_key in self._world.honest_keys:
                raise InvariantBroken(f"{node.name}: an honest miner was convicted")
        keys = [each.key.public_key for each in self._world.nodes]
        bonds_hold_what_they_should(state, keys, self._world.genesis.params)
        who_is_out_stays_out((applied.block for applied in effect.applied), state)
        if node.disk.tip != node.running.chain.tip or node.disk.state.root() != state.root():
            raise InvariantBroken(f"{node.name}: what is stored is not what is held")

    def _joins(self, node: SimNode, block: Block, settled: set[tuple[bytes, int]], done: set[bytes]) -> None:
        for transaction in block.transactions:
            txid = transaction.id(self._world.chain_id)
            if txid in done:
                raise InvariantBroken(f"{node.name}: transaction {txid.hex()[:12]} stands on its chain twice")
            done.add(txid)
        if block.task is not None:
            place = block.task.order, block.task.round
            if place in settled:
                raise InvariantBroken(f"{node.name}: round {place[1]} of an order was settled twice")
            settled.add(place)

    def _signs_once(self, block: Block) -> None:
        place = block.header.winner, block.header.height
        if self._signed.setdefault(place, block.id()) != block.id():
            raise InvariantBroken(f"an honest miner has signed two blocks of height {place[1]}")

    def _rebuild(self, node: SimNode) -> None:
        settled: set[tuple[bytes, int]] = set()
        done: set[bytes] = set()
        for block in self._blocks(node):
            self._joins(node, block, settled, done)
        self._settled[node.index], self._transactions[node.index] = settled, done

    def _blocks(self, node: SimNode) -> list[Block]:
        chain = node.running.chain
        return [chain.block(block_hash) for block_hash in chain.path_to(chain.chain_id)[0][::-1]]

    def _same_as_replay(self, node: SimNode) -> None:
        world, chain = self._world, node.running.chain
        if chain.tip in self._replayed:
            expected: Mapping[bytes, bytes] = self._replayed[chain.tip].entries()
        else:
            state = genesis_state(world.genesis)
            for block in self._blocks(node):
                parent = chain.as_parent(block.header.previous)
                known = self._replayed.get(block.id())
                if known is None:
                    after = apply_block(state, block, parent, chain.chain_id, chain.params, chain.verified)
                    known = self._replayed[block.id()] = State(after.entries())
                state = known
            expected = state.entries()
        if chain.state.entries() != expected:
            raise InvariantBroken(f"{node.name}: its state is not what its blocks give from the genesis on")

    # --- at the end --------------------------------------------------------------------------------------------------

    def at_end(self) -> None:
        """Faults are over and honest tips are one: nothing that was promised is missing."""
        for node in self._world.honest:
            self._same_as_replay(node)
            self._keeps_its_word(node)
            genesis, state, blocks = self._world.genesis, node.running.chain.state, self._blocks(node)
            bonds_come_back_once(blocks, genesis.miners, state, genesis.params)
            who_is_out_stays_out(blocks, state)

    def _keeps_its_word(self, node: SimNode) -> None:
        """An acknowledged transaction is on the chain, waits, or cannot be executed any more."""
        posap = node.running
        on_chain = self._transactions.get(node.index, set())
        for txid, transaction in self._acknowledged.get(node.index, {}).items():
            used = transaction.nonce < get_account(posap.chain.state, transaction.sender_address).nonce
            if txid in on_chain or used or posap.mempool.get(txid) is not None:
                continue
            if self._world.still_possible(node, transaction):
                raise InvariantBroken(f"{node.name} has lost a transaction that it acknowledged: {txid.hex()[:12]}")
