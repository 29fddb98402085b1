"""The history index: for each address the movements on its account, newest first.

A block's movements are numbered: its payments from 0, then its transactions, then the fees that its winner gets for
them, in the same order. The amounts of an address's rows less their fees, added to what the genesis gave it, are its
balance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedcoin.core.block import Block
from fedcoin.core.encoding import HASH_SIZE, Struct, blob, i64, optional, raw, u32, u64
from fedcoin.core.errors import StoreCorrupt
from fedcoin.core.keys import ADDRESS_SIZE, address_of
from fedcoin.core.transaction import (
    PAYMENT,
    MinerRegistration,
    Order,
    Payment,
    Transaction,
    Transfer,
    bond_address,
    escrow_address,
)
from fedcoin.store.database import Database
from fedcoin.store.identity import decoded
from fedcoin.store.layout import HISTORY

_KEY_SIZE = ADDRESS_SIZE + 8 + 4


@dataclass(frozen=True)
class HistoryRow:
    """One movement on an account."""

    height: int
    index: int
    """Number of the movement in its block."""
    block: bytes
    """Block hash."""
    timestamp: int
    """Of the block, milliseconds since 1970."""
    transaction: bytes
    """Transaction id; empty for a payment that the block makes."""
    payment: Payment | None
    counterparty: bytes
    """Address of the other side: an escrow's for a deposit, a bond's for a miner's registration; empty for what moves
    nothing."""
    amount: int
    """Units, signed: negative leaves the account. The fee is not part of it."""
    fee: int
    """Units that the account paid besides."""


@dataclass(frozen=True)
class _Value:
    block: bytes
    timestamp: int
    transaction: bytes
    payment: Payment | None
    counterparty: bytes
    amount: int
    fee: int


_VALUE = Struct(
    _Value,
    "fedcoin/store/history",
    block=raw(HASH_SIZE),
    timestamp=u64,
    transaction=blob(HASH_SIZE),
    payment=optional(PAYMENT.codec),
    counterparty=blob(ADDRESS_SIZE),
    amount=i64,
    fee=u64,
)


def movements(
    block: Block, block_hash: bytes, transaction_ids: list[bytes], miner_bond: int
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of all rows that a block adds; `transaction_ids` are those of its transactions, in order.

    `miner_bond`: units that a registration moves on this chain.
    """
    winner = address_of(block.header.winner)
    first = len(block.payments)
    count = len(block.transactions)

    def row(
        address: bytes, index: int, other: bytes, amount: int, fee: int, what: bytes | Payment
    ) -> tuple[bytes, bytes]:
        transaction, payment = (b"", what) if isinstance(what, Payment) else (what, None)
        value = _Value(block_hash, block.header.timestamp, transaction, payment, other, amount, fee)
        return _key(address, block.header.height, index), _VALUE.encode(value)

    for index, paid in enumerate(block.payments):
        if paid.payer == paid.payee:
            yield row(paid.payer, index, paid.payee, 0, 0, paid)
            continue
        yield row(paid.payer, index, paid.payee, -paid.amount, 0, paid)
        yield row(paid.payee, index, paid.payer, paid.amount, 0, paid)
    for index, (transaction, name) in enumerate(zip(block.transactions, transaction_ids, strict=True)):
        sender = transaction.sender_address
        recipient, amount = _moved(transaction, name, miner_bond)
        if recipient in (b"", sender):
            yield row(sender, first + index, recipient, 0, transaction.fee, name)
        else:
            yield row(sender, first + index, recipient, -amount, transaction.fee, name)
            yield row(recipient, first + index, sender, amount, 0, name)
        if transaction.fee:
            yield row(winner, first + count + index, sender, transaction.fee, 0, name)


def read_history(database: Database, address: bytes, before: tuple[int, int] | None, limit: int) -> list[HistoryRow]:
    """Up to `limit` rows of an address, newest first, those before (height, index). Raises StoreCorrupt."""
    if before is None:
        pairs = database.prefixed(HISTORY, address, limit, reverse=True)
    else:
        pairs = database.scan(HISTORY, address, _key(address, *before), limit, reverse=True)
    rows = []
    for key, data in pairs:
        if len(key) != _KEY_SIZE:
            raise StoreCorrupt("a stored history row has a malformed key: restore a copy, or sync again")
        height, index = int.from_bytes(key[ADDRESS_SIZE:-4], "big"), int.from_bytes(key[-4:], "big")
        value = decoded(_VALUE, data, "history row")
        rows.append(HistoryRow(height, index, **{name: getattr(value, name) for name in _VALUE.fields}))
    return rows


def _key(address: bytes, height: int, index: int) -> bytes:
    return address + u64.write(height) + u32.write(index)


def _moved(transaction: Transaction, transaction_id: bytes, miner_bond: int) -> tuple[bytes, int]:
    """To whom a transaction moves how much; to nobody (empty) what moves nothing."""
    body = transaction.body
    if isinstance(body, Transfer):
        return body.recipient, body.amount
    if isinstance(body, Order):
        return escrow_address(transaction_id), body.amount
    if isinstance(body, MinerRegistration) and miner_bond:
        return bond_address(transaction.sender), miner_bond
    return b"", 0
