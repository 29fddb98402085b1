import pytest

from fedcoin.core.errors import OrderNotFound, OrderNotOpen, SettlementMismatch
from fedcoin.core.transaction import PaymentKind, Transfer, escrow_address
from fedcoin.ledger import settlement
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.orders import OrderStatus, get_order, mark_refunded, open_orders, settle_round
from fedcoin.ledger.settlement import refund_payments, verify_payments


def test_refund_is_due_only_after_the_expiry(world):
    order_id = world.place()
    expiry = get_order(world.state, order_id).order.expiry
    assert refund_payments(world.state, expiry) == ()
    (refund,) = refund_payments(world.state, expiry + 1)
    assert (refund.kind, refund.order, refund.round, refund.amount) == (PaymentKind.REFUND, order_id, 0, 1000)
    assert (refund.payer, refund.payee) == (escrow_address(order_id), world.address("requester"))


def test_refund_happens_exactly_once(world):
    order_id = world.place()
    expiry = get_order(world.state, order_id).order.expiry
    before = world.balance("requester")
    world.block(timestamp=expiry + 1)
    assert world.balance("requester") == before + 1000
    assert get_order(world.state, order_id).state is OrderStatus.REFUNDED
    world.block(timestamp=expiry + 2)
    world.block(timestamp=expiry + 3)
    assert world.balance("requester") == before + 1000
    with pytest.raises(OrderNotOpen, match="refunded"):
        mark_refunded(world.state, order_id)
    with pytest.raises(OrderNotOpen, match="refunded"):
        settle_round(world.state, order_id)


def test_refund_is_for_the_rounds_not_settled(world):
    order_id = world.place(amount=1000, rounds=2)
    world.block(task=world.task(order_id), averaged=(1, 1, 1))
    before = world.balance("requester")
    (refund,) = refund_payments(world.state, get_order(world.state, order_id).order.expiry + 1)
    assert (refund.round, refund.amount) == (1, 500)
    world.block(timestamp=get_order(world.state, order_id).order.expiry + 1)
    assert world.balance("requester") == before + 500


def test_finished_order_is_not_refunded(world):
    order_id = world.place(rounds=1)
    world.block(task=world.task(order_id), averaged=(1, 1, 1))
    assert refund_payments(world.state, 2**63) == ()


def test_refunds_come_by_order_sequence_and_before_the_settlement(world):
    late = world.place(expiry=world.timestamp + 50_000)
    early = world.place(expiry=world.timestamp + 40_000)
    live = world.place(expiry=world.timestamp + 90_000)
    timestamp = world.timestamp + 60_000
    payments = world.due(timestamp, world.task(live), (1, 1, 1))
    assert [item.order for item in payments[:2]] == [late, early]
    assert [item.kind for item in payments[:3]] == [PaymentKind.REFUND, PaymentKind.REFUND, PaymentKind.WINNER]
    world.block(task=world.task(live), averaged=(1, 1, 1), timestamp=timestamp)
    assert [record.order_id for record in open_orders(world.state)] == [live]


def test_block_that_leaves_out_a_refund_is_refused(world):
    order_id = world.place()
    with pytest.raises(SettlementMismatch, match="should be REFUND of 1000 units"):
        verify_payments((), world.due(get_order(world.state, order_id).order.expiry + 1))


def test_units_sent_to_the_escrow_by_mistake_come_back_with_the_refund(world):
    order_id = world.place()
    world.block(world.sign("bob", Transfer(escrow_address(order_id), 77)))
    before = world.balance("requester")
    world.block(timestamp=get_order(world.state, order_id).order.expiry + 1)
    assert world.balance("requester") == before + 1077
    assert get_account(world.state, escrow_address(order_id)).balance == 0


def test_more_refunds_than_a_block_may_hold_wait_for_the_next(world, monkeypatch):
    monkeypatch.setattr(settlement, "MAX_REFUNDS", 2)
    ids = [world.place() for _ in range(5)]
    left = []
    for step in range(4):
        world.block(timestamp=world.timestamp + 200_000 + step)
        left.append([record.order_id for record in open_orders(world.state)])
    assert left == [ids[2:], ids[4:], [], []]


def test_unknown_order_is_said_to_be_unknown(world):
    with pytest.raises(OrderNotFound, match="check the id"):
        get_order(world.state, bytes(32))
