"""Bech32m (BIP-350): bytes as lower-case text with a checksum that finds any four mistyped characters."""

from __future__ import annotations

from collections.abc import Iterable

from fedcoin.core.errors import InvalidAddress

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M = 0x2BC830A3
_CHECKSUM_LENGTH = 6
_MAX_LENGTH = 90


def encode(prefix: str, data: bytes) -> str:
    """`prefix`1…: the data in groups of five bits, then the checksum."""
    words = list(_regroup(data, 8, 5, pad=True))
    checksum = _polymod([*_expand(prefix), *words, *[0] * _CHECKSUM_LENGTH]) ^ _BECH32M
    words += [(checksum >> 5 * (5 - i)) & 31 for i in range(_CHECKSUM_LENGTH)]
    return prefix + "1" + "".join(_ALPHABET[word] for word in words)


def decode(prefix: str, text: str) -> bytes:
    """The data of a text made by `encode`. Raises InvalidAddress, saying what is wrong with it."""
    if len(text) > _MAX_LENGTH or (text.lower() != text and text.upper() != text):
        raise InvalidAddress("too long, or upper and lower case mixed")
    text = text.lower()
    found, separator, tail = text.rpartition("1")
    if not separator or found != prefix:
        raise InvalidAddress(f"an address begins with {prefix}1")
    if len(tail) < _CHECKSUM_LENGTH or any(letter not in _ALPHABET for letter in tail):
        raise InvalidAddress("an address has a letter that none can have (1, b, i and o are not used)")
    words = [_ALPHABET.index(letter) for letter in tail]
    if _polymod([*_expand(prefix), *words]) != _BECH32M:
        raise InvalidAddress("the address's checksum does not match: it is mistyped")
    return bytes(_regroup(words[:-_CHECKSUM_LENGTH], 5, 8, pad=False))


def _expand(prefix: str) -> list[int]:
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def _polymod(words: Iterable[int]) -> int:
    check = 1
    for word in words:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ word
        for i, generator in enumerate(_GENERATOR):
            check ^= generator if top >> i & 1 else 0
    return check


def _regroup(values: Iterable[int], from_bits: int, to_bits: int, pad: bool) -> Iterable[int]:
    buffer = bits = 0
    for value in values:
        buffer = buffer << from_bits | value
        bits += from_bits
        while bits >= to_bits:
            bits -= to_bits
            yield buffer >> bits & (1 << to_bits) - 1
        buffer &= (1 << bits) - 1
    if pad and bits:
        yield buffer << to_bits - bits & (1 << to_bits) - 1
    elif not pad and (bits >= from_bits or buffer):
        raise InvalidAddress("the address's last bits are not zero")
