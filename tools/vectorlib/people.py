"""The keys, the chain and the values that the examples share."""

from __future__ import annotations

import hashlib

from fedcoin.core.genesis import Allocation, Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.params import UTILITY_SCALE, ChainParams
from fedcoin.core.task import Aggregation, Baseline, Problem, Sampler, UpdateRef, Utility
from fedcoin.core.transaction import Order, Schedule

START = 1_700_000_000_000
"""Timestamp of the genesis, ms since 1970."""
OTHER_CHAIN = hashlib.sha256(b"another chain").digest()


def key(name: str) -> PrivateKey:
    """The private key of one of the people."""
    return PrivateKey(digest(f"key of {name}"))


def digest(text: str) -> bytes:
    """Some 32 bytes."""
    return hashlib.sha256(f"fedcoin vectors: {text}".encode()).digest()


SOFTMAX = ModelSpec(ModelFamily.LAYERS, "softmax", (64,), 10, (Layer(LayerKind.LINEAR, 10),))
CNN = ModelSpec(
    ModelFamily.LAYERS,
    "cnn",
    (1, 28, 28),
    10,
    (
        Layer(LayerKind.CONV2D, 8, 5, 1, 2),
        Layer(LayerKind.RELU),
        Layer(LayerKind.MAX_POOL2D, 0, 2, 2),
        Layer(LayerKind.LINEAR, 10),
    ),
)

PARAMS = ChainParams(
    name="vectors",
    target_interval_ms=30_000,
    audit_interval_ms=5_000,
    difficulty_window=4,
    initial_difficulty=UTILITY_SCALE // 20,
    initial_audit_difficulty=UTILITY_SCALE // 10,
    min_difficulty=UTILITY_SCALE // 1000,
    max_difficulty=UTILITY_SCALE,
    norm=2,
    quorum_numerator=2,
    quorum_denominator=3,
    inactive_after=3,
    finality_depth=3,
    heartbeat_ms=60_000,
    min_fee=1000,
    miner_bond=50_001,
    bond_blocks=3,
    max_block_bytes=1_000_000,
    max_blob_bytes=64_000_000,
    max_transactions=4,
)

MINERS = sorted((key(f"miner {i}") for i in range(4)), key=lambda miner: miner.public_key)


def problem(name: str, clients: int, model: ModelSpec = SOFTMAX) -> Problem:
    """A Shapley problem; its blobs exist by digest only."""
    return Problem(
        model,
        Aggregation.UNWEIGHTED,
        Utility.ACCURACY,
        Baseline.ZERO,
        Sampler.PERMUTATION,
        digest(f"{name} base model"),
        digest(f"{name} evaluation set"),
        tuple(UpdateRef(digest(f"{name} update {i}"), 100 + i) for i in range(clients)),
    )


GENESIS = Genesis(
    PARAMS,
    START,
    (
        Allocation(key("requester").address, 1_000_000_000_000),
        Allocation(key("alice").address, 5_000_000_000),
        Allocation(key("newcomer").address, 200_000),
        *(Allocation(miner.address, PARAMS.miner_bond + 100_000) for miner in MINERS),
    ),
    tuple(miner.public_key for miner in MINERS),
    problem("genesis", 2),
)
CHAIN = GENESIS.id()


def order(**changes: object) -> Order:
    """An order of 7 : 1 : 2 with some of its terms changed."""
    terms: dict[str, object] = {
        "server": key("server").address,
        "amount": 100_000_000_001,
        "train_share": 7,
        "com_share": 1,
        "sap_share": 2,
        "rounds": 3,
        "schedule": Schedule.EQUAL,
        "ratio_numerator": 1,
        "ratio_denominator": 1,
        "model": SOFTMAX,
        "aggregation": Aggregation.UNWEIGHTED,
        "utility": Utility.ACCURACY,
        "baseline": Baseline.ZERO,
        "sampler": Sampler.PERMUTATION,
        "evaluation_set": digest("order evaluation set"),
        "min_clients": 2,
        "expiry": START + 3_600_000,
    }
    return Order(**{**terms, **changes})  # type: ignore[arg-type]
