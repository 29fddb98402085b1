"""FL clients: what they train for, hand in, refuse, and are paid."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fedcoin.core.errors import OrderNotFound, PeerUnreachable, WrongGenesis
from fedcoin.node.client import OfferDeclined, PaymentArrived, UpdateHandedIn
from fedcoin.rpc.views import RoundOffer, TrainingSettings
from tests.support.tiny_federation import Federation

VALUES = (0.3, 0.1, -0.05)


@pytest_asyncio.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Federation]:
    federation = Federation(tmp_path / "server")
    yield federation
    federation.close()


class Lying:
    """A server that changes what it offers; the rest is the real one's."""

    def __init__(self, fed: Federation, **changes: object) -> None:
        self._real = fed.requests
        self._changes = changes
        fed.clients._server = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def poll_round(self, public_key: bytes, wait_seconds: float) -> RoundOffer | None:
        offer = await self._real.poll_round(public_key, wait_seconds)
        return None if offer is None else replace(offer, **self._changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"train_price": 351},
        {"round": 1, "train_price": 349},
        {"round": 2},
        {"settings": TrainingSettings(10**6, 32, 0.5)},
        {"settings": TrainingSettings(1, 0, 0.5)},
        {"settings": TrainingSettings(1, 32, float("nan"))},
        {"settings": TrainingSettings(50, 4, 3e38)},
    ],
)
async def test_offers_that_the_chain_does_not_back_are_declined_once(
    fed: Federation, changes: dict[str, object]
) -> None:
    order_id = await fed.begin()
    Lying(fed, **changes)
    await fed.train(0)
    await fed.train(0)
    assert [type(event) for event in fed.events] == [OfferDeclined]
    assert not fed.server.book.rounds[order_id][0].submissions


async def test_an_order_that_its_miner_does_not_know_yet_is_asked_for_again(fed: Federation) -> None:
    await fed.begin()
    Lying(fed, order_id=bytes(32))
    with pytest.raises(OrderNotFound):
        await fed.train(0)
    assert not fed.events


async def test_a_lost_answer_leads_to_the_same_update_without_training_again(
    fed: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = await fed.begin()
    real = fed.requests.submit_update

    async def lose(*_: object) -> None:
        raise PeerUnreachable

    monkeypatch.setattr(fed.requests, "submit_update", lose)
    with pytest.raises(PeerUnreachable):
        await fed.train(0)
    kept = dict(fed.clients._trained)
    monkeypatch.setattr(fed.requests, "submit_update", real)
    fed.worker.run = None  # type: ignore[method-assign, assignment]
    fed.server.worker = type(fed.worker)(make_executor=fed.worker._make)
    await fed.train(0)
    assert dict(fed.clients._trained) == kept
    (event,) = fed.events
    assert isinstance(event, UpdateHandedIn)
    assert event.digest == fed.server.book.rounds[order_id][0].submissions[0].digest


async def test_training_is_the_same_after_a_restart_of_the_client(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train(0)
    first = fed.server.book.rounds[order_id][0].submissions
    offer = await fed.offer(1)
    info = await fed.requests.info()
    work = (offer.order_id, offer.round, offer.base_model)
    fed.clients._trained.clear()
    data = await fed.clients._update_for(fed.clients.clients[0], info, offer, work)
    assert hashlib.sha256(data).digest() == first[0].digest


async def test_a_server_that_was_started_anew_is_joined_again(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train(0)
    old = fed.clients
    fed.crash()
    old._server = fed.requests
    await old.work_once(old.clients[0])  # is told that it has not joined
    assert (await fed.requests.info()).clients == 0
    await old.work_once(old.clients[0])
    assert (await fed.requests.info()).clients == 1
    assert len(fed.server.book.rounds[order_id][0].submissions) == 1


async def test_a_server_of_another_chain_is_refused(fed: Federation) -> None:
    fed.client_chain.chain_id = bytes(32)
    with pytest.raises(WrongGenesis):
        await fed.train(0)


async def test_a_payment_is_reported_once_whatever_the_chain_does(fed: Federation) -> None:
    await fed.begin()
    client = fed.clients.clients[0]
    await fed.clients.look_once(client)
    await fed.train()
    await fed.step()
    fed.chain.settle(VALUES)
    await fed.clients.look_once(client)
    await fed.clients.look_once(client)
    fed.chain.undo()
    fed.chain.mine()
    await fed.clients.look_once(client)
    await fed.step()
    fed.chain.settle(VALUES)
    await fed.clients.look_once(client)
    paid = [event for event in fed.events if isinstance(event, PaymentArrived)]
    assert [(event.entry.amount, event.balance) for event in paid] == [(263, 263)]
    assert fed.clients.balances[client.key.address] == 263
