"""Hostile FL clients against a real server over real RPCs: their updates come into no task, the round goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from fedcoin.core.errors import (
    BlobMismatch,
    ClientNotSelected,
    FedCoinError,
    InvalidSignature,
    RoundNotOpen,
    UpdateConflict,
    UpdateCopied,
    UpdateTooLarge,
    UpdateWrongBase,
)
from fedcoin.core.keys import PrivateKey
from fedcoin.learning.models import initial_weights
from fedcoin.learning.tensorfile import write_tensors
from fedcoin.node.rounds import RoundPhase
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.convert import to_message
from fedcoin.rpc.limits import Limits
from fedcoin.rpc.score import BanRule, Scores
from fedcoin.rpc.server import serve
from fedcoin.rpc.server_client import ServerClient
from fedcoin.v1 import training_service_pb2 as pb
from tests.adversaries.conftest import Gained
from tests.support.tiny_federation import CLIENT_KEYS, MODEL, Federation, poisoned

pytestmark = pytest.mark.functional

BAD, GOOD, THIRD = range(3)
STRANGER = PrivateKey(b"\x98" * 32)


class BadClient:
    """Signs properly with its own key and hands in what it should not."""

    def __init__(self, server: ServerClient, federation: Federation) -> None:
        self._server = server
        self._federation = federation

    async def hand_in(self, data: bytes, key: PrivateKey = CLIENT_KEYS[BAD], **changes: object) -> str:
        """The code of the refusal; `changes` to what is signed."""
        offer = await self._federation.offer(THIRD)
        commitment, public_key, signature, _ = self._federation.signed(offer, key, data, **changes)
        try:
            await self._server.submit_update(commitment, public_key, signature, data)
        except FedCoinError as error:
            return error.code
        return ""

    async def steal(self, data: bytes, of: bytes) -> str:
        """Its own signature over bytes, in another client's name."""
        offer = await self._federation.offer(THIRD)
        commitment, _, signature, _ = self._federation.signed(offer, CLIENT_KEYS[BAD], data)
        try:
            await self._server.submit_update(commitment, of, signature, data)
        except FedCoinError as error:
            return error.code
        return ""

    async def announce(self, size: int, chunk: bytes, count: int) -> str:
        """An upload of its own making: the status it ends with."""
        offer = await self._federation.offer(THIRD)
        commitment, public_key, signature, _ = self._federation.signed(offer, CLIENT_KEYS[BAD], b"x")
        header = pb.UpdateHeader(
            commitment=to_message(commitment), public_key=public_key, signature=signature, size=size
        )

        async def flow() -> AsyncIterator[bytes]:
            yield pb.SubmitUpdateRequest(header=header).SerializeToString()
            for _ in range(count):
                yield pb.SubmitUpdateRequest(chunk=chunk).SerializeToString()
            await asyncio.Event().wait()

        async with grpc.aio.insecure_channel(self._server.address) as channel:
            call: Any = channel.stream_unary("/fedcoin.v1.TrainingService/SubmitUpdate")(flow())
            try:
                await call
            except grpc.aio.AioRpcError as failure:
                return failure.code().name
        return "OK"


@pytest.fixture
async def federation(tmp_path: Path) -> AsyncIterator[Federation]:
    """A round is open for three clients."""
    made = Federation(tmp_path)
    await made.begin()
    yield made
    made.close()


@pytest.fixture
async def server(federation: Federation) -> AsyncIterator[ServerClient]:
    limits = Limits(idle_seconds=0.5)
    running = await serve(
        federation.requests, "127.0.0.1:0", limits=limits, scores=Scores(BanRule(seconds=0), time.monotonic)
    )
    async with ServerClient(running.address, retry=Retry(1)) as client:
        yield client
    await running.stop(0)


def of_shape(*shape: int) -> bytes:
    """An update whose first tensor has another shape."""
    weights = {name: tensor.numpy().copy() for name, tensor in initial_weights(MODEL, 1).items()}
    weights["0.bias"] = np.zeros(shape, dtype=np.float32)
    return write_tensors(weights)


async def test_every_bad_update_is_refused_and_the_round_goes_on(
    federation: Federation, server: ServerClient, gained: Gained
) -> None:
    client = BadClient(server, federation)
    nan, infinite, huge = map(poisoned, (float("nan"), float("inf"), 1e30))
    fine = poisoned(0.5)
    attacks = {
        "NaN": await client.hand_in(nan),
        "inf": await client.hand_in(infinite),
        "1e30": await client.hand_in(huge),
        "another shape": await client.hand_in(of_shape(11)),
        "junk": await client.hand_in(b"junk"),
        "larger than the model": await client.hand_in(bytes(2**20)),
        "of an order that is not": await client.hand_in(fine, order=bytes(32)),
        "of another round": await client.hand_in(fine, round=1),
        "from another base": await client.hand_in(fine, base_model=bytes(32)),
        "another's digest": await client.hand_in(fine, digest=bytes(32)),
        "no samples": await client.hand_in(fine, samples=0),
        "a stranger": await client.hand_in(fine, STRANGER),
        "in another's name": await client.steal(fine, CLIENT_KEYS[GOOD].public_key),
        "a gigantic announcement": await client.announce(2**40, b"", 0),
        "oversized chunks": await client.announce(1000, bytes(3 * 2**20), 1),
        "without end": await client.announce(1000, b"x", 3),
    }
    assert all(attacks.values()), attacks
    assert "OK" not in attacks.values()
    assert attacks["in another's name"] == InvalidSignature.code
    assert attacks["a stranger"] == ClientNotSelected.code
    assert attacks["larger than the model"] == UpdateTooLarge.code
    assert attacks["from another base"] == UpdateWrongBase.code
    assert attacks["of another round"] == RoundNotOpen.code
    assert attacks["another's digest"] == BlobMismatch.code
    (round_,) = federation.server.book.rounds[(await federation.offer(THIRD)).order_id].values()
    assert round_.submissions == ()
    assert federation.store is not None
    assert federation.store.blob_size(round_.base_model) is not None
    gained(f"FL clients: {len(attacks)} kinds of bad updates", "nothing was kept, the round went on")


async def test_a_copied_and_a_second_update(federation: Federation, server: ServerClient, gained: Gained) -> None:
    client = BadClient(server, federation)
    data = poisoned(0.25)
    assert await client.hand_in(data, CLIENT_KEYS[GOOD]) == ""
    assert await client.hand_in(data) == UpdateCopied.code
    assert await client.hand_in(poisoned(0.75), CLIENT_KEYS[GOOD]) == UpdateConflict.code
    assert await client.hand_in(data, CLIENT_KEYS[GOOD]) == "", "the same again is fine"
    (round_,) = federation.server.book.rounds[(await federation.offer(THIRD)).order_id].values()
    assert [item.public_key for item in round_.submissions] == [CLIENT_KEYS[GOOD].public_key]
    assert round_.phase is RoundPhase.OPEN
    gained("a copy of another client's update", "nothing; one that differs in a bit is an update like any other")
