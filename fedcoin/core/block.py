"""Blocks (Table 1, Fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedcoin.core.encoding import Struct, optional, raw, vector
from fedcoin.core.estimate import ESTIMATE, Estimate
from fedcoin.core.header import HEADER, BlockHeader
from fedcoin.core.keys import SIGNATURE_SIZE, PrivateKey, verify_signature
from fedcoin.core.merkle import merkle_root
from fedcoin.core.params import MAX_MINERS
from fedcoin.core.task import TASK, Task
from fedcoin.core.transaction import PAYMENT, TRANSACTION, Payment, Transaction

MAX_BLOCK_TRANSACTIONS = 65_536
"""Bound of the encoding; the chain's own limit is in its parameters."""
MAX_BLOCK_PAYMENTS = 65_536


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
