"""The permutations that a race prescribes (Alg. 1 line 5).

Nobody chooses the permutations that a miner works on: a PRF draws them from the race, the miner's public key and the
iteration's index, so anyone can recompute any iteration of anyone. `proto/SPEC.md` states the algorithm and
`proto/vectors/permutations.json` pins it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.params import MAX_CLIENTS
from fedcoin.shapley.draws import Draws

_TAG = b"fedcoin/v1/permutation"


def permutation(race: bytes, miner: bytes, index: int, clients: int) -> tuple[int, ...]:
    """The rank R of K = `clients` clients in iteration `index` (from 0) of a miner (Alg. 1 line 5).

    `race` is a race id (32 bytes), `miner` a public key (33 bytes). Every one of the K! orders is equally likely.
    Raises ValueError for arguments out of range: callers have checked what came from peers.
    """
    if not 1 <= clients <= MAX_CLIENTS:
        raise ValueError(f"no permutation of {clients} clients")
    return tuple(Draws(_TAG, race, miner, index).permutation(clients))


def permutations(race: bytes, miner: bytes, start: int, count: int, clients: int) -> NDArray[np.int64]:
    """Permutations of iterations `start` up to `start + count`, int64 [count, K]."""
    rows = [permutation(race, miner, index, clients) for index in range(start, start + count)]
    return np.array(rows, dtype=np.int64).reshape(count, clients)
