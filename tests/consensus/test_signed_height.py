"""A miner that has lost its chain signs no second block of a height: that would cost its bond."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedcoin.consensus.chain import StoredChain
from fedcoin.consensus.messages import ReceiveTransaction
from tests.support.blocks import adopted
from tests.support.memory_storage import MemoryStorage
from tests.support.miner_parts import transfer
from tests.support.network import MINERS, Network, make_genesis

SIGNED = 4


def test_no_height_is_signed_twice_and_mining_goes_on_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(make_genesis(3), nodes=3, seed=3)
    forgetful, other = network.nodes[0], network.nodes[1]
    network.crash(forgetful)
    original = MemoryStorage.stored_chain

    def with_signed(self: MemoryStorage) -> StoredChain:
        return replace(original(self), signed=SIGNED)

    monkeypatch.setattr(MemoryStorage, "stored_chain", with_signed)
    network.restart(forgetful)
    for nonce in range(20):
        network.feed(other, ReceiveTransaction(transfer(network.chain_id, nonce)))
        network.run(lambda: min(network.heights()) > nonce)  # noqa: B023
    winners = [block.header.winner for block in adopted(other.posap.chain)]
    assert MINERS[0].public_key not in winners[:SIGNED]
    assert MINERS[0].public_key in winners[SIGNED:]
