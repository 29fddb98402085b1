"""Antithetic pairs: iterations 2i and 2i + 1 are a permutation and its reverse.

Where a client's marginal contribution falls steadily as coalitions grow, the two errors of a pair have opposite signs.
Each iteration by itself is a uniform permutation, so every leaf is as unbiased as the paper's.
"""

from __future__ import annotations

from fedcoin.shapley.draws import Draws
from fedcoin.shapley.samplers.permutation import PermutationSampler

_TAG = b"fedcoin/v1/antithetic"


class AntitheticSampler(PermutationSampler):
    """Monte Carlo over permutations and their reverses."""

    def order(self, race: bytes, miner: bytes, index: int) -> list[int]:
        """The permutation that the pair's number draws; for odd `index` reversed."""
        order = Draws(_TAG, race, miner, index // 2).permutation(self.clients)
        return order[::-1] if index % 2 else order
