"""The clients that have joined an FL server. In memory only: they join again every few seconds."""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.core.errors import ClientInvalid, ClientNotJoined, RequestExpired, TooManyClients
from fedcoin.node.rounds import MAX_SAMPLES


@dataclass(frozen=True)
class JoinedClient:
    """A client, as of its last signed word."""

    public_key: bytes
    samples: int
    joined_at: int
    """The time that the client signed, milliseconds since 1970."""
    heard_at: int
    """Our time."""


class ClientsList:
    """Who is there to be selected."""

    def __init__(self, heard_within_ms: int, capacity: int) -> None:
        self._heard_within_ms = heard_within_ms
        self._capacity = capacity
        self._clients: dict[bytes, JoinedClient] = {}

    def join(self, public_key: bytes, samples: int, joined_at: int, now_ms: int) -> None:
        """A client whose signature was checked. Raises ClientInvalid, RequestExpired (a replay), TooManyClients."""
        if not 1 <= samples <= MAX_SAMPLES:
            raise ClientInvalid(f"{samples} samples are not possible")
        before = self._clients.get(public_key)
        if before is not None and joined_at < before.joined_at:
            raise RequestExpired("a later request of this client is known")
        if before is None and len(self._clients) >= self._capacity:
            self._clients = {client.public_key: client for client in self._present(now_ms)}
            if len(self._clients) >= self._capacity:
                raise TooManyClients(f"{self._capacity} clients are here already")
        self._clients[public_key] = JoinedClient(public_key, samples, joined_at, now_ms)

    def require(self, public_key: bytes, now_ms: int) -> JoinedClient:
        """The client. Raises ClientNotJoined if it was not heard lately."""
        client = self._clients.get(public_key)
        if client is None or now_ms - client.heard_at > self._heard_within_ms:
            raise ClientNotJoined
        return client

    def present(self, now_ms: int) -> list[bytes]:
        """Public keys of those heard lately."""
        return [client.public_key for client in self._present(now_ms)]

    def _present(self, now_ms: int) -> list[JoinedClient]:
        return [item for item in self._clients.values() if now_ms - item.heard_at <= self._heard_within_ms]
