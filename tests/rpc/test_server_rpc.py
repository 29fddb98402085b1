"""Every RPC of an FL server, through ServerClient, over a real connection."""

from __future__ import annotations

import dataclasses
import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from fedcoin.core import errors
from fedcoin.rpc.server_client import ServerClient


async def test_orders(samples: SimpleNamespace, server: Any, server_client: ServerClient) -> None:
    assert await server_client.status() == samples.STATUS
    assert await server_client.info() == samples.SERVER_INFO
    await server_client.offer_order(samples.ORDER)
    assert server.received == [samples.ORDER]
    with pytest.raises(errors.OrderRefused, match="too little"):
        await server_client.offer_order(dataclasses.replace(samples.ORDER, amount=1))
    assert await server_client.order_progress(samples.h("order")) == samples.ORDER_PROGRESS
    seen = [progress async for progress in server_client.watch_order(samples.h("order"))]
    assert seen == [samples.ORDER_PROGRESS] * 2


async def test_the_model_is_for_the_requester(
    samples: SimpleNamespace, server: Any, server_client: ServerClient
) -> None:
    ask = (samples.h("order"), samples.key("requester"), 17, samples.signature("s"))
    assert await server_client.final_model(*ask) == server.model
    with pytest.raises(errors.NotTheRequester):
        await server_client.final_model(ask[0], samples.key("other"), 17, ask[3])
    server_client.blob_limit = 1000
    with pytest.raises(errors.BlobTooLarge):
        await server_client.final_model(*ask)


async def test_training(samples: SimpleNamespace, server: Any, server_client: ServerClient) -> None:
    key, signature = samples.key("selected"), samples.signature("c")
    await server_client.join(key, 600, 17, signature)
    assert await server_client.poll_round(key, 1.5) == samples.OFFER
    assert await server_client.poll_round(samples.key("other"), 1e9) is None
    data = b"update" * 400_000
    commitment = dataclasses.replace(samples.COMMITMENT, digest=hashlib.sha256(data).digest())
    await server_client.submit_update(commitment, key, signature, data)
    assert server.received == [(key, 600, 17, signature), 1.5, 60.0, (commitment, key, signature, data)]


async def test_updates_that_are_refused_on_the_way(
    samples: SimpleNamespace, server: Any, server_client: ServerClient
) -> None:
    key, signature = samples.key("selected"), samples.signature("c")
    with pytest.raises(errors.BlobMismatch):
        await server_client.submit_update(samples.COMMITMENT, key, signature, b"other bytes")
    with pytest.raises(errors.BlobTooLarge):
        await server_client.submit_update(samples.COMMITMENT, key, signature, bytes(server.limit + 1))
    with pytest.raises(errors.MalformedEncoding, match="signature"):
        await server_client.submit_update(samples.COMMITMENT, key, b"short", b"x")
    with pytest.raises(errors.MalformedEncoding, match="wait_seconds"):
        await server_client.poll_round(key, -1.0)
    assert server.received == []
