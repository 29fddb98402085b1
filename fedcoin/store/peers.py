"""Miners that this node has heard of."""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.core.encoding import Struct, blob, text, u64
from fedcoin.core.keys import PUBLIC_KEY_SIZE
from fedcoin.store.database import Batch, Database
from fedcoin.store.identity import decoded
from fedcoin.store.layout import PEERS


@dataclass(frozen=True)
class PeerRecord:
    """A miner and where it listens."""

    address: str
    """HOST:PORT."""
    public_key: bytes
    """Empty until it has answered."""
    last_seen: int
    """Milliseconds since 1970; 0: never."""
    first_seen: int = 0
    """When it first answered; 0: never. Who has been there longest is gone back to first."""


_LAYOUT = Struct(
    PeerRecord,
    "fedcoin/store/peer",
    address=text(512),
    public_key=blob(PUBLIC_KEY_SIZE),
    last_seen=u64,
    first_seen=u64,
)


class PeerTable:
    """The address book."""

    _db: Database

    def put_peer(self, peer: PeerRecord) -> None:
        """Keeps a peer, in place of what was known under its address."""
        self._db.put(PEERS, peer.address.encode(), _LAYOUT.encode(peer))

    def peers(self) -> list[PeerRecord]:
        """All peers, by address. Raises StoreCorrupt."""
        return [decoded(_LAYOUT, data, "peer") for _, data in self._db.scan(PEERS)]

    def remove_peer(self, address: str) -> None:
        """Forgets a peer, if it is there."""
        batch = Batch()
        batch.delete(PEERS, address.encode())
        self._db.write(batch)
