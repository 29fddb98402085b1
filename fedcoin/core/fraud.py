"""Accusations: what one signed message says against the miner that has signed it (docs/adr/0010).

An estimate binds its miner to its leaves, and leaves are cumulative: leaf i is the sum of the first i + 1 iterations'
marginal contributions, client by client. So one leaf or two neighbouring ones, each with its Merkle path, show every
kind of fraud: a last leaf that is not `total`, a step beyond the largest utility, a step that its iteration does not
give.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.core.encoding import HASH_SIZE, Struct, blob, optional, raw, u64, vector
from fedcoin.core.estimate import ESTIMATE, Estimate
from fedcoin.core.header import HEADER, BlockHeader
from fedcoin.core.keys import SIGNATURE_SIZE, verify_signature
from fedcoin.core.params import MAX_CLIENTS

MAX_LEAF_BYTES = 8 * MAX_CLIENTS
MAX_PATH = 32
"""Hashes of a Merkle path at most; MAX_ITERATIONS needs 20."""


@dataclass(frozen=True)
class LeafProof:
    """One leaf of an estimate and its path to the root."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class FraudReport:
    """A registered miner accuses another: the accused's estimate, and the leaves that speak against it.

    Accepted by the chain if the evidence is well-formed; the accused loses its bond once enough miners have recomputed
    the leaf and agreed (`FraudVote`). The report is its sender's vote.
    """

    estimate: Estimate
    """Signed by the accused."""
    order: bytes | None
    """The order that the race's task belongs to, whose requester is to be made good; None for an AUDIT race."""
    before: LeafProof | None
    """The leaf before the accused one; None if that is the first."""
    accused: LeafProof
    """The leaf in question."""

    def id(self, chain_id: bytes) -> bytes:
        """The case: the same for everyone who brings the same evidence."""
        return FRAUD_REPORT.digest(self, chain_id)


@dataclass(frozen=True)
class FraudVote:
    """A registered miner has recomputed the leaf of an open case and finds it forged."""

    case: bytes
    """Case id."""


@dataclass(frozen=True)
class DoubleSign:
    """Two blocks of one height, signed by one key. It proves itself: anyone may show it, and no vote follows."""

    first: BlockHeader
    """The one with the lower hash."""
    first_signature: bytes
    second: BlockHeader
    second_signature: bytes

    def id(self, chain_id: bytes) -> bytes:
        """The case: the same for everyone who shows the same two blocks."""
        return DOUBLE_SIGN.digest(self, chain_id)

    def verify_signatures(self) -> None:
        """Raises InvalidSignature unless the winner has signed both headers."""
        verify_signature(self.first.winner, self.first.id(), self.first_signature)
        verify_signature(self.second.winner, self.second.id(), self.second_signature)


LEAF_PROOF = Struct(
    LeafProof,
    "fedcoin/v1/leaf-proof",
    index=u64,
    leaf=blob(MAX_LEAF_BYTES),
    path=vector(raw(HASH_SIZE), MAX_PATH),
)
FRAUD_REPORT = Struct(
    FraudReport,
    "fedcoin/v1/fraud-report",
    estimate=ESTIMATE.codec,
    order=optional(raw(HASH_SIZE)),
    before=optional(LEAF_PROOF.codec),
    accused=LEAF_PROOF.codec,
)
FRAUD_VOTE = Struct(FraudVote, "fedcoin/v1/fraud-vote", case=raw(HASH_SIZE))
DOUBLE_SIGN = Struct(
    DoubleSign,
    "fedcoin/v1/double-sign",
    first=HEADER.codec,
    first_signature=raw(SIGNATURE_SIZE),
    second=HEADER.codec,
    second_signature=raw(SIGNATURE_SIZE),
)
