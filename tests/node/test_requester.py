"""A requester from the offer to the model, with a server that runs by itself."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fedcoin.core.errors import ConfigInvalid, InsufficientFunds, NoMinerReachable, OrderRefused, WrongGenesis
from fedcoin.ledger.accounts import get_account
from fedcoin.node.chain_view import ChainView
from fedcoin.node.requester import (
    DepositConfirmed,
    DepositSent,
    OfferAccepted,
    OrderEnded,
    RoundsSettled,
    ServerProgress,
    wait_for_transaction,
)
from tests.support.tiny_chain import REQUESTER, Clock, TinyChain, with_params
from tests.support.tiny_federation import EVALUATION_SET, Federation, make_order

VALUES = (0.3, 0.1, -0.05)


@pytest_asyncio.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Federation]:
    federation = Federation(tmp_path / "server")
    yield federation
    federation.close()


async def test_alg3_place_order_tells_what_happens_and_ends_with_the_model(fed: Federation) -> None:
    await fed.join()

    async def world() -> None:
        while True:
            if fed.chain.pending:
                fed.chain.mine()
            await fed.step()
            await fed.train()
            if fed.chain.open_task() is not None:
                fed.chain.settle(VALUES)
            await asyncio.sleep(0)

    running = asyncio.ensure_future(world())
    events = [event async for event in fed.requester.place_order(make_order(), EVALUATION_SET, 1)]
    running.cancel()
    kinds = [type(event) for event in events if not isinstance(event, ServerProgress)]
    assert kinds[:3] == [OfferAccepted, DepositSent, DepositConfirmed]
    assert kinds[-2:] == [RoundsSettled, OrderEnded]
    order_id = next(event.order_id for event in events if isinstance(event, DepositSent))
    model = await fed.requester.fetch_model(order_id)
    assert hashlib.sha256(model).digest() == fed.server.book.rounds[order_id][1].model
    assert (await fed.requester.bill(order_id)).in_escrow == 0
    await wait_for_transaction(fed.client_chain, order_id, 2)


async def test_nothing_is_paid_when_the_server_refuses(fed: Federation) -> None:
    before = get_account(fed.chain.state, REQUESTER.address)
    with pytest.raises(OrderRefused):
        async for _ in fed.requester.place_order(make_order(expiry=1), EVALUATION_SET, 1):
            pass
    with pytest.raises(ConfigInvalid):
        await fed.requester.offer(make_order(), EVALUATION_SET + b"x")
    with pytest.raises(ConfigInvalid):
        await fed.requester.offer(make_order(server=bytes(20)), EVALUATION_SET)
    assert not fed.chain.pending
    assert get_account(fed.chain.state, REQUESTER.address) == before


async def test_a_transaction_handed_in_twice_is_one(fed: Federation) -> None:
    transaction = await fed.requester.deposit(make_order(), 1)
    await fed.client_chain.submit(transaction)
    assert len(fed.chain.pending) == 1
    fed.chain.mine()
    await fed.client_chain.submit(transaction)
    assert not fed.chain.pending


async def test_miners_of_other_chains_and_dead_ones_are_never_relied_on() -> None:
    clock = Clock()
    other, dead, good = TinyChain(clock, with_params(name="other")), TinyChain(clock), TinyChain(clock)
    dead.down = True
    view = ChainView((other, dead, good), good.chain_id)
    assert (await view.account(REQUESTER.address)).balance == 1000 * 10**8
    assert "account" not in other.calls
    good.down = True
    with pytest.raises(NoMinerReachable, match=r"miner 1.*chain"):
        await view.status()
    dead.down = False
    await view.status()
    with pytest.raises((WrongGenesis, NoMinerReachable)):
        await ChainView((other,), good.chain_id).status()


async def test_an_answer_that_is_a_refusal_is_not_asked_for_elsewhere(fed: Federation) -> None:
    second = TinyChain(fed.clock)

    async def refuse(*_: object) -> bytes:
        raise InsufficientFunds

    fed.chain.submit = refuse  # type: ignore[assignment, method-assign]
    fed.client_chain.connect((fed.chain, second))
    with pytest.raises(InsufficientFunds):
        await fed.requester.deposit(make_order(), 1)
    assert not second.pending
