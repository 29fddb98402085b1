"""Catching up with peers: honest, lying, on another branch, and reorganised while they answer."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fedcoin.consensus.messages import ReceiveBlock, ReceiveTransaction
from fedcoin.core.block import Block
from fedcoin.core.errors import BlocksOutOfOrder, FedCoinError, InvalidSignature, UnknownParent
from fedcoin.core.genesis import Genesis
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.node import sync as sync_module
from tests.support.blocks import reseal
from tests.support.miner_parts import Parts, make_chain, transfer
from tests.support.network import make_genesis

LENGTH = 12


@pytest.fixture(scope="module")
def genesis() -> Genesis:
    return make_genesis(3, finality_depth=4, min_difficulty=UTILITY_SCALE // 20)


@pytest.fixture(scope="module")
def blocks(genesis: Genesis) -> list[Block]:
    return make_chain(genesis, LENGTH)


@pytest.fixture(scope="module")
def branch(genesis: Genesis) -> list[Block]:
    return make_chain(genesis, 5, seed=2)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "BLOCKS_A_CALL", 4)


class Feed:
    """A peer that sends what a test says, and nothing else."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.calls = 0

    async def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        self.calls += 1
        for block in self.blocks[:limit]:
            yield block

    async def open_tasks(self) -> Sequence[Any]:
        return ()

    async def estimates(self, race: bytes) -> Sequence[Any]:
        return ()

    async def mempool(self, limit: int) -> Sequence[Any]:
        return ()


async def test_a_late_node_reaches_the_same_tip_and_state_root(
    tmp_path: Path, genesis: Genesis, blocks: list[Block]
) -> None:
    here, there = Parts(tmp_path / "here", genesis), Parts(tmp_path / "there", genesis)
    await there.adopt(blocks)
    waiting = transfer(genesis.id(), LENGTH)
    await there.engine.feed(ReceiveTransaction(waiting))
    await here.sync.catch_up(there.service, "there:1", transactions=True)
    assert here.posap.chain.tip == there.posap.chain.tip == blocks[-1].id()
    mine, theirs = await here.service.status(), await there.service.status()
    assert mine.state_root == theirs.state_root == here.posap.chain.state.root()
    assert here.posap.mempool.transactions() == (waiting,)
    await here.close()
    await there.close()


async def test_waiting_transactions_come_only_when_asked_for(tmp_path: Path, genesis: Genesis) -> None:
    here, there = Parts(tmp_path / "here", genesis), Parts(tmp_path / "there", genesis)
    await there.engine.feed(ReceiveTransaction(transfer(genesis.id(), 0)))
    await here.sync.catch_up(there.service, "there:1", transactions=False)
    assert len(here.posap.mempool) == 0
    await here.close()
    await there.close()


async def test_the_locator_thins_out_towards_the_genesis(tmp_path: Path, genesis: Genesis, blocks: list[Block]) -> None:
    parts = Parts(tmp_path, genesis)
    assert parts.sync.locator() == [genesis.id()]
    await parts.adopt(blocks[:1])
    assert parts.sync.locator() == [blocks[0].id(), genesis.id()]
    await parts.adopt(blocks[1:])
    heights = [0 if found == genesis.id() else parts.posap.chain.tree.height(found) for found in parts.sync.locator()]
    assert heights == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 1, 0]
    await parts.close()


async def test_a_node_on_another_branch_changes_over(
    tmp_path: Path, genesis: Genesis, blocks: list[Block], branch: list[Block]
) -> None:
    here, there = Parts(tmp_path / "here", genesis), Parts(tmp_path / "there", genesis)
    await here.adopt(branch[:3])
    await there.adopt(blocks[:5])
    await here.sync.catch_up(there.service, "there:1", transactions=True)
    assert here.posap.chain.tip == blocks[4].id()
    assert [here.store.block_hash_at(height) for height in range(1, 6)] == [block.id() for block in blocks[:5]]
    await here.close()
    await there.close()


