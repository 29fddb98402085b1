"""How the iterations of one request are divided among workers of unequal speed, some of which may be lost.

They are handed out in their order and in pieces, the faster a worker the longer its piece, so that all end at about the
same moment. What a lost worker had goes to others. Nothing is lost or counted twice: the rows are put together by their
position, and of a piece that two workers have done the first answer counts (a row depends on its iteration alone).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from fedcoin.node.evaluator_frames import Leaves

LEAST_SECONDS = 0.05
"""Shorter pieces would cost more in messages than they gain in balance."""
MOST_SECONDS = 2.0
"""Of a piece: so much is done again if its worker is lost."""
MOST_AT_ONCE = 2048
"""Iterations of a piece: bounds what one message holds."""
_SLACK = 0.25
"""A worker may take an iteration that ends by this part of its length after all others."""


@dataclass(frozen=True)
class Piece:
    """Positions `begin` up to `end` among the iterations of a request."""

    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin


class Division:
    """The iterations of one request. All times are seconds of one monotonic clock."""

    def __init__(self, total: int, seconds: float | None, now: float) -> None:
        """Of `total` iterations as many as fit in about `seconds`, at least 1; all of them if that is None."""
        self._total = total
        self._deadline = None if seconds is None else now + seconds
        self._next = 0
        self._horizon = now
        """When all that is handed out should be done."""
        self._open: dict[int, Piece] = {}
        """Handed out and not answered, by where they begin."""
        self._copies: Counter[int] = Counter()
        """How many workers have each of them."""
        self._waiting: list[Piece] = []
        """Lost, and to be handed out again."""
        self._losses: Counter[int] = Counter()
        self._rows: dict[int, Leaves] = {}

    @property
    def finished(self) -> bool:
        """Whether all is there, provided that all idle workers have just been offered a piece."""
        enough = self._next >= self._total or (self._deadline is not None and self._next > 0)
        return enough and not self._open and not self._waiting

    @property
    def most_losses(self) -> int:
        """How many workers were lost over the unluckiest piece."""
        return max(self._losses.values(), default=0)

    def take(self, rate: float | None, share: float, now: float) -> Piece | None:
        """A piece for an idle worker, or None: there is nothing for it, or no time.

        `rate`: iterations that it does in a second, None if not known. `share`: its part of the speed of all workers.
        """
        if self._waiting:
            piece = self._waiting.pop()
        else:
            count = self._count(rate, share, now)
            if not count:
                return None
            piece = Piece(self._next, self._next + count)
            self._next = piece.end
        self._open[piece.begin] = piece
        self._copies[piece.begin] += 1
        if rate:
            self._horizon = max(self._horizon, now + len(piece) / rate)
        return piece

    def take_copy(self, piece: Piece) -> bool:
        """Whether a second worker may do an open piece too, since the first one has not answered for long."""
        if piece.begin not in self._open or self._copies[piece.begin] > 1:
            return False
        self._copies[piece.begin] += 1
        return True

    def answer(self, piece: Piece, rows: Leaves) -> None:
        """Keeps the rows of a piece, int64 [len(piece), K], unless they are there."""
        if self._open.pop(piece.begin, None) is not None:
            self._rows[piece.begin] = rows

    def lose(self, piece: Piece, blame: bool = True) -> None:
        """Hands a piece out again whose worker gave no answer. `blame`: the worker was lost over it."""
        if piece.begin not in self._open:
            return
        self._losses[piece.begin] += blame
        self._copies[piece.begin] -= 1
        if not self._copies[piece.begin]:
            self._waiting.append(self._open.pop(piece.begin))

    def rows(self) -> Leaves:
        """The leaves in the order of their iterations, int64 [n, K], once finished."""
        return np.concatenate([self._rows[begin] for begin in sorted(self._rows)])

    def _count(self, rate: float | None, share: float, now: float) -> int:
        """How many iterations the next piece of a worker has."""
        remaining = self._total - self._next
        end = math.inf if self._deadline is None or not self._next else max(self._deadline, self._horizon)
        if rate is None:
            return min(1, remaining) if now < end else 0
        if not remaining or now + (1 - _SLACK) / rate > end:
            return 0
        seconds = MOST_SECONDS
        if self._deadline is not None:
            left = self._deadline - now
            # Half of the time at once, the rest when speeds are known better.
            seconds = min(seconds, left / 2 if left > 2 * LEAST_SECONDS else left)
        fair = max(math.ceil(remaining * share / 2), int(rate * LEAST_SECONDS))
        return max(1, min(int(rate * seconds), fair, remaining, MOST_AT_ONCE))
