"""Whole coalition models against Algorithm 1 as written, for every kind of architecture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.core.model import ModelSpec
from fedcoin.core.task import Utility
from fedcoin.learning import batched_engine
from fedcoin.learning.batched_engine import BatchedEngine
from fedcoin.learning.fedavg import fedavg
from fedcoin.learning.models import preset
from fedcoin.shapley.walks import walks_of, walks_of_permutations
from tests.support.small_games import (
    CLASSES,
    POOL_FIRST,
    SPECS,
    assert_agrees,
    naive_scores,
    overflowing,
    small_game,
    some_walks,
    with_limit,
)

ALL = {**SPECS, "pool first": POOL_FIRST}


@pytest.mark.parametrize("utility", list(Utility), ids=lambda u: u.name)
@pytest.mark.parametrize("name", ALL)
def test_scores_are_those_of_fedavg_models(name: str, utility: Utility) -> None:
    game = small_game(ALL[name], utility=utility, weighted=True)
    walks = some_walks(game.clients)
    assert_agrees(game, BatchedEngine(game).scores(walks), naive_scores(game, walks))


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_torchvision_models_average_running_statistics_too(name: str) -> None:
    spec = preset(f"torchvision:{name}", (3, 32, 32), CLASSES)
    game = small_game(spec, clients=3, samples=7, utility=Utility.NEGATIVE_LOSS, weighted=True)
    # Statistics that differ between clients, as after training on other data.
    game = replace(game, stack=game.stack * (1 + 0.1 * torch.arange(3)[:, None]))
    walks = walks_of(3, [[2, 0], [0, 1, 2]], [[False, True], [True, False, True]])
    assert_agrees(game, BatchedEngine(game).scores(walks), naive_scores(game, walks))


@pytest.mark.parametrize("clients_and_samples", [(1, 9), (5, 1), (1, 1), (3, 1500)])
def test_few_clients_and_samples(clients_and_samples: tuple[int, int]) -> None:
    game = small_game(POOL_FIRST, *clients_and_samples)
    walks = some_walks(clients_and_samples[0], count=2)
    assert_agrees(game, BatchedEngine(game).scores(walks), naive_scores(game, walks))


@pytest.mark.parametrize("spec", [POOL_FIRST, SPECS["mlp"]])
def test_a_score_depends_on_its_own_walk_alone(spec: ModelSpec) -> None:
    game = small_game(spec, clients=7, samples=300, utility=Utility.NEGATIVE_LOSS, weighted=True)
    engine, walks = BatchedEngine(game), some_walks(7, count=9)
    together = engine.scores(walks)
    alone = np.concatenate([engine.scores(walks.part(at, at + 1)) for at in range(len(walks))])
    assert together.tolist() == alone.tolist()


def test_memory_does_not_change_scores_and_too_little_is_refused() -> None:
    game = small_game(POOL_FIRST, utility=Utility.NEGATIVE_LOSS)
    walks = some_walks(game.clients)
    expected = BatchedEngine(game).scores(walks).tolist()
    with pytest.raises(MemoryTooSmall, match="allow more") as refused:
        BatchedEngine(with_limit(game, 1))
    least = int(str(refused.value).split(" need ")[1].split()[0])
    assert BatchedEngine(with_limit(game, least)).scores(walks).tolist() == expected
    with pytest.raises(MemoryTooSmall):
        BatchedEngine(with_limit(game, least - 1))


def test_images_too_large_for_fixed_shapes_go_through_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    game = small_game(SPECS["cnn"], utility=Utility.NEGATIVE_LOSS)
    walks = some_walks(game.clients)
    monkeypatch.setattr(batched_engine, "_MOST_BUFFERS", 0)
    monkeypatch.setattr(batched_engine, "_CPU_BUFFERS", 0)
    engine = BatchedEngine(game)
    assert engine._network.models == 1
    assert_agrees(game, engine.scores(walks), naive_scores(game, walks))


@pytest.mark.parametrize("value", [3e38, float("inf"), float("nan")])
def test_an_overflowing_update_touches_only_coalitions_with_it(value: float) -> None:
    game = small_game(POOL_FIRST, clients=4, utility=Utility.NEGATIVE_LOSS)
    walks = walks_of_permutations(np.array([[0, 1, 3, 2], [3, 1, 0, 2], [2, 0, 1, 3]]))
    without = ~walks.coalitions()[:, 2]
    scores = BatchedEngine(overflowing(game, [2], value)).scores(walks)
    assert scores[without].tolist() == BatchedEngine(game).scores(walks)[without].tolist()
    assert np.isfinite(scores).all()


def test_averages_are_bit_for_bit_those_of_fedavg() -> None:
    game = small_game(SPECS["mlp"], weighted=True)
    order = [3, 0, 4]
    [mean] = list(BatchedEngine(game)._means(walks_of(5, [order], [[False, False, True]])))
    counts = [int(game.counts[k]) for k in order]
    assert mean.equal(fedavg([{"w": game.stack[k]} for k in order], counts)["w"])
