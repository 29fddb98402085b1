"""Malformed messages to the three roles' real handlers: no fault, no traceback, and an honest answer afterwards.

`make fuzz` does the same to processes, a million messages each, and watches their memory.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzlib.bombard import Bombardment
from fuzzlib.unlimited import without_limits

from fedcoin.core.keys import PrivateKey
from fedcoin.node.client_role import ClientStatus
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import RunningServer, serve
from tests.fuzz.profile import FACTOR
from tests.support.miner_parts import Parts, make_chain
from tests.support.network import make_genesis
from tests.support.tiny_federation import Federation

MESSAGES = 1000 * max(1, FACTOR)
Start = Callable[[Any], Awaitable[RunningServer]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    running: list[RunningServer] = []

    async def listen(handler: Any) -> RunningServer:
        running.append(await serve(handler, "127.0.0.1:0", **without_limits()))
        return running[-1]

    yield listen
    for server in running:
        await server.stop(0.2)


async def bombard(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    services = [name.rpartition(".")[2] for name in server.services]
    with caplog.at_level(logging.ERROR):
        bombardment = Bombardment(server.address, 1, services=services, lanes=16)
        await bombardment.learn()
        tally = await bombardment.send(MESSAGES)
        assert tally.faults == []
        assert tally.decoded > 0.9 * tally.messages
        async with MinerClient(server.address) as client:
            assert (await client.status()).version
    assert not [record.getMessage() for record in caplog.records if record.name.startswith("fedcoin")]


async def test_a_miner_answers_rubbish_with_errors(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    genesis = make_genesis(3)
    parts = Parts(tmp_path, genesis)
    try:
        await parts.adopt(make_chain(genesis, 3))
        await bombard(await start(parts.service), caplog)
    finally:
        await parts.close()


async def test_an_fl_server_answers_rubbish_with_errors(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    federation = Federation(tmp_path)
    try:
        await federation.order()
        await federation.join()
        await bombard(await start(federation.requests), caplog)
    finally:
        federation.close()


async def test_an_fl_client_answers_rubbish_with_errors(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    await bombard(await start(ClientStatus(PrivateKey(b"\x01" * 32), bytes(32), "net", 1)), caplog)
