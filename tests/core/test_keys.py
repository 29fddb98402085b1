"""secp256k1: both libraries give the same bytes, and one signature has one form."""

import hashlib
import random
from collections import Counter

import coincurve
import coincurve.ecdsa
import ecdsa
import pytest

from fedcoin.core import keys
from fedcoin.core.errors import InvalidPrivateKey, InvalidPublicKey, InvalidSignature
from fedcoin.core.keys import CURVE_ORDER, PrivateKey, address_of, format_address, verify_signature

BACKENDS = [keys._Coincurve(coincurve), keys._PythonEcdsa(ecdsa)]
DIGEST = hashlib.sha256(b"Satoshi Nakamoto").digest()


@pytest.fixture(params=BACKENDS, ids=["coincurve", "ecdsa"])
def backend(request, monkeypatch):
    monkeypatch.setattr(keys, "_curve", lambda: request.param)
    return request.param


def test_known_answer_of_rfc_6979(backend):
    signature = PrivateKey((1).to_bytes(32, "big")).sign(DIGEST)
    assert signature.hex() == (
        "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5"
    )


def test_known_public_key(backend):
    public_key = PrivateKey((1).to_bytes(32, "big")).public_key
    assert public_key.hex() == "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def test_both_libraries_give_the_same_bytes():
    for number in range(1, 30):
        secret, digest = hashlib.sha256(bytes([number])).digest(), hashlib.sha256(bytes([number, 1])).digest()
        public_keys = {backend.public_key(secret) for backend in BACKENDS}
        signatures = {backend.sign(secret, digest) for backend in BACKENDS}
        assert len(public_keys) == len(signatures) == 1
        signature = signatures.pop()
        assert int.from_bytes(signature[32:], "big") <= CURVE_ORDER // 2
        assert all(backend.verify(public_key, digest, signature) for backend in BACKENDS for public_key in public_keys)


def test_a_signature_verifies_and_another_content_or_key_does_not(backend):
    key, other = PrivateKey(b"\x01" * 32), PrivateKey(b"\x02" * 32)
    signature = key.sign(DIGEST)
    verify_signature(key.public_key, DIGEST, signature)
    with pytest.raises(InvalidSignature):
        verify_signature(key.public_key, hashlib.sha256(b"else").digest(), signature)
    with pytest.raises(InvalidSignature):
        verify_signature(other.public_key, DIGEST, signature)


