"""What hosted clients train on: a data set of their own, or shares of one that is divided as in §6.1.

The division depends on the rule alone, so processes that host different clients of one network agree on it without
talking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedcoin.core.errors import PartitionImpossible
from fedcoin.node.learning_jobs import ClientData


@dataclass(frozen=True)
class ShareRule:
    """A data set and how it is divided."""

    dataset: str
    """Name or path."""
    data_root: Path | None
    """Where named data sets lie."""
    shares: int
    """Number of clients in the whole network; 1: everything belongs to one."""
    types: int = 10
    """Client types: T_j has samples of all classes but the last j."""
    samples: int | None = None
    """Of each client; None: as many as all clients can have without sharing any."""
    seed: int = 0


@dataclass(frozen=True)
class ShareFacts:
    """What describes the quality of a client's data."""

    index: int
    type: int
    samples: int
    emd: float
    """Distance of its labels' distribution from the whole training set's (§6.2)."""


def load_shares(rule: ShareRule, indices: Sequence[int]) -> list[ClientData]:
    """The samples of the clients `indices`. Raises PartitionImpossible and the errors of load_dataset."""
    from fedcoin.learning.datasets import load_dataset

    if any(not 0 <= index < rule.shares for index in indices):
        raise PartitionImpossible(
            f"there are shares 0 to {rule.shares - 1}: more clients are hosted than shares are left"
        )
    data = load_dataset(rule.dataset, rule.data_root)
    if rule.shares == 1:
        return [ClientData(data.x_train.numpy(), data.y_train.numpy()) for _ in indices]
    parts = _divide(rule, data.y_train.numpy(), data.classes)
    chosen = [parts[index] for index in indices]
    return [ClientData(data.x_train.numpy()[part], data.y_train.numpy()[part]) for _, part in chosen]


def describe_shares(rule: ShareRule) -> list[ShareFacts]:
    """The quality of every client's data. Raises as load_shares."""
    from fedcoin.learning.datasets import load_dataset
    from fedcoin.learning.partition import emd

    data = load_dataset(rule.dataset, rule.data_root)
    labels = data.y_train.numpy()
    if rule.shares == 1:
        return [ShareFacts(0, 0, len(labels), 0.0)]
    return [
        ShareFacts(index, kind, len(part), emd(labels[part], labels, data.classes))
        for index, (kind, part) in enumerate(_divide(rule, labels, data.classes))
    ]


def _divide(
    rule: ShareRule, labels: np.ndarray[tuple[int], np.dtype[np.int64]], classes: int
) -> list[tuple[int, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    """Type and positions of each share."""
    from fedcoin.learning.partition import partition_by_type

    parts = partition_by_type(labels, classes, rule.shares, rule.types, rule.samples, rule.seed)
    return [(part.type, part.sample_indices) for part in parts]
