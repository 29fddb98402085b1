"""Relaying transactions: many in one message and one write, each judged by itself."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from fedcoin.consensus.messages import ReceiveTransaction
from fedcoin.core.errors import PeerUnreachable, RateLimited, StoreUnavailable
from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import TRANSACTION, MinerRegistration, Transaction, Transfer, sign_transaction
from fedcoin.node import gossip
from fedcoin.node.gossip import LIMITS, RELAYED, RELAYED_BYTES, Gossip, Outbox
from fedcoin.rpc.limits import MAX_RELAYED, MAX_RELAYED_BYTES
from tests.support.miner_parts import Parts, transfer
from tests.support.network import make_genesis

CHAIN = bytes(32)
KEY = PrivateKey(bytes([9]) * 32)


def pay(nonce: int) -> Transaction:
    return sign_transaction(KEY, CHAIN, nonce, 1_000, Transfer(bytes(20), 1))


class Peer:
    """Keeps the messages that come, once it is `ready`; raises what `failures` holds first."""

    def __init__(self) -> None:
        self.messages: list[list[Transaction]] = []
        self.failures: list[Exception] = []
        self.ready = asyncio.Event()

    async def receive_transactions(self, transactions: Sequence[Transaction], source: str | None) -> Mapping[int, str]:
        await self.ready.wait()
        if self.failures:
            raise self.failures.pop()
        self.messages.append(list(transactions))
        return {}

    @property
    def nonces(self) -> list[int]:
        return [transaction.nonce for message in self.messages for transaction in message]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what it asks has no event
            await asyncio.sleep(0.01)


def outbox_of(peer: Peer, lost: list[str] | None = None) -> Outbox:
    return Outbox(peer, "peer:1", (lost if lost is not None else []).append)  # type: ignore[arg-type]


async def test_transactions_of_a_moment_go_in_one_message_in_order() -> None:
    peer = Peer()
    peer.ready.set()
    outbox = outbox_of(peer)
    for nonce in range(100):
        outbox.put_transaction(pay(nonce))
    await until(lambda: len(peer.nonces) == 100)
    assert [len(message) for message in peer.messages] == [100]
    assert peer.nonces == list(range(100))
    await outbox.close()


async def test_a_message_keeps_within_what_a_peer_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (RELAYED, 2 * RELAYED_BYTES) == (MAX_RELAYED, MAX_RELAYED_BYTES)
    monkeypatch.setattr(gossip, "RELAYED_BYTES", 3 * len(TRANSACTION.encode(pay(0))))
    peer = Peer()
    peer.ready.set()
    outbox = outbox_of(peer)
    large = sign_transaction(KEY, CHAIN, 7, 1_000, MinerRegistration("x" * 64))
    for transaction in [*map(pay, range(7)), large]:
        outbox.put_transaction(transaction)
    await until(lambda: len(peer.nonces) == 8)
    assert [len(message) for message in peer.messages] == [3, 3, 2]
    monkeypatch.setattr(gossip, "RELAYED_BYTES", 1)
    outbox.put_transaction(pay(8))
    await until(lambda: len(peer.nonces) == 9)
    monkeypatch.undo()
    for nonce in range(9, 9 + RELAYED + 5):
        outbox.put_transaction(pay(nonce))
    await until(lambda: len(peer.nonces) == 9 + RELAYED + 5)
    assert max(map(len, peer.messages)) == RELAYED
    await outbox.close()


async def test_a_slow_peer_costs_bounded_memory_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "transaction", 10)
    peer = Peer()
    outbox = outbox_of(peer)
    for nonce in range(50):
        outbox.put_transaction(pay(nonce))
    assert len(outbox) == 10
    peer.ready.set()
    await until(lambda: len(outbox) == 0 and len(peer.nonces) == 10)
    assert peer.nonces == list(range(40, 50))
    await outbox.close()


async def test_what_a_peer_has_no_room_for_now_comes_again_and_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "PAUSE_SECONDS", 0.0)
    peer = Peer()
    peer.failures = [RateLimited("slow down")]
    outbox = outbox_of(peer)
    outbox.put_transaction(pay(0))
    await until(lambda: len(outbox) == 0)
    outbox.put_transaction(pay(1))
    peer.ready.set()
    await until(lambda: len(peer.nonces) == 2)
    assert peer.nonces == [0, 1]
    await outbox.close()


async def test_what_waits_for_an_unreachable_peer_is_dropped() -> None:
    peer, lost = Peer(), list[str]()
    peer.failures = [PeerUnreachable("gone")]
    peer.ready.set()
    outbox = outbox_of(peer, lost)
    outbox.put_transaction(pay(0))
    await until(lambda: bool(lost))
    assert (len(outbox), peer.nonces) == (0, [])
    await outbox.close()


async def test_a_transaction_is_not_sent_back_to_where_it_came_from() -> None:
    relay, here, there = Gossip(), Peer(), Peer()
    here.ready.set()
    there.ready.set()
    relay.connect("here:1", here)  # type: ignore[arg-type]
    relay.connect("there:1", there)  # type: ignore[arg-type]
    relay.send_transaction(pay(0), "here:1")
    relay.send_transaction(pay(1), None)
    await until(lambda: len(there.nonces) == 2)
    await until(lambda: len(here.nonces) == 1)
    assert here.nonces == [1]
    await relay.close()


async def test_a_group_is_kept_by_one_write_before_any_of_it_is_relayed_and_bad_ones_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis = make_genesis(3)
    parts = Parts(tmp_path, genesis)
    done: list[str] = []
    keep = parts.store.put_pending
    monkeypatch.setattr(parts.store, "put_pending", lambda *some: (done.append(f"kept {len(some)}"), keep(*some)))
    monkeypatch.setattr(parts.gossip, "send_transaction", lambda transaction, skip: done.append("sent"))
    good = [transfer(genesis.id(), nonce) for nonce in range(3)]
    events = [ReceiveTransaction(one) for one in (good[0], transfer(bytes(32), 1), good[1], good[2])]
    errors = await parts.engine.feed_all(events)
    assert {index: error.code for index, error in errors.items()} == {1: "INVALID_SIGNATURE"}
    assert done == ["kept 3", "sent", "sent", "sent"]
    assert {one.id(genesis.id()) for one in parts.store.pending()} == {one.id(genesis.id()) for one in good}
    assert parts.posap.mempool.transactions() == tuple(good)
    await parts.close()


async def test_a_node_that_cannot_write_takes_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genesis = make_genesis(3)
    parts = Parts(tmp_path, genesis)

    def full(*_: object) -> None:
        raise StoreUnavailable("no space left on device")

    sent: list[object] = []
    monkeypatch.setattr(parts.store, "put_pending", full)
    monkeypatch.setattr(parts.gossip, "send_transaction", lambda transaction, skip: sent.append(transaction))
    with pytest.raises(StoreUnavailable, match="no space"):
        await parts.engine.feed_all([ReceiveTransaction(transfer(genesis.id(), 0))])
    monkeypatch.undo()
    assert sent == []
    with pytest.raises(StoreUnavailable):
        await parts.engine.feed_all([ReceiveTransaction(transfer(genesis.id(), 1))])
    await parts.close()
