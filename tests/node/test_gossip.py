"""Relaying to peers that are slow, unreachable, or of another opinion."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fedcoin.core.errors import NonceUsed, PeerUnreachable
from fedcoin.node import gossip
from fedcoin.node.gossip import Gossip, Outbox


class SlowPeer:
    """Takes a message when it is allowed to."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.ready = asyncio.Event()

    async def take(self, message: str) -> None:
        await self.ready.wait()
        self.got.append(message)


def message(text: str) -> Callable[[Any], Awaitable[None]]:
    return lambda peer: peer.take(text)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it asks has no event
            await asyncio.sleep(0)


async def test_a_slow_peer_has_a_bounded_outbox_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gossip.LIMITS, "task", 10)
    peer = SlowPeer()
    outbox = Outbox(peer, "slow:1", lambda address: None)  # type: ignore[arg-type]
    for number in range(100):
        outbox.put("task", bytes([number]), message(f"t{number}"))
    assert len(outbox) == 10
    peer.ready.set()
    await until(lambda: len(outbox) == 0 and len(peer.got) == 10)
    assert peer.got == [f"t{number}" for number in range(90, 100)]
    await outbox.close()


async def test_a_later_estimate_takes_the_place_of_one_that_waits() -> None:
    peer = SlowPeer()
    outbox = Outbox(peer, "slow:1", lambda address: None)  # type: ignore[arg-type]
    for number in range(50):
        outbox.put("estimate", b"miner and race", message(f"time {number}"))
    outbox.put("estimate", b"another", message("another"))
    assert len(outbox) == 2
    peer.ready.set()
    await until(lambda: len(peer.got) == 2)
    assert peer.got == ["time 49", "another"]
    await outbox.close()


async def test_a_block_overtakes_estimates_and_tasks() -> None:
    peer = SlowPeer()
    outbox = Outbox(peer, "slow:1", lambda address: None)  # type: ignore[arg-type]
    outbox.put("estimate", b"e", message("estimate"))
    outbox.put("task", b"t", message("task"))
    outbox.put("block", b"b", message("block"))
    peer.ready.set()
    await until(lambda: len(peer.got) == 3)
    assert peer.got == ["block", "task", "estimate"]
    await outbox.close()


async def test_what_waits_for_an_unreachable_peer_is_dropped_and_the_loss_reported() -> None:
    lost: list[str] = []

    async def unreachable(peer: object) -> None:
        raise PeerUnreachable("gone")

    outbox = Outbox(SlowPeer(), "gone:1", lost.append)  # type: ignore[arg-type]
    for number in range(5):
        outbox.put("block", bytes([number]), unreachable)
    await until(lambda: bool(lost))
    assert len(outbox) == 0
    assert lost == ["gone:1"]
    await outbox.close()


@pytest.mark.parametrize("error", [NonceUsed("old"), ValueError("a fault of ours")])
async def test_a_refused_message_does_not_stop_the_next(error: Exception) -> None:
    async def refused(peer: object) -> None:
        raise error

    peer = SlowPeer()
    peer.ready.set()
    outbox = Outbox(peer, "peer:1", lambda address: None)  # type: ignore[arg-type]
    outbox.put("block", b"1", refused)
    outbox.put("block", b"2", message("the next"))
    await until(lambda: peer.got == ["the next"])
    await outbox.close()


async def test_a_message_is_not_sent_back_to_where_it_came_from() -> None:
    relay, here, there = Gossip(), SlowPeer(), SlowPeer()
    here.ready.set()
    there.ready.set()
    relay.connect("here:1", here)  # type: ignore[arg-type]
    relay.connect("there:1", there)  # type: ignore[arg-type]
    relay._put("block", b"b", message("block"), skip="here:1")
    await until(lambda: there.got == ["block"])
    assert here.got == []
    await relay.disconnect("there:1")
    relay._put("block", b"c", message("block c"), skip=None)
    await until(lambda: here.got == ["block c"])
    assert there.got == ["block"]
    await relay.close()
