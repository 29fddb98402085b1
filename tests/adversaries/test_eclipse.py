"""One owner with many addresses, and a peer under another's name: the honest peer stays, and is the one that counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fedcoin.core.block import Block
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.node import address_book as address_book_module
from fedcoin.node import peers as peers_module
from fedcoin.rpc.calls import Deadlines, Retry
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import RunningServer, serve
from fedcoin.rpc.views import PeerInfo
from tests.adversaries.conftest import Gained
from tests.adversaries.liars import Boaster, Named
from tests.support.miner_parts import NOW, Parts, make_chain
from tests.support.network import MINERS, make_genesis

pytestmark = pytest.mark.functional

ADDRESSES = 24
"""Of the attacker, all on one machine; the victim keeps up with 8 peers."""


class Crowd(Boaster):
    """One of the attacker's addresses: it knows all the others, and nobody else."""

    def __init__(self, honest: Any, number: int, known: list[str]) -> None:
        key = PrivateKey(bytes([1 + number]) * 32)
        super().__init__(Named(honest, key.public_key))
        self._known = known

    async def announce(self, address: str, public_key: bytes, source: str = "") -> list[PeerInfo]:
        return [PeerInfo(known, b"", True, 0, NOW) for known in self._known]

    async def peers(self) -> list[PeerInfo]:
        return await self.announce("", b"")


class Stage:
    """Listeners on this machine's many addresses."""

    def __init__(self, folder: Path, genesis: Genesis) -> None:
        self.victim = Parts(folder / "victim", genesis, self.client)
        self.behind = Parts(folder / "honest", genesis)
        self.clients: list[MinerClient] = []
        self.running: list[RunningServer] = []

    def client(self, address: str) -> MinerClient:
        client = MinerClient(address, deadlines=Deadlines(idle=1.0), retry=Retry(1))
        self.clients.append(client)
        return client

    async def listen(self, handler: Any, host: str) -> str:
        self.running.append(await serve(handler, f"{host}:0"))
        return self.running[-1].address

    def connected(self) -> set[str]:
        return {info.address for info in self.victim.peers.infos() if info.connected}

    async def close(self) -> None:
        await self.victim.close()
        await asyncio.gather(*(client.close() for client in self.clients))
        await asyncio.gather(*(running.stop(0) for running in self.running))
        await self.behind.close()


@pytest.fixture(scope="module")
def genesis() -> Genesis:
    return make_genesis(3)


@pytest.fixture(scope="module")
def blocks(genesis: Genesis) -> list[Block]:
    return make_chain(genesis, 2)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Visits follow one another without long pauses."""
    for name in ("STATUS_SECONDS", "POKE_SECONDS", "FIRST_RETRY_SECONDS", "MAX_RETRY_SECONDS"):
        monkeypatch.setattr(peers_module, name, getattr(peers_module, name) / 20)


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


async def test_many_addresses_of_one_owner_leave_places_for_others(
    stage: Stage, blocks: list[Block], gained: Gained, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (peers_module, address_book_module):
        # Addresses of this machine count by themselves; here they stand for those of a network.
        monkeypatch.setattr(module, "network_of", lambda address: address.rpartition(".")[0])
    known: list[str] = []
    for number in range(ADDRESSES):
        known.append(await stage.listen(Crowd(stage.behind.service, number, known), "127.0.9.1"))
    stage.victim.peers.start("127.0.0.1:9", [])
    for address in known:
        stage.victim.peers.learn(address, source=address)
    await until(lambda: len(stage.connected()) >= peers_module.PEERS_A_NETWORK)
    honest = await stage.listen(Named(stage.behind.service, MINERS[1].public_key), "127.0.0.1")
    stage.victim.peers.learn(honest, source=honest)
    await until(lambda: stage.victim.posap.chain.tip == blocks[-1].id())
    hostile = stage.connected() & set(known)
    assert len(hostile) <= peers_module.PEERS_A_NETWORK
    assert honest in stage.connected()
    gained(f"an eclipse by {ADDRESSES} addresses of one owner", f"{len(hostile)} of 8 places; the honest chain came")


async def test_a_peer_under_anothers_name_is_asked_last(stage: Stage, gained: Gained) -> None:
    """It even hands the challenge on to the miner that it plays."""
    real = stage.behind
    honest = await stage.listen(real.service, "127.0.0.1")
    real.peers.own_address = honest
    impostors = [await stage.listen(real.service, f"127.0.{8 + number}.1") for number in range(3)]
    watcher = Parts(stage.victim.store.path.parent / "watcher", stage.victim.posap.chain.genesis, stage.client)
    watcher.peers._own_key = MINERS[2].public_key  # the simulated parts all share one key
    watcher.peers.start("127.0.0.1:9", [*impostors, honest])
    key = real.posap.key.public_key
    await until(lambda: len(watcher.peers.of_miner(key)) == 4)
    assert watcher.peers.of_miner(key)[0].address == honest
    await watcher.close()
    gained("three peers under a miner's name, handing challenges on", "they are asked after the real one")
