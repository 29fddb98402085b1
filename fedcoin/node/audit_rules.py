"""The rules of a settled block that need no evaluation: structure, signatures, averages, distance, payments."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

from fedcoin.consensus.verify import verify_alone
from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError, SettlementMismatch
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import format_address
from fedcoin.core.task import Task
from fedcoin.core.transaction import SETTLEMENT_KINDS, Order, Payment, Transaction
from fedcoin.ledger.orders import ORDER_RECORD, OrderRecord, OrderStatus
from fedcoin.ledger.settlement import settlement_payments
from fedcoin.ledger.state import ORDER_KEY, State
from fedcoin.ledger.tasks import verify_task


def rule_reasons(block: Block, task: Task, genesis: Genesis, order: Transaction | None) -> list[str]:
    """Everything that is wrong with a TASK block of the chain of `genesis`; `order`: the task's ORDER transaction.

    The order's terms are taken from what its requester signed, not from what a node says about it.
    """
    chain_id = genesis.id()
    reasons = _broken(lambda: verify_alone(block, chain_id, genesis.params))
    if order is None or not isinstance(order.body, Order):
        return [*reasons, f"the chain has no order {task.order.hex()}"]
    if order.id(chain_id) != task.order:
        return [*reasons, f"the node's transaction for order {task.order.hex()} has another id"]
    reasons += _broken(lambda: order.verify(chain_id))
    state = _state_before(order, order.body, task)
    reasons += _broken(lambda: verify_task(state, task, chain_id, genesis.params, block.header.timestamp))
    reasons += _broken(lambda: _verify_settlement(block, task, state))
    return reasons


def _verify_settlement(block: Block, task: Task, state: State) -> None:
    """Alg. 3 lines 9 to 12 and 2. Refunds and bonds, which the block may hold in front, are not looked at."""
    paid = [payment for payment in block.payments if payment.kind in SETTLEMENT_KINDS]
    due = settlement_payments(state, task, block.header.averaged_total, block.header.winner)
    for expected, found in zip_longest(due, paid):
        if expected != found:
            raise SettlementMismatch(f"a payment should be {_describe(expected)}, and is {_describe(found)}")


def _state_before(transaction: Transaction, order: Order, task: Task) -> State:
    """As much of the state before the block as the rules ask for: the order, with this round as its next."""
    record = OrderRecord(task.order, order, transaction.sender_address, 0, 0, task.round, OrderStatus.OPEN)
    return State({ORDER_KEY + task.order: ORDER_RECORD.encode(record)})


def _broken(rule: Callable[[], None]) -> list[str]:
    try:
        rule()
    except FedCoinError as error:
        return [f"{error.code}: {error.message}"]
    return []


def _describe(payment: Payment | None) -> str:
    if payment is None:
        return "absent"
    return (
        f"{payment.kind.name} of {payment.amount} units from {format_address(payment.payer)} "
        f"to {format_address(payment.payee)}"
    )
