"""A miner that is not in the genesis registers itself once it can pay."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fedcoin.consensus.messages import ReceiveBlock, ReceiveTransaction
from fedcoin.core.params import UNITS_PER_FDC
from fedcoin.core.transaction import MinerRegistration, Transfer, sign_transaction
from fedcoin.ledger.accounts import credit
from fedcoin.ledger.miners import MinerStanding, register_miner, remove_miner, set_standing
from fedcoin.node.registration import Registration
from tests.support.blocks import adopted
from tests.support.miner_parts import FOLLOWER, Parts
from tests.support.network import REQUESTER, Network, make_genesis

BOND = 5 * UNITS_PER_FDC


async def test_it_waits_for_fee_and_bond_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = Network(make_genesis(3, miner_bond=BOND), nodes=3)
    node = network.nodes[0]
    parts = Parts(tmp_path, network.genesis)
    registration = Registration(parts.engine, FOLLOWER, "late")

    async def paid(nonce: int, amount: int) -> None:
        transfer = sign_transaction(REQUESTER, network.chain_id, nonce, 1, Transfer(FOLLOWER.address, amount))
        network.feed(node, ReceiveTransaction(transfer))
        network.run(lambda: min(network.heights()) == nonce + 1)
        await parts.engine.feed(ReceiveBlock(adopted(node.posap.chain)[nonce]))
        await registration.look()

    caplog.set_level(logging.WARNING, "fedcoin.miner")
    await registration.look()
    await paid(0, BOND)  # enough for the bond, not for the fee
    assert len(parts.posap.mempool) == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"takes {BOND + 1}" in caplog.text
    await paid(1, 1)
    (waiting,) = parts.posap.mempool.transactions()
    assert (waiting.sender, waiting.body, waiting.fee) == (FOLLOWER.public_key, MinerRegistration("late"), 1)
    await registration.look()
    assert len(parts.posap.mempool) == 1, "it waits for the one that it has sent"
    await parts.close()


async def test_without_a_name_nothing_is_sent_or_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = Parts(tmp_path, make_genesis(3, miner_bond=0))
    await Registration(parts.engine, FOLLOWER, "").look()
    assert (len(parts.posap.mempool), caplog.records) == (0, [])
    await parts.close()


async def test_who_has_left_is_not_registered_again_when_the_bond_is_back(tmp_path: Path) -> None:
    parts = Parts(tmp_path, make_genesis(3, miner_bond=BOND))
    registration = Registration(parts.engine, FOLLOWER, "gone")
    state = parts.posap.chain.state
    register_miner(state, FOLLOWER.public_key, "gone", 0)
    set_standing(state, FOLLOWER.public_key, MinerStanding.LEAVING, 0)
    await registration.look()
    remove_miner(state, FOLLOWER.public_key)
    credit(state, FOLLOWER.address, 2 * BOND)
    await registration.look()
    assert len(parts.posap.mempool) == 0
    await parts.close()
