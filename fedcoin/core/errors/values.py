"""Bytes, keys and proofs."""

from __future__ import annotations

from fedcoin.core.errors.base import InvalidInput


class MalformedEncoding(InvalidInput):
    """Bytes or a value do not fit the canonical layout."""

    code = "MALFORMED_ENCODING"


class InvalidSignature(InvalidInput):
    """The signature is not the key's over this content."""

    code = "INVALID_SIGNATURE"


class InvalidPublicKey(InvalidInput):
    """The public key is not a compressed point of secp256k1."""

    code = "INVALID_PUBLIC_KEY"


class InvalidPrivateKey(InvalidInput):
    """A private key is 32 bytes between 1 and the curve order."""

    code = "INVALID_PRIVATE_KEY"


class InvalidAddress(InvalidInput):
    """The address is malformed or mistyped."""

    code = "INVALID_ADDRESS"


class InvalidMerkleProof(InvalidInput):
    """The Merkle proof does not lead to the root."""

    code = "INVALID_MERKLE_PROOF"
