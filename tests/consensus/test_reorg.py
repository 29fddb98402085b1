"""Reorganisations undo and reapply state exactly, and a branch that breaks a rule changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fedcoin.consensus.chain import Chain, InvalidBranch
from fedcoin.consensus.messages import ReceiveBlock, ReceiveTask, ReceiveTransaction
from fedcoin.core.block import Block
from fedcoin.core.errors import BelowFinality, InvalidAncestor
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.state import supply
from tests.support.blocks import adopted, lone_node, replay, reseal, settle_round, settled_network
from tests.support.network import (
    MINERS,
    REQUESTER,
    SERVER,
    MemoryStorage,
    Network,
    make_genesis,
    make_task,
    place_order,
)

LENGTH = 6


@pytest.fixture(scope="module")
def branches() -> list[list[Block]]:
    """Four chains of one genesis that share no block; orders, settlements and transfers in different places."""
    found = []
    for seed in range(1, 5):
        network = Network(make_genesis(3), nodes=3, seed=seed)
        order_id = place_order(network, network.nodes[0], rounds=4)
        network.run(lambda network=network: min(network.heights()) == 1 and network.agree())
        nonce = 1
        for height in range(2, LENGTH + 1):
            if (height + seed) % 3 == 0:
                body = Transfer(MINERS[seed].address, 1_000 * height + seed)
                transfer = sign_transaction(REQUESTER, network.chain_id, nonce, 2, body)
                nonce += 1
                network.feed(network.nodes[1], ReceiveTransaction(transfer))
                network.run(lambda n=network, h=height: min(n.heights()) == h and n.agree())
            else:
                settle_round(network, order_id)
        found.append(adopted(network.nodes[0].posap.chain)[:LENGTH])
    return found


def late(branches: list[list[Block]]) -> int:
    return max(block.header.timestamp for branch in branches for block in branch) + 1_000


def known_chain(branches: list[list[Block]], **params: int) -> Chain:
    """A chain that knows all branches and has adopted none."""
    genesis = make_genesis(3, **params)
    chain = Chain(genesis, MemoryStorage(genesis))
    for branch in branches:
        for block in branch:
            chain.insert(block)
    return chain


def test_random_moves_between_branches_always_give_the_state_of_a_replay(branches: list[list[Block]]) -> None:
    genesis = make_genesis(3)
    chain = known_chain(branches)
    roots = {block.id(): block.header.state_root for branch in branches for block in branch}
    rng = random.Random(11)
    states = {}
    for _ in range(120):
        branch = rng.choice(branches)
        height = rng.randrange(1, LENGTH + 1)
        target = branch[height - 1].id()
        if target == chain.tip:
            continue
        adoption = chain.adopt(target)
        assert chain.state.root() == roots[target]
        assert supply(chain.state) == sum(allocation.amount for allocation in genesis.allocations)
        if target not in states:
            states[target] = replay(genesis, branch[:height]).entries()
        assert chain.state.entries() == states[target]
        assert all(item.block.header.height > 0 for item in adoption.applied)
    assert len(states) > 15


def test_undo_from_the_storage_equals_undo_from_memory(branches: list[list[Block]]) -> None:
    """What AdoptChain says is enough to take it back after a restart."""
    chain = known_chain(branches)
    storage = chain._storage
    assert isinstance(storage, MemoryStorage)
    storage.blocks.update({block.id(): block for branch in branches for block in branch})
    storage.adopt(chain.adopt(branches[0][-1].id()))
    again = Chain(chain.genesis, storage, storage.stored_chain())
    assert again.state.root() == chain.state.root()
    again.adopt(branches[1][-1].id())
    assert again.state.entries() == replay(chain.genesis, branches[1]).entries()


def test_the_longer_branch_wins_and_its_blocks_may_come_in_any_order_of_branches(branches: list[list[Block]]) -> None:
    one, two, *_ = branches
    node = lone_node(make_genesis(3), now=late(branches))
    for block in (one[0], two[0], one[1], two[1], two[2]):
        node.posap.step(ReceiveBlock(block), late(branches))
    assert node.posap.chain.tip == two[2].id()
    assert node.posap.chain.state.entries() == replay(make_genesis(3), two[:3]).entries()


def test_the_mempool_gets_back_what_a_reorganisation_undoes() -> None:
    one = settled_network(seed=1)
    two = settled_network(seed=2, rounds=2)
    genesis, chain_id = one.genesis, one.chain_id
    transfer = sign_transaction(REQUESTER, chain_id, 1, 1, Transfer(SERVER.address, 5))
    one.feed(one.nodes[0], ReceiveTransaction(transfer))
    one.run(lambda: min(one.heights()) == 3 and one.agree())
    mine = adopted(one.nodes[0].posap.chain)
    assert mine[2].transactions == (transfer,)
    now = max(one.now, two.now) + 1_000
    node = lone_node(genesis, mine, now=now)
    assert len(node.posap.mempool) == 0
    other = sign_transaction(MINERS[0], chain_id, 0, 1, Transfer(SERVER.address, 7))
    two.feed(two.nodes[0], ReceiveTransaction(other))
    two.run(lambda: min(two.heights()) == 4 and two.agree())
    for block in adopted(two.nodes[0].posap.chain):
        node.posap.step(ReceiveBlock(block), two.now + 3_600_000)
    assert node.posap.chain.height == 4
    assert get_account(node.posap.chain.state, REQUESTER.address).nonce == 1
    assert node.posap.mempool.transactions() == (transfer,), "its order's nonce is used up on this branch"


def test_below_finality_is_refused_and_leaves_no_trace(branches: list[list[Block]]) -> None:
    one, two, *_ = branches
    genesis = make_genesis(3, finality_depth=2)
    mine, theirs = rebase(one, genesis), rebase(two, genesis)
    chain = Chain(genesis, MemoryStorage(genesis))
    for block in mine[:2]:
        chain.insert(block)
    chain.verify_depth(chain.chain_id)
    chain.tip = mine[1].id()
    chain.verify_depth(chain.chain_id)
    chain.insert(mine[2])
    chain.tip = mine[2].id()
    with pytest.raises(BelowFinality):
        chain.verify_depth(chain.chain_id)
    assert not chain.tree.contains(theirs[0].id())


def test_a_block_that_forks_below_the_finalised_depth_is_refused(branches: list[list[Block]]) -> None:
    network = settled_network(rounds=3, finality_depth=2)
    blocks = adopted(network.nodes[0].posap.chain)
    other = adopted(settled_network(rounds=3, seed=2, finality_depth=2).nodes[0].posap.chain)
    node = lone_node(network.genesis, blocks[:3])
    known = len(node.posap.chain.tree)
    with pytest.raises(BelowFinality):
        node.posap.step(ReceiveBlock(other[0]), network.now + 3_600_000)
    assert len(node.posap.chain.tree) == known


def test_a_branch_kept_before_it_was_too_deep_is_not_adopted_later() -> None:
    one = adopted(settled_network(rounds=3, finality_depth=2).nodes[0].posap.chain)
    two = adopted(settled_network(rounds=3, seed=2, finality_depth=2).nodes[0].posap.chain)
    genesis = make_genesis(3, finality_depth=2)
    chain = Chain(genesis, MemoryStorage(genesis))
    for block in (*two, *one[:3]):
        chain.insert(block)
    chain.adopt(one[2].id())
    before = chain.state.entries()
    with pytest.raises(InvalidBranch) as caught:
        chain.adopt(two[3].id())
    assert caught.value.error.code == "BELOW_FINALITY"
    assert (chain.tip, chain.state.entries()) == (one[2].id(), before)
    assert chain.tree.is_invalid(two[3].id())


def test_an_invalid_block_on_a_longer_branch_leaves_everything_as_it_was(branches: list[list[Block]]) -> None:
    one, two, *_ = branches
    forged = reseal(two[2], state_root=b"\x01" * 32)
    node = lone_node(make_genesis(3), one[:2], now=late(branches))
    chain, now = node.posap.chain, late(branches)
    for block in two[:2]:
        node.posap.step(ReceiveBlock(block, more_follows=True), now)
    tip, before = chain.tip, chain.state.entries()
    waiting = sign_transaction(MINERS[0], chain.chain_id, 0, 1, Transfer(SERVER.address, 1))
    node.posap.step(ReceiveTransaction(waiting), now)
    node.posap.step(ReceiveBlock(forged), now)
    assert (chain.tip, chain.state.entries()) == (tip, before)
    assert node.posap.mempool.transactions() == (waiting,)
    assert chain.tree.is_invalid(forged.id())
    child = replace(two[3], header=replace(two[3].header, previous=forged.id()))
    with pytest.raises(InvalidAncestor):
        node.posap.step(ReceiveBlock(child), now)
    node.posap.step(ReceiveBlock(two[2]), now)
    assert chain.tip == two[2].id(), "the honest block of that height is still welcome"


def test_the_valid_part_of_a_branch_is_adopted_if_it_is_longer(branches: list[list[Block]]) -> None:
    one, two, *_ = branches
    node = lone_node(make_genesis(3), one[:1], now=late(branches), patience_ms=60_000)
    forged = reseal(two[2], state_root=b"\x01" * 32)
    now = late(branches)
    for block in (two[0], two[1], forged):
        node.posap.step(ReceiveBlock(block, more_follows=True), now)
    assert node.posap.chain.tip == two[1].id()


def test_tasks_are_anchored_to_the_tip_and_end_with_it(branches: list[list[Block]]) -> None:
    one, two, *_ = branches
    now = late(branches)
    node = lone_node(make_genesis(3), one[:1], now=now)
    order = one[0].transactions[0].id(node.posap.chain.chain_id)
    node.posap.step(ReceiveTask(make_task(node, order, now)), now)
    assert len(node.posap.open_tasks()) == 1
    for block in two[:2]:
        node.posap.step(ReceiveBlock(block), now)
    assert node.posap.chain.tip == two[1].id()
    assert node.posap.open_tasks() == []


def rebase(blocks: list[Block], genesis: object) -> list[Block]:
    """Only the shape of a chain on another genesis: heights and parents."""
    previous, found = genesis.id(), []  # type: ignore[attr-defined]
    for block in blocks:
        moved = reseal(block, previous=previous)
        previous = moved.id()
        found.append(moved)
    return found
