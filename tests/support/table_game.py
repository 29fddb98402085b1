"""Games whose coalitions are all known, as an evaluator."""

from __future__ import annotations

import numpy as np

from fedcoin.shapley.walks import Values, Walks

RACE = bytes(range(32))
MINER = b"\x02" + bytes(range(32))


class TableGame:
    """v(C) from a table [2^K]: bit i of the position says whether client i is a member; v(∅) is its first entry."""

    def __init__(self, values: Values) -> None:
        self.table = np.asarray(values, dtype=np.int64)
        self.clients = len(self.table).bit_length() - 1
        self.empty_value = int(self.table[0])
        self.asked: list[int] = []
        """Every coalition that was evaluated."""

    def values(self, walks: Walks) -> Values:
        """From the table."""
        positions = walks.coalitions() @ (1 << np.arange(self.clients))
        self.asked += positions.tolist()
        return self.table[positions]


def random_table(clients: int, seed: int = 0, scale: int = 10**9) -> Values:
    """Every coalition's value drawn by itself: the hardest game, with interactions of all orders."""
    return np.random.default_rng(seed).integers(-scale, scale, size=1 << clients)


def learning_table(clients: int, seed: int = 0, empty_value: int = 0) -> Values:
    """Values as coalitions of learners have them: the mean of qualities, growing with size, and a little chance."""
    rng = np.random.default_rng(seed)
    members = (np.arange(1 << clients)[:, None] >> np.arange(clients)) & 1
    sizes = np.maximum(members.sum(axis=1), 1)
    worth = members @ rng.random(clients) / sizes * (1 - 0.5 / sizes) + 0.02 * rng.normal(size=1 << clients) / sizes
    table = (worth * 10**9).astype(np.int64)
    table[0] = empty_value
    return table
