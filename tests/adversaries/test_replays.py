"""Signed messages where they were not signed for: nothing is taken, nothing changes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedcoin.core.block import Block
from fedcoin.core.errors import TransactionNotFound
from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.rpc.calls import Retry
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.score import BanRule, Scores
from fedcoin.rpc.server import serve
from tests.adversaries.conftest import Gained
from tests.adversaries.replayer import Replayer
from tests.support.blocks import adopted, settled_network
from tests.support.miner_parts import Parts
from tests.support.network import CLIENTS, REQUESTER, Network, make_genesis

pytestmark = pytest.mark.functional

THIEF = PrivateKey(b"\x99" * 32)
FOREIGN = make_genesis(4).id()


@dataclass
class Scene:
    """A node one block behind the network, over real RPCs, and the attacker's connection to it."""

    parts: Parts
    client: MinerClient
    attacker: Replayer
    blocks: list[Block]

    def standing(self) -> tuple[bytes, bytes, int]:
        chain = self.parts.posap.chain
        return chain.tip, chain.state.root(), len(self.parts.posap.mempool)


@pytest.fixture(scope="module")
def network() -> Network:
    """Block 1 holds an order, blocks 2 and 3 settle its rounds."""
    return settled_network(rounds=2)


@pytest.fixture
async def scene(tmp_path: Path, network: Network) -> AsyncIterator[Scene]:
    parts = Parts(tmp_path, network.genesis)
    blocks = adopted(network.nodes[0].posap.chain)
    await parts.adopt(blocks[:-1])
    assert parts.posap.chain.tip == blocks[-2].id()
    # Bans are off: every attack is to be judged by itself.
    running = await serve(parts.service, "127.0.0.1:0", scores=Scores(BanRule(seconds=0), time.monotonic))
    client = MinerClient(running.address, retry=Retry(1))
    yield Scene(parts, client, Replayer(client, THIEF, FOREIGN), blocks)
    await client.close()
    await running.stop(0)
    await parts.close()


async def test_transactions(scene: Scene, network: Network, gained: Gained) -> None:
    chain_id, before = network.chain_id, scene.standing()
    nonce = get_account(scene.parts.posap.chain.state, REQUESTER.address).nonce
    body = Transfer(CLIENTS[0].address, 10)
    abroad = sign_transaction(REQUESTER, FOREIGN, nonce, 1, body)
    attacks = [("signed for another chain", abroad)]
    attacks += scene.attacker.transactions(sign_transaction(REQUESTER, chain_id, nonce, 1, body))
    for what, message in attacks:
        code = await scene.attacker.offer(message)
        assert code in {"INVALID_SIGNATURE", "INSUFFICIENT_FUNDS"}, (what, code)
        with pytest.raises(TransactionNotFound):
            await scene.client.transaction(message.id(chain_id))
    assert scene.standing() == before
    confirmed = scene.blocks[0].transactions[0]
    assert await scene.attacker.offer(confirmed) == "", "what is confirmed may be handed in again"
    assert scene.standing() == before, "and moves no money again"
    gained(f"{len(attacks)} transactions replayed or changed", "nothing")


async def test_estimates(scene: Scene, gained: Gained) -> None:
    before, tip = scene.standing(), scene.parts.posap.chain.tip
    winner, second = scene.blocks[-1].certificate[:2]
    old = scene.blocks[-2].certificate[0]
    attacks = [*scene.attacker.estimates(winner, second.miner, scene.blocks[-1].id())]
    attacks += scene.attacker.estimates(old, second.miner, tip)
    for what, message in attacks:
        code = await scene.attacker.offer(message)
        # One of a race that is over is neither an error nor kept.
        assert code or message.parent not in (tip, scene.blocks[-1].id()), what
        held = [each for race in scene.parts.posap.races._races.values() for each in race.others.values()]
        assert message not in held, what
    assert scene.standing() == before
    gained(f"{len(attacks)} estimates replayed or changed", "nothing")


async def test_tasks(scene: Scene, gained: Gained) -> None:
    before, tip = scene.standing(), scene.parts.posap.chain.tip
    old = scene.blocks[-2].task
    assert old is not None
    for what, message in scene.attacker.tasks(old, tip, bytes(32)):
        assert await scene.attacker.offer(message), what
    assert await scene.client.open_tasks() == []
    assert scene.standing() == before
    assert scene.parts.store.tasks() == []
    gained("tasks replayed or changed", "nothing")


async def test_bodies_of_blocks(scene: Scene, gained: Gained) -> None:
    before = scene.standing()
    block, other = scene.blocks[-1], scene.blocks[-2]
    attacks = [attack for attack in scene.attacker.blocks(block, other) if attack[1] != block]
    for what, message in attacks:
        assert await scene.attacker.offer(message), what
        assert scene.standing() == before, what
    assert await scene.attacker.offer(block) == "", "the honest one is none the worse for it"
    assert scene.parts.posap.chain.tip == block.id()
    gained(f"{len(attacks)} blocks with exchanged parts", "nothing; the honest block was adopted after them")
