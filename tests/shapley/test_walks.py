"""Walks: coalitions that grow by one client at a time."""

import numpy as np
import pytest

from fedcoin.core.errors import CoalitionsMalformed
from fedcoin.shapley.walks import Walks, walks_of, walks_of_permutations


def members_of(walks: Walks) -> list[set[int]]:
    return [set(np.flatnonzero(row).tolist()) for row in walks.coalitions()]


def test_a_permutation_is_a_walk_through_all_its_prefixes():
    walks = walks_of_permutations(np.array([[2, 0, 1], [1, 2, 0]]))
    assert members_of(walks) == [{2}, {0, 2}, {0, 1, 2}, {1}, {1, 2}, {0, 1, 2}]
    assert (len(walks), walks.evaluations) == (2, 6)


def test_only_marked_coalitions_are_evaluated_in_their_order():
    walks = walks_of(5, [[4, 1, 3], [], [0, 2]], [[False, True, True], [], [False, True]])
    assert members_of(walks) == [{1, 4}, {1, 3, 4}, {0, 2}]
    assert walks.evaluations == 3


def test_no_walks_have_no_coalitions():
    walks = walks_of_permutations(np.zeros((0, 4), dtype=np.int64))
    assert walks.coalitions().shape == (0, 4)
    assert (len(walks), walks.evaluations) == (0, 0)


def test_a_part_holds_the_same_coalitions():
    walks = walks_of(4, [[0, 1], [3], [2, 1, 0]], [[True, False], [True], [True, True, False]])
    assert members_of(walks.part(1, 3)) == members_of(walks)[1:]
    assert members_of(walks.part(0, 0)) == []


@pytest.mark.parametrize("orders", [[[0, 4]], [[-1]], [[0, 1, 0]], [[0, 1], [2, 2]]])
def test_clients_that_do_not_exist_or_join_twice_are_refused(orders):
    with pytest.raises(CoalitionsMalformed):
        walks_of(4, orders)


def test_a_client_may_join_different_walks():
    assert members_of(walks_of(4, [[3], [3]])) == [{3}, {3}]


@pytest.mark.parametrize(
    ("members", "starts", "marks"),
    [
        (np.zeros(2, dtype=np.int64), np.array([0, 2]), np.ones(2, dtype=np.bool_)),
        (np.arange(2, dtype=np.int32), np.array([0, 1]), np.ones(2, dtype=np.bool_)),
        (np.arange(2, dtype=np.int32), np.array([0, 2]), np.ones(3, dtype=np.bool_)),
        (np.arange(2, dtype=np.int32), np.array([1, 2]), np.ones(2, dtype=np.bool_)),
        (np.arange(2, dtype=np.int32), np.array([0, 3, 2]), np.ones(2, dtype=np.bool_)),
        (np.arange(2, dtype=np.int32), np.zeros(0, dtype=np.int64), np.ones(2, dtype=np.bool_)),
        (np.arange(2, dtype=np.int32), np.array([0, 2]), np.ones(2, dtype=np.int8)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(members, starts, marks):
    with pytest.raises(CoalitionsMalformed):
        Walks(3, members, starts, marks)


@pytest.mark.parametrize("orders", [np.zeros(3, dtype=np.int64), np.zeros((1, 3)), np.array([[0, 0, 1]])])
def test_permutations_of_another_shape_or_kind_are_refused(orders):
    with pytest.raises(CoalitionsMalformed):
        walks_of_permutations(orders)
