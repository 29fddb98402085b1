"""A miner's estimate of the Shapley values: what Alg. 1 line 13 broadcasts, made checkable."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedcoin.core.encoding import HASH_SIZE, Struct, enum, i64, raw, u64, vector
from fedcoin.core.errors import EstimateOutOfRange
from fedcoin.core.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, PrivateKey, verify_signature
from fedcoin.core.params import MAX_CLIENTS, MAX_ITERATIONS, MAX_UTILITY
from fedcoin.core.task import RaceKind, race_id


@dataclass(frozen=True)
class Estimate:
    """S = total / time of one miner in one race."""

    kind: RaceKind
    task: bytes
    """Task hash; for an AUDIT race the problem's."""
    parent: bytes
    """Hash of the block that the race's block will follow."""
    miner: bytes
    """Public key."""
    time: int
    """Iterations done: the number of leaves under leaf_root."""
    total: tuple[int, ...]
    """K sums of marginal contributions, times UTILITY_SCALE; exactly the last leaf."""
    leaf_root: bytes
    """RFC 6962 root of the leaves."""
    opened_at: int
    """Milliseconds since 1970 when the miner began on this race; the difficulty rule takes the median."""
    signature: bytes

    @property
    def race(self) -> bytes:
        """The race it belongs to."""
        return race_id(self.kind, self.task, self.parent)

    def verify_range(self, clients: int) -> None:
        """Raises EstimateOutOfRange unless the numbers are possible at all for that many clients."""
        if not 1 <= self.time <= MAX_ITERATIONS or len(self.total) != clients:
            raise EstimateOutOfRange
        # A marginal is a difference of two utilities, each within ±MAX_UTILITY.
        if any(abs(total) > 2 * MAX_UTILITY * self.time for total in self.total):
            raise EstimateOutOfRange

    def id(self, chain_id: bytes) -> bytes:
        """The digest that is signed."""
        return _UNSIGNED.digest(self, chain_id)

    def verify(self, chain_id: bytes) -> None:
        """Raises InvalidSignature unless the miner signed this estimate for this chain."""
        verify_signature(self.miner, self.id(chain_id), self.signature)


_UNSIGNED = Struct(
    Estimate,
    "fedcoin/v1/estimate",
    kind=enum(RaceKind),
    task=raw(HASH_SIZE),
    parent=raw(HASH_SIZE),
    miner=raw(PUBLIC_KEY_SIZE),
    time=u64,
    total=vector(i64, MAX_CLIENTS),
    leaf_root=raw(HASH_SIZE),
    opened_at=u64,
)
ESTIMATE = Struct(Estimate, "fedcoin/v1/signed-estimate", **_UNSIGNED.fields, signature=raw(SIGNATURE_SIZE))


def sign_estimate(key: PrivateKey, chain_id: bytes, estimate: Estimate) -> Estimate:
    """`estimate` with the miner's signature; its `miner` must be the key's public key."""
    return replace(estimate, signature=key.sign(estimate.id(chain_id)))
