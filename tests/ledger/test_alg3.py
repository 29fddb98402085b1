"""Algorithm 3 line by line: what a settled round moves, to the unit."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin.core.errors import OrderNotOpen, SettlementMismatch, TaskRoundMismatch
from fedcoin.core.transaction import PaymentKind, escrow_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.orders import OrderStatus, get_order, open_orders, orders
from fedcoin.ledger.problems import last_problem
from fedcoin.ledger.settlement import client_payouts, settlement_payments, verify_payments

WINNER = "miner1"


def escrow_balance(world, order_id):
    return get_account(world.state, escrow_address(order_id)).balance


def payments(world, task, averaged):
    return settlement_payments(world.state, task, averaged, world.key(WINNER).public_key)


def amounts(items, kind):
    return [item.amount for item in items if item.kind is kind]


def test_alg3_line1_order_moves_v_from_the_requester_into_escrow(world):
    before = world.balance("requester")
    order_id = world.place(amount=1000)
    assert world.balance("requester") == before - 1000 - 10
    assert escrow_balance(world, order_id) == 1000
    record = get_order(world.state, order_id)
    assert (record.state, record.rounds_settled, record.confirmed_height) == (OrderStatus.OPEN, 0, 1)
    assert record.requester == world.address("requester")


def test_alg3_line2_com_price_goes_to_the_server(world):
    order_id = world.place()
    task = world.task(order_id)
    server = [item for item in payments(world, task, (1, 1, 1)) if item.kind is PaymentKind.SERVER]
    assert [(item.payer, item.payee, item.amount) for item in server] == [
        (escrow_address(order_id), world.address("server"), 50)
    ]


def test_alg3_line5_the_settled_task_becomes_the_last_problem(world):
    order_id = world.place()
    assert last_problem(world.state) == world.genesis.problem
    task = world.task(order_id)
    world.block(task=task, averaged=(1, 2, 3))
    assert last_problem(world.state) == task.problem


def test_alg3_line9_escrow_pays_train_and_sap_price_to_the_winner(world):
    order_id = world.place()
    first = payments(world, world.task(order_id), (5, 3, 2))[0]
    assert (first.kind, first.amount) == (PaymentKind.WINNER, 350 + 100)
    assert (first.payer, first.payee) == (escrow_address(order_id), world.address(WINNER))


def test_alg3_line10_clients_at_or_below_zero_get_nothing(world):
    items = payments(world, world.task(world.place()), (7, 0, -9))
    assert [(item.payee, item.amount) for item in items if item.kind is PaymentKind.CLIENT] == [
        (world.address("alice"), 350)
    ]


def test_alg3_line10_nobody_positive_returns_train_price_to_the_requester(world):
    order_id = world.place()
    items = payments(world, world.task(order_id), (0, -1, -2))
    assert [(item.kind, item.payee, item.amount) for item in items] == [
        (PaymentKind.WINNER, world.address(WINNER), 100),
        (PaymentKind.RETURN, world.address("requester"), 350),
        (PaymentKind.SERVER, world.address("server"), 50),
    ]
    assert all(item.payer == escrow_address(order_id) for item in items)


def test_alg3_line11_payout_is_in_proportion_to_positive_values():
    assert client_payouts(700, (4, 3, -5, 0)) == (400, 300, 0, 0)


def test_alg3_line11_remaining_units_go_by_largest_remainder_then_lower_index():
    assert client_payouts(100, (1, 1, 1)) == (34, 33, 33)
    assert client_payouts(10, (1, 2, 4)) == (1, 3, 6)
    assert client_payouts(1, (1, 5, 5)) == (0, 1, 0)


@given(st.integers(0, 2**62), st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=30))
def test_alg3_line11_payouts_sum_to_train_price_or_to_nothing(train_price, averaged):
    payouts = client_payouts(train_price, averaged)
    assert sum(payouts) == (train_price if max(averaged) > 0 else 0)
    assert all(value > 0 for value, payout in zip(averaged, payouts, strict=True) if payout)


def test_alg3_line12_the_winner_pays_each_client_in_index_order(world):
    items = payments(world, world.task(world.place()), (1, 2, 4))
    clients = [item for item in items if item.kind is PaymentKind.CLIENT]
    assert [(item.payer, item.payee, item.amount) for item in clients] == [
        (world.address(WINNER), world.address("alice"), 50),
        (world.address(WINNER), world.address("bob"), 100),
        (world.address(WINNER), world.address("carol"), 200),
    ]
    assert [item.kind for item in items] == [PaymentKind.WINNER, *[PaymentKind.CLIENT] * 3, PaymentKind.SERVER]


def test_alg3_line8_a_block_moves_exactly_the_prices(world):
    order_id = world.place()
    before = {name: world.balance(name) for name in (WINNER, "alice", "bob", "carol", "server", "requester")}
    world.block(task=world.task(order_id), averaged=(1, 2, 4), winner=WINNER)
    moved = {name: world.balance(name) - balance for name, balance in before.items()}
    assert moved == {WINNER: 100, "alice": 50, "bob": 100, "carol": 200, "server": 50, "requester": 0}
    assert escrow_balance(world, order_id) == 500
    assert get_order(world.state, order_id).rounds_settled == 1


def test_all_rounds_together_spend_v_and_finish_the_order(world):
    order_id = world.place(amount=1001, rounds=3)
    for averaged in ((3, 2, 1), (-1, -1, -1), (0, 1, 0)):
        world.block(task=world.task(order_id), averaged=averaged)
    assert escrow_balance(world, order_id) == 0
    assert get_order(world.state, order_id).state is OrderStatus.FINISHED
    assert list(open_orders(world.state)) == []
    with pytest.raises(OrderNotOpen, match="finished"):
        world.block(task=world.task(order_id), averaged=(1, 1, 1))


def test_a_round_is_settled_once(world):
    order_id = world.place()
    task = world.task(order_id)
    world.block(task=task, averaged=(1, 1, 1))
    with pytest.raises(TaskRoundMismatch):
        world.block(task=task, averaged=(1, 1, 1))


def test_a_client_may_be_the_winner(world):
    order_id = world.place()
    before = world.balance("miner0")
    world.block(task=world.task(order_id, ("miner0", "bob")), averaged=(1, 1), winner="miner0")
    assert world.balance("miner0") == before + 100 + 175


def test_payments_of_zero_units_are_left_out(world):
    order_id = world.place(train_share=0, com_share=0, sap_share=1)
    items = payments(world, world.task(order_id), (1, 1, 1))
    assert [(item.kind, item.amount) for item in items] == [(PaymentKind.WINNER, 500)]
    order_id = world.place(train_share=1, com_share=0, sap_share=0)
    items = payments(world, world.task(order_id), (0, 0, 0))
    assert [(item.kind, item.amount) for item in items] == [(PaymentKind.RETURN, 500)]


def test_averaged_s_of_another_length_is_refused(world):
    with pytest.raises(SettlementMismatch, match="2 values for 3 clients"):
        payments(world, world.task(world.place()), (1, 1))


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("tamper", ["missing", "a unit less", "a unit more", "other payee", "swapped", "doubled"])
def test_a_block_whose_payments_differ_in_anything_is_refused(world, index, tamper):
    task = world.task(world.place())
    due = world.due(world.timestamp + 1, task, (1, 2, 4), WINNER)
    assert len(due) == 5
    item = due[index]
    replacement = {
        "missing": (),
        "a unit less": (replace(item, amount=item.amount - 1),),
        "a unit more": (replace(item, amount=item.amount + 1),),
        "other payee": (replace(item, payee=world.address("mallory")),),
        "swapped": (due[(index + 1) % 5],),
        "doubled": (item, item),
    }[tamper]
    found = due[:index] + replacement + due[index + 1 :]
    verify_payments(due, due)
    with pytest.raises(SettlementMismatch, match="should be"):
        verify_payments(found, due)


def test_payments_without_a_task_are_refused(world):
    task = world.task(world.place())
    due = world.due(world.timestamp + 1, task, (1, 2, 4), WINNER)
    with pytest.raises(SettlementMismatch, match="should be absent"):
        verify_payments(due, world.due(world.timestamp + 1))


def test_orders_are_listed_by_sequence(world):
    ids = [world.place(amount=1000 + i) for i in range(5)]
    assert [record.order_id for record in orders(world.state)] == ids
    assert [record.sequence for record in orders(world.state)] == [0, 1, 2, 3, 4]
    world.block(task=world.task(ids[2]), averaged=(1, 1, 1))
    world.block(task=world.task(ids[2]), averaged=(1, 1, 1))
    assert [record.order_id for record in open_orders(world.state)] == ids[:2] + ids[3:]
