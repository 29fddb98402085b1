"""Block headers (Table 1): what the winner signs, and what proves that it has signed twice."""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.core.encoding import HASH_SIZE, Struct, enum, i64, raw, u16, u64, vector
from fedcoin.core.keys import PUBLIC_KEY_SIZE
from fedcoin.core.params import MAX_CLIENTS
from fedcoin.core.task import RaceKind, race_id


@dataclass(frozen=True)
class BlockHeader:
    """The seven fields of Table 1 and what a running chain needs besides."""

    version: int
    chain_id: bytes
    """Hash of the genesis."""
    kind: RaceKind
    height: int
    """Table 1 "Block ID"; the genesis has 0."""
    winner: bytes
    """Table 1 "Winner's ID": public key."""
    averaged_total: tuple[int, ...]
    """Table 1 "Averaged S": numerator of S̄ (Alg. 1 line 16), times UTILITY_SCALE."""
    averaged_time: int
    """Denominator of S̄: Σ time of the others in the certificate."""
    previous: bytes
    """Table 1 "Previous Hash"."""
    winner_total: tuple[int, ...]
    """Table 1 "Winner's S": numerator, times UTILITY_SCALE."""
    winner_time: int
    """Denominator of the winner's S: iterations done."""
    difficulty: int
    """Table 1 "Difficulty": D, times UTILITY_SCALE."""
    merkle_root: bytes
    """Table 1 "Merkle Tree Root" over transactions and payments."""
    timestamp: int
    """Milliseconds since 1970."""
    task: bytes
    """Task hash; for an AUDIT block the hash of the last settled problem."""
    certificate_root: bytes
    """Merkle root over the signed estimates of the certificate."""
    state_root: bytes
    """Merkle root of the state after this block."""

    def id(self) -> bytes:
        """Block hash: the digest that the winner signs."""
        return HEADER.digest(self, self.chain_id)

    @property
    def race(self) -> bytes:
        """The race that this block ends."""
        return race_id(self.kind, self.task, self.previous)


HEADER = Struct(
    BlockHeader,
    "fedcoin/v1/block",
    version=u16,
    chain_id=raw(HASH_SIZE),
    kind=enum(RaceKind),
    height=u64,
    winner=raw(PUBLIC_KEY_SIZE),
    averaged_total=vector(i64, MAX_CLIENTS),
    averaged_time=u64,
    previous=raw(HASH_SIZE),
    winner_total=vector(i64, MAX_CLIENTS),
    winner_time=u64,
    difficulty=u64,
    merkle_root=raw(HASH_SIZE),
    timestamp=u64,
    task=raw(HASH_SIZE),
    certificate_root=raw(HASH_SIZE),
    state_root=raw(HASH_SIZE),
)
