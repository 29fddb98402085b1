import random

import pytest

from fedcoin.core.encoding import u32
from fedcoin.core.errors import InsufficientFunds
from fedcoin.core.merkle import EMPTY_ROOT, merkle_root
from fedcoin.ledger.accounts import Account, all_accounts, credit, debit, get_account, use_nonce
from fedcoin.ledger.state import State, supply

ALICE, BOB = b"a" * 20, b"b" * 20


def plain_root(state):
    return merkle_root(u32.write(len(key)) + key + value for key, value in sorted(state.entries().items()))


def test_root_of_nothing_is_rfc6962_empty_root():
    assert State().root() == EMPTY_ROOT


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13, 64, 65])
def test_root_is_rfc6962_over_sorted_entries(count):
    draw = random.Random(count)
    state = State({draw.randbytes(draw.randint(1, 9)): draw.randbytes(draw.randint(0, 9)) for _ in range(count)})
    assert state.root() == plain_root(state)


def test_length_prefix_keeps_key_and_value_apart():
    assert State({b"ab": b"c"}).root() != State({b"a": b"bc"}).root()


def test_cached_leaf_hashes_never_go_stale():
    draw = random.Random(7)
    states = [State({bytes([i]): b"0" for i in range(40)})]
    for step in range(300):
        depth = draw.randrange(4)
        while len(states) > depth + 1:
            top = states.pop()
            if draw.random() < 0.7:
                states[-1].apply(top.changes())
        while len(states) <= depth:
            states.append(states[-1].fork())
        value = None if draw.random() < 0.3 else b"%d" % step
        states[-1].put(bytes([draw.randrange(60)]), value)
        assert states[-1].root() == plain_root(states[-1]), step


def test_fork_reads_through_and_keeps_writes_to_itself():
    state = State({b"1": b"one", b"2": b"two"})
    fork = state.fork()
    fork.put(b"2", None)
    fork.put(b"3", b"three")
    assert (fork.get(b"1"), fork.get(b"2"), fork.get(b"3")) == (b"one", None, b"three")
    assert list(fork.keys()) == [b"1", b"3"]
    assert list(state.keys()) == [b"1", b"2"]


def test_fork_of_a_fork_and_commit_level_by_level():
    state = State({b"1": b"one"})
    outer = state.fork()
    outer.put(b"2", b"two")
    inner = outer.fork()
    inner.put(b"1", None)
    inner.put(b"2", b"zwei")
    assert (inner.get(b"1"), outer.get(b"1")) == (None, b"one")
    assert inner.changes() == {b"1": None, b"2": b"zwei"}
    assert inner.undo() == {b"1": b"one", b"2": b"two"}
    outer.apply(inner.changes())
    assert outer.changes() == {b"1": None, b"2": b"zwei"}
    assert outer.undo() == {b"1": b"one", b"2": None}
    state.apply(outer.changes())
    assert state.entries() == {b"2": b"zwei"}


def test_undo_gives_back_the_exact_state_and_root():
    state = State({b"%d" % i: b"v" for i in range(20)})
    before, root = state.entries(), state.root()
    fork = state.fork()
    fork.put(b"3", None)
    fork.put(b"new", b"x")
    fork.put(b"7", b"changed")
    changes, undo = fork.changes(), fork.undo()
    state.apply(changes)
    assert state.root() != root
    state.apply(undo)
    assert (state.entries(), state.root()) == (before, root)


def test_changes_leave_out_writes_that_change_nothing():
    fork = State({b"1": b"one"}).fork()
    fork.put(b"1", b"two")
    fork.put(b"1", b"one")
    fork.put(b"gone", None)
    assert fork.changes() == {}


def test_changes_of_a_first_state_are_all_its_entries():
    assert State({b"2": b"b", b"1": b"a"}).changes() == {b"1": b"a", b"2": b"b"}


def test_keys_of_a_prefix_ascend_and_writes_do_not_disturb_the_walk():
    state = State({b"a2": b"", b"a1": b"", b"b1": b""})
    fork = state.fork()
    fork.put(b"a3", b"")
    fork.put(b"a2", None)
    seen = []
    for key in fork.keys(b"a"):
        fork.put(key, None)
        seen.append(key)
    assert seen == [b"a1", b"a3"]
    assert list(fork.keys(b"a")) == []


def test_empty_account_is_removed_and_a_used_nonce_kept():
    state = State()
    credit(state, ALICE, 5)
    debit(state, ALICE, 5)
    assert state.entries() == {}
    use_nonce(state, BOB)
    credit(state, BOB, 3)
    debit(state, BOB, 3)
    assert list(all_accounts(state)) == [(BOB, Account(0, 1))]


def test_debit_of_too_much_changes_nothing():
    state = State()
    credit(state, ALICE, 5)
    with pytest.raises(InsufficientFunds, match="holds 5 units"):
        debit(state, ALICE, 6)
    assert get_account(state, ALICE) == Account(5, 0)


def test_supply_sums_all_accounts():
    state = State({b"p": b"\xff" * 16})
    credit(state, ALICE, 5)
    credit(state, BOB, 2**62)
    assert supply(state) == 2**62 + 5
