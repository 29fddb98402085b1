"""Peers that are not what they seem: one owner behind many addresses, liars about their key, senders of rubbish."""

import asyncio
from pathlib import Path

import pytest

from fedcoin.core.errors import BlocksOutOfOrder, PeerBanned, PeerUnreachable
from fedcoin.core.genesis import Genesis
from fedcoin.node import peers as peers_module
from fedcoin.node.peer_identity import proves_key
from fedcoin.node.peers import PEERS_A_NETWORK
from fedcoin.rpc.limits import address_key
from fedcoin.rpc.score import BanRule, Scores
from fedcoin.store.peers import PeerRecord
from tests.support.miner_parts import FOLLOWER
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


async def test_one_network_gets_only_a_few_places(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    world.peers.start("self:1", [])
    for number in range(100):
        world.peers.learn(f"203.0.113.{number}:7070")
    await until(lambda: sum(info.connected for info in world.peers.infos()) == PEERS_A_NETWORK)
    world.peers.learn("198.51.100.1:7070")
    await until(lambda: world.connected("198.51.100.1:7070"))
    assert len(world.peers.infos()) == PEERS_A_NETWORK + 1
    await world.close()


async def test_a_stranger_cannot_have_us_call_our_own_machine(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    world.remote("a:1").known = ["127.0.0.1:22", "localhost:5432", "[::1]:6379", "169.254.169.254:80", "b:1"]
    world.parts.store.put_peer(PeerRecord("127.0.0.1:23", b"", 1, 1))
    world.peers.start("self:1", ["a:1", "127.0.0.1:7070"])
    await until(lambda: world.connected("b:1") and world.connected("127.0.0.1:7070"))
    assert {info.address for info in world.peers.infos()} == {"a:1", "b:1", "127.0.0.1:7070"}, "the operator may"
    await world.close()
    here = World(tmp_path / "here", genesis)
    here.peers.start("127.0.0.1:1", [])
    here.peers.learn("127.0.0.1:2")  # a network on one machine
    await until(lambda: here.connected("127.0.0.1:2"))
    await here.close()


async def test_the_operators_peers_may_be_neighbours(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    given = [f"203.0.113.{number}:7070" for number in range(2 * PEERS_A_NETWORK)]
    world.peers.start("self:1", given)
    await until(lambda: all(world.connected(address) for address in given))
    await world.close()


async def test_those_met_longest_ago_come_first_after_a_restart(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    for number in range(50):
        world.parts.store.put_peer(PeerRecord(f"new{number}:1", b"", 10**12, 10**12))
    old = [f"old{number}:1" for number in range(LIMIT)]
    for address in old:
        world.parts.store.put_peer(PeerRecord(address, b"", 1_000, 1_000))
    world.peers.start("self:1", [])
    await until(lambda: all(world.connected(address) for address in old))
    await world.close()


async def test_a_lost_peer_makes_room_for_one_from_the_book(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    world.peers.start("self:1", [])
    good = [f"good{number}:1" for number in range(LIMIT)]
    for address in good:
        world.peers.learn(address)
    await until(lambda: all(world.connected(address) for address in good))
    world.peers.learn("waiting:1")
    assert not world.connected("waiting:1")
    world.remote(good[0]).error = PeerUnreachable("gone")
    await until(lambda: world.connected("waiting:1"))
    await world.close()


async def test_a_feeler_tells_who_answers_while_all_places_are_taken(
    tmp_path: Path,
    genesis: Genesis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers_module, "FEELER_SECONDS", 0.01)
    world = World(tmp_path, genesis)
    good = [f"good{number}:1" for number in range(LIMIT)]
    world.peers.start("self:1", good)
    await until(lambda: all(world.connected(address) for address in good))
    world.peers.learn("waiting:1")
    world.remote("other:1").chain_id = bytes(32)
    world.peers.learn("other:1")
    await until(lambda: "waiting:1" in {record.address for record in world.parts.store.peers()})
    await until(lambda: world.remote("other:1").visits > 0)
    assert not world.connected("waiting:1")
    assert "other:1" not in {record.address for record in world.parts.store.peers()}
    await world.close()


async def test_a_miner_is_asked_where_it_has_proved_to_be_first(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    hands_on, made_up = world.remote("relay:1"), world.remote("liar:1")
    hands_on.said_address = "real:1"  # it has asked the real one to sign our nonce
    made_up.key = MINERS[1]  # signs with a key that is not the one it names
    world.peers.start("self:1", ["relay:1", "liar:1", "real:1"])
    await until(lambda: all(world.connected(address) for address in ("relay:1", "liar:1", "real:1")))
    asked = [client.address for client in world.peers.of_miner(MINERS[0].public_key)]
    assert asked[0] == "real:1"
    assert set(asked) == {"relay:1", "liar:1", "real:1"}, "without a proof they are asked too, but later"
    assert world.peers._scores.points(address_key("liar:1")) > 0
    assert world.peers._scores.points(address_key("relay:1")) == 0
    await world.close()


async def test_a_peer_that_hands_out_rubbish_is_left_alone_for_a_while(
    tmp_path: Path,
    genesis: Genesis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers_module, "REFUSED_SECONDS", 0.01)
    now = [0.0]
    world = World(tmp_path, genesis)
    world.peers._scores = Scores(BanRule(seconds=30), lambda: now[0])
    for address in ("given:1", "learned:1"):
        world.remote(address).tip = b"t" * 32
        world.remote(address).sync_error = BlocksOutOfOrder()
    world.peers.start("self:1", ["given:1"])
    world.peers.learn("learned:1")
    await until(lambda: set(world.peers._scores.banned()) == {"given:1", "learned:1"})
    await until(lambda: [info.address for info in world.peers.infos()] == ["given:1"])
    await until(lambda: not world.connected("given:1"))
    world.peers.learn("learned:1")
    assert [info.address for info in world.peers.infos()] == ["given:1"], "it is not taken up again"
    world.remote("given:1").sync_error = None
    seen = world.remote("given:1").visits
    await asyncio.sleep(0.05)
    assert world.remote("given:1").visits == seen
    now[0] = 30.0
    await until(lambda: world.connected("given:1"))
    await world.close()


async def test_what_a_peer_says_of_us_costs_it_nothing(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    error = PeerBanned("you are banned here")
    error.reported = True
    invalid = BlocksOutOfOrder()
    invalid.reported = True
    world.remote("a:1").error, world.remote("b:1").error = error, invalid
    world.peers.start("self:1", ["a:1", "b:1"])
    await until(lambda: world.remote("a:1").visits >= 1 and world.remote("b:1").visits > 3)
    assert len(world.peers._scores) == 0
    assert not world.connected("a:1")
    await world.close()


async def test_a_peer_that_keeps_us_waiting_is_no_catching_up(
    tmp_path: Path,
    genesis: Genesis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers_module, "RISING_SECONDS", 0.05)
    world = World(tmp_path, genesis)
    remote = world.remote("a:1")
    stuck = asyncio.Event()

    async def trickle() -> list[object]:
        stuck.set()
        await asyncio.Event().wait()
        return []

    remote.open_tasks = trickle  # type: ignore[assignment]
    world.peers.start("self:1", ["a:1"])
    await stuck.wait()
    await until(lambda: not world.peers.syncing)
    await world.close()


async def test_a_node_proves_its_own_key(tmp_path: Path, genesis: Genesis) -> None:
    world = World(tmp_path, genesis)
    world.parts.peers.start("here:1", [])
    service, chain_id = world.parts.service, genesis.id()
    assert await proves_key(service, "here:1", FOLLOWER.public_key, chain_id)
    assert not await proves_key(service, "elsewhere:1", FOLLOWER.public_key, chain_id)
    await world.close()
