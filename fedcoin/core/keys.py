"""Keys, signatures and addresses: ECDSA on secp256k1, RFC 6979, low-S, 64-byte r‖s; addresses in bech32m.

coincurve is used when it is installed (some fifteen times faster), ecdsa otherwise; both give the same bytes. Neither
is
imported before the first signature, so that the evaluator runs without them.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Protocol

from fedcoin.core.bech32 import decode as bech32_decode
from fedcoin.core.bech32 import encode as bech32_encode
from fedcoin.core.encoding import tagged_hash
from fedcoin.core.errors import InvalidAddress, InvalidPrivateKey, InvalidPublicKey, InvalidSignature

PRIVATE_KEY_SIZE = 32
PUBLIC_KEY_SIZE = 33
SIGNATURE_SIZE = 64
ADDRESS_SIZE = 20
ADDRESS_PREFIX = "fdc"
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class _Curve(Protocol):
    """What a secp256k1 library does for us. Signatures are r‖s; digests are 32 bytes."""

    def public_key(self, secret: bytes) -> bytes: ...
    def sign(self, secret: bytes, digest: bytes) -> bytes: ...
    def verify(self, public_key: bytes, digest: bytes, signature: bytes) -> bool: ...


class _Coincurve:
    def __init__(self, module: Any) -> None:
        self._module = module

    def public_key(self, secret: bytes) -> bytes:
        return bytes(self._module.PrivateKey(secret).public_key.format(compressed=True))

    def sign(self, secret: bytes, digest: bytes) -> bytes:
        return bytes(self._module.PrivateKey(secret).sign_recoverable(digest, hasher=None)[:SIGNATURE_SIZE])

    def verify(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        ecdsa = self._module.ecdsa
        try:
            key = self._module.PublicKey(public_key)
        except ValueError as error:
            raise InvalidPublicKey from error
        der = ecdsa.cdata_to_der(ecdsa.deserialize_compact(signature))
        return bool(key.verify(der, digest, hasher=None))


class _PythonEcdsa:
    def __init__(self, module: Any) -> None:
        self._module = module

    def public_key(self, secret: bytes) -> bytes:
        key = self._module.SigningKey.from_string(secret, curve=self._module.SECP256k1)
        return bytes(key.get_verifying_key().to_string("compressed"))

    def sign(self, secret: bytes, digest: bytes) -> bytes:
        from hashlib import sha256

        from ecdsa.util import sigencode_string_canonize

        key = self._module.SigningKey.from_string(secret, curve=self._module.SECP256k1)
        signature = key.sign_digest_deterministic(digest, hashfunc=sha256, sigencode=sigencode_string_canonize)
        return bytes(signature)

    def verify(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        try:
            key = self._verifying_key(public_key)
        except (self._module.errors.MalformedPointError, ValueError) as error:
            raise InvalidPublicKey from error
        try:
            return bool(key.verify_digest(signature, digest))
        except self._module.BadSignatureError:
            return False

    @lru_cache(maxsize=4096)  # noqa: B019 - one instance for the life of the process
    def _verifying_key(self, public_key: bytes) -> Any:
        return self._module.VerifyingKey.from_string(
            public_key, curve=self._module.SECP256k1, valid_encodings=("compressed",)
        )


@cache
def _curve() -> _Curve:
    try:
        import coincurve
        import coincurve.ecdsa

        return _Coincurve(coincurve)
    except ImportError:
        import ecdsa

        return _PythonEcdsa(ecdsa)


class PrivateKey:
    """A private key. Its repr shows only the address, so that it cannot leak into a log."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 bytes, 0 < secret < curve order. Raises InvalidPrivateKey."""
        if len(secret) != PRIVATE_KEY_SIZE or not 0 < int.from_bytes(secret, "big") < CURVE_ORDER:
            raise InvalidPrivateKey
        self._secret = secret
        self.public_key: bytes = _curve().public_key(secret)

    @property
    def secret(self) -> bytes:
        """The 32 bytes, for the key store only."""
        return self._secret

    @property
    def address(self) -> bytes:
        """Address of this key."""
        return address_of(self.public_key)

    def sign(self, digest: bytes) -> bytes:
        """Deterministic (RFC 6979) low-S signature r‖s of a 32-byte digest."""
        return _curve().sign(self._secret, digest)

    def __repr__(self) -> str:
        return f"PrivateKey({format_address(self.address)})"


def verify_signature(public_key: bytes, digest: bytes, signature: bytes) -> None:
    """Raises InvalidSignature unless `signature` is the key's over the digest and has a low s.

    High-S twins are refused, so that a signature has one form only. Raises InvalidPublicKey for a key off the curve.
    """
    if len(signature) != SIGNATURE_SIZE or len(public_key) != PUBLIC_KEY_SIZE:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < CURVE_ORDER and 0 < s <= CURVE_ORDER // 2):
        raise InvalidSignature("signature out of range: r and s must be positive, s at most half the curve order")
    if not _curve().verify(public_key, digest, signature):
        raise InvalidSignature


def address_of(public_key: bytes) -> bytes:
    """The 20-byte address of a compressed public key."""
    return tagged_hash("fedcoin/v1/address", public_key)[:ADDRESS_SIZE]


def format_address(address: bytes) -> str:
    """Text form with a checksum: bech32m, prefix "fdc"."""
    return bech32_encode(ADDRESS_PREFIX, address)


def parse_address(text: str) -> bytes:
    """The 20 bytes of a text address. Raises InvalidAddress for a mistyped one."""
    data = bech32_decode(ADDRESS_PREFIX, text.strip())
    if len(data) != ADDRESS_SIZE:
        raise InvalidAddress(f"an address has {ADDRESS_SIZE} bytes, this one {len(data)}")
    return data
