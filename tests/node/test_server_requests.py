"""An FL server against hostile clients, requesters and strangers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from fedcoin.core.errors import (
    BlobMismatch,
    BlobNotFound,
    BlobNotWanted,
    BlobTooLarge,
    ClientInvalid,
    ClientNotJoined,
    ClientNotSelected,
    FedCoinError,
    InvalidSignature,
    LimitExceeded,
    ModelNotReady,
    NotTheRequester,
    OrderRefused,
    OrderRoundsOutOfRange,
    RequestExpired,
    RoundNotOpen,
    TooManyClients,
    UnknownOrder,
    UpdateConflict,
    UpdateDigestWrong,
    UpdateMalformed,
    UpdateNotFinite,
    UpdateTooLarge,
    UpdateWrongBase,
    UpdateWrongShape,
)
from fedcoin.core.keys import PrivateKey
from fedcoin.learning.models import initial_weights, preset
from fedcoin.learning.weights import encode
from fedcoin.node.auth import MAX_AGE_MS, JoinRequest, ModelRequest, sign_join, sign_model_request
from fedcoin.node.orders_book import OFFER_LIFETIME_MS
from fedcoin.rpc.views import OrderPhase
from tests.support.tiny_chain import OTHER_REQUESTER, REQUESTER, START
from tests.support.tiny_federation import (
    CLIENT_KEYS,
    DEADLINE_MS,
    EVALUATION_SET,
    MODEL,
    SERVER,
    SETTINGS,
    Federation,
    make_order,
    poisoned,
)

VALUES = (0.3, 0.1, -0.05)
GOOD = encode(initial_weights(MODEL, 5))
STRANGER = PrivateKey(b"\x77" * 32)


@pytest_asyncio.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Federation]:
    federation = Federation(tmp_path / "server")
    yield federation
    federation.close()


# --- updates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (poisoned(float("nan")), UpdateNotFinite),
        (poisoned(float("inf")), UpdateNotFinite),
        (encode(initial_weights(preset("softmax", (1, 8, 7), 10), 0)), UpdateWrongShape),
        (encode(initial_weights(preset("mlp-4", (1, 8, 8), 10), 0)), UpdateMalformed),
        (b"\x80\x04K\x01.", UpdateMalformed),
        (b"", UpdateMalformed),
        (bytes(20_000), UpdateTooLarge),
    ],
)
async def test_updates_that_are_none_are_refused(fed: Federation, data: bytes, error: type[FedCoinError]) -> None:
    order_id = await fed.begin()
    with pytest.raises(error):
        await fed.requests.submit_update(*fed.signed(await fed.offer(), CLIENT_KEYS[0], data))
    assert not fed.server.book.rounds[order_id][0].submissions


async def test_an_update_must_be_signed_by_its_client_for_this_round(fed: Federation) -> None:
    await fed.begin()
    offer = await fed.offer()
    commitment, _, signature, data = fed.signed(offer, CLIENT_KEYS[0], GOOD)
    with pytest.raises(InvalidSignature):
        await fed.requests.submit_update(commitment, CLIENT_KEYS[1].public_key, signature, data)
    with pytest.raises(InvalidSignature):
        await fed.requests.submit_update(replace(commitment, samples=61), CLIENT_KEYS[0].public_key, signature, data)
    with pytest.raises(UpdateDigestWrong):
        await fed.requests.submit_update(commitment, CLIENT_KEYS[0].public_key, signature, GOOD[:-4] + bytes(4))
    with pytest.raises(ClientNotSelected):
        await fed.requests.submit_update(*fed.signed(offer, STRANGER, GOOD))
    with pytest.raises(UpdateWrongBase):
        await fed.requests.submit_update(*fed.signed(offer, CLIENT_KEYS[0], GOOD, base_model=bytes(32)))
    with pytest.raises(RoundNotOpen):
        await fed.requests.submit_update(*fed.signed(offer, CLIENT_KEYS[0], GOOD, round=1))
    with pytest.raises(UnknownOrder):
        await fed.requests.submit_update(*fed.signed(offer, CLIENT_KEYS[0], GOOD, order=bytes(32)))
    with pytest.raises(ClientInvalid):
        await fed.requests.submit_update(*fed.signed(offer, CLIENT_KEYS[0], GOOD, samples=2**60))


async def test_a_late_update_is_refused(fed: Federation) -> None:
    await fed.begin()
    offer = await fed.offer()
    fed.clock.forward(DEADLINE_MS + 1)
    with pytest.raises(RoundNotOpen, match="deadline"):
        await fed.requests.submit_update(*fed.signed(offer, CLIENT_KEYS[0], GOOD))


async def test_the_same_update_again_is_accepted_and_another_is_not(fed: Federation) -> None:
    order_id = await fed.begin()
    offer = await fed.offer()
    again = fed.signed(offer, CLIENT_KEYS[0], GOOD)
    await asyncio.gather(*(fed.requests.submit_update(*again) for _ in range(3)))
    assert len(fed.server.book.rounds[order_id][0].submissions) == 1
    other = encode(initial_weights(MODEL, 6))
    with pytest.raises(UpdateConflict):
        await fed.requests.submit_update(*fed.signed(offer, CLIENT_KEYS[0], other))
    await fed.train(1, 2)
    await fed.step()
    await fed.requests.submit_update(*again)  # its answer was lost, the round is closed by now
    assert len(fed.server.book.rounds[order_id][0].submissions) == 3


async def test_two_different_updates_at_once_leave_one(fed: Federation) -> None:
    order_id = await fed.begin()
    offer = await fed.offer()
    different = [fed.signed(offer, CLIENT_KEYS[0], encode(initial_weights(MODEL, seed))) for seed in range(3)]
    results = await asyncio.gather(*(fed.requests.submit_update(*item) for item in different), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "UpdateConflict", "UpdateConflict"]
    assert len(fed.server.book.rounds[order_id][0].submissions) == 1


# --- clients ---------------------------------------------------------------------------------------------------------


async def test_joining_needs_a_fresh_signature_for_this_server(fed: Federation) -> None:
    key, now = CLIENT_KEYS[0], fed.clock()
    good = sign_join(key, fed.chain_id, JoinRequest(SERVER.public_key, 60, now))
    for server, chain_id in ((STRANGER.public_key, fed.chain_id), (SERVER.public_key, bytes(32))):
        signature = sign_join(key, chain_id, JoinRequest(server, 60, now))
        with pytest.raises(InvalidSignature):
            await fed.requests.join(key.public_key, 60, now, signature)
    with pytest.raises(InvalidSignature):
        await fed.requests.join(key.public_key, 61, now, good)
    with pytest.raises(ClientInvalid):
        await fed.join_key(key, samples=0)
    await fed.requests.join(key.public_key, 60, now, good)
    fed.clock.forward(1)
    await fed.join_key(key)
    with pytest.raises(RequestExpired, match="later"):
        await fed.requests.join(key.public_key, 60, now, good)  # recorded and played again
    fed.clock.forward(MAX_AGE_MS + 1)
    with pytest.raises(RequestExpired, match="clock"):
        await fed.requests.join(key.public_key, 60, now, good)


async def test_clients_not_heard_for_long_get_no_work_and_are_not_selected(fed: Federation) -> None:
    await fed.order()
    with pytest.raises(ClientNotJoined):
        await fed.requests.poll_round(CLIENT_KEYS[0].public_key, 0.0)
    await fed.join(0)
    fed.clock.forward(10 * DEADLINE_MS + 1)
    await fed.join(1, 2)
    await fed.step()
    with pytest.raises(ClientNotJoined):
        await fed.requests.poll_round(CLIENT_KEYS[0].public_key, 0.0)
    assert (await fed.requests.info()).clients == 2


async def test_places_for_clients_are_limited(tmp_path: Path) -> None:
    fed = Federation(tmp_path / "server", settings=replace(SETTINGS, max_clients=2))
    await fed.join(0, 1)
    with pytest.raises(TooManyClients):
        await fed.join(2)
    await fed.join(1)
    fed.clock.forward(10 * DEADLINE_MS + 1)
    await fed.join(2)
    fed.close()


async def test_alg3_line3_a_polling_client_is_offered_the_round_at_train_price(fed: Federation) -> None:
    await fed.join()
    assert await fed.requests.poll_round(CLIENT_KEYS[0].public_key, float("nan")) is None
    waiting = asyncio.ensure_future(fed.requests.poll_round(CLIENT_KEYS[0].public_key, 30.0))
    await fed.order()
    await fed.step()
    offer = await asyncio.wait_for(waiting, 5)
    assert offer is not None
    assert (offer.round, offer.train_price, offer.settings) == (0, 350, SETTINGS.training)


# --- blobs -----------------------------------------------------------------------------------------------------------


async def test_updates_and_evaluation_set_are_revealed_with_the_task_not_before(fed: Federation) -> None:
    order_id = await fed.begin()
    await fed.train(0, 1)
    round_ = fed.server.book.rounds[order_id][0]
    secret = [hashlib.sha256(EVALUATION_SET).digest(), *(item.digest for item in round_.submissions)]
    for digest in secret:
        assert fed.server.book.blob_size(digest) is not None
        assert await fed.requests.blob_size(digest) is None
        with pytest.raises(BlobNotFound):
            await fed.requests.get_blob(digest)
    assert await fed.requests.get_blob(round_.base_model)
    await fed.train(2)
    await fed.step()
    for digest in secret:
        assert hashlib.sha256(await fed.requests.get_blob(digest)).digest() == digest
    with pytest.raises(BlobNotFound):
        await fed.requests.get_blob(fed.server.book.rounds[order_id][0].model)


async def test_only_announced_evaluation_sets_are_taken(fed: Federation) -> None:
    order = make_order()
    with pytest.raises(BlobNotWanted):
        await fed.requests.put_blob(order.evaluation_set, EVALUATION_SET)
    await fed.requests.offer_order(order)
    with pytest.raises(BlobMismatch):
        await fed.requests.put_blob(order.evaluation_set, EVALUATION_SET[:-1])
    with pytest.raises(BlobTooLarge):
        await fed.requests.put_blob(order.evaluation_set, bytes(fed.chain.params.max_blob_bytes + 1))
    await fed.requests.put_blob(order.evaluation_set, EVALUATION_SET)
    fed.crash()
    assert fed.server.book.blob_size(order.evaluation_set) == len(EVALUATION_SET)
    fed.clock.forward(OFFER_LIFETIME_MS + 1)
    await fed.step()
    assert fed.server.book.blob_size(order.evaluation_set) is None
    assert not fed.server.book.offers


async def test_an_evaluation_set_that_is_none_ends_the_order(fed: Federation) -> None:
    junk = b"not an evaluation set"
    order_id = await fed.order(upload=False, evaluation_set=hashlib.sha256(junk).digest())
    await fed.join()
    await fed.step()
    await fed.requests.put_blob(hashlib.sha256(junk).digest(), junk)
    await fed.step()
    progress = await fed.requests.order_progress(order_id)
    assert progress.phase is OrderPhase.FAILED
    assert "evaluation set is refused" in progress.message


# --- requesters ------------------------------------------------------------------------------------------------------


async def test_orders_that_it_would_not_run_are_refused_before_the_deposit(tmp_path: Path) -> None:
    fed = Federation(tmp_path / "server", settings=replace(SETTINGS, max_rounds=5, min_com_price=50, max_offers=1))
    for change, error in (
        ({"server": bytes(20)}, OrderRefused),
        ({"rounds": 6}, OrderRefused),
        ({"rounds": 0}, OrderRoundsOutOfRange),
        ({"amount": 400}, OrderRefused),
        ({"expiry": START}, OrderRefused),
        ({"model": replace(MODEL, classes=11)}, FedCoinError),
    ):
        with pytest.raises(error):
            await fed.requests.offer_order(make_order(**change))
    await fed.requests.offer_order(make_order())
    await fed.requests.offer_order(make_order())
    with pytest.raises(LimitExceeded):
        await fed.requests.offer_order(make_order(evaluation_set=bytes(32)))
    fed.close()


async def test_a_deposit_for_a_model_that_cannot_be_built_fails_the_order_alone(fed: Federation) -> None:
    bad = await fed.order(upload=False, model=replace(MODEL, classes=11))
    good = await fed.order(OTHER_REQUESTER)
    await fed.join()
    await fed.step()
    assert (await fed.requests.order_progress(bad)).phase is OrderPhase.FAILED
    assert (await fed.requests.order_progress(good)).phase is OrderPhase.TRAINING


async def test_the_final_model_goes_to_the_requester_only(fed: Federation) -> None:
    order_id = await fed.begin(rounds=1)
    await fed.train()
    await fed.step()
    with pytest.raises(ModelNotReady):
        await fed.requester.fetch_model(order_id)
    fed.chain.settle(VALUES)
    await fed.step()
    with pytest.raises(NotTheRequester):
        await fed.stranger.fetch_model(order_id)
    now = fed.clock()
    signature = sign_model_request(REQUESTER, fed.chain_id, ModelRequest(order_id, now))
    with pytest.raises(InvalidSignature):
        await fed.requests.final_model(order_id, REQUESTER.public_key, now + 1, signature)
    fed.clock.forward(MAX_AGE_MS + 1)
    with pytest.raises(RequestExpired):
        await fed.requests.final_model(order_id, REQUESTER.public_key, now, signature)
    with pytest.raises(UnknownOrder):
        await fed.requests.order_progress(bytes(32))
    model = fed.server.book.rounds[order_id][0].model
    assert hashlib.sha256(await fed.requester.fetch_model(order_id)).digest() == model


async def test_old_orders_blobs_are_dropped_and_their_models_kept(tmp_path: Path) -> None:
    fed = Federation(tmp_path / "server", settings=replace(SETTINGS, keep_orders=0))
    order_id = await fed.begin(rounds=1)
    await fed.train()
    await fed.step()
    fed.chain.settle(VALUES)
    await fed.step()
    round_ = fed.server.book.rounds[order_id][0]
    assert all(fed.server.book.blob_size(item.digest) is None for item in round_.submissions)
    assert len(await fed.requester.fetch_model(order_id)) > 2600
    fed.close()


async def test_watching_an_order_ends_with_it(fed: Federation) -> None:
    order_id = await fed.begin(rounds=1)
    phases: list[OrderPhase] = []

    async def watch() -> None:
        async for progress in fed.requests.watch_order(order_id):
            phases.append(progress.phase)

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    await fed.train()
    await fed.step()
    fed.chain.settle(VALUES)
    await fed.step()
    await asyncio.wait_for(watching, 5)
    assert phases[0] is OrderPhase.TRAINING
    assert phases[-1] is OrderPhase.FINISHED
