"""The p-distance ‖S − S̄‖_p between two averages of Shapley values (Alg. 1 line 17, Alg. 2 lines 2 and 3).

Both averages are fractions total/time. The comparison with D multiplies crosswise, so it is exact and the same on every
node; only the distance that people read is a float.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedcoin.core.params import UTILITY_SCALE

MAXIMUM_NORM = 0
"""Stands for p = ∞."""


def within_distance(
    total_a: Sequence[int], time_a: int, total_b: Sequence[int], time_b: int, norm: int, difficulty: int
) -> bool:
    """Whether ‖total_a/time_a − total_b/time_b‖_p ≤ `difficulty`, decided exactly (Alg. 1 line 17).

    Totals and `difficulty` are in units of 1/UTILITY_SCALE; `norm` is p, 0 for the maximum norm. With
    d_i = |a_i·time_b − b_i·time_a|: Σ d_i^p ≤ (D·time_a·time_b)^p. Raises ValueError for different K or a time below 1.
    """
    differences = _differences(total_a, time_a, total_b, time_b)
    bound = difficulty * time_a * time_b
    if bound < 0 or norm < 0:
        raise ValueError("difficulty and norm are not negative")
    if norm == MAXIMUM_NORM:
        return max(differences, default=0) <= bound
    return sum(difference**norm for difference in differences) <= bound**norm


def distance(total_a: Sequence[int], time_a: int, total_b: Sequence[int], time_b: int, norm: int) -> float:
    """‖total_a/time_a − total_b/time_b‖_p as a real number (divided by UTILITY_SCALE), for people to read."""
    differences = _differences(total_a, time_a, total_b, time_b)
    largest = max(differences, default=0)
    if largest == 0:
        return 0.0
    scale = largest / (time_a * time_b * UTILITY_SCALE)
    if norm == MAXIMUM_NORM:
        return scale
    return scale * float(sum((difference / largest) ** norm for difference in differences)) ** (1 / norm)


def _differences(total_a: Sequence[int], time_a: int, total_b: Sequence[int], time_b: int) -> list[int]:
    """|a_i·time_b − b_i·time_a| for each client, in Python's unbounded integers."""
    if len(total_a) != len(total_b):
        raise ValueError(f"vectors of {len(total_a)} and {len(total_b)} clients have no distance")
    if time_a < 1 or time_b < 1:
        raise ValueError("an average over no iterations has no distance")
    return [abs(int(a) * time_b - int(b) * time_a) for a, b in zip(total_a, total_b, strict=True)]
