"""How many iterations of Alg. 1 are evaluated together, so that a call for leaves takes about as long as asked.

An evaluation may cost much however few iterations it is for: pre-activations that do not fit in memory are computed
anew for each. Where even one iteration takes longer than asked, the number is doubled for as long as that makes an
iteration clearly cheaper.
"""

from __future__ import annotations

_MOST_AT_ONCE = 256
# More are no faster, and an audit that waits would wait longer.
_CLEARLY_CHEAPER = 0.7
_LEAST_SECONDS = 1e-6


class Pace:
    """Learns from each evaluation of one problem what the next one is to be."""

    def __init__(self, most: int = _MOST_AT_ONCE) -> None:
        """At most `most` iterations are to be evaluated together."""
        self._most = most
        self._each: float | None = None
        """Seconds that an iteration took of late."""
        self._together = 1
        """Iterations that are worth evaluating together even if that takes longer than asked."""
        self._each_together: float | None = None
        """Seconds that each of them took, once measured."""
        self._doubling = True

    def count(self, seconds: float, limit: int) -> int:
        """Iterations to evaluate next if `seconds` are left: at least 1, at most `limit`."""
        fit = int(seconds / self._each) if self._each else 1
        return max(1, min(max(fit, self._together), limit, self._most))

    def fits(self, seconds: float) -> bool:
        """Whether `seconds` suffice for what is worth evaluating together."""
        return self._each is None or seconds >= self._each * self._together

    def took(self, count: int, seconds: float) -> None:
        """`count` iterations took `seconds`."""
        first, self._each = self._each is None, max(seconds / count, _LEAST_SECONDS)
        if first or count != self._together or not self._doubling:
            return  # the first one also fills caches, and is nothing to compare with
        if self._each_together is None or self._each < _CLEARLY_CHEAPER * self._each_together:
            self._each_together = self._each
            self._together = min(2 * count, self._most)
            self._doubling = self._together > count
        else:
            self._together, self._doubling = max(1, count // 2), False
