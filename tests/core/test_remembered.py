"""What is remembered on a transaction, and hashed many at a time, is what would be computed anew."""

from dataclasses import replace

import pytest

from fedcoin.core.encoding import Struct
from fedcoin.core.keys import PrivateKey, address_of
from fedcoin.core.merkle import MerkleLog
from fedcoin.core.transaction import TRANSACTION, Transaction, Transfer, sign_transaction

KEY = PrivateKey(bytes([5]) * 32)
CHAIN, OTHER = bytes([1]) * 32, bytes([2]) * 32


def pay(nonce: int) -> Transaction:
    return sign_transaction(KEY, CHAIN, nonce, 1_000, Transfer(bytes(20), 1))


def test_a_changed_copy_remembers_nothing_of_the_original() -> None:
    first = pay(0)
    seen = (first.id(CHAIN), first.sender_address, TRANSACTION.encode(first))
    other = PrivateKey(bytes([6]) * 32).public_key
    copy = replace(first, nonce=1, sender=other)
    assert copy.id(CHAIN) == replace(pay(1), sender=other, signature=b"").id(CHAIN) != seen[0]
    assert copy.sender_address == address_of(other) != seen[1]
    assert TRANSACTION.decode(TRANSACTION.encode(copy)) == copy
    assert (first.id(CHAIN), first.sender_address, TRANSACTION.encode(first)) == seen


def test_each_chain_has_its_own_id() -> None:
    transaction = pay(0)
    assert transaction.id(CHAIN) != transaction.id(OTHER)
    assert transaction.id(CHAIN) == pay(0).id(CHAIN)


def test_what_is_remembered_is_no_part_of_the_value() -> None:
    used, fresh = pay(0), pay(0)
    used.id(CHAIN)
    TRANSACTION.encode(used)
    assert used == fresh
    assert hash(used) == hash(fresh)
    assert repr(used) == repr(fresh)


def test_remembered_bytes_are_those_of_the_layout() -> None:
    transaction = pay(3)
    plain = Struct(Transaction, TRANSACTION.tag, **TRANSACTION.fields)
    assert TRANSACTION.encode(transaction) == TRANSACTION.encode(transaction) == plain.encode(transaction)
    assert TRANSACTION.digest(transaction, CHAIN) == plain.digest(transaction, CHAIN)


@pytest.mark.parametrize("pieces", [[0], [1], [2, 1], [3, 0, 4], [1, 1, 1, 1, 1], [7, 9, 64, 1, 33], [128], [127, 1]])
def test_leaves_added_together_make_the_tree_of_leaves_added_singly(pieces: list[int]) -> None:
    together, singly = MerkleLog(), MerkleLog()
    number = 0
    for count in pieces:
        leaves = [number.to_bytes(4, "big") for number in range(number, number + count)]
        number += count
        together.extend(leaves)
        for leaf in leaves:
            singly.append(leaf)
        assert together._levels == singly._levels
        assert together.root() == singly.root()
