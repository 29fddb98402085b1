"""Running sums in torch against Algorithm 1 as written, and what scores must not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.core.task import Utility
from fedcoin.learning import running_sums
from fedcoin.learning.batched_engine import BatchedEngine
from fedcoin.learning.choice import first_that_fits
from fedcoin.learning.device import CPU_MEMORY
from fedcoin.learning.engine import EngineDoesNotFit
from fedcoin.learning.game import Game
from fedcoin.learning.models import parameter_count, preset
from fedcoin.learning.running_sums import RunningSums
from fedcoin.shapley.walks import Walks, walks_of, walks_of_permutations
from tests.support.small_games import (
    CLASSES,
    POOL_FIRST,
    SPECS,
    assert_agrees,
    large_weights,
    naive_scores,
    overflowing,
    small_game,
    some_walks,
    with_limit,
)


@pytest.mark.parametrize("utility", list(Utility), ids=lambda u: u.name)
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_scores_are_those_of_fedavg_models(name: str, utility: Utility, weighted: bool) -> None:
    game = small_game(SPECS[name], utility=utility, weighted=weighted)
    walks = some_walks(game.clients)
    expected = naive_scores(game, walks)
    assert len(set(expected.tolist())) > 3, "the coalitions differ, so that agreement means something"
    assert_agrees(game, RunningSums(game).scores(walks), expected)


@pytest.mark.parametrize(("clients", "samples"), [(1, 70), (5, 1), (1, 1), (3, 16), (3, 17), (40, 2500)])
@pytest.mark.parametrize("utility", list(Utility), ids=lambda u: u.name)
def test_few_and_many_clients_and_samples(clients: int, samples: int, utility: Utility) -> None:
    game = small_game(SPECS["mlp"], clients, samples, utility)
    walks = some_walks(clients, count=2)
    assert_agrees(game, RunningSums(game).scores(walks), naive_scores(game, walks))


@pytest.mark.parametrize("name", ["mlp", "tanh", "cnn", "strides and padding", "softmax"])
@pytest.mark.parametrize("utility", list(Utility), ids=lambda u: u.name)
def test_a_score_depends_on_its_own_walk_alone(name: str, utility: Utility) -> None:
    game = small_game(SPECS[name], clients=7, samples=300, utility=utility, weighted=True)
    engine = RunningSums(game)
    walks = some_walks(7, count=9)
    together = engine.scores(walks)
    alone = np.concatenate([engine.scores(walks.part(at, at + 1)) for at in range(len(walks))])
    assert together.tolist() == alone.tolist()
    last_only = walks.marks.copy()
    last_only[: np.flatnonzero(last_only)[-1]] = False
    once = engine.scores(Walks(7, walks.members, walks.starts, last_only))
    assert once.tolist() == together[-1:].tolist()
    assert RunningSums(game).scores(walks).tolist() == together.tolist()


def test_threads_do_not_change_scores() -> None:
    # 784 inputs: libraries split such long sums among their threads.
    game = small_game(preset("mlp-40", (1, 28, 28), 4), samples=600, utility=Utility.NEGATIVE_LOSS)
    walks, scores = some_walks(game.clients), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            scores.append(RunningSums(game).scores(walks).tolist())
    finally:
        torch.set_num_threads(1)
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.parametrize("name", ["mlp", "tanh", "cnn"])
def test_memory_does_not_change_scores(name: str) -> None:
    game = small_game(SPECS[name], clients=6, samples=2500, utility=Utility.NEGATIVE_LOSS)
    walks = some_walks(6, count=5)
    large = RunningSums(game)
    scores = large.scores(walks)
    least = _least_limit(large)
    for limit in (least, least + 200_000, least + 3_000_000):
        engine = RunningSums(with_limit(game, limit))
        assert engine.scores(walks).tolist() == scores.tolist()
        # Blocks that were kept and blocks that were computed anew give the same.
        assert engine.scores(walks).tolist() == scores.tolist()
    assert RunningSums(with_limit(game, least)).cached_blocks < large.cached_blocks


def test_one_byte_below_one_block_is_refused() -> None:
    game = small_game(SPECS["cnn"])
    least = _least_limit(RunningSums(game))
    RunningSums(with_limit(game, least))
    for limit in (least - 1, 1, 0):
        with pytest.raises(MemoryTooSmall, match=str(least)):
            RunningSums(with_limit(game, limit))


def test_games_of_too_many_parameters_are_for_another_engine_whatever_the_limit() -> None:
    game = small_game(preset("mlp-64-64", (12,), CLASSES), samples=20)
    engine = RunningSums(game)
    least = _least_limit(engine)
    for limit in (1, least, CPU_MEMORY, 1 << 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running_sums, "_MOST_NEEDED", least - 1)
            with pytest.raises(EngineDoesNotFit, match=str(least)):
                RunningSums(with_limit(game, limit))
    assert running_sums._MOST_NEEDED < CPU_MEMORY


@pytest.mark.parametrize(("name", "clients"), [("mlp-2048-2048", 100), ("mlp-1024-1024", 300), ("mlp-512-512", 1024)])
def test_wide_models_of_many_clients_are_served_within_the_default_limit(name: str, clients: int) -> None:
    spec = preset(name, (784,), 10)
    stack = torch.zeros(1).expand(clients, parameter_count(spec))
    x, y = torch.zeros(1).expand(2000, 784), torch.zeros(2000, dtype=torch.int64)
    game = Game(spec, stack, np.ones(clients), x, y, Utility.ACCURACY, torch.device("cpu"), CPU_MEMORY, 1)
    assert first_that_fits(game, (RunningSums, BatchedEngine)).name == "batched"


def test_memory_in_use_stays_below_the_limit() -> None:
    game = small_game(SPECS["cnn"], clients=8, samples=3000)
    limit = _least_limit(RunningSums(game)) + 40_000_000
    engine = RunningSums(with_limit(game, limit))
    engine.scores(some_walks(8))
    kept = [engine._slots, engine._carry, engine._recomputed, *engine._cached, engine._means._stack]
    for place in [*engine._later._places, engine._first._place]:
        kept += [place.padded, place.columns, place.row_maxima, place.output]
    assert 0 < engine.cached_blocks < -(-3000 // engine.block)
    assert sum(4 * tensor.numel() for tensor in kept if tensor is not None) <= limit


def test_longer_walks_than_a_batch_holds_are_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    game = small_game(SPECS["mlp"], clients=11)
    walks = some_walks(11)
    expected = RunningSums(game).scores(walks)
    engine = RunningSums(game)
    monkeypatch.setattr(RunningSums, "_capacity", lambda self: 3)
    assert engine.scores(walks).tolist() == expected.tolist()


@pytest.mark.parametrize("value", [3e38, -3e38, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["mlp", "cnn", "tanh"])
def test_an_overflowing_update_touches_only_coalitions_with_it(name: str, value: float) -> None:
    game = small_game(SPECS[name], clients=4, utility=Utility.NEGATIVE_LOSS)
    hostile = overflowing(game, [2], value)
    walks = walks_of_permutations(np.array([[0, 1, 3, 2], [3, 1, 0, 2], [2, 0, 1, 3], [1, 0, 3, 2]]))
    without = ~walks.coalitions()[:, 2]
    scores, clean = RunningSums(hostile).scores(walks), RunningSums(game).scores(walks)
    assert scores[without].tolist() == clean[without].tolist()
    assert np.isfinite(scores).all(), "a loss is clipped"
    accurate = RunningSums(replace(hostile, utility=Utility.ACCURACY)).scores(walks)
    expected = naive_scores(replace(hostile, utility=Utility.ACCURACY), walks)
    assert np.abs(accurate - expected)[without].max() <= 1


@pytest.mark.parametrize("name", ["mlp", "softmax", "two linear layers"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_weights_that_overflow_alone_but_not_in_an_average(name: str, weighted: bool) -> None:
    game = large_weights(small_game(SPECS[name], weighted=weighted))
    assert not torch.isfinite(game.x.flatten(1) @ game.stack[0, : game.x[0].numel()]).any()
    walks = walks_of(5, [[1, 0, 2, 3, 4], [4, 0], [2, 3, 0, 1]])
    expected = naive_scores(game, walks)
    assert len(set(expected.tolist())) > 2
    assert_agrees(game, RunningSums(game).scores(walks), expected)


def test_no_marks_and_no_walks() -> None:
    engine = RunningSums(small_game(SPECS["mlp"]))
    for walks in (walks_of(5, []), walks_of(5, [[]]), walks_of(5, [[1, 2]], [[False, False]])):
        scores = engine.scores(walks)
        assert scores.shape == (0,)
        assert scores.dtype == np.int64


def test_other_architectures_are_for_other_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineDoesNotFit):
        RunningSums(small_game(POOL_FIRST))
    with pytest.raises(EngineDoesNotFit):
        RunningSums(small_game(preset("torchvision:squeezenet1_1", (3, 32, 32), 2), 1, 1))
    monkeypatch.setattr(running_sums, "_MOST_BYTES", 1000)
    with pytest.raises(EngineDoesNotFit):
        RunningSums(small_game(SPECS["mlp"]))


def test_a_device_that_runs_out_of_memory_gets_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    game = small_game(SPECS["mlp"], clients=9, samples=3000)
    walks = some_walks(9, count=80)
    expected = RunningSums(game).scores(walks)
    engine, most = RunningSums(game), 70
    original = RunningSums._batch

    def batch(self: RunningSums, prefixes: running_sums.Prefixes) -> np.ndarray:
        if prefixes.evaluations > most:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, prefixes)

    monkeypatch.setattr(RunningSums, "_batch", batch)
    assert engine.scores(walks).tolist() == expected.tolist()
    monkeypatch.setattr(RunningSums, "_batch", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("none left")))
    with pytest.raises(MemoryTooSmall, match="none left"):
        RunningSums(game).scores(walks)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["mlp", "tanh", "cnn", "strides and padding"])
def test_cuda_agrees_with_the_cpu(name: str) -> None:
    game = small_game(SPECS[name], utility=Utility.NEGATIVE_LOSS)
    walks = some_walks(game.clients)
    scores = RunningSums(replace(game, device=torch.device("cuda", 0))).scores(walks)
    np.testing.assert_allclose(scores, RunningSums(game).scores(walks), rtol=1e-5)


def _least_limit(engine: RunningSums) -> int:
    return engine._fixed_bytes() + engine._models * engine._row
