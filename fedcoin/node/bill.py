"""What an order has cost, round by round, and why: read off the chain's blocks, not off anybody's word (Alg. 3).

Every number is derived again from the block's averaged S and compared with what the block paid, so a bill that can be
made is one that adds up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedcoin.core.block import Block, body_root
from fedcoin.core.errors import BillInconsistent, FedCoinError
from fedcoin.core.keys import address_of
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import RaceKind, Task
from fedcoin.core.transaction import Order, Payment, PaymentKind
from fedcoin.ledger.prices import RoundPrices, round_prices
from fedcoin.ledger.settlement import client_payouts


@dataclass(frozen=True)
class ClientBill:
    """What one client got in a round."""

    address: bytes
    samples: int
    """n_k, as the client stated it."""
    shapley: float
    """S̄_i, as a share of accuracy (or of loss)."""
    positive: int
    """max(S̄_i, 0) as the numerator that the payout rule uses."""
    positive_sum: int
    """Σ max(S̄_j, 0), over the same denominator."""
    amount: int
    """p_i in units."""
    extra_unit: bool
    """Whether largest remainder gave it the unit that rounding had left."""

    def formula(self, train_price: int) -> str:
        """How p_i came about."""
        if not self.positive:
            return "0: S̄ is not positive"
        more = " + 1 (largest remainder)" if self.extra_unit else ""
        return f"⌊{train_price} · {self.positive} / {self.positive_sum}⌋{more} = {self.amount}"


@dataclass(frozen=True)
class RoundBill:
    """One settled round."""

    round: int
    block: bytes
    """Hash of the block that settled it."""
    height: int
    timestamp: int
    """Milliseconds since 1970."""
    prices: RoundPrices
    winner: bytes
    """Address of the block winner."""
    winner_time: int
    """Iterations that the winner had done."""
    averaged_time: int
    """Iterations that S̄ averages."""
    difficulty: float
    """D as a real number."""
    clients: tuple[ClientBill, ...]
    sap_paid: int
    """To the winner, for itself."""
    com_paid: int
    """To the server."""
    returned: int
    """TrainPrice that went back to the requester, because no client's S̄ was positive."""


@dataclass(frozen=True)
class Bill:
    """An order's account."""

    order_id: bytes
    order: Order
    requester: bytes
    """Address."""
    rounds: tuple[RoundBill, ...]
    """Settled ones, in order."""
    refunds: tuple[Payment, ...]
    """After expiry."""

    @property
    def clients_total(self) -> int:
        """Units that clients got."""
        return sum(client.amount for item in self.rounds for client in item.clients)

    @property
    def server_total(self) -> int:
        """Units that the server got."""
        return sum(item.com_paid for item in self.rounds)

    @property
    def winners_total(self) -> int:
        """Units that block winners kept."""
        return sum(item.sap_paid for item in self.rounds)

    @property
    def returned_total(self) -> int:
        """Units that went back to the requester."""
        return sum(item.returned for item in self.rounds) + sum(payment.amount for payment in self.refunds)

    @property
    def in_escrow(self) -> int:
        """Units of V that no block has moved yet."""
        return self.order.amount - self.clients_total - self.server_total - self.winners_total - self.returned_total


def make_bill(order_id: bytes, order: Order, requester: bytes, blocks: Iterable[Block], chain_id: bytes) -> Bill:
    """The bill from the adopted blocks since the deposit, in order; others than the order's are passed over.

    Raises BillInconsistent where a block of the order is not what the rules say.
    """
    rounds: list[RoundBill] = []
    refunds: list[Payment] = []
    for block in blocks:
        own = [payment for payment in block.payments if payment.order == order_id]
        if not own:
            continue
        _check_block(block, chain_id)
        refunds += [payment for payment in own if payment.kind is PaymentKind.REFUND]
        task = block.task
        if task is not None and task.order == order_id:
            if task.round != len(rounds):
                raise BillInconsistent(f"block {block.header.height} settles round {task.round} out of turn")
            rounds.append(_round_bill(block, task, order, requester))
    return Bill(order_id, order, requester, tuple(rounds), tuple(refunds))


def _round_bill(block: Block, task: Task, order: Order, requester: bytes) -> RoundBill:
    header = block.header
    prices = round_prices(order)[task.round]
    totals = header.averaged_total
    if header.averaged_time < 1 or len(totals) != len(task.contributors) or header.kind is not RaceKind.TASK:
        raise BillInconsistent(f"block {header.height} has no averaged S for the clients of its task")
    expected = client_payouts(prices.train, totals)
    paid = [payment for payment in block.payments if payment.order == task.order and payment.round == task.round]
    payouts = [payment for payment in paid if payment.kind is PaymentKind.CLIENT]
    due = [(item.address, amount) for item, amount in zip(task.contributors, expected, strict=True) if amount]
    if [(payment.payee, payment.amount) for payment in payouts] != due:
        raise BillInconsistent(f"block {header.height} does not pay the clients what its averaged S gives them")
    winner = address_of(header.winner)
    to_winner = _sum(paid, PaymentKind.WINNER, winner)
    com, returned = _sum(paid, PaymentKind.SERVER, order.server), _sum(paid, PaymentKind.RETURN, requester)
    nobody = not any(expected)
    fair = (
        to_winner == prices.sap + (0 if nobody else prices.train)
        and com == prices.com
        and returned == (prices.train if nobody else 0)
    )
    if not fair:
        raise BillInconsistent(f"block {header.height} does not pay winner, server and requester as the order says")
    whole = sum(max(total, 0) for total in totals)
    return RoundBill(
        round=task.round,
        block=block.id(),
        height=header.height,
        timestamp=header.timestamp,
        prices=prices,
        winner=winner,
        winner_time=header.winner_time,
        averaged_time=header.averaged_time,
        difficulty=header.difficulty / UTILITY_SCALE,
        clients=tuple(
            ClientBill(
                address=contributor.address,
                samples=update.samples,
                shapley=total / (header.averaged_time * UTILITY_SCALE),
                positive=max(total, 0),
                positive_sum=whole,
                amount=amount,
                extra_unit=bool(whole) and amount > prices.train * max(total, 0) // whole,
            )
            for contributor, update, total, amount in zip(
                task.contributors, task.problem.updates, totals, expected, strict=True
            )
        ),
        sap_paid=to_winner - sum(expected),
        com_paid=com,
        returned=returned,
    )


def _sum(payments: Sequence[Payment], kind: PaymentKind, payee: bytes) -> int:
    """Units paid of that kind; all of them to `payee`. Raises BillInconsistent."""
    chosen = [payment for payment in payments if payment.kind is kind]
    if any(payment.payee != payee for payment in chosen):
        raise BillInconsistent(f"a payment of kind {kind.name} goes to the wrong account")
    return sum(payment.amount for payment in chosen)


def _check_block(block: Block, chain_id: bytes) -> None:
    """What can be checked without the chain: signatures of winner and server, and that the body is the header's."""
    try:
        block.verify_winner()
        if block.task is not None:
            block.task.verify_server(chain_id)
    except FedCoinError as error:
        raise BillInconsistent(f"block {block.header.height}: {error}") from error
    same_body = block.header.merkle_root == body_root(block.payments, block.transactions)
    same_task = block.task is None or block.header.task == block.task.id(chain_id)
    if not same_body or not same_task or block.header.chain_id != chain_id:
        raise BillInconsistent(f"block {block.header.height}: the body is not the one that its winner signed")
