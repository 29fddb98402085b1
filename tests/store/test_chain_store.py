"""What a miner's store holds, adopts and undoes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from fedcoin.core.encoding import u64
from fedcoin.core.errors import StoreCorrupt
from fedcoin.core.transaction import bond_address
from fedcoin.store.chain_store import ChainStore


def image(store: ChainStore, fake: ModuleType) -> dict[str, object]:
    """Everything about the adopted chain that must not depend on the way it was reached."""
    loaded = store.load()
    blocks = [store.block_hash_at(height) for height in range(loaded.height + 2)]
    names = [tx.id(fake.CHAIN_ID) for name in blocks[1:-1] for tx in store.get_block(name).transactions]
    return {
        "tip": (loaded.tip, loaded.height),
        "state": loaded.state,
        "heights": blocks,
        "undo": [store.get_undo(name) for name in blocks[1:-1]],
        "transactions": [store.transaction_location(name) for name in names],
        "history": {key.address: store.history(key.address, limit=10_000) for key in fake.KEYS},
    }


def test_new_store_is_empty_until_the_genesis_is_stored(tmp_path: Path, fake: ModuleType) -> None:
    store = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    assert store.is_empty
    with pytest.raises(StoreCorrupt, match="initialised"):
        store.load()
    store.initialise(fake.GENESIS)
    store.initialise({b"other": b"genesis"})
    loaded = store.load()
    assert (loaded.tip, loaded.height, loaded.state, loaded.tree) == (fake.CHAIN_ID, 0, fake.GENESIS, [])
    assert store.block_hash_at(0) == fake.CHAIN_ID
    assert store.block_hash_at(1) is None
    store.close()


def test_reopening_equals_replay(tmp_path: Path, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    store = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    store.initialise(fake.GENESIS)
    for back, salts in ((0, [1, 2, 3]), (2, [4, 5, 9]), (0, [6]), (3, [7, 8, 9, 10]), (0, [11])):
        store.adopt(chain.adoption(back, salts))
    store.close()
    again = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    assert again.load().state == chain.states[-1] == fake.replay(again).states[-1]
    assert again.load().tip == chain.tip
    again.close()


def test_reorganised_store_equals_one_that_never_saw_the_branch(
    store: ChainStore, tmp_path: Path, fake: ModuleType
) -> None:
    chain, straight = fake.FakeChain(), fake.FakeChain()
    store.adopt(chain.adoption(0, [1, 2, 3]))
    store.adopt(chain.adoption(2, [20, 21, 22, 23]))
    store.adopt(chain.adoption(1, [24, 25]))
    other = ChainStore(tmp_path / "other", fake.CHAIN_ID, fake.DEPTH)
    other.initialise(fake.GENESIS)
    for salt in (1, 20, 21, 22, 24, 25):
        other.adopt(straight.adoption(0, [salt]))
    assert image(store, fake) == image(other, fake)
    other.close()


def test_undone_transactions_leave_index_and_history(store: ChainStore, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    store.adopt(chain.adoption(0, [1, 2]))
    gone = chain.blocks[-1]
    store.adopt(chain.adoption(1, [3, 4]))
    assert store.transaction_location(gone.transactions[0].id(fake.CHAIN_ID)) is None
    assert all(row.block != gone.id() for key in fake.KEYS for row in store.history(key.address))
    assert store.get_block(gone.id()) == gone
    assert store.get_undo(gone.id()) is None
    new = chain.blocks[-1]
    location = store.transaction_location(new.transactions[0].id(fake.CHAIN_ID))
    assert location is not None
    assert (location.block, location.height, location.index) == (new.id(), 3, 0)


def test_history_sums_to_the_balance(store: ChainStore, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    store.adopt(chain.adoption(0, list(range(1, 30))))
    for key in fake.KEYS:
        moved = sum(row.amount - row.fee for row in store.history(key.address, limit=10_000))
        balance = int.from_bytes(chain.states[-1][b"account" + key.address], "big")
        assert 1_000_000 + moved == balance


def test_a_registration_moves_the_bond_and_an_undone_one_does_not(tmp_path: Path, fake: ModuleType) -> None:
    store = ChainStore(tmp_path / "bonds", fake.CHAIN_ID, fake.DEPTH, miner_bond=50)
    store.initialise(fake.GENESIS)
    chain = fake.FakeChain()
    store.adopt(chain.adoption(0, [4]))
    (registration,) = chain.blocks[-1].transactions
    bond = bond_address(registration.sender)
    (row,) = store.history(bond)
    assert (row.amount, row.counterparty, row.payment) == (50, registration.sender_address, None)
    (paid,) = [row for row in store.history(registration.sender_address) if row.counterparty == bond]
    assert (paid.amount, paid.fee, paid.transaction) == (-50, registration.fee, registration.id(fake.CHAIN_ID))
    store.adopt(chain.adoption(1, [1, 2]))
    assert store.history(bond) == []
    store.close()


def test_history_pages_newest_first(store: ChainStore, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    store.adopt(chain.adoption(0, list(range(1, 15))))
    address = fake.KEYS[0].address
    whole = store.history(address, limit=1000)
    places = [(row.height, row.index) for row in whole]
    assert places == sorted(places, reverse=True)
    assert len(set(places)) == len(places)
    paged, before = [], None
    while page := store.history(address, before, limit=3):
        assert len(page) <= 3
        paged += page
        before = (page[-1].height, page[-1].index)
    assert paged == whole


def test_undo_data_is_kept_for_the_finality_depth_only(store: ChainStore, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    store.adopt(chain.adoption(0, list(range(1, 11))))
    store.adopt(chain.adoption(2, [40, 41, 42]))
    store.adopt(chain.adoption(0, [43]))
    held = [height for height in range(1, 13) if store.get_undo(store.block_hash_at(height)) is not None]
    assert held == [9, 10, 11, 12]
    undo = store.get_undo(chain.tip)
    assert fake.move(chain.states[-1], undo) == chain.states[-2]


def test_tree_keeps_all_branches_in_the_order_of_arrival(store: ChainStore, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    first = chain.adoption(0, [1, 2])
    side = fake.make_block(fake.CHAIN_ID, 1, 77)
    store.put_block(first.applied[0].block)
    store.put_block(side)
    store.put_block(side)
    store.adopt(first)
    arrived = (chain.blocks[0], side, chain.blocks[1])
    expected = [(block.id(), block.header.previous, block.header.height) for block in arrived]
    assert store.load().tree == expected
    assert store.get_block(side.id()) == side


def test_adoption_that_does_not_fit_changes_nothing(store: ChainStore, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    store.adopt(chain.adoption(0, [1, 2]))
    before = image(store, fake)
    adoption = chain.adoption(0, [3, 4])
    with pytest.raises(StoreCorrupt, match="not the one"):
        store.adopt(replace(adoption, applied=adoption.applied[1:]))
    with pytest.raises(StoreCorrupt, match="cannot be undone"):
        store.adopt(replace(adoption, undone=(chain.blocks[0],)))
    assert image(store, fake) == before
    store.adopt(adoption)
    assert store.load().height == 4


def test_forgotten_undo_data_refuses_a_deep_reorganisation(store: ChainStore, fake: ModuleType) -> None:
    chain = fake.FakeChain()
    store.adopt(chain.adoption(0, list(range(1, 8))))
    with pytest.raises(StoreCorrupt, match="cannot be undone"):
        store.adopt(chain.adoption(5, [50, 51, 52, 53, 54, 55]))


def test_meta_values_survive_reopening(tmp_path: Path, fake: ModuleType) -> None:
    store = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    store.put_meta("opened", u64.write(7))
    store.close()
    again = ChainStore(tmp_path, fake.CHAIN_ID, fake.DEPTH)
    assert again.get_meta("opened") == u64.write(7)
    assert again.get_meta("never") is None
    again.close()


def test_pending_transaction_goes_with_its_block_and_comes_back_when_undone(
    store: ChainStore, fake: ModuleType
) -> None:
    chain = fake.FakeChain()
    adoption = chain.adoption(0, [1])
    waiting = adoption.applied[0].block.transactions[0]
    other = fake.make_block(fake.CHAIN_ID, 1, 99).transactions[0]
    store.put_pending(waiting)
    store.put_pending(other)
    store.adopt(adoption)
    assert store.pending() == [other]
    store.adopt(chain.adoption(1, [2, 3]))
    assert sorted(store.pending(), key=lambda tx: tx.signature) == [waiting, other]
    store.drop_pending([other.id(fake.CHAIN_ID), b"n" * 32])
    assert store.pending() == [waiting]
