"""What clients and requesters sign when they ask an FL server for something, and miners when they are met.

Each request binds the chain, and a time, so that a recorded one is worthless elsewhere and later; what a miner signs
binds the caller's nonce and the miner's address, so that nobody can hand it on as his own.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.core.encoding import HASH_SIZE, Struct, raw, text, u64
from fedcoin.core.errors import RequestExpired
from fedcoin.core.keys import PUBLIC_KEY_SIZE, PrivateKey, verify_signature
from fedcoin.rpc.address import MAX_ADDRESS
from fedcoin.rpc.views import NONCE_SIZE

MAX_AGE_MS = 120_000
"""A signed request is accepted this long after it was made; and this far in the future, for clocks that differ."""


@dataclass(frozen=True)
class JoinRequest:
    """A client joins a server, or says that it is still there."""

    server: bytes
    """The server's public key."""
    samples: int
    """n_k."""
    joined_at: int
    """Milliseconds since 1970."""


@dataclass(frozen=True)
class ModelRequest:
    """A requester asks for the model that it paid for."""

    order: bytes
    requested_at: int
    """Milliseconds since 1970."""


@dataclass(frozen=True)
class Presence:
    """A miner says that it is who answers at an address."""

    nonce: bytes
    """32 bytes that the caller has drawn."""
    address: str
    """HOST:PORT at which the miner says that it is reached; empty if it cannot be."""


JOIN_REQUEST = Struct(JoinRequest, "fedcoin/v1/join", server=raw(PUBLIC_KEY_SIZE), samples=u64, joined_at=u64)
MODEL_REQUEST = Struct(ModelRequest, "fedcoin/v1/model-request", order=raw(HASH_SIZE), requested_at=u64)
PRESENCE = Struct(Presence, "fedcoin/v1/presence", nonce=raw(NONCE_SIZE), address=text(MAX_ADDRESS))


def sign_presence(key: PrivateKey, chain_id: bytes, presence: Presence) -> bytes:
    """The miner's signature over its presence."""
    return key.sign(PRESENCE.digest(presence, chain_id))


def verify_presence(public_key: bytes, chain_id: bytes, presence: Presence, signature: bytes) -> None:
    """Raises InvalidSignature, InvalidPublicKey."""
    verify_signature(public_key, PRESENCE.digest(presence, chain_id), signature)


def sign_join(key: PrivateKey, chain_id: bytes, request: JoinRequest) -> bytes:
    """The client's signature over its request."""
    return key.sign(JOIN_REQUEST.digest(request, chain_id))


def verify_join(public_key: bytes, chain_id: bytes, request: JoinRequest, signature: bytes, now_ms: int) -> None:
    """Raises RequestExpired, InvalidSignature, InvalidPublicKey."""
    _check_age(request.joined_at, now_ms)
    verify_signature(public_key, JOIN_REQUEST.digest(request, chain_id), signature)


def sign_model_request(key: PrivateKey, chain_id: bytes, request: ModelRequest) -> bytes:
    """The requester's signature over its request."""
    return key.sign(MODEL_REQUEST.digest(request, chain_id))


def verify_model_request(
    public_key: bytes, chain_id: bytes, request: ModelRequest, signature: bytes, now_ms: int
) -> None:
    """Raises RequestExpired, InvalidSignature, InvalidPublicKey."""
    _check_age(request.requested_at, now_ms)
    verify_signature(public_key, MODEL_REQUEST.digest(request, chain_id), signature)


def _check_age(made_at: int, now_ms: int) -> None:
    if abs(now_ms - made_at) > MAX_AGE_MS:
        raise RequestExpired(
            f"the request's time is {abs(now_ms - made_at) // 1000} s off, {MAX_AGE_MS // 1000} s are allowed: "
            "check this machine's clock and send it anew"
        )
