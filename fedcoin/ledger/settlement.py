"""The payments that a block makes by rule (Alg. 3 lines 8–15, §4.3), refunds of expired orders, and bonds.

Nobody signs them and nobody can leave one out: a block is valid only if its payments are exactly those derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, zip_longest

from fedcoin.core.errors import SettlementMismatch
from fedcoin.core.keys import address_of, format_address
from fedcoin.core.params import ChainParams
from fedcoin.core.task import Task
from fedcoin.core.transaction import Payment, PaymentKind, escrow_address
from fedcoin.ledger.accounts import credit, debit, get_account
from fedcoin.ledger.bonds import bond_payments, close_due, conviction_payments
from fedcoin.ledger.orders import get_order, mark_refunded, open_orders
from fedcoin.ledger.prices import divide, round_prices
from fedcoin.ledger.state import State

MAX_REFUNDS = 1024
"""Refunds in one block at most, the oldest orders first; the others wait for the next block. Without a limit, orders
that expire together could make a refund list that no block can hold, and the chain would stop."""


def client_payouts(train_price: int, averaged_total: Sequence[int]) -> tuple[int, ...]:
    """p_i of every client (Alg. 3 lines 9–13), in units.

    p_i = ⌊TrainPrice · max(S̄_i,0) / Σ max(S̄_j,0)⌋ and the rest by largest remainder, ties to the lower index. All 0 if
    nobody is positive. `averaged_total`: numerators of S̄; they share one denominator, so it cancels.
    """
    positive = [max(value, 0) for value in averaged_total]
    return divide(train_price, positive) if any(positive) else (0,) * len(positive)


def settlement_payments(state: State, task: Task, averaged_total: Sequence[int], winner: bytes) -> tuple[Payment, ...]:
    """What the block that settles `task` pays, in this order; payments of 0 units are left out.

    WINNER (Alg. 3 line 9; SapPrice only if nobody's S̄ is positive), then RETURN of TrainPrice in that case, CLIENT by
    index (line 12), SERVER (line 2). `winner`: public key. The task has passed `verify_task`; raises SettlementMismatch
    if S̄ has not one value for each client, OrderNotFound.
    """
    if len(averaged_total) != len(task.contributors):
        raise SettlementMismatch(
            f"averaged S has {len(averaged_total)} values for {len(task.contributors)} clients; refuse the block"
        )
    record = get_order(state, task.order)
    prices = round_prices(record.order)[task.round]
    escrow, winner_address = escrow_address(task.order), address_of(winner)
    payouts = client_payouts(prices.train, averaged_total)
    returned = prices.train - sum(payouts)

    def payment(kind: PaymentKind, payer: bytes, payee: bytes, amount: int) -> Payment:
        return Payment(kind, task.order, task.round, payer, payee, amount)

    payments = [
        payment(PaymentKind.WINNER, escrow, winner_address, prices.train - returned + prices.sap),
        payment(PaymentKind.RETURN, escrow, record.requester, returned),
        *(
            payment(PaymentKind.CLIENT, winner_address, contributor.address, payout)
            for contributor, payout in zip(task.contributors, payouts, strict=True)
        ),
        payment(PaymentKind.SERVER, escrow, record.order.server, prices.com),
    ]
    return tuple(item for item in payments if item.amount > 0)


def refund_payments(state: State, timestamp: int) -> tuple[Payment, ...]:
    """Refunds of open orders whose expiry is before `timestamp` (ms), by order sequence, at most MAX_REFUNDS.

    A refund is all that the order's escrow holds, which is the prices of the rounds not settled (and whatever somebody
    sent there by mistake). Its round is the first that was not settled. It is never 0, since every round costs a unit.
    """
    expired = (record for record in open_orders(state) if record.order.expiry < timestamp)
    payments = []
    for record in islice(expired, MAX_REFUNDS):
        escrow = escrow_address(record.order_id)
        amount = get_account(state, escrow).balance
        payments.append(
            Payment(PaymentKind.REFUND, record.order_id, record.rounds_settled, escrow, record.requester, amount)
        )
    return tuple(payments)


def overdue_payments(state: State, params: ChainParams, height: int, timestamp: int) -> tuple[Payment, ...]:
    """What the block at `height` with that timestamp owes whatever its race: refunds, bonds of miners that have left,
    bonds of convicted miners. Any of these is reason enough for an AUDIT block."""
    return refund_payments(state, timestamp) + bond_payments(state, params, height) + conviction_payments(state, params)


def due_payments(
    state: State,
    params: ChainParams,
    height: int,
    timestamp: int,
    task: Task | None,
    averaged_total: Sequence[int],
    winner: bytes,
) -> tuple[Payment, ...]:
    """All payments of the block on the parent's state: `overdue_payments`, then a TASK block's settlement."""
    settlement = settlement_payments(state, task, averaged_total, winner) if task is not None else ()
    return overdue_payments(state, params, height, timestamp) + settlement


def verify_payments(block_payments: Sequence[Payment], due: Sequence[Payment]) -> None:
    """Raises SettlementMismatch, naming the first difference, unless the block's payments are those due."""
    for index, (expected, found) in enumerate(zip_longest(due, block_payments)):
        if expected != found:
            raise SettlementMismatch(
                f"payment {index} of the block should be {_describe(expected)} and is {_describe(found)}; "
                "refuse the block"
            )


def apply_payments(state: State, payments: Sequence[Payment], params: ChainParams, height: int) -> None:
    """Moves the units, in order, and closes what that settles: expired orders, bonds, fraud cases (also those that
    lapse in the block at `height`). Use a fork: raises InsufficientFunds half-way."""
    for payment in payments:
        debit(state, payment.payer, payment.amount)
        credit(state, payment.payee, payment.amount)
        if payment.kind is PaymentKind.REFUND:
            mark_refunded(state, payment.order)
    close_due(state, params, height)


def _describe(payment: Payment | None) -> str:
    if payment is None:
        return "absent"
    return (
        f"{payment.kind.name} of {payment.amount} units from {format_address(payment.payer)} "
        f"to {format_address(payment.payee)} for round {payment.round} of order or case {payment.order.hex()}"
    )
