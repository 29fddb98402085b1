"""The layouts of single values: one encoding each, everything else refused."""

from enum import IntEnum

import pytest

from fedcoin.core.encoding import (
    Codec,
    Reader,
    blob,
    enum,
    i64,
    optional,
    raw,
    tagged_hash,
    text,
    u8,
    u16,
    u32,
    u64,
    vector,
)
from fedcoin.core.errors import MalformedEncoding


class Colour(IntEnum):
    RED = 1
    BLUE = 3


def read(codec: Codec, data: bytes):
    reader = Reader(data)
    value = codec.read(reader)
    assert reader.left == 0
    return value


LAYOUTS = [
    (u8, 255, "ff"),
    (u16, 258, "0102"),
    (u32, 1, "00000001"),
    (u64, 2**64 - 1, "ffffffffffffffff"),
    (i64, -2, "fffffffffffffffe"),
    (i64, 2**63 - 1, "7fffffffffffffff"),
    (raw(3), b"abc", "616263"),
    (blob(3), b"", "00000000"),
    (blob(3), b"abc", "00000003616263"),
    (text(4), "é", "00000002c3a9"),
    (vector(u16, 2), (1, 2), "0000000200010002"),
    (enum(Colour), Colour.BLUE, "03"),
    (optional(u16), None, "00"),
    (optional(u16), 7, "010007"),
]


@pytest.mark.parametrize(("codec", "value", "encoded"), LAYOUTS)
def test_layout(codec, value, encoded):
    assert codec.write(value) == bytes.fromhex(encoded)
    assert read(codec, bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (u8, 256),
        (u8, -1),
        (u64, 2**64),
        (i64, 2**63),
        (i64, -(2**63) - 1),
        (u32, 1.0),
        (u32, None),
        (u32, "1"),
        (raw(3), b"ab"),
        (raw(3), "abc"),
        (blob(3), b"abcd"),
        (blob(3), "abc"),
        (text(3), "éé"),
        (text(9), "\ud800"),
        (text(9), b"bytes"),
        (vector(u8, 2), (1, 2, 3)),
        (enum(Colour), 2),
    ],
)
def test_a_value_that_does_not_fit_is_refused(codec, value):
    with pytest.raises(MalformedEncoding):
        codec.write(value)


@pytest.mark.parametrize(
    ("codec", "encoded"),
    [
        (u16, "01"),
        (raw(3), "6162"),
        (blob(3), "0000000461626364"),
        (blob(3), "000000036162"),
        (blob(2**32 - 1), "ffffffff00"),
        (text(9), "00000001ff"),
        (text(9), "00000002c080"),  # an overlong form of NUL
        (text(9), "00000003eda080"),  # a surrogate
        (vector(u8, 2), "00000003010203"),
        (vector(u64, 2**32 - 1), "ffffffff"),
        (enum(Colour), "02"),
        (optional(u8), "02"),
        (optional(u8), "0201"),
        (optional(u8), "01"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(codec, encoded):
    with pytest.raises(MalformedEncoding):
        codec.read(Reader(bytes.fromhex(encoded)))


def test_tagged_hash_puts_the_tag_and_its_length_in_front():
    import hashlib

    assert tagged_hash("ab", b"c") == hashlib.sha256(b"\x02abc").digest()
    assert tagged_hash("ab", b"c") != tagged_hash("a", b"bc")
