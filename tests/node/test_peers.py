"""Keeping up with peers: those that come back, those that flood, those of another network."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedcoin.core.errors import BelowFinality, PeerUnreachable, StoreUnavailable, UnknownParent
from fedcoin.core.genesis import Genesis
from fedcoin.node import peers as peers_module
from fedcoin.node.address_book import callable_address
from fedcoin.rpc.views import NodeStatus
from fedcoin.store.peers import PeerRecord
from tests.support.miner_parts import FOLLOWER, Parts, make_chain
from tests.support.network import MINERS, make_genesis
from tests.support.peer_world import LIMIT, World, until


@pytest.fixture(scope="module")
def genesis() -> Genesis:
    return make_genesis(3)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of milliseconds in place of seconds."""
    for name in ("STATUS_SECONDS", "POKE_SECONDS", "FIRST_RETRY_SECONDS", "MAX_RETRY_SECONDS"):
        monkeypatch.setattr(peers_module, name, getattr(peers_module, name) / 100)


async def test_peers_are_learned_from_peers_and_remembered(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    world.remote("a:1").known = ["b:1", "self:1", "0.0.0.0:1", "b:0", "not an address"]
    world.peers.start("self:1", ["a:1"])
    await until(lambda: world.connected("a:1") and world.connected("b:1"))
    assert {info.address for info in world.peers.infos()} == {"a:1", "b:1"}
    await world.close()
    again = World(tmp_path, genesis)
    again.peers.start("self:1", [])
    await until(lambda: again.connected("a:1") and again.connected("b:1"))
    await again.close()


async def test_a_flood_of_addresses_keeps_nobody_out(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    world.peers.start("self:1", ["a:1"])
    await until(lambda: world.connected("a:1"))
    for number in range(200):
        address = f"junk{number}:1"
        world.remote(address).error = PeerUnreachable("nobody there")
        world.peers.learn(address)
    await until(lambda: all(info.address == "a:1" or world.remote(info.address).visits for info in world.peers.infos()))
    assert len(world.peers.infos()) == LIMIT
    await asyncio.sleep(0.02)
    world.peers.learn("honest:1")
    await until(lambda: world.connected("honest:1"))
    assert world.connected("a:1")
    assert len(world.peers.infos()) == LIMIT
    await until(lambda: sum(not remote.closed for remote in world.remotes.values() if remote.visits) == LIMIT)
    await world.close()


async def test_connected_peers_never_make_room(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    good = [f"good{number}:1" for number in range(LIMIT)]
    world.peers.start("self:1", [])
    for address in good:
        world.peers.learn(address)
    await until(lambda: all(world.connected(address) for address in good))
    world.peers.learn("late:1")
    assert {info.address for info in world.peers.infos()} == set(good)
    await world.close()


async def test_a_peer_of_another_network_is_refused_and_said_so_once(
    tmp_path: Path, genesis: Genesis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "REFUSED_SECONDS", 0.01)
    caplog.set_level(logging.WARNING)
    world = World(tmp_path, genesis)
    world.remote("other:1").chain_id = bytes(32)
    world.remote("a:1").known = ["stranger:1"]
    world.remote("stranger:1").chain_id = bytes(32)
    world.peers.start("self:1", ["other:1", "a:1"])
    await until(lambda: world.remote("other:1").visits > 2 and world.remote("stranger:1").visits > 0)
    told = [record.getMessage() for record in caplog.records if "WRONG_GENESIS" in record.getMessage()]
    assert len(told) == 1
    assert "other:1 belongs to another network" in told[0]
    assert not world.connected("other:1")
    assert world.remote("other:1").syncs == 0
    world.remote("a:1").known = []
    await until(lambda: "stranger:1" not in {info.address for info in world.peers.infos()})
    await world.close()


async def test_this_node_under_another_name_is_no_peer(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    world.remote("alias:1").public_key = FOLLOWER.public_key
    world.parts.store.put_peer(PeerRecord("alias:1", b"", 1))
    world.peers.start("self:1", [])
    await until(lambda: world.peers.infos() == [])
    assert world.parts.store.peers() == []
    await world.close()


@pytest.mark.parametrize(
    "error", [PeerUnreachable("away"), StoreUnavailable("the node is stopping"), ValueError("nonsense")]
)
async def test_a_peer_that_is_away_or_talks_nonsense_is_tried_again(
    tmp_path: Path, genesis: Genesis, error: Exception
) -> None:
    world = World(tmp_path, genesis)
    remote = world.remote("a:1")
    world.peers.start("self:1", ["a:1"])
    await until(lambda: world.connected("a:1"))
    remote.error = error
    seen = remote.visits
    await until(lambda: remote.visits > seen + 2)
    assert world.connected("a:1") == isinstance(error, ValueError)
    remote.error = None
    await until(lambda: world.connected("a:1"))
    await world.close()


async def test_a_peer_that_comes_back_and_says_so_is_visited_at_once(
    tmp_path: Path, genesis: Genesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "FIRST_RETRY_SECONDS", 60.0)
    monkeypatch.setattr(peers_module, "MAX_RETRY_SECONDS", 60.0)
    world = World(tmp_path, genesis)
    remote = world.remote("a:1")
    remote.error = PeerUnreachable("away")
    world.peers.start("self:1", ["a:1"])
    await until(lambda: remote.visits == 1)
    remote.error = None
    world.peers.learn("a:1")
    await until(lambda: world.connected("a:1"))
    await world.close()


async def test_a_poke_leads_to_a_sync_though_the_tip_is_known(
    tmp_path: Path, genesis: Genesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "STATUS_SECONDS", 60.0)
    world = World(tmp_path, genesis)
    remote = world.remote("a:1")
    world.peers.start("self:1", ["a:1"])
    await until(lambda: remote.syncs == 1 and not world.peers.syncing)
    world.peers.poke("a:1")
    await until(lambda: remote.syncs == 2)
    world.peers.poke("nobody:1")
    world.peers.poke(None)
    await world.close()


async def test_a_peer_whose_blocks_break_rules_stays_but_is_asked_ever_less(
    tmp_path: Path, genesis: Genesis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peers_module, "MAX_RETRY_SECONDS", 60.0)
    world = World(tmp_path, genesis)
    remote = world.remote("a:1")
    remote.tip = b"t" * 32
    remote.sync_error = BelowFinality()
    world.peers.start("self:1", ["a:1"])
    await until(lambda: remote.syncs >= 5)
    for _ in range(100):
        world.peers.poke("a:1")
        await asyncio.sleep(0.0005)
    assert remote.syncs <= 7, "pokes do not shorten the pause"
    assert world.connected("a:1")
    assert sum("BELOW_FINALITY" in record.getMessage() for record in caplog.records) == 1
    await world.close()


class InProcess:
    """Another miner in this process, behind an address."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parts.service, name)

    async def status(self) -> NodeStatus:
        return replace(await self._parts.service.status(), public_key=MINERS[0].public_key)

    async def close(self) -> None: ...


async def test_an_unknown_parent_leads_to_a_sync_with_the_sender(
    tmp_path: Path, genesis: Genesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "STATUS_SECONDS", 60.0)
    blocks = make_chain(genesis, 3)
    there = Parts(tmp_path / "there", genesis)
    here = Parts(tmp_path / "here", genesis, lambda address: InProcess(there))  # type: ignore[arg-type,return-value]
    here.peers.start("", ["there:1"])
    await until(lambda: bool(here.peers.connected()) and not here.peers.syncing)
    await there.adopt(blocks)
    with pytest.raises(UnknownParent):
        await here.service.receive_block(blocks[-1], "there:1")
    await until(lambda: here.posap.chain.tip == blocks[-1].id())
    await here.close()
    await there.close()


def test_addresses_that_nobody_can_call() -> None:
    assert callable_address("example.org:7070")
    assert callable_address("[::1]:7070")
    assert not any(map(callable_address, ("0.0.0.0:7070", "[::]:7070", "host:0", "host", "", "http://host:1")))
