"""Walks: the coalitions that an iteration evaluates, in an order that makes them cheap (Alg. 1 line 8).

A walk grows from the empty coalition by one client at a time, and the coalitions at its marks are evaluated. FedAvg is
linear, so a step costs one addition of the newcomer's share instead of a new average. A permutation of the K clients is
one walk with K marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.errors import CoalitionsMalformed

Values = NDArray[np.int64]
"""Utilities v(C), times UTILITY_SCALE."""


@dataclass(frozen=True, eq=False)
class Walks:
    """Several walks one after another."""

    clients: int
    """K."""
    members: NDArray[np.int32]
    """The client that joins at each step, [steps]."""
    starts: NDArray[np.int64]
    """Where each walk begins in `members`, and the end of the last one, [walks + 1]."""
    marks: NDArray[np.bool_]
    """Whether the coalition after a step is evaluated, [steps]."""

    def __post_init__(self) -> None:
        """Raises CoalitionsMalformed for clients that do not exist or join twice, or arrays that do not fit."""
        members, starts = self.members, self.starts
        steps = len(members)
        fits = (
            members.ndim == starts.ndim == self.marks.ndim == 1
            and members.dtype == np.int32
            and starts.dtype == np.int64
            and self.marks.dtype == np.bool_
            and len(self.marks) == steps
            and len(starts) >= 1
            and starts[0] == 0
            and starts[-1] == steps
            and bool((np.diff(starts) >= 0).all())
        )
        if not fits:
            raise CoalitionsMalformed("walks are int32 members, bool marks, and int64 starts from 0 to their number")
        if steps and (members.min() < 0 or members.max() >= self.clients):
            raise CoalitionsMalformed(f"a walk names a client that is not one of {self.clients}")
        joined = np.sort(self.walk_of_step * self.clients + members)
        if (joined[1:] == joined[:-1]).any():
            raise CoalitionsMalformed("a client joins the same walk twice")

    def __len__(self) -> int:
        """Number of walks."""
        return len(self.starts) - 1

    @property
    def evaluations(self) -> int:
        """Number of marks: coalitions to evaluate."""
        return int(np.count_nonzero(self.marks))

    @property
    def walk_of_step(self) -> NDArray[np.int64]:
        """The number of the walk that each step belongs to, [steps]."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.starts))

    def coalitions(self) -> NDArray[np.bool_]:
        """The marked coalitions, bool [evaluations, K], in their order."""
        place = np.arange(len(self.members)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        joins = np.full((len(self), self.clients), len(self.members) + 1, dtype=np.int64)
        joins[self.walk_of_step, self.members] = place
        marked = np.flatnonzero(self.marks)
        return joins[self.walk_of_step[marked]] <= place[marked, None]

    def part(self, begin: int, end: int) -> Walks:
        """Walks `begin` up to `end`."""
        first, last = self.starts[begin], self.starts[end]
        return Walks(
            self.clients, self.members[first:last], self.starts[begin : end + 1] - first, self.marks[first:last]
        )


class Evaluator(Protocol):
    """Anything that knows what coalitions are worth: ℱ(𝒜({w_k | k ∈ C}))."""

    @property
    def clients(self) -> int:
        """K."""
        ...

    @property
    def empty_value(self) -> int:
        """v(∅), times UTILITY_SCALE."""
        ...

    def values(self, walks: Walks) -> Values:
        """v(C) of the marked coalitions in their order, int64 [evaluations].

        A value depends on the members of its walk so far and on their order (which rounding sees), and on nothing
        else: not on the other walks of the call, threads or memory.
        """
        ...


def walks_of(clients: int, orders: Sequence[Sequence[int]], marks: Iterable[Sequence[bool]] | None = None) -> Walks:
    """Walks through the given orders of clients, marked at every step unless `marks` says where.

    Raises CoalitionsMalformed.
    """
    lengths = [len(order) for order in orders]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    members = np.fromiter((client for order in orders for client in order), dtype=np.int32, count=int(starts[-1]))
    if marks is None:
        flags = np.ones(len(members), dtype=np.bool_)
    else:
        flags = np.fromiter((flag for row in marks for flag in row), dtype=np.bool_)
    return Walks(clients, members, starts, flags)


def walks_of_permutations(orders: NDArray[np.int64]) -> Walks:
    """Each row of `orders` (int64 [n, K]) as one walk with all its prefixes marked. Raises CoalitionsMalformed."""
    if orders.ndim != 2 or orders.dtype.kind not in "iu":
        raise CoalitionsMalformed(f"expected integers [n, K], got {orders.dtype}{list(orders.shape)}")
    count, clients = orders.shape
    starts = np.arange(count + 1, dtype=np.int64) * clients
    return Walks(clients, orders.reshape(-1).astype(np.int32), starts, np.ones(orders.size, dtype=np.bool_))
