"""Exact Shapley values from all 2^K coalitions: what Alg. 1 converges to, for tests and small K."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import factorial

MAX_EXACT_CLIENTS = 20
"""2^20 coalitions: beyond that only estimates are affordable."""


def exact_values(utility: Callable[[frozenset[int]], int], clients: int) -> list[Fraction]:
    """The Shapley value of each of K = `clients` clients, in the unit of `utility`.

    `utility` maps a coalition of indices to v(C); it is called once for each coalition, the empty one (the baseline)
    included. φ_i = Σ over C without i of |C|!·(K−|C|−1)!/K! · (v(C ∪ i) − v(C)). Raises ValueError for K outside
    1..MAX_EXACT_CLIENTS.
    """
    if not 1 <= clients <= MAX_EXACT_CLIENTS:
        raise ValueError(f"exact values need 1 to {MAX_EXACT_CLIENTS} clients, not {clients}")
    values = [int(utility(frozenset(i for i in range(clients) if members >> i & 1))) for members in range(1 << clients)]
    weights = [factorial(size) * factorial(clients - size - 1) for size in range(clients)]
    sums = [0] * clients
    for members, value in enumerate(values):
        size = members.bit_count()
        for i in range(clients):
            # v(C) counts for the members of C, and against those who could still join it.
            sums[i] += weights[size - 1] * value if members >> i & 1 else -weights[size] * value
    return [Fraction(total, factorial(clients)) for total in sums]
