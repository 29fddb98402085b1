"""The division of a data set among FL clients of graded quality (§6.1), and its measure (§6.2, Table 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fedcoin.core.errors import PartitionImpossible

Labels = Tensor | npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClientShare:
    """The samples of one client."""

    index: int
    """k, from 0."""
    type: int
    """j of T_j: the client's samples come from the first classes−j labels."""
    sample_indices: npt.NDArray[np.int64]
    """Positions in the training set, in random order, each at most once."""


def client_type(index: int, clients: int, types: int) -> int:
    """j of client `index`: groups of equal size, T_0 first; spread over all types if there are fewer clients."""
    return index * types // clients


def partition_by_type(
    labels: Labels,
    classes: int,
    clients: int,
    types: int = 10,
    samples_per_client: int | None = None,
    seed: int = 0,
) -> list[ClientShare]:
    """Divide samples among clients as in §6.1: a client of type T_j draws uniformly over the first classes−j labels.

    Each share has the same number of samples of each of its labels, give or take one. `types` is capped at `classes`,
    so that T_j always has a label left. Shares are disjoint as far as the data go: each label's samples are dealt out
    in random order, and dealt again from the start when they are used up (the labels of high types are wanted most:
    100 clients of MNIST with 600 samples each want label 0 17,600 times, and there are 5,923). Without
    `samples_per_client` it is the largest number for which all shares are disjoint. Raises PartitionImpossible.
    """
    values = np.asarray(labels)
    if clients < 1 or types < 1 or classes < 1:
        raise PartitionImpossible("clients, types and classes must be at least 1")
    if values.ndim != 1 or not len(values) or values.min() < 0 or values.max() >= classes:
        raise PartitionImpossible(f"expected a list of labels from 0 to {classes - 1}")
    types = min(types, classes)
    kinds = [client_type(index, clients, types) for index in range(clients)]
    available = np.bincount(values, minlength=classes)
    if samples_per_client is None:
        samples_per_client = _largest_disjoint(available, kinds, classes)
    if samples_per_client < 1:
        raise PartitionImpossible(
            f"{len(values)} samples do not make {clients} disjoint shares: give samples_per_client, or fewer clients"
        )
    rng = np.random.default_rng(seed)
    piles = [rng.permutation(np.flatnonzero(values == label)) for label in range(classes)]
    dealt = [0] * classes
    shares = []
    for index, kind in enumerate(kinds):
        wanted = _per_label(samples_per_client, classes - kind, rng)
        picked = []
        for label, count in enumerate(wanted):
            pile = piles[label]
            if count > len(pile):
                raise PartitionImpossible(
                    f"client {index} of type T_{kind} needs {count} samples of label {label}, there are {len(pile)}: "
                    "give fewer samples per client"
                )
            picked.append(np.take(pile, np.arange(dealt[label], dealt[label] + count), mode="wrap"))
            dealt[label] += count
        shares.append(ClientShare(index, kind, rng.permutation(np.concatenate(picked)).astype(np.int64)))
    return shares


def emd(share_labels: Labels, reference_labels: Labels, classes: int) -> float:
    """The distance Σ_c |p(c) − q(c)| between two label distributions, which Zhao et al. 2018 use as EMD (§6.2).

    For a type T_j against ten equal classes it is 0.2·j. Table 2 says 0.02·j: the mean over the ten classes in place
    of the sum. Raises PartitionImpossible if either list is empty.
    """
    distributions = []
    for labels in (share_labels, reference_labels):
        values = np.asarray(labels)
        if not len(values):
            raise PartitionImpossible("the label distribution of no samples is undefined")
        distributions.append(np.bincount(values, minlength=classes) / len(values))
    return float(np.abs(distributions[0] - distributions[1]).sum())


def _per_label(samples: int, labels: int, rng: np.random.Generator) -> list[int]:
    """`samples` divided over `labels` labels, the remainder to random ones."""
    counts = np.full(labels, samples // labels)
    counts[rng.permutation(labels)[: samples % labels]] += 1
    return [int(count) for count in counts]


def _largest_disjoint(available: npt.NDArray[np.int64], kinds: list[int], classes: int) -> int:
    """The largest number of samples per client that no label runs out of, wherever remainders fall."""
    low, high = 0, int(available.sum()) // len(kinds)
    while low < high:
        middle = (low + high + 1) // 2
        wanted = np.zeros(classes, dtype=np.int64)
        for kind in kinds:
            wanted[: classes - kind] += -(-middle // (classes - kind))
        low, high = (middle, high) if (wanted <= available).all() else (low, middle - 1)
    return low
