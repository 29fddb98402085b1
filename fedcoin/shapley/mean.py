"""Running sums and averages of Shapley estimates (Alg. 1 lines 11 and 16) in integers.

A mean is kept as a fraction: a total (K integers, times UTILITY_SCALE) over a number of iterations. So every node gets
the same bits, whatever order it adds in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Total = tuple[int, ...]
"""K sums of marginal contributions, times UTILITY_SCALE."""


def add_leaf(total: Sequence[int], leaf: Sequence[int]) -> Total:
    """The total with one more iteration's S_t in it.

    Alg. 1 line 11, S = (S·time + S_t) / (time + 1), without its rounding: the mean is total / time.
    """
    if len(total) != len(leaf):
        raise ValueError(f"a leaf of {len(leaf)} clients does not fit a total of {len(total)}")
    return tuple(int(a) + int(b) for a, b in zip(total, leaf, strict=True))


def averaged(estimates: Iterable[tuple[Sequence[int], int]]) -> tuple[Total, int]:
    """S̄ = Σ time·S / Σ time (Alg. 1 line 16) of estimates (total, time), as (Σ total, Σ time), since time·S = total.

    Raises ValueError for no estimates, or for ones of different K.
    """
    total: Total | None = None
    time = 0
    for their_total, their_time in estimates:
        total = tuple(int(value) for value in their_total) if total is None else add_leaf(total, their_total)
        time += their_time
    if total is None:
        raise ValueError("no estimates to average")
    return total, time
