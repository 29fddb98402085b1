"""How iterations are divided among workers, and where workers are placed: without Ray."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from fedcoin.core.errors import DeviceUnavailable, RayUnavailable
from fedcoin.node.ray_division import MOST_AT_ONCE, Division, Piece
from fedcoin.node.ray_evaluator import RayEvaluator
from fedcoin.node.ray_plan import Node, places, threads_for, wants_gpus

FEW, MANY = Node("a", "few", 2), Node("b", "many", 8)


def rows_of(piece: Piece) -> np.ndarray:
    """A row per position that says which it is."""
    return np.arange(piece.begin, piece.end, dtype=np.int64)[:, None]


def taken(division: Division, rate: float | None, share: float = 1.0, now: float = 0.0) -> Piece:
    piece = division.take(rate, share, now)
    assert piece is not None
    return piece


@pytest.mark.parametrize("seed", range(20))
def test_every_iteration_comes_back_once_and_in_order_whatever_is_lost(seed: int) -> None:
    generator = random.Random(seed)
    division, now, held = Division(500, None, 0.0), 0.0, []
    while not division.finished:
        now += 0.01
        event = generator.random()
        if event < 0.5 and (piece := division.take(generator.choice([None, 5.0, 900.0]), 0.3, now)):
            held.append(piece)
        elif held:
            piece = held.pop(generator.randrange(len(held)))
            if event < 0.6 and division.take_copy(piece):
                held += [piece, piece]
            elif event < 0.75:
                division.lose(piece)
            else:
                division.answer(piece, rows_of(piece))
    np.testing.assert_array_equal(division.rows()[:, 0], np.arange(500))


def test_fast_worker_gets_more_than_a_slow_one() -> None:
    division = Division(10_000, None, 0.0)
    slow, fast = taken(division, 100.0, 0.1), taken(division, 900.0, 0.9)
    assert 8 * len(slow) <= len(fast) <= 10 * len(slow)


def test_piece_is_bounded_by_time_and_number() -> None:
    assert len(taken(Division(10**9, None, 0.0), 1e9)) == MOST_AT_ONCE
    assert len(taken(Division(10**9, None, 0.0), 10.0)) == 20
    assert len(taken(Division(10**9, 1.0, 0.0), 100.0)) == 50
    assert len(taken(Division(3, 100.0, 0.0), 1000.0)) == 3


def test_mining_ends_with_its_time_and_does_one_iteration_at_least() -> None:
    division = Division(1000, 0.0, 5.0)
    piece = taken(division, None, now=5.0)
    assert len(piece) == 1
    assert not division.finished
    assert division.take(1000.0, 1.0, 5.1) is None
    division.answer(piece, rows_of(piece))
    assert division.finished
    assert len(division.rows()) == 1


def test_workers_slower_than_the_time_given_do_one_iteration_each_side_by_side() -> None:
    division = Division(1000, 1.0, 0.0)
    pieces = [taken(division, 0.1, 0.5, now) for now in (0.0, 0.01)]
    assert [len(piece) for piece in pieces] == [1, 1]
    assert division.take(0.1, 0.5, 5.0) is None


def test_lost_piece_goes_to_the_next_who_asks_and_is_counted() -> None:
    division = Division(10, None, 0.0)
    piece = taken(division, 10.0)
    division.lose(piece)
    assert division.most_losses == 1
    assert taken(division, None) == piece
    division.lose(piece, blame=False)
    assert division.most_losses == 1


def test_second_copy_is_given_once_and_its_loss_leaves_the_first() -> None:
    division = Division(10, None, 0.0)
    piece = taken(division, 10.0)
    assert division.take_copy(piece)
    assert not division.take_copy(piece)
    division.lose(piece)
    assert taken(division, 10.0) != piece
    division.answer(piece, rows_of(piece))
    division.answer(piece, -rows_of(piece))
    assert not division.take_copy(piece)
    division.lose(piece)
    assert division.most_losses == 1


def test_worker_to_a_node_or_to_so_many_threads() -> None:
    assert [(place.node, place.threads) for place in places([FEW, MANY], 0, 0, False)] == [(FEW, 2), (MANY, 8)]
    assert [place.node for place in places([FEW, MANY], 0, 2, False)] == [FEW, MANY, MANY, MANY, MANY]
    assert [place.node for place in places([FEW, MANY], 3, 2, False)] == [FEW, MANY, MANY]
    assert [place.node for place in places([FEW, MANY], 0, 4, False)] == [MANY, MANY]
    assert places([Node("head", "head", 0)], 0, 0, False) == []


def test_threads_are_as_many_as_let_all_workers_find_room() -> None:
    assert threads_for([FEW, MANY], 1) == 8
    assert threads_for([FEW, MANY], 2) == 4
    assert threads_for([FEW, MANY], 3) == 2
    assert threads_for([FEW, MANY], 100) == 1
    assert threads_for([], 1) == 1


def test_worker_to_every_gpu_where_there_are_some() -> None:
    node = Node("c", "gpus", 16, 2)
    assert [(place.node, place.threads, place.device) for place in places([FEW, node], 0, 0, True)] == [
        (node, 8, "cuda"),
        (node, 8, "cuda"),
    ]
    assert wants_gpus([FEW, node], "auto")
    assert not wants_gpus([FEW, node], "cpu")
    assert not wants_gpus([FEW], "auto")


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "abacus"])
def test_device_that_the_cluster_does_not_have_is_an_error(device: str) -> None:
    with pytest.raises(DeviceUnavailable):
        wants_gpus([FEW], device)


async def test_without_ray_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    evaluator = RayEvaluator()
    with pytest.raises(RayUnavailable, match=r"pip install 'fedcoin\[ray\]'") as raised:
        await evaluator.start()
    assert raised.value.code == "RAY_UNAVAILABLE"
    assert evaluator.pid is None
    await evaluator.stop()
