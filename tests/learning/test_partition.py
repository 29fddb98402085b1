"""§6.1's division into types of graded quality, and Table 2's measure of it."""

from __future__ import annotations

import numpy as np
import pytest

from fedcoin.core.errors import PartitionImpossible
from fedcoin.learning.datasets import Dataset
from fedcoin.learning.partition import emd, partition_by_type

LABELS = np.tile(np.arange(10), 600)


def test_section_6_1_hundred_clients_in_ten_groups_of_ten() -> None:
    shares = partition_by_type(LABELS, 10, clients=100, seed=1)
    assert [share.type for share in shares] == [j for j in range(10) for _ in range(10)]
    assert [share.index for share in shares] == list(range(100))


def test_section_6_1_type_j_draws_uniformly_over_the_first_ten_minus_j_labels() -> None:
    for share in partition_by_type(LABELS, 10, clients=10, samples_per_client=47, seed=1):
        counts = np.bincount(LABELS[share.sample_indices], minlength=10)
        allowed = 10 - share.type
        assert counts[allowed:].sum() == 0
        assert counts.sum() == 47
        assert counts[:allowed].max() - counts[:allowed].min() <= 1


@pytest.mark.parametrize(
    ("clients", "types"),
    [(1, [0]), (4, [0, 2, 5, 7]), (10, list(range(10))), (15, [0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9])],
)
def test_types_are_spread_when_clients_are_no_multiple_of_ten(clients: int, types: list[int]) -> None:
    assert [share.type for share in partition_by_type(LABELS, 10, clients, seed=0)] == types


def test_default_share_is_disjoint_and_as_large_as_that_allows(digits: Dataset) -> None:
    shares = partition_by_type(digits.y_train, 10, clients=10, seed=5)
    used = np.concatenate([share.sample_indices for share in shares])
    assert len(np.unique(used)) == len(used)
    size = len(shares[0].sample_indices)
    assert all(len(share.sample_indices) == size for share in shares)
    larger = partition_by_type(digits.y_train, 10, clients=10, samples_per_client=size + 10, seed=5)
    reused = np.concatenate([share.sample_indices for share in larger])
    assert len(np.unique(reused)) < len(reused)


def test_large_shares_reuse_samples_between_clients_but_not_within_one() -> None:
    for share in partition_by_type(LABELS, 10, clients=100, samples_per_client=600, seed=2):
        assert len(np.unique(share.sample_indices)) == 600


def test_seed_decides_the_division() -> None:
    first, again, other = (partition_by_type(LABELS, 10, 4, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.sample_indices, b.sample_indices) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].sample_indices, other[0].sample_indices)


def test_types_are_capped_at_the_number_of_classes() -> None:
    shares = partition_by_type(np.tile([0, 1, 2], 20), 3, clients=3)
    assert [share.type for share in shares] == [0, 1, 2]


def test_table_2_emd_grows_linearly_with_the_type() -> None:
    shares = partition_by_type(LABELS, 10, clients=10, samples_per_client=2520 // 10, seed=0)
    distances = [emd(LABELS[share.sample_indices], LABELS, 10) for share in shares]
    assert distances == pytest.approx([0.2 * j for j in range(10)], abs=0.02)


@pytest.mark.parametrize(
    ("labels", "arguments"),
    [
        (LABELS, {"clients": 0}),
        (LABELS, {"clients": 3, "types": 0}),
        (LABELS, {"clients": 10_000}),
        (LABELS, {"clients": 10, "samples_per_client": 601}),
        (LABELS, {"clients": 10, "samples_per_client": -1}),
        (LABELS + 1, {"clients": 10}),
        (LABELS[:0], {"clients": 10}),
    ],
)
def test_impossible_partition_is_refused(labels: np.ndarray, arguments: dict) -> None:
    with pytest.raises(PartitionImpossible):
        partition_by_type(labels, 10, **arguments)


def test_emd_of_nothing_is_refused() -> None:
    with pytest.raises(PartitionImpossible):
        emd(LABELS[:0], LABELS, 10)
