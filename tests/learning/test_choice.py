"""Which engine serves a game, and how candidates are measured against each other."""

from __future__ import annotations

import importlib.util
import logging
import weakref
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.core.task import Utility
from fedcoin.learning import choice
from fedcoin.learning.batched_engine import BatchedEngine
from fedcoin.learning.choice import Maker, first_that_fits, open_engine, open_measured, rank
from fedcoin.learning.engine import EngineDoesNotFit
from fedcoin.learning.game import Game
from fedcoin.learning.native import load_library
from fedcoin.learning.running_sums import RunningSums
from fedcoin.shapley.walks import Walks
from tests.support.small_games import POOL_FIRST, SPECS, overflowing, small_game, some_walks, with_limit


class Clock:
    """Time that passes only when an engine works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed:
    """Running sums that take as long as they are told, and are off by as much as they are told."""

    def __init__(self, game: Game, name: str, clock: Clock, seconds: float | Iterator[float], off: float = 0) -> None:
        self.name = name
        self._engine, self._clock, self._off = RunningSums(game), clock, off
        self._seconds = seconds if isinstance(seconds, Iterator) else (seconds for _ in count())

    def scores(self, walks: Walks) -> npt.NDArray:
        self._clock.now += next(self._seconds)
        scores = self._engine.scores(walks)
        return scores + np.array(self._off, dtype=scores.dtype)


@pytest.fixture
def game() -> Game:
    return small_game(SPECS["mlp"], samples=40)


def nothing() -> None:
    """Settles a device that needs no settling."""


def choose_among(game: Game, clock: Clock, *makers: Maker, settle: Callable[[], None] = nothing) -> str:
    return open_measured(game, [lambda g: Timed(g, "reference", clock, 1.0), *makers], clock, settle).name


def choose(game: Game, *candidates: tuple[str, float, float]) -> str:
    clock = Clock()
    return choose_among(game, clock, *(lambda g, c=c: Timed(g, c[0], clock, c[1], c[2]) for c in candidates))


def test_on_the_cpu_the_order_is_fixed() -> None:
    mlp = open_engine(small_game(SPECS["mlp"])).name
    assert mlp.startswith("native" if load_library() is not None else "running-sums")
    assert open_engine(small_game(SPECS["cnn"])).name == "running-sums"
    assert open_engine(small_game(POOL_FIRST)).name == "batched"


def test_without_a_compiled_library_running_sums_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcoin.learning.native.engine.load_library", lambda: None)
    assert open_engine(small_game(SPECS["mlp"])).name == "running-sums"


@pytest.mark.parametrize("spec", [SPECS["mlp"], SPECS["cnn"], POOL_FIRST])
def test_too_little_memory_is_said_and_changes_no_engine(spec: object) -> None:
    with pytest.raises(MemoryTooSmall):
        open_engine(with_limit(small_game(spec), 10))


def test_an_engine_that_does_not_fit_is_passed_over(game: Game) -> None:
    def picky(game: Game) -> RunningSums:
        raise EngineDoesNotFit("not today")

    assert first_that_fits(game, (picky, RunningSums)).name == "running-sums"


def test_the_fastest_that_agrees_is_taken(game: Game) -> None:
    assert choose(game, ("slower", 2.0, 0), ("faster", 0.5, 0), ("fastest", 0.1, 0)) == "fastest"
    assert choose(game, ("slower", 2.0, 0)) == "reference"


def test_a_near_tie_keeps_the_first(game: Game) -> None:
    assert choose(game, ("hardly faster", 0.9, 0)) == "reference"
    assert choose(game, ("faster", 0.5, 0), ("hardly faster still", 0.45, 0)) == "faster"


def test_the_first_run_does_not_count(game: Game) -> None:
    clock, seconds = Clock(), iter([100.0, 0.1, 5.0, 0.1])
    assert choose_among(game, clock, lambda g: Timed(g, "compiles first", clock, seconds)) == "compiles first"


@pytest.mark.parametrize("off", [3, -3])
def test_one_that_counts_otherwise_is_dropped_with_a_reason(
    game: Game, off: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose(game, ("wrong", 0.1, off)) == "reference"
    assert "wrong" in caplog.text
    assert "3 right answers differ" in caplog.text
    assert choose(game, ("rounds otherwise", 0.1, 1)) == "rounds otherwise"


@pytest.mark.parametrize(("off", "chosen"), [(1.0, "reference"), (float("nan"), "reference"), (1e-7, "candidate")])
def test_losses_may_differ_by_rounding_only(off: float, chosen: str) -> None:
    game = small_game(SPECS["mlp"], samples=40, utility=Utility.NEGATIVE_LOSS)
    assert choose(game, ("candidate", 0.1, off)) == chosen


@pytest.mark.parametrize("error", [RuntimeError("does not compile"), MemoryTooSmall("no room"), EngineDoesNotFit("no")])
def test_one_that_fails_is_dropped(game: Game, error: Exception) -> None:
    clock = Clock()

    def broken(game: Game) -> Timed:
        raise error

    class Breaks(Timed):
        def scores(self, walks: Walks) -> npt.NDArray:
            raise error

    makers = [broken, lambda g: Breaks(g, "breaks", clock, 0.1), lambda g: Timed(g, "works", clock, 0.2)]
    assert choose_among(game, clock, *makers) == "works"


@pytest.mark.parametrize("error", [RuntimeError("driver"), torch.OutOfMemoryError("none"), MemoryTooSmall("no room")])
def test_whole_models_serve_where_the_reference_fails(game: Game, error: Exception) -> None:
    def broken(game: Game) -> Timed:
        raise error

    class Breaks(Timed):
        def scores(self, walks: Walks) -> npt.NDArray:
            raise error

    clock = Clock()
    for maker in (broken, lambda g: Breaks(g, "breaks", clock, 0.1)):
        assert isinstance(open_measured(game, [maker, lambda g: Timed(g, "never tried", clock, 0.1)]), BatchedEngine)


def test_one_that_fails_only_on_the_game_itself_leaves_it_to_the_next(game: Game) -> None:
    clock = Clock()

    def picky(served: Game) -> Timed:
        if served is game:
            raise RuntimeError("not this one")
        return Timed(served, "picky", clock, 0.1)

    assert choose_among(game, clock, picky) == "reference"
    assert isinstance(open_measured(game, [picky]), BatchedEngine)


def test_a_device_that_a_candidate_breaks_ends_the_process_and_says_why(game: Game) -> None:
    broken: list[str] = []

    def breaks(game: Game) -> Timed:
        broken.append("yes")
        raise RuntimeError("an illegal memory access")

    def settle() -> None:
        if broken:
            raise RuntimeError("no context")

    with pytest.raises(
        RuntimeError, match=r"engine breaks ran \(an illegal memory access\).*start it anew.*no context"
    ):
        choose_among(game, Clock(), breaks, settle=settle)


def test_one_engine_at_a_time_takes_memory(game: Game) -> None:
    clock, alive = Clock(), weakref.WeakSet[Timed]()
    most = []

    def maker(game: Game) -> Timed:
        most.append(len(alive))
        engine = Timed(game, "counted", clock, 0.1)
        alive.add(engine)
        return engine

    chosen = open_measured(game, [maker, maker, maker], clock)
    assert most == [0, 0, 0, 0], "three trials and the one that serves"
    assert list(alive) == [chosen]


def test_updates_have_no_part_in_the_trial(game: Game) -> None:
    seen = []

    def maker(served: Game) -> RunningSums:
        seen.append(served)
        return RunningSums(served)

    for hostile in (game, overflowing(game, range(5), 0.0), overflowing(game, range(5), 1e38)):
        rank(hostile, [maker], Clock(), nothing)
    first = seen[0]
    assert len({row.numpy().tobytes() for row in first.stack}) == game.clients
    for trial in seen:
        assert trial.stack.shape == game.stack.shape
        assert trial.x.shape == game.x.shape
        assert trial.stack.equal(first.stack)
        assert trial.x.equal(first.x)
        assert trial.y.equal(first.y)
    walks = choice._trial(game)
    assert len(set(RunningSums(first).scores(walks).tolist())) > 3, "so that agreement means something"


def test_a_shape_is_measured_once_in_a_process(game: Game) -> None:
    clock, made = Clock(), []

    def maker(served: Game) -> Timed:
        made.append(served)
        return Timed(served, "measured", clock, 0.1)

    other = overflowing(game, range(5), 0.5)
    for served in (game, other):
        assert open_measured(served, [maker], clock).name == "measured"
    assert len(made) == 3, "one trial, two games"
    assert made[1] is game
    assert made[2] is other
    open_measured(small_game(SPECS["mlp"], samples=41), [maker], clock)
    assert len(made) == 5


def test_a_single_client_needs_no_trial() -> None:
    def maker(game: Game) -> RunningSums:
        raise AssertionError("tried")

    assert open_measured(small_game(SPECS["mlp"], clients=1), [maker]).name == "batched"


def test_trials_are_the_same_every_time_and_short() -> None:
    for clients in (1, 10, 100, 5000):
        game = small_game(SPECS["softmax"], clients, 1)
        walks = choice._trial(game)
        assert walks.members.tolist() == choice._trial(game).members.tolist()
        assert len(walks) >= 1
        assert walks.evaluations <= max(choice._TRIAL_MARKS, clients)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_the_triton_kernel_is_a_candidate_that_the_cpu_refuses(game: Game) -> None:
    makers = choice._cuda_candidates()
    assert makers
    with pytest.raises(EngineDoesNotFit):
        makers[0](game)
    assert open_measured(game, [RunningSums, *makers]).name == "running-sums"


def test_chosen_engines_agree_with_each_other() -> None:
    game = small_game(SPECS["mlp"])
    walks = some_walks(game.clients)
    assert np.abs(open_engine(game).scores(walks) - RunningSums(game).scores(walks)).max() <= 1
