"""Senders: keys, nonces, and transfers signed ahead of their use."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field

from fedcoin.core.keys import PrivateKey
from fedcoin.core.transaction import Transfer, sign_transaction
from fedcoin.node.chain_defaults import DEFAULT_PARAMS
from fedcoin.rpc.convert import to_message

MOST_WAITING = 48
"""Of one sender: below the mempool's limit of 64."""


@dataclass
class Sender:
    """One account."""

    key: PrivateKey
    recipient: bytes
    nonce: int = 0
    """Of the next transfer."""
    waiting: int = 0
    """Handed out and not confirmed."""
    refused: deque[Signed] = field(default_factory=deque)
    """To be handed in again, before others."""


@dataclass(frozen=True)
class Signed:
    """A transfer ready to be sent."""

    sender: Sender
    nonce: int
    signature: bytes
    message: bytes
    """A serialized fedcoin.v1.Transaction."""


class Wallets:
    """Many senders that pay one another in a ring, so that the number of accounts stays the same."""

    def __init__(self, count: int, seed: bytes = b"fedcoin load") -> None:
        keys = [PrivateKey(hashlib.sha256(seed + number.to_bytes(4, "big")).digest()) for number in range(count)]
        self.senders = [Sender(key, keys[(number + 1) % count].address) for number, key in enumerate(keys)]

    @property
    def addresses(self) -> list[bytes]:
        """Of all senders."""
        return [sender.key.address for sender in self.senders]


class Purse:
    """The share of the senders whose transfers go to one miner, in turn, so that nonces arrive in order."""

    def __init__(self, senders: list[Sender], chain_id: bytes) -> None:
        self._senders = deque(senders)
        self._chain_id = chain_id
        self._ready: deque[Signed] = deque()

    def sign_ahead(self, count: int) -> None:
        """Signs until `count` transfers lie ready, as far as the senders may have so many waiting."""
        while len(self._ready) < count:
            transfer = self._next()
            if transfer is None:
                return
            self._ready.append(transfer)

    def take(self) -> Signed | None:
        """A transfer to send now; None if every sender has enough waiting."""
        return self._ready.popleft() if self._ready else self._next()

    def _next(self) -> Signed | None:
        for _ in range(len(self._senders)):
            sender = self._senders[0]
            self._senders.rotate(-1)
            if sender.refused:
                return sender.refused.popleft()
            if sender.waiting < MOST_WAITING:
                sender.waiting += 1
                sender.nonce += 1
                return self._sign(sender, sender.nonce - 1)
        return None

    def _sign(self, sender: Sender, nonce: int) -> Signed:
        body = Transfer(sender.recipient, 1 + nonce)
        transaction = sign_transaction(sender.key, self._chain_id, nonce, DEFAULT_PARAMS.min_fee, body)
        return Signed(sender, nonce, transaction.signature, to_message(transaction).SerializeToString())
