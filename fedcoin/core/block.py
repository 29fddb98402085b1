"""Blocks (Table 1, Fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedcoin.core.encoding import HASH_SIZE, Struct, enum, i64, optional, raw, u16, u64, vector
from fedcoin.core.estimate import ESTIMATE, Estimate
from fedcoin.core.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, PrivateKey, verify_signature
from fedcoin.core.merkle import merkle_root
from fedcoin.core.params import MAX_CLIENTS, MAX_MINERS
from fedcoin.core.task import TASK, RaceKind, Task, race_id
from fedcoin.core.transaction import PAYMENT, TRANSACTION, Payment, Transaction

MAX_BLOCK_TRANSACTIONS = 65_536
"""Bound of the encoding; the chain's own limit is in its parameters."""
MAX_BLOCK_PAYMENTS = 65_536


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


@dataclass(frozen=True)
class Block:
    """Header and body."""

    header: BlockHeader
    signature: bytes
    """The winner's, over the block hash."""
    task: Task | None
    """The task specification (Fig. 3) of a TASK block; an AUDIT block has none, its problem is on the chain."""
    certificate: tuple[Estimate, ...]
    """The winner's own estimate first, then those that S̄ averages, by miner's public key ascending."""
    payments: tuple[Payment, ...]
    transactions: tuple[Transaction, ...]

    def id(self) -> bytes:
        """Block hash."""
        return self.header.id()

    def verify_winner(self) -> None:
        """Raises InvalidSignature unless the winner signed the header."""
        verify_signature(self.header.winner, self.id(), self.signature)


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
BLOCK = Struct(
    Block,
    "fedcoin/v1/signed-block",
    header=HEADER.codec,
    signature=raw(SIGNATURE_SIZE),
    task=optional(TASK.codec),
    certificate=vector(ESTIMATE.codec, MAX_MINERS),
    payments=vector(PAYMENT.codec, MAX_BLOCK_PAYMENTS),
    transactions=vector(TRANSACTION.codec, MAX_BLOCK_TRANSACTIONS),
)


def body_root(payments: tuple[Payment, ...], transactions: tuple[Transaction, ...]) -> bytes:
    """Merkle root of a block's payments, then transactions; one byte in front tells them apart."""
    leaves = [b"\x01" + PAYMENT.encode(payment) for payment in payments]
    leaves += [b"\x02" + TRANSACTION.encode(transaction) for transaction in transactions]
    return merkle_root(leaves)


def certificate_root(certificate: tuple[Estimate, ...]) -> bytes:
    """Merkle root of the signed estimates."""
    return merkle_root([ESTIMATE.encode(estimate) for estimate in certificate])


def sign_block(key: PrivateKey, block: Block) -> Block:
    """`block` with the winner's signature; its header's winner must be the key's public key."""
    return replace(block, signature=key.sign(block.id()))
