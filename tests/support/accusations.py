"""Evidence for tests: estimates with their leaves, reports, double signatures; accusations in the ledger's world."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from fedcoin.core.errors import FedCoinError
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.fraud import DoubleSign, FraudReport, LeafProof
from fedcoin.core.header import BlockHeader
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import MinerRegistration, bond_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.miners import MinerStanding, get_miner, miners, record_certificate
from fedcoin.ledger.transactions import apply_transaction
from fedcoin.shapley.leaves import LeafLog


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def estimate_of(
    miner: PrivateKey, chain_id: bytes, clients: int = 3, time: int = 5, race: str = "task"
) -> tuple[Estimate, LeafLog]:
    """A signed estimate in the race of that name, and its leaves."""
    log = LeafLog(clients)
    for index in range(time):
        log.append([(place - 1) * 1000 + index for place in range(clients)])
    unsigned = Estimate(
        RaceKind.TASK, digest(race), digest("parent"), miner.public_key, log.time, log.total, log.root(), 1, b""
    )
    return sign_estimate(miner, chain_id, unsigned), log


def proof(log: LeafLog, index: int) -> LeafProof:
    return LeafProof(index, log.encoded(index), tuple(log.proof(index, log.time)))


def report_of(
    miner: PrivateKey,
    chain_id: bytes,
    index: int = 2,
    order: bytes | None = None,
    clients: int = 3,
    time: int = 5,
    race: str = "task",
) -> FraudReport:
    """A well-formed report of one leaf. Whether the leaf is wrong is not for the ledger to say."""
    estimate, log = estimate_of(miner, chain_id, clients, time, race)
    return FraudReport(estimate, order, proof(log, index - 1) if index else None, proof(log, index))


def header_of(winner: PrivateKey, chain_id: bytes, height: int = 7, text: str = "", clients: int = 3) -> BlockHeader:
    """A header that differs by `text`."""
    return BlockHeader(
        version=1,
        chain_id=chain_id,
        kind=RaceKind.AUDIT,
        height=height,
        winner=winner.public_key,
        averaged_total=(5,) * clients,
        averaged_time=3,
        previous=digest("previous"),
        winner_total=(6,) * clients,
        winner_time=4,
        difficulty=10**8,
        merkle_root=digest(text),
        timestamp=10**6,
        task=digest("task"),
        certificate_root=digest("certificate"),
        state_root=digest("state"),
    )


def double_sign_of(winner: PrivateKey, chain_id: bytes, height: int = 7, clients: int = 3) -> DoubleSign:
    """Two headers of one height, signed, in order of their hashes."""
    headers = (header_of(winner, chain_id, height, text, clients) for text in ("one", "other"))
    first, second = sorted(headers, key=BlockHeader.id)
    return DoubleSign(first, winner.sign(first.id()), second, winner.sign(second.id()))


# --- on the ledger's world (tests/ledger/conftest.py), where miner2 is the one that is accused -----------------------

FORGER = "miner2"


def refused(world: Any, name: str, body: Any, error: type[FedCoinError]) -> None:
    before = world.state.entries()
    with pytest.raises(error):
        apply_transaction(
            world.state,
            world.sign(name, body),
            world.address("miner0"),
            world.chain_id,
            world.params,
            world.height + 1,
            world.timestamp,
        )
    assert world.state.entries() == before


def report(world: Any, **changes: Any) -> FraudReport:
    return report_of(world.key(FORGER), world.chain_id, **changes)


def accuse(world: Any, reporter: str = "miner0", **changes: Any) -> bytes:
    """Opens a case and returns its id."""
    made = report(world, **changes)
    world.block(world.sign(reporter, made))
    return made.id(world.chain_id)


def bond_of(world: Any, name: str) -> int:
    return get_account(world.state, bond_address(world.key(name).public_key)).balance


def add_active_miners(world: Any, *names: str) -> None:
    world.block(*(world.sign(name, MinerRegistration(name)) for name in names))
    record_certificate(world.state, [miner.public_key for miner in miners(world.state)], world.params)
    # `World.block` has the genesis miners in its certificates; these shall not become inactive meanwhile.
    world.params = replace(world.params, inactive_after=1000)


def standing(world: Any, name: str = FORGER) -> MinerStanding:
    return get_miner(world.state, world.key(name).public_key).standing
