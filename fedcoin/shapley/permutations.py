"""The permutations that a race prescribes (Alg. 1 line 5).

Nobody chooses the permutations that a miner works on: a PRF draws them from the race, the miner's public key and the
iteration's index, so anyone can recompute any iteration of anyone. Only SHA-256 and integers are used, so that every
language draws the same ones; `proto/SPEC.md` states the algorithm and `proto/vectors/permutations.json` pins it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.encoding import HASH_SIZE, u8, u32, u64
from fedcoin.core.keys import PUBLIC_KEY_SIZE
from fedcoin.core.params import MAX_CLIENTS

_TAG = b"fedcoin/v1/permutation"
_WORDS = 2**32


def permutation(race: bytes, miner: bytes, index: int, clients: int) -> tuple[int, ...]:
    """The rank R of K = `clients` clients in iteration `index` (from 0) of a miner (Alg. 1 line 5).

    `race` is a race id (32 bytes), `miner` a public key (33 bytes). Every one of the K! orders is equally likely.
    Raises ValueError for arguments out of range: callers have checked what came from peers.
    """
    if len(race) != HASH_SIZE or len(miner) != PUBLIC_KEY_SIZE:
        raise ValueError("a race id has 32 bytes and a public key 33")
    if not 1 <= clients <= MAX_CLIENTS or not 0 <= index < 2**64:
        raise ValueError(f"no permutation {index} of {clients} clients")
    words = _words(race, miner, index)
    order = list(range(clients))
    for last in range(clients - 1, 0, -1):
        other = _below(last + 1, words)
        order[last], order[other] = order[other], order[last]
    return tuple(order)


def permutations(race: bytes, miner: bytes, start: int, count: int, clients: int) -> NDArray[np.int64]:
    """Permutations of iterations `start` up to `start + count`, int64 [count, K]."""
    rows = [permutation(race, miner, index, clients) for index in range(start, start + count)]
    return np.array(rows, dtype=np.int64).reshape(count, clients)


def _words(race: bytes, miner: bytes, index: int) -> Iterator[int]:
    """The 32-bit words of SHA-256(u8 length of tag ‖ tag ‖ race ‖ miner ‖ u64 index ‖ u32 block), blocks from 0."""
    seed = hashlib.sha256(u8.write(len(_TAG)) + _TAG + race + miner + u64.write(index))
    for block in range(_WORDS):
        piece = seed.copy()
        piece.update(u32.write(block))
        digest = piece.digest()
        for at in range(0, HASH_SIZE, 4):
            yield int.from_bytes(digest[at : at + 4], "big")


def _below(bound: int, words: Iterator[int]) -> int:
    """A uniform number below `bound`: words from the last, incomplete run of `bound` values are thrown away."""
    limit = _WORDS - _WORDS % bound
    for word in words:
        if word < limit:
            return word % bound
    raise ValueError("the stream of words has ended")
