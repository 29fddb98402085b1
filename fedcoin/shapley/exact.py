"""Exact Shapley values from all 2^K coalitions: what Alg. 1 converges to, for tests and small K."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import accumulate
from math import factorial

import numpy as np
from numpy.typing import NDArray

from fedcoin.core.errors import SamplerDoesNotFit
from fedcoin.core.params import MAX_EXACT_CLIENTS
from fedcoin.shapley.walks import Evaluator, Values, Walks

_BATCH = 512
"""Walks given to an evaluator at a time."""


def exact_values(utility: Callable[[frozenset[int]], int], clients: int) -> list[Fraction]:
    """The Shapley value of each of K = `clients` clients, in the unit of `utility`.

    `utility` maps a coalition of indices to v(C); it is called once for each coalition, the empty one (the baseline)
    included. φ_i = Σ over C without i of |C|!·(K−|C|−1)!/K! · (v(C ∪ i) − v(C)). Raises SamplerDoesNotFit for K
    outside 1..MAX_EXACT_CLIENTS.
    """
    _verify_size(clients)
    worths = (utility(frozenset(i for i in range(clients) if members >> i & 1)) for members in range(1 << clients))
    return exact_from_table(np.fromiter(worths, dtype=np.int64, count=1 << clients))


def exact_from_table(values: Values) -> list[Fraction]:
    """The Shapley values from those of all coalitions, int64 [2^K]: bit i of the position says whether i is a member.

    Raises SamplerDoesNotFit for K outside 1..MAX_EXACT_CLIENTS, or another length.
    """
    clients = len(values).bit_length() - 1
    _verify_size(clients)
    if len(values) != 1 << clients:
        raise SamplerDoesNotFit(f"{len(values)} values are not those of all coalitions")
    members = np.arange(1 << clients)
    sizes = np.zeros(1 << clients, dtype=np.int64)
    for i in range(clients):
        sizes += members >> i & 1
    by_size = np.argsort(sizes, kind="stable")
    starts = np.searchsorted(sizes[by_size], np.arange(clients + 1))
    ordered, members = values[by_size], members[by_size]
    # v(C) counts for the members of C, and against those who could still join it.
    of_size: list[int] = np.add.reduceat(ordered, starts).tolist()
    weights = [factorial(size) * factorial(clients - size - 1) for size in range(clients)]
    result = []
    for i in range(clients):
        inside: list[int] = np.add.reduceat(np.where(members >> i & 1, ordered, 0), starts).tolist()
        total = sum(weights[size - 1] * inside[size] for size in range(1, clients + 1))
        total -= sum(weights[size] * (of_size[size] - inside[size]) for size in range(clients))
        result.append(Fraction(total, factorial(clients)))
    return result


def all_values(evaluator: Evaluator) -> Values:
    """v of all 2^K coalitions, int64 [2^K] as `exact_from_table` takes them. Raises SamplerDoesNotFit.

    Each coalition is evaluated once, on walks that cover several of different sizes.
    """
    clients = evaluator.clients
    _verify_size(clients)
    values = np.full(1 << clients, evaluator.empty_value, dtype=np.int64)
    for walks, coalitions in _chains(clients):
        values[coalitions] = evaluator.values(walks)
    return values


def exact_values_of(evaluator: Evaluator) -> list[Fraction]:
    """The Shapley values of an evaluator's clients, times UTILITY_SCALE. Raises SamplerDoesNotFit."""
    return exact_from_table(all_values(evaluator))


def _chains(clients: int) -> Iterator[tuple[Walks, NDArray[np.int64]]]:
    """Batches of walks, and the coalitions at their marks: all but the empty one, each once.

    Read a coalition as brackets, members closing and the others opening. Those with all members matched begin a chain:
    the unmatched others join one after another from the left (Greene and Kleitman). There are C(K, ⌊K/2⌋) chains.
    """
    members = np.arange(1 << clients)
    open_ones = np.zeros(1 << clients, dtype=np.int64)
    first = np.ones(1 << clients, dtype=np.bool_)
    for i in range(clients):
        joined = (members >> i & 1).astype(np.bool_)
        first &= ~joined | (open_ones > 0)
        open_ones += np.where(joined, -1, 1)
    bottoms = np.flatnonzero(first)
    for begin in range(0, len(bottoms), _BATCH):
        orders: list[int] = []
        marks: list[bool] = []
        coalitions: list[int] = []
        starts = [0]
        for bottom in bottoms[begin : begin + _BATCH].tolist():
            matched = [i for i in range(clients) if bottom >> i & 1]
            orders += matched
            marks += [False] * len(matched)
            if matched:
                marks[-1] = True
                coalitions.append(bottom)
            waiting = _unmatched(bottom, clients)
            orders += waiting
            marks += [True] * len(waiting)
            coalitions += [bottom | joined for joined in accumulate(1 << i for i in waiting)]
            starts.append(len(orders))
        walks = Walks(clients, np.array(orders, np.int32), np.array(starts, np.int64), np.array(marks, np.bool_))
        yield walks, np.array(coalitions, dtype=np.int64)


def _unmatched(coalition: int, clients: int) -> list[int]:
    """Clients outside whose bracket stays open."""
    waiting: list[int] = []
    for i in range(clients):
        if not coalition >> i & 1:
            waiting.append(i)
        elif waiting:
            waiting.pop()
    return waiting


def _verify_size(clients: int) -> None:
    if not 1 <= clients <= MAX_EXACT_CLIENTS:
        raise SamplerDoesNotFit(f"exact values need 1 to {MAX_EXACT_CLIENTS} clients, not {clients}")