def test_the_high_s_twin_of_a_signature_is_refused(backend):
    key = PrivateKey(b"\x01" * 32)
    signature = key.sign(DIGEST)
    twin = signature[:32] + (CURVE_ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    with pytest.raises(InvalidSignature, match="half the curve order"):
        verify_signature(key.public_key, DIGEST, twin)


@pytest.mark.parametrize("r", [0, 1, CURVE_ORDER - 1, CURVE_ORDER, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, CURVE_ORDER // 2, CURVE_ORDER // 2 + 1, CURVE_ORDER, 2**256 - 1])
def test_signatures_at_the_edges_are_refused(backend, r, s):
    with pytest.raises(InvalidSignature):
        verify_signature(PrivateKey(b"\x01" * 32).public_key, DIGEST, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


@pytest.mark.parametrize("size", [0, 63, 65, 72])
def test_signatures_of_another_size_are_refused(backend, size):
    with pytest.raises(InvalidSignature):
        verify_signature(PrivateKey(b"\x01" * 32).public_key, DIGEST, b"\x01" * size)


@pytest.mark.parametrize(
    "public_key",
    [
        b"\x02" + (5).to_bytes(32, "big"),  # no point has this x
        b"\x02" + b"\xff" * 32,  # x beyond the field
        b"\x00" * 33,
        b"\x04" + b"\x01" * 32,
        b"\x06" + b"\x01" * 32,
    ],
)
def test_a_public_key_off_the_curve_is_refused(backend, public_key):
    signature = PrivateKey(b"\x01" * 32).sign(DIGEST)
    with pytest.raises(InvalidPublicKey):
        verify_signature(public_key, DIGEST, signature)


def test_an_uncompressed_public_key_is_refused(backend):
    key = PrivateKey(b"\x01" * 32)
    uncompressed = coincurve.PublicKey(key.public_key).format(compressed=False)
    with pytest.raises(InvalidSignature):
        verify_signature(uncompressed, DIGEST, key.sign(DIGEST))


@pytest.mark.parametrize(
    "secret", [bytes(32), CURVE_ORDER.to_bytes(32, "big"), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33, b""]
)
def test_numbers_that_are_no_private_key_are_refused(secret):
    with pytest.raises(InvalidPrivateKey):
        PrivateKey(secret)


def test_the_largest_private_key_is_one():
    assert PrivateKey((CURVE_ORDER - 1).to_bytes(32, "big")).public_key[0] in (2, 3)


def test_a_private_key_does_not_show_in_its_repr():
    key = PrivateKey(b"\x41" * 32)
    assert "41" * 32 not in repr(key)
    assert "AAAA" not in repr(key)
    assert format_address(key.address) in repr(key)


def test_an_address_is_twenty_bytes_of_the_tagged_hash():
    public_key = PrivateKey(b"\x01" * 32).public_key
    assert address_of(public_key) == hashlib.sha256(b"\x12fedcoin/v1/address" + public_key).digest()[:20]


def seeded(count: int, seed: int = 20261122) -> list[tuple[bytes, bytes]]:
    """Private keys and digests."""
    draw = random.Random(seed)
    return [(draw.randrange(1, CURVE_ORDER).to_bytes(32, "big"), draw.randbytes(32)) for _ in range(count)]


def judged(backend, public_key: bytes, digest: bytes, signature: bytes, monkeypatch) -> str:
    """What one library makes of a signature: `good`, or the code of the refusal."""
    monkeypatch.setattr(keys, "_curve", lambda: backend)
    try:
        verify_signature(public_key, digest, signature)
    except (InvalidSignature, InvalidPublicKey) as error:
        return error.code
    return "good"


def test_both_libraries_sign_alike_on_many_keys():
    for secret, digest in seeded(150):
        assert len({(backend.public_key(secret), backend.sign(secret, digest)) for backend in BACKENDS}) == 1


def test_both_libraries_refuse_alike(monkeypatch):
    """Signatures and keys bent in every way that has a name, and at random places."""
    draw = random.Random(4)
    seen: Counter[str] = Counter()
    for secret, digest in seeded(30):
        public_key, signature = BACKENDS[0].public_key(secret), BACKENDS[0].sign(secret, digest)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        position = draw.randrange(64 * 8)
        bent = (int.from_bytes(signature, "big") ^ (1 << position)).to_bytes(64, "big")
        point = (int.from_bytes(public_key, "big") ^ (1 << draw.randrange(32 * 8))).to_bytes(33, "big")
        cases = [
            (public_key, signature),
            (public_key, bent),
            (public_key, signature[:32] + (CURVE_ORDER - s).to_bytes(32, "big")),
            (public_key, (r + CURVE_ORDER if r + CURVE_ORDER < 2**256 else 0).to_bytes(32, "big") + signature[32:]),
            (public_key, bytes(32) + signature[32:]),
            (public_key, signature[:32] + bytes(32)),
            (public_key, signature[32:] + signature[:32]),
            (point, signature),
            (bytes([public_key[0] ^ 1]) + public_key[1:], signature),
            (draw.randbytes(33), signature),
            (public_key, draw.randbytes(64)),
        ]
        for key, candidate in cases:
            verdicts = {judged(backend, key, digest, candidate, monkeypatch) for backend in BACKENDS}
            assert len(verdicts) == 1, (key.hex(), digest.hex(), candidate.hex(), verdicts)
            seen.update(verdicts)
    assert seen["good"] == 30
    assert seen["INVALID_PUBLIC_KEY"] > 30
    assert seen["INVALID_SIGNATURE"] > 150
