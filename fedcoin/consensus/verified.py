"""Signatures that were found good, so that none is checked twice: an estimate comes alone and again in a block's
certificate, a transaction goes through the mempool and then through a block."""

from __future__ import annotations

from collections import OrderedDict

from fedcoin.core.estimate import ESTIMATE, Estimate
from fedcoin.core.params import ChainParams
from fedcoin.core.transaction import Transaction
from fedcoin.ledger.transactions import verify_alone

CAPACITY = 32_768
"""Digests that are remembered, up to 96 bytes each; the oldest go first."""


class Verified:
    """Remembers digests of signed values, signature included. One belongs to one chain."""

    def __init__(self, chain_id: bytes, params: ChainParams, capacity: int = CAPACITY) -> None:
        self._chain_id = chain_id
        self._params = params
        self._capacity = capacity
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._digests)

    def estimate(self, estimate: Estimate) -> None:
        """Raises InvalidSignature unless the miner signed it for this chain."""
        digest = ESTIMATE.digest(estimate)
        if digest not in self._digests:
            estimate.verify(self._chain_id)
            self._remember(digest)

    def transaction(self, transaction: Transaction) -> None:
        """All rules for a transaction that need no state. Raises what `ledger.transactions.verify_alone` raises."""
        signed = self._signed(transaction)
        if signed not in self._digests:
            verify_alone(transaction, self._chain_id, self._params)
            self._remember(signed)

    def note(self, transaction: Transaction) -> None:
        """The mempool has verified this transaction."""
        self._remember(self._signed(transaction))

    def _signed(self, transaction: Transaction) -> bytes:
        # The id covers all but the signature.
        return transaction.id(self._chain_id) + transaction.signature

    def _remember(self, digest: bytes) -> None:
        self._digests[digest] = None
        if len(self._digests) > self._capacity:
            self._digests.popitem(last=False)
