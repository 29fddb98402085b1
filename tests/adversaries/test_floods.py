"""Floods of calls, bytes and connections against a node in a process of its own: it answers others, in flat memory."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Iterator

import pytest

from fedcoin.core.errors import FedCoinError
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import RaceKind, race_id
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.miner_client import MinerClient
from tests.adversaries.callers import MIB, DeafReader, Garbler, HalfOpener, Hoarder, Subscriber, open_idle
from tests.adversaries.conftest import Gained
from tests.support.miner_parts import NOW
from tests.support.network import MINERS, REQUESTER, make_genesis
from tests.support.victim import LARGE_BLOB, Victim, latencies

pytestmark = [pytest.mark.functional, pytest.mark.xdist_group("processes"), pytest.mark.timeout(300)]

Scale = Callable[[int, int], int]
GENESIS = make_genesis(3)
SPARE = 96 * MIB
"""Memory that a flood may take: buffers of connections, Python's own. Far below what the flood aims at."""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    started = Victim("miner", tmp_path_factory.mktemp("victim"))
    yield started
    started.close()


async def measured(victim: Victim, gained: Gained, attack: str, before: int, more: str = "") -> int:
    """Others are answered while the attack lasts; returns the memory that it has taken."""
    waits = await latencies(victim.address)
    assert victim.alive
    grown = max(0, victim.peak - before)
    middle, worst = waits[len(waits) // 2] * 1000, waits[-1] * 1000
    gained(attack, f"memory +{grown / MIB:.0f} MiB, others wait {middle:.0f} ms (at most {worst:.0f}) {more}")
    return grown


async def until_some_end(attacker: HalfOpener | Hoarder | Subscriber, count: int) -> None:
    async with asyncio.timeout(60):
        while (await attacker.refused()).total() < count:  # noqa: ASYNC110 - what it asks has no event
            await asyncio.sleep(0.05)


def rest(victim: Victim) -> int:
    victim.forget_peak()
    return victim.resident


async def test_calls_that_never_send_their_message_hold_up_only_their_caller(
    victim: Victim, gained: Gained, scale: Scale
) -> None:
    before, calls = rest(victim), scale(800, 6_000)
    async with HalfOpener(victim.address) as attacker:
        attacker.attack(calls)
        await until_some_end(attacker, calls - 512)
        grown = await measured(victim, gained, f"{calls} calls half open", before, f"{calls - 512} refused at once")
    assert grown < SPARE


async def test_connections_left_idle(victim: Victim, gained: Gained, scale: Scale) -> None:
    before, wanted = rest(victim), scale(300, 3_000)
    async with MinerClient(victim.address) as honest:
        await honest.status()
        opened = await asyncio.to_thread(open_idle, victim.address, wanted)
        await honest.status()
        handles = victim.handles
        gained(f"{wanted} idle connections", f"{len(opened)} opened, {handles} handles in use, others are answered")
        for connection in opened:
            connection.close()
    assert handles < 1_000, "there are handles left for the database"
    assert victim.peak - before < SPARE


async def test_uploads_of_what_nobody_needs_take_no_memory(victim: Victim, gained: Gained, scale: Scale) -> None:
    before, uploads = rest(victim), scale(60, 600)
    async with Hoarder(victim.address, connections=4) as attacker:
        attacker.attack(uploads, MIB)
        attacker.attack(uploads, 200 * MIB)
        await until_some_end(attacker, 2 * uploads)
        assert not {"OK", "UNKNOWN", "DEADLINE_EXCEEDED"} & set(await attacker.refused())
        grown = await measured(victim, gained, f"{2 * uploads} uploads of unwanted blobs", before)
    assert grown < SPARE


async def test_downloads_that_are_never_read_take_little_memory(victim: Victim, gained: Gained, scale: Scale) -> None:
    before, downloads = rest(victim), scale(48, 400)
    async with DeafReader(victim.address, connections=max(1, downloads // 48)) as attacker:
        attacker.attack(hashlib.sha256(LARGE_BLOB).digest(), downloads)
        await latencies(victim.address)
        wanted = downloads * len(LARGE_BLOB) // MIB
        grown = await measured(victim, gained, f"{downloads} downloads ({wanted} MiB) never read", before)
    assert grown < downloads * 4 * MIB, "as a whole they would have taken twelve times that"


async def test_subscriptions_without_end_leave_room_for_others(victim: Victim, gained: Gained, scale: Scale) -> None:
    before, subscriptions = rest(victim), scale(300, 3_000)
    async with Subscriber(victim.address) as attacker:
        attacker.attack(subscriptions)
        await until_some_end(attacker, subscriptions - 128)
        grown = await measured(victim, gained, f"{subscriptions} subscriptions", before, "all but 128 refused")
    assert grown < SPARE


async def test_garbage_and_deeply_nested_messages(victim: Victim, gained: Gained, scale: Scale) -> None:
    before, messages = rest(victim), scale(120, 5_000)
    rng = random.Random(1)
    async with Garbler(victim.address, connections=3) as attacker:
        found = await attacker.garbage(messages, rng)
        assert "OK" not in found
        assert not {"UNKNOWN", "INTERNAL"} & set(found), "nothing is a surprise to it"
    async with Garbler(victim.address, connections=8) as attacker:
        for number, attack in enumerate((attacker.nested, attacker.grouped, attacker.bloated)):
            answer = await attack(300_000, number)
            assert answer.startswith(("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED")), answer
        answer = await attacker.bloated(15 * MIB, 3)
        assert not answer.startswith("OK")
        assert "larger than max" in await attacker.send("BlockService/PropagateBlock", bytes(17 * MIB), 4)
    grown = await measured(victim, gained, f"{messages} garbled, nested, huge messages", before, str(dict(found)))
    assert grown < 2 * SPARE, "one message of 17 MiB is in memory more than once"


def estimate(key: PrivateKey, time: int) -> Estimate:
    """Of an AUDIT race on the genesis, well-formed and made up."""
    problem = GENESIS.problem
    zeros, chain_id = (0,) * problem.clients, GENESIS.id()
    unsigned = Estimate(RaceKind.AUDIT, problem.id(), chain_id, key.public_key, time, zeros, bytes(32), NOW, b"")
    return sign_estimate(key, chain_id, unsigned)


async def test_a_miner_that_floods_estimates_and_transactions(victim: Victim, gained: Gained, scale: Scale) -> None:
    before, messages = rest(victim), scale(200, 5_000)
    chain_id = GENESIS.id()
    taken = refused = 0
    async with MinerClient(victim.address, retry=Retry(1)) as client:
        for number in range(messages):
            await client.receive_estimate(estimate(MINERS[0], number + 1))
        estimates = await client.estimates(race_id(RaceKind.AUDIT, GENESIS.problem.id(), chain_id))
        assert len([each for each in estimates if each.miner == MINERS[0].public_key]) == 1, "the latest only"
        for number in range(messages):
            # Accounts with money may have 64 waiting, those without none.
            poor = PrivateKey(hashlib.sha256(number.to_bytes(4, "big")).digest())
            for key, nonce in ((MINERS[1], number), (poor, 0)):
                spam = sign_transaction(key, chain_id, nonce, 1, Transfer(REQUESTER.address, 1))
                try:
                    await client.submit(spam)
                    taken += 1
                except FedCoinError:
                    refused += 1
        grown = await measured(victim, gained, f"{messages} estimates, {2 * messages} payments", before)
        paid = await client.submit(sign_transaction(REQUESTER, chain_id, 0, 2, Transfer(MINERS[0].address, 1)))
        assert paid in {each.id(chain_id) for each in await client.mempool()}
    gained("the same", f"{taken} payments taken of one funded account, {refused} refused")
    assert taken <= 64
    assert grown < SPARE
