"""Orders on the chain: a requester's deposit with its terms, and how far it has come (Alg. 3 lines 1–3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

from fedcoin.core.encoding import HASH_SIZE, Struct, enum, raw, u16, u64
from fedcoin.core.errors import OrderNotFound, OrderNotOpen
from fedcoin.core.keys import ADDRESS_SIZE
from fedcoin.core.transaction import ORDER, Order
from fedcoin.ledger.state import NEXT_SEQUENCE_KEY, OPEN_ORDER_KEY, ORDER_KEY, State


class OrderStatus(IntEnum):
    """How far an order has come."""

    OPEN = 1
    FINISHED = 2
    """All rounds are settled."""
    REFUNDED = 3
    """It expired; what was left went back to the requester."""


@dataclass(frozen=True)
class OrderRecord:
    """An order and its progress. Its money is the account at `escrow_address(order_id)`."""

    order_id: bytes
    """Id of the ORDER transaction."""
    order: Order
    requester: bytes
    """Address that deposited V and gets refunds."""
    sequence: int
    """Place among all orders of the chain, from 0."""
    confirmed_height: int
    """Height of the block that holds the ORDER transaction."""
    rounds_settled: int
    """Also the number of the round that may be settled next."""
    state: OrderStatus


ORDER_RECORD = Struct(
    OrderRecord,
    "fedcoin/v1/order-record",
    order_id=raw(HASH_SIZE),
    order=ORDER.codec,
    requester=raw(ADDRESS_SIZE),
    sequence=u64,
    confirmed_height=u64,
    rounds_settled=u16,
    state=enum(OrderStatus),
)


def get_order(state: State, order_id: bytes) -> OrderRecord:
    """The order. Raises OrderNotFound."""
    value = state.get(ORDER_KEY + order_id)
    if value is None:
        raise OrderNotFound(
            f"no order {order_id.hex()} is on the chain; check the id, or wait until its transaction is confirmed"
        )
    return _decode(value)


def get_open_order(state: State, order_id: bytes) -> OrderRecord:
    """The order. Raises OrderNotFound, or OrderNotOpen if it is finished or refunded."""
    record = get_order(state, order_id)
    if record.state is not OrderStatus.OPEN:
        raise OrderNotOpen(f"order {order_id.hex()} is {record.state.name.lower()}; place a new one")
    return record


def orders(state: State) -> Iterator[OrderRecord]:
    """All orders that the chain has seen, by sequence."""
    records = [get_order(state, key[len(ORDER_KEY) :]) for key in state.keys(ORDER_KEY)]
    return iter(sorted(records, key=lambda record: record.sequence))


def open_orders(state: State) -> Iterator[OrderRecord]:
    """Orders that are neither finished nor refunded, by sequence."""
    for key in state.keys(OPEN_ORDER_KEY):
        order_id = state.get(key)
        if order_id is not None:
            yield get_order(state, order_id)


def open_order(state: State, order_id: bytes, order: Order, requester: bytes, height: int) -> OrderRecord:
    """Enters a new order, confirmed at `height`. Moving V into its escrow is the caller's part."""
    value = state.get(NEXT_SEQUENCE_KEY)
    sequence = u64_value(value) if value is not None else 0
    record = OrderRecord(order_id, order, requester, sequence, height, 0, OrderStatus.OPEN)
    _put(state, record)
    state.put(OPEN_ORDER_KEY + u64.write(sequence), order_id)
    state.put(NEXT_SEQUENCE_KEY, u64.write(sequence + 1))
    return record


def settle_round(state: State, order_id: bytes) -> OrderRecord:
    """Counts one more settled round; the last one finishes the order. Raises OrderNotFound, OrderNotOpen."""
    record = get_open_order(state, order_id)
    record = replace(record, rounds_settled=record.rounds_settled + 1)
    if record.rounds_settled == record.order.rounds:
        return _close(state, record, OrderStatus.FINISHED)
    _put(state, record)
    return record


def mark_refunded(state: State, order_id: bytes) -> OrderRecord:
    """Closes an expired order, so that it is refunded once only. Raises OrderNotFound, OrderNotOpen."""
    return _close(state, get_open_order(state, order_id), OrderStatus.REFUNDED)


def u64_value(value: bytes) -> int:
    """The integer of a stored u64."""
    return int.from_bytes(value, "big")


def _close(state: State, record: OrderRecord, status: OrderStatus) -> OrderRecord:
    record = replace(record, state=status)
    _put(state, record)
    state.put(OPEN_ORDER_KEY + u64.write(record.sequence), None)
    return record


def _put(state: State, record: OrderRecord) -> None:
    state.put(ORDER_KEY + record.order_id, ORDER_RECORD.encode(record))


@lru_cache(maxsize=8192)
def _decode(value: bytes) -> OrderRecord:
    """Kept by value, because each block looks at all open orders for refunds."""
    return ORDER_RECORD.decode(value)
