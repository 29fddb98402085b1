"""The engine: persist before send, whole steps, and an end when the disk no longer takes what was decided."""

import asyncio
import threading
from pathlib import Path

import pytest

from fedcoin.consensus.messages import AdoptChain, ReceiveBlock, ReceiveTransaction, SendBlock, Tick
from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError, NodeBusy, NonceUsed, StoreUnavailable
from fedcoin.core.genesis import Genesis
from fedcoin.node import engine as engine_module
from tests.support.miner_parts import Parts, make_chain, transfer
from tests.support.network import make_genesis


@pytest.fixture(scope="module")
def genesis() -> Genesis:
    return make_genesis(3)


@pytest.fixture(scope="module")
def blocks(genesis: Genesis) -> list[Block]:
    return make_chain(genesis, 3)


async def test_a_step_is_finished_though_its_caller_is_cancelled_within_it(
    tmp_path: Path, genesis: Genesis, blocks: list[Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, genesis)
    syncing, go_on = threading.Event(), threading.Event()
    sync = parts.store.sync

    def slow_sync() -> None:
        syncing.set()
        assert go_on.wait(10)
        sync()

    monkeypatch.setattr(parts.store, "sync", slow_sync)
    relayed: list[Block] = []
    monkeypatch.setattr(parts.gossip, "send_block", lambda block, skip: relayed.append(block))
    caller = asyncio.create_task(parts.engine.feed(ReceiveBlock(blocks[0])))
    await asyncio.to_thread(syncing.wait, 10)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert caller.cancelled()
    following = asyncio.create_task(parts.engine.feed(Tick()))
    await asyncio.sleep(0.02)
    assert not following.done(), "one step at a time, also after a cancelled one"
    go_on.set()
    await following
    assert parts.store.block_hash_at(1) == blocks[0].id() == parts.posap.chain.tip
    assert relayed == [blocks[0]]
    monkeypatch.undo()
    await parts.close()


async def test_nothing_is_sent_before_it_is_on_the_disk(
    tmp_path: Path, genesis: Genesis, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, genesis)
    done: list[str] = []
    for name in ("put_block", "write_adoption", "sync", "put_pending"):
        whole = getattr(parts.store, name)
        monkeypatch.setattr(parts.store, name, lambda *args, n=name, w=whole: (done.append(n), w(*args))[1])
    monkeypatch.setattr(parts.gossip, "send_block", lambda block, skip: done.append("send"))
    monkeypatch.setattr(parts.gossip, "send_transaction", lambda tx, skip: done.append("send"))
    block = make_chain(genesis, 1)[0]
    effects = parts.posap.step(ReceiveBlock(block), block.header.timestamp + 10)
    assert [type(effect) for effect in effects if isinstance(effect, AdoptChain | SendBlock)] == [SendBlock, AdoptChain]
    for effect in effects:
        await parts.engine._perform(effect)
    assert done.index("put_block") < done.index("send")
    assert done.index("write_adoption") < done.index("sync")
    done.clear()
    await parts.engine.feed(ReceiveTransaction(transfer(genesis.id(), 1)))
    assert done == ["put_pending", "send"]
    monkeypatch.undo()
    await parts.close()


async def test_a_full_disk_ends_the_node_and_nothing_is_decided_any_more(
    tmp_path: Path, genesis: Genesis, blocks: list[Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = Parts(tmp_path, genesis)

    def full(adoption: object) -> None:
        raise StoreUnavailable("no space left on device")

    relayed: list[Block] = []
    monkeypatch.setattr(parts.gossip, "send_block", lambda block, skip: relayed.append(block))
    monkeypatch.setattr(parts.store, "write_adoption", full)
    with pytest.raises(StoreUnavailable, match="no space"):
        await parts.engine.feed(ReceiveBlock(blocks[0]))
    monkeypatch.undo()
    with pytest.raises(StoreUnavailable, match="no space"):
        await parts.engine.failed
    with pytest.raises(StoreUnavailable):
        await parts.engine.feed(ReceiveTransaction(transfer(genesis.id(), 0)))
    assert parts.store.pending() == []
    await parts.close()
    # What was not announced is not there after a restart, and can come again.
    again = Parts(tmp_path, genesis)
    assert again.posap.chain.height == 0
    await again.adopt(blocks)
    assert again.posap.chain.height == 3
    await again.close()


async def test_bad_input_is_no_failure_of_the_node(tmp_path: Path, genesis: Genesis, blocks: list[Block]) -> None:
    parts = Parts(tmp_path, genesis)
    await parts.adopt(blocks)
    with pytest.raises(NonceUsed):
        await parts.engine.feed(ReceiveTransaction(transfer(genesis.id(), 0)))
    assert not parts.engine.failed.done()
    await parts.engine.feed(ReceiveTransaction(transfer(genesis.id(), 3)))
    await parts.close()


async def test_a_closed_engine_lets_waiters_go_and_takes_nothing(tmp_path: Path, genesis: Genesis) -> None:
    parts = Parts(tmp_path, genesis)
    watching = asyncio.create_task(_collect(parts))
    await asyncio.sleep(0)
    await parts.engine.close()
    assert await asyncio.wait_for(watching, 5) == []
    with pytest.raises(FedCoinError):
        await parts.engine.feed(Tick())
    await parts.close()


async def _collect(parts: Parts) -> list[Block]:
    return [block async for block in parts.service.watch_blocks(1)]


async def test_only_so_many_inputs_of_others_wait(tmp_path: Path, genesis: Genesis, blocks: list[Block]) -> None:
    parts = Parts(tmp_path, genesis)
    block = blocks[0]
    await parts.engine._lock.acquire()  # a long step
    most = engine_module.WAITING[ReceiveBlock]
    waiting = [asyncio.create_task(parts.engine.feed(ReceiveBlock(block))) for _ in range(most)]
    own = asyncio.create_task(parts.engine.feed(Tick()))
    await asyncio.sleep(0)
    with pytest.raises(NodeBusy):
        await parts.engine.feed(ReceiveBlock(block))
    parts.engine._lock.release()
    await asyncio.gather(*waiting, own)
    await parts.engine.feed(ReceiveBlock(block))
    assert parts.posap.chain.tip == block.id()
    await parts.close()
