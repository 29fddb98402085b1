"""Bills: every unit explained, from the chain's blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from fedcoin.core.block import Block, body_root, sign_block
from fedcoin.core.errors import BillInconsistent, OrderNotFound
from fedcoin.core.keys import address_of
from fedcoin.core.transaction import PaymentKind
from fedcoin.node.bill import make_bill
from fedcoin.node.requester import fetch_bill
from tests.support.tiny_chain import REQUESTER, START, WINNER
from tests.support.tiny_federation import CLIENT_KEYS, Federation, make_order


@pytest_asyncio.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Federation]:
    federation = Federation(tmp_path / "server")
    yield federation
    federation.close()


async def run_round(fed: Federation, values: tuple[float, ...]) -> None:
    await fed.train()
    await fed.step()
    fed.chain.settle(values)
    await fed.step()


async def test_alg3_line11_each_payment_is_explained_and_everything_sums_to_v(fed: Federation) -> None:
    order_id = await fed.begin()
    await run_round(fed, (0.3, 0.1, -0.05))
    await run_round(fed, (0.2, 0.2, 0.2))
    bill = await fed.requester.bill(order_id)
    first, second = bill.rounds
    assert [client.amount for client in first.clients] == [263, 87, 0]
    assert [client.extra_unit for client in first.clients] == [True, False, False]
    assert first.clients[0].formula(350) == "⌊350 · 3000000000 / 4000000000⌋ + 1 (largest remainder) = 263"
    assert first.clients[2].formula(350) == "0: S̄ is not positive"
    assert [client.shapley for client in first.clients] == [0.3, 0.1, -0.05]
    assert [client.address for client in first.clients] == [key.address for key in CLIENT_KEYS]
    assert [client.samples for client in first.clients] == [60, 60, 60]
    assert [client.amount for client in second.clients] == [117, 117, 116]
    assert (first.sap_paid, first.com_paid, first.returned) == (100, 50, 0)
    assert (first.winner, first.averaged_time) == (WINNER.address, 10)
    assert (bill.clients_total, bill.server_total, bill.winners_total) == (700, 100, 200)
    assert (bill.returned_total, bill.in_escrow) == (0, 0)


async def test_train_price_returns_where_nobody_is_positive_and_the_rest_is_refunded(fed: Federation) -> None:
    order_id = await fed.begin()
    await run_round(fed, (0.0, -0.1, -0.2))
    bill = await fed.requester.bill(order_id)
    assert (bill.rounds[0].returned, bill.rounds[0].sap_paid, bill.in_escrow) == (350, 100, 500)
    fed.clock.now = START + 3_600_001
    fed.chain.mine()
    fed.chain.mine()
    bill = await fetch_bill(fed.client_chain, order_id)
    assert [(payment.kind, payment.amount) for payment in bill.refunds] == [(PaymentKind.REFUND, 500)]
    assert (bill.returned_total, bill.in_escrow) == (850, 0)


async def test_an_unknown_order_has_no_bill(fed: Federation) -> None:
    with pytest.raises(OrderNotFound):
        await fetch_bill(fed.client_chain, bytes(32))


def resigned(block: Block, **changes: object) -> Block:
    changed = replace(block, **changes)  # type: ignore[arg-type]
    header = replace(changed.header, merkle_root=body_root(changed.payments, changed.transactions))
    return sign_block(WINNER, replace(changed, header=header))


async def test_a_block_that_does_not_add_up_makes_no_bill(fed: Federation) -> None:
    order_id = await fed.begin()
    await run_round(fed, (0.3, 0.1, 0.2))
    order, block = make_order(), fed.chain.blocks[-1]

    def bill(changed: Block) -> None:
        make_bill(order_id, order, REQUESTER.address, [changed], fed.chain_id)

    bill(block)
    bill(resigned(block))
    clients = [index for index, item in enumerate(block.payments) if item.kind is PaymentKind.CLIENT]
    for index, change in (
        (clients[0], {"amount": block.payments[clients[0]].amount + 1}),
        (clients[1], {"payee": address_of(WINNER.public_key)}),
        (0, {"amount": block.payments[0].amount - 1}),
        (len(block.payments) - 1, {"payee": WINNER.address}),
    ):
        payments = list(block.payments)
        payments[index] = replace(payments[index], **change)
        with pytest.raises(BillInconsistent):
            bill(resigned(block, payments=tuple(payments)))
    with pytest.raises(BillInconsistent, match="body"):
        bill(replace(block, payments=block.payments[:-1]))
    with pytest.raises(BillInconsistent, match="signature"):
        bill(replace(block, header=replace(block.header, averaged_total=(1, 1, 1))))
    assert block.task is not None
    with pytest.raises(BillInconsistent):
        bill(resigned(block, task=replace(block.task, train_price=1)))