async def test_an_invalid_block_ends_the_visit_and_keeps_what_came_before(
    tmp_path: Path, genesis: Genesis, blocks: list[Block]
) -> None:
    parts = Parts(tmp_path, genesis)
    forged = reseal(blocks[2], timestamp=blocks[2].header.timestamp + 1)
    broken = Block(forged.header, bytes(64), forged.task, forged.certificate, forged.payments, forged.transactions)
    with pytest.raises(InvalidSignature):
        await parts.sync.catch_up(Feed([*blocks[:2], broken]), "liar:1", transactions=True)  # type: ignore[arg-type]
    assert parts.posap.chain.height >= 1
    await parts.adopt(blocks)
    assert parts.posap.chain.height == LENGTH, "the honest chain is still taken"
    await parts.close()


async def test_siblings_cannot_be_heaped_up_as_a_chain(tmp_path: Path, genesis: Genesis, blocks: list[Block]) -> None:
    parts = Parts(tmp_path, genesis)
    siblings = [reseal(blocks[0], timestamp=blocks[0].header.timestamp + 1 + number) for number in range(20)]
    with pytest.raises(BlocksOutOfOrder):
        await parts.sync.catch_up(Feed(siblings), "heaper:1", transactions=True)  # type: ignore[arg-type]
    assert parts.posap.chain.height == 0
    await parts.close()


async def test_a_peer_that_repeats_itself_does_not_hold_us(
    tmp_path: Path, genesis: Genesis, blocks: list[Block]
) -> None:
    parts = Parts(tmp_path, genesis)
    await parts.adopt(blocks)
    peer = Feed(blocks)
    await parts.sync.catch_up(peer, "parrot:1", transactions=True)  # type: ignore[arg-type]
    assert peer.calls == 1
    await parts.close()


async def test_blocks_without_their_parents_end_the_visit_after_a_few_tries(
    tmp_path: Path, genesis: Genesis, blocks: list[Block]
) -> None:
    parts = Parts(tmp_path, genesis)
    peer = Feed(blocks[5:])
    with pytest.raises(UnknownParent):
        await parts.sync.catch_up(peer, "odd:1", transactions=True)  # type: ignore[arg-type]
    assert peer.calls == 1 + sync_module.MAX_MOVES
    await parts.close()


async def test_a_peer_that_is_reorganised_while_it_answers_sends_no_mixture(
    tmp_path: Path, genesis: Genesis, blocks: list[Block], branch: list[Block]
) -> None:
    there = Parts(tmp_path, genesis)
    await there.adopt(branch[:3])
    sent = []
    async for block in there.service.blocks_after([genesis.id()], 100):
        sent.append(block)
        if len(sent) == 2:
            await there.adopt(blocks[:5])
    assert sent == branch[:2]
    await there.close()


async def test_watchers_are_sent_the_whole_new_branch(
    tmp_path: Path, genesis: Genesis, blocks: list[Block], branch: list[Block]
) -> None:
    parts = Parts(tmp_path, genesis)
    await parts.adopt(branch[:3])
    watch = parts.service.watch_blocks(0)
    seen = [await anext(watch) for _ in range(2)]
    # Two have been sent, the third is about to be, when another branch takes over.
    await parts.adopt(blocks[:4])
    seen += [await anext(watch) for _ in range(4)]
    assert seen == [*branch[:2], *blocks[:4]]
    await parts.engine.close()
    assert [block async for block in watch] == []
    await parts.close()


async def test_a_restart_resumes_at_the_stored_tip(tmp_path: Path, genesis: Genesis, blocks: list[Block]) -> None:
    parts = Parts(tmp_path, genesis)
    await parts.adopt(blocks[:7])
    root = (await parts.service.status()).state_root
    await parts.close()
    again = Parts(tmp_path, genesis)
    assert (await again.service.status()).state_root == root == again.posap.chain.state.root()
    await again.adopt(blocks[7:])
    assert again.posap.chain.tip == blocks[-1].id()
    await again.close()


async def test_an_unknown_parent_is_told_to_the_sender(tmp_path: Path, genesis: Genesis, blocks: list[Block]) -> None:
    parts = Parts(tmp_path, genesis)
    with pytest.raises(FedCoinError) as caught:
        await parts.service.receive_block(blocks[3], "nobody:1")
    assert caught.value.code == "UNKNOWN_PARENT"
    with pytest.raises(UnknownParent):
        await parts.engine.feed(ReceiveBlock(blocks[3]))
    await parts.close()
