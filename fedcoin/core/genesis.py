"""The first state of a chain. Its hash is the chain id, so nothing signed for one chain is valid on another."""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.core.encoding import Struct, raw, u64, vector
from fedcoin.core.keys import ADDRESS_SIZE, PUBLIC_KEY_SIZE
from fedcoin.core.params import CHAIN_PARAMS, MAX_MINERS, ChainParams
from fedcoin.core.task import PROBLEM, Problem

MAX_ALLOCATIONS = 100_000


@dataclass(frozen=True)
class Allocation:
    """Units that an account starts with. Nothing is minted later."""

    address: bytes
    amount: int


@dataclass(frozen=True)
class Genesis:
    """Parameters, first balances, first miners, and a tiny problem for AUDIT blocks before any task is settled."""

    params: ChainParams
    timestamp: int
    """Milliseconds since 1970."""
    allocations: tuple[Allocation, ...]
    miners: tuple[bytes, ...]
    """Public keys."""
    problem: Problem

    def id(self) -> bytes:
        """The chain id, which is also the hash of block 0."""
        return GENESIS.digest(self)


ALLOCATION = Struct(Allocation, "fedcoin/v1/allocation", address=raw(ADDRESS_SIZE), amount=u64)
GENESIS = Struct(
    Genesis,
    "fedcoin/v1/genesis",
    params=CHAIN_PARAMS.codec,
    timestamp=u64,
    allocations=vector(ALLOCATION.codec, MAX_ALLOCATIONS),
    miners=vector(raw(PUBLIC_KEY_SIZE), MAX_MINERS),
    problem=PROBLEM.codec,
)
