"""What a race prescribes is drawn from here: numbers that nobody chooses and everybody can draw again.

A stream of 32-bit words is SHA-256 in counter mode over a tag, the race, the miner's public key and the iteration's
index. Only SHA-256 and integers are used, so that every language draws the same; `proto/SPEC.md` states the algorithm.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from fedcoin.core.encoding import HASH_SIZE, u8, u32, u64
from fedcoin.core.keys import PUBLIC_KEY_SIZE

_WORDS = 2**32
_BLOCK = struct.Struct(">8I")


class Draws:
    """One stream, read from its beginning."""

    def __init__(self, tag: bytes, race: bytes, miner: bytes, index: int) -> None:
        """`race` is a race id (32 bytes), `miner` a public key (33 bytes), `index` a u64. Raises ValueError."""
        if len(race) != HASH_SIZE or len(miner) != PUBLIC_KEY_SIZE:
            raise ValueError("a race id has 32 bytes and a public key 33")
        if not 0 <= index < 2**64:
            raise ValueError(f"an index is a u64, not {index}")
        self._words = _words(hashlib.sha256(u8.write(len(tag)) + tag + race + miner + u64.write(index)))

    def below(self, bound: int) -> int:
        """A uniform number below `bound` ≤ 2^32: words from the last, incomplete run of `bound` are thrown away."""
        limit = _WORDS - _WORDS % bound
        for word in self._words:
            if word < limit:
                return word % bound
        raise ValueError("the stream of words has ended")

    def permutation(self, size: int) -> list[int]:
        """0…size−1 in an order of which every one is equally likely (Fisher and Yates, from the last place down)."""
        order = list(range(size))
        words = self._words
        for last in range(size - 1, 0, -1):
            # `below` written out: most of the time of an iteration's draws is spent here.
            bound = last + 1
            limit = _WORDS - _WORDS % bound
            other = next(words)
            while other >= limit:
                other = next(words)
            other %= bound
            order[last], order[other] = order[other], order[last]
        return order


def _words(seed: hashlib._Hash) -> Iterator[int]:
    """The 32-bit words of SHA-256(seed ‖ u32 block), blocks from 0."""
    for block in range(_WORDS):
        piece = seed.copy()
        piece.update(u32.write(block))
        yield from _BLOCK.unpack(piece.digest())
