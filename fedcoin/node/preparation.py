"""The preparation of a problem in slices of time, between which others have their turn.

What a sampler prepares can take minutes (HYBRID with 1,024 clients evaluates half a million coalitions first).
"""

from __future__ import annotations

import time
from collections import OrderedDict

from fedcoin.node.pace import Pace
from fedcoin.shapley.iterations import Iterations, Preparation

_MOST_AT_ONCE = 1 << 14
"""Coalitions evaluated together at most: more are no faster."""


class Preparer:
    """Does the preparation of one problem. It learns how much can be evaluated in a given time."""

    def __init__(self, iterations: Iterations) -> None:
        self._iterations = iterations
        self._pace = Pace(_MOST_AT_ONCE)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self._iterations.preparation.done

    def work(self, seconds: float) -> bool:
        """Goes on for about that long, at least with one part. Whether nothing is left to do."""
        state = self._iterations.preparation
        deadline = time.monotonic() + seconds
        left = seconds
        while not state.done:
            began, before = time.monotonic(), state.evaluated
            self._iterations.prepare_some(self._pace.count(left, len(state.values) - before))
            self._pace.took(state.evaluated - before, time.monotonic() - began)
            left = deadline - time.monotonic()
            if not (left >= seconds / 10 and self._pace.fits(left)):
                break
        return state.done


class KeptPreparations:
    """Preparations of the last problems, kept longer than their evaluators because they are small."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[bytes, Preparation] = OrderedDict()

    def get(self, problem: bytes) -> Preparation | None:
        """That of the problem with this id, whether done or begun."""
        return self._kept.get(problem)

    def keep(self, problem: bytes, preparation: Preparation) -> None:
        """Keeps one, and the latest of the others as far as there is room."""
        self._kept[problem] = preparation
        self._kept.move_to_end(problem)
        while self._kept and sum(one.values.nbytes for one in self._kept.values()) > self._most_bytes:
            self._kept.popitem(last=False)
