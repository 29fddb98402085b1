"""Hostile peers over real RPCs: a node that asks them keeps its chain, its memory, and its other peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedcoin.core.block import Block
from fedcoin.core.errors import (
    BlocksOutOfOrder,
    FedCoinError,
    MalformedEncoding,
    MinerNotAllowed,
    PeerTimeout,
    RequestTooLarge,
)
from fedcoin.core.genesis import Genesis
from fedcoin.core.task import sign_task
from fedcoin.node import peers as peers_module
from fedcoin.rpc.calls import Deadlines, Retry
from fedcoin.rpc.miner_client import MAX_TASKS, MinerClient
from fedcoin.rpc.server import RunningServer, serve
from tests.adversaries.conftest import Gained
from tests.adversaries.liars import Boaster, Feeder, Liar, Named, Publisher, Silent, serve_raw
from tests.support.blocks import adopted, reseal, settled_network
from tests.support.miner_parts import Parts
from tests.support.network import MINERS, SERVER, Network

pytestmark = pytest.mark.functional

DEADLINES = Deadlines(call=10.0, transfer=10.0, idle=0.5)


@pytest.fixture(scope="module")
def network() -> Network:
    return settled_network(rounds=2)


@pytest.fixture(scope="module")
def genesis(network: Network) -> Genesis:
    return network.genesis


@pytest.fixture(scope="module")
def blocks(network: Network) -> list[Block]:
    return adopted(network.nodes[0].posap.chain)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Visits follow one another without long pauses."""
    for name in ("STATUS_SECONDS", "POKE_SECONDS", "FIRST_RETRY_SECONDS", "MAX_RETRY_SECONDS"):
        monkeypatch.setattr(peers_module, name, getattr(peers_module, name) / 20)


class Stage:
    """A victim without blocks, an honest miner with all of them, and a liar."""

    def __init__(self, folder: Path, genesis: Genesis) -> None:
        self.clients: list[MinerClient] = []
        self.running: list[RunningServer] = []
        self.victim = Parts(folder / "victim", genesis, self.client)
        self.behind = Parts(folder / "honest", genesis)
        # The same key as the victim's would make it the victim itself.
        self.honest = Named(self.behind.service, MINERS[1].public_key)

    def client(self, address: str) -> MinerClient:
        client = MinerClient(address, deadlines=DEADLINES, retry=Retry(1))
        self.clients.append(client)
        return client

    async def listen(self, handler: Any) -> str:
        running = await serve(handler, "127.0.0.1:0")
        self.running.append(running)
        return running.address

    async def meets(self, liar: Liar) -> FedCoinError | None:
        """The victim catches up with a liar; the error that this ends with."""
        address = await self.listen(liar)
        try:
            await self.victim.sync.catch_up(self.client(address), address, transactions=True)
        except FedCoinError as error:
            return error
        return None

    async def close(self) -> None:
        await self.victim.close()
        await asyncio.gather(*(client.close() for client in self.clients))
        await asyncio.gather(*(running.stop(0) for running in self.running))
        await self.behind.close()


@pytest.fixture
async def stage(tmp_path: Path, genesis: Genesis, blocks: list[Block]) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, genesis)
    await made.behind.adopt(blocks)
    yield made
    await made.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what it asks has no event
            await asyncio.sleep(0.02)


async def test_blocks_without_end_out_of_order_or_of_strangers(
    stage: Stage, blocks: list[Block], gained: Gained
) -> None:
    endless = Feeder(stage.honest, blocks)
    assert isinstance(await stage.meets(endless), BlocksOutOfOrder)
    assert endless.handed_out < 5_000, "it is left at once, but for what the connection has buffered"
    assert stage.victim.posap.chain.height <= len(blocks), "what was valid is kept"
    backwards = Feeder(stage.honest, blocks[::-1])
    assert await stage.meets(backwards) is not None
    stranger = [reseal(block, SERVER, winner=SERVER.public_key) for block in blocks]
    error = await stage.meets(Feeder(stage.honest, stranger))
    assert error is not None
    assert stage.victim.posap.chain.tip in {stage.victim.posap.chain.chain_id, *(block.id() for block in blocks)}
    gained("a peer with endless, reordered, invalid blocks", f"{endless.handed_out} blocks read, none adopted")


async def test_a_long_invalid_side_chain_is_not_kept(stage: Stage, blocks: list[Block], gained: Gained) -> None:
    previous, side = stage.victim.posap.chain.chain_id, []
    for number in range(50):
        header = replace(blocks[0].header, previous=previous, height=number + 1, winner=SERVER.public_key)
        block = reseal(replace(blocks[0], header=header), SERVER)
        side.append(block)
        previous = block.id()
    error = await stage.meets(Feeder(stage.honest, side))
    assert error is not None
    assert not isinstance(error, MinerNotAllowed) or not stage.victim.knows(side[0].id())
    assert not any(stage.victim.knows(block.id()) for block in side)
    gained("a side chain of 50 blocks signed by a stranger", f"refused at its first block ({error.code})")


async def test_liars_about_their_height_and_silent_ones_keep_nobody_from_the_honest_chain(
    stage: Stage, blocks: list[Block], gained: Gained
) -> None:
    silent, boaster = Silent(stage.honest), Boaster(stage.honest)
    assert isinstance(await stage.meets(silent), PeerTimeout)
    liars = [await stage.listen(liar) for liar in (silent, boaster)]
    honest = await stage.listen(stage.honest)
    # In this order: the liars are visited first.
    stage.victim.peers.start("", [*liars, honest])
    await until(lambda: stage.victim.posap.chain.tip == blocks[-1].id())
    assert (await stage.victim.service.status()).height == len(blocks), "their height is nothing to it"
    gained("peers that lie about their height, or never answer", "the honest chain was adopted beside them")


async def test_more_tasks_than_there_can_be(
    stage: Stage, network: Network, blocks: list[Block], gained: Gained
) -> None:
    await stage.victim.adopt(blocks)
    task = next(block.task for block in blocks if block.task is not None)
    tip = stage.victim.posap.chain.tip
    flood = [
        sign_task(SERVER, network.chain_id, replace(task, parent=tip, opened_at=task.opened_at + number))
        for number in range(3 * MAX_TASKS)
    ]
    address = await stage.listen(Publisher(stage.honest, flood))
    assert len(await stage.client(address).open_tasks()) == MAX_TASKS
    assert await stage.meets(Publisher(stage.honest, flood)) is None
    assert stage.victim.posap.open_tasks() == []
    assert stage.victim.store.tasks() == []
    gained(f"a peer with {len(flood)} open tasks", f"{MAX_TASKS} read, none kept")


async def test_answers_of_many_megabytes_are_refused_before_they_are_parsed(gained: Gained) -> None:
    text = b"\x2a" + b"\x80\x80\x80\x04" + bytes(8 * 2**20)
    server, address = await serve_raw(
        {"NodeService/GetStatus": b"\x0a" + b"\x85\x80\x80\x04" + text, "TaskService/ListOpenTasks": bytes(9 * 2**20)}
    )
    async with MinerClient(address, retry=Retry(1)) as client:
        for ask in (client.status, client.open_tasks):
            with pytest.raises((MalformedEncoding, RequestTooLarge)) as caught:
                await ask()
            assert "at most" in str(caught.value)
    await server.stop(0)
    gained("answers of 8 MiB where some bytes are due", "refused unparsed")
