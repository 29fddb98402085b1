"""FedAvg, the aggregation function 𝒜 of equation (2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedcoin.core.errors import AggregationImpossible
from fedcoin.learning.models import Weights


def client_weights(clients: int, samples: Sequence[int] | None) -> list[int]:
    """The integer weight of each of K clients in the average: 1 each, or the sample counts n_k.

    Raises AggregationImpossible.
    """
    if clients < 1:
        raise AggregationImpossible("there is no update to average")
    if samples is None:
        return [1] * clients
    if len(samples) != clients:
        raise AggregationImpossible(f"{len(samples)} sample counts for {clients} updates")
    if any(count < 1 for count in samples):
        raise AggregationImpossible("every sample count must be at least 1")
    return [int(count) for count in samples]


def fedavg(updates: Sequence[Weights], samples: Sequence[int] | None = None) -> Weights:
    """The mean of the updates: unweighted as in the paper (§6.1), or weighted by the sample counts n_k.

    Sums are accumulated in float64 in the order of the list, so that every node gets the same float32 bits.
    Raises AggregationImpossible.
    """
    counts = client_weights(len(updates), samples)
    total = sum(counts)
    first = updates[0]
    sums = {name: torch.zeros(value.shape, dtype=torch.float64) for name, value in first.items()}
    for update, count in zip(updates, counts, strict=True):
        if list(update) != list(first) or any(update[name].shape != first[name].shape for name in first):
            raise AggregationImpossible("the updates are not of one architecture")
        for name, value in update.items():
            sums[name].add_(value.detach().to("cpu", torch.float64), alpha=count)
    return {name: (value / total).to(torch.float32) for name, value in sums.items()}
