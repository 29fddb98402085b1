"""Shortcuts for thousands of accounts and transactions lead where the long way leads."""

import random

from fedcoin.core.encoding import u32
from fedcoin.core.merkle import merkle_root
from fedcoin.ledger.accounts import ACCOUNT, Account, get_account, put_account
from fedcoin.ledger.mempool import Mempool
from fedcoin.ledger.state import ACCOUNT_KEY, State


def plain_root(state: State) -> bytes:
    return merkle_root(u32.write(len(key)) + key + value for key, value in sorted(state.entries().items()))


def test_an_account_is_stored_in_the_layout_of_its_struct() -> None:
    state = State()
    for account in (Account(1, 0), Account(0, 1), Account(2**63 - 1, 2**64 - 1)):
        put_account(state, bytes(20), account)
        assert state.get(ACCOUNT_KEY + bytes(20)) == ACCOUNT.encode(account)
        assert get_account(state, bytes(20)) == account


def test_root_of_a_large_state_follows_every_mixture_of_changes() -> None:
    draw = random.Random(11)
    state = State({draw.randbytes(4): b"0" for _ in range(700)})
    for step in range(60):
        fork = state.fork()
        keys = list(state.keys())
        for key in draw.sample(keys, draw.choice([0, 1, 3, 40])):
            fork.put(key, b"%d" % step)
        for key in draw.sample(keys, draw.choice([0, 0, 1, 5])):
            fork.put(key, None)
        for _ in range(draw.choice([0, 0, 1, 9])):
            fork.put(draw.randbytes(4), b"new")
        inner = fork.fork()
        inner.put(draw.choice(keys), draw.choice([None, b"inner"]))
        assert inner.root() == plain_root(inner), step
        assert fork.root() == plain_root(fork), step
        if draw.random() < 0.7:
            undo = fork.undo()
            state.apply(fork.changes())
            assert state.root() == plain_root(state), step
            if draw.random() < 0.3:
                state.apply(undo)
        if draw.random() < 0.3:
            state.put(draw.randbytes(4), b"beside")
    assert state.root() == plain_root(state)


def test_fits_tells_whether_select_would_find_any(world) -> None:
    pool = Mempool(world.chain_id, world.params)

    def select(timestamp: int) -> bool:
        return bool(pool.select(world.state, timestamp, world.address("miner0"), world.height + 1, 1))

    def same(expected: bool, timestamp: int) -> None:
        assert pool.fits(world.state, timestamp) == select(timestamp) == expected

    now = world.timestamp
    same(False, now)
    pool.add(world.transfer("bob", "carol", 1, nonce=1), world.state, now)
    same(False, now)
    expiring = world.sign("requester", world.order(expiry=now + 10))
    pool.add(expiring, world.state, now)
    same(True, now)
    same(False, now + 10)
    pool.add(world.transfer("bob", "carol", 1, nonce=0), world.state, now)
    same(True, now + 10)


def test_revalidating_touched_accounts_drops_the_same_as_revalidating_all(world) -> None:
    now = world.timestamp
    half = world.balance("alice") // 2
    pools = [Mempool(world.chain_id, world.params) for _ in range(2)]
    waiting = [
        world.transfer("alice", "bob", half - 100, nonce=1),
        world.transfer("alice", "bob", half - 100, nonce=2),
        world.transfer("carol", "bob", 7),
        world.transfer("bob", "carol", 1),
        world.sign("requester", world.order(expiry=now + 10)),
    ]
    for pool in pools:
        for transaction in waiting:
            pool.add(transaction, world.state, now)
    before = world.state.entries()
    world.block(world.transfer("alice", "carol", half), world.transfer("carol", "dora", 3))
    after = world.state.entries()
    touched = {key[1:] for key in before.keys() | after.keys() if key[:1] == b"a" and before.get(key) != after.get(key)}
    assert world.address("requester") not in touched, "its order has expired all the same"
    dropped = pools[0].revalidate(world.state, now + 10, touched)
    assert set(dropped) == set(pools[1].revalidate(world.state, now + 10))
    assert pools[0].transactions() == pools[1].transactions()
    assert len(dropped) == 3
