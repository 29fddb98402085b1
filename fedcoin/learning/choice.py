"""Which engine serves a game.

On the CPU the order is fixed, so that a machine gives the same values every time: the compiled kernel, running sums in
torch, whole models.

On CUDA the Triton kernel is measured against running sums in torch, on made-up updates and samples of the game's shape,
which nobody can arrange to make an engine look slow or wrong. It is taken if it agrees with them and is clearly faster.
The measurement is made once for a shape in a process. Between processes and machines values may still differ in a last
bit where one finds the kernel clearly faster and another does not, or where one lacks the memory for it. Whatever fails
on CUDA is passed over, down to whole models.

A kernel that breaks the CUDA context itself takes the process with it: CUDA then refuses everything until a new process
begins, which measures again. Nothing is kept from one process to the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedcoin.core.task import Utility
from fedcoin.learning.batched_engine import BatchedEngine
from fedcoin.learning.engine import Engine, EngineDoesNotFit
from fedcoin.learning.game import Game
from fedcoin.learning.native import NativeEngine
from fedcoin.learning.running_sums import RunningSums
from fedcoin.shapley.walks import Walks, walks_of_permutations

logger = logging.getLogger(__name__)

Maker = Callable[[Game], Engine]
Timer = Callable[[], float]

_CLEARLY_FASTER = 1.15
"""A later candidate must be so many times as fast as the best before it."""
_TRIAL_MARKS, _TRIAL_REPEATS = 1600, 3
_COUNT_TOLERANCE, _LOSS_TOLERANCE = 2e-4, 1e-4
"""Right answers of 10,000 that rounding may turn (2), and the relative difference of a loss."""
_MOVE = 16
_MOST_RANKINGS = 256

_rankings: dict[tuple[object, ...], list[Maker]] = {}
"""What was measured in this process, by shape and device."""


def open_engine(game: Game) -> Engine:
    """The engine that serves `game` best. Raises MemoryTooSmall where its limit is too low, and as tensor_shapes.

    On the CPU the choice does not depend on the memory limit, since values must not. Raises RuntimeError if a kernel
    has broken the CUDA context, so that only a new process can go on.
    """
    if game.device.type != "cuda":
        return first_that_fits(game, (NativeEngine, RunningSums, BatchedEngine))

    def settle() -> None:
        torch.cuda.synchronize(game.device)
        torch.cuda.empty_cache()

    def timer() -> float:
        torch.cuda.synchronize(game.device)
        return perf_counter()

    return open_measured(game, [RunningSums, *_cuda_candidates()], timer, settle)


def first_that_fits(game: Game, makers: Sequence[Maker]) -> Engine:
    """The first engine that takes `game`, the last of which must. Raises MemoryTooSmall."""
    for maker in makers[:-1]:
        try:
            return maker(game)
        except EngineDoesNotFit as reason:
            logger.debug("%s does not serve %s: %s", _name(maker), game.spec.name, reason)
    return makers[-1](game)


def open_measured(
    game: Game, makers: Sequence[Maker], timer: Timer = perf_counter, settle: Callable[[], None] = lambda: None
) -> Engine:
    """The best of `makers`, or whole models where none of them can serve `game`.

    The first maker is the reference of `rank`. `timer` gives seconds; `settle` waits for the device and frees what
    engines have left, and raises where the device is of no use any more. Raises what BatchedEngine raises, and
    RuntimeError.
    """
    if game.clients == 1:  # one coalition, of one model: there is nothing to win
        return BatchedEngine(game)
    key = (game.spec, game.clients, game.samples, game.utility, str(game.device), *makers)
    ranked = _rankings.get(key) or rank(game, makers, timer, settle)
    if ranked:  # else memory may have been short for once
        if len(_rankings) >= _MOST_RANKINGS:
            _rankings.clear()
        _rankings[key] = ranked
    for maker in ranked:
        try:
            return maker(game)
        except Exception as error:  # compilers and drivers raise what they like, and memory may be short
            _passed_over(_name(maker), game, error)
            failure = str(error)
        _settle(settle, _name(maker), failure)
    return BatchedEngine(game)


def rank(game: Game, makers: Sequence[Maker], timer: Timer, settle: Callable[[], None]) -> list[Maker]:
    """Those of `makers` that work for games of this shape, the best first; none if the first, the reference, does not.

    A maker comes before those that it is clearly faster than, if its engine agrees with the first one's. It may fail
    in any way: it is left out, and the reason logged. Raises RuntimeError if `settle` fails.
    """
    trial, walks = _trial_game(game), _trial(game)
    ranked: list[Maker] = []
    expected: npt.NDArray[Any] | None = None
    best: _Measured | None = None
    for maker in makers:
        failure = ""
        try:
            found = _measure(trial, maker, walks, expected, timer)
        except Exception as error:
            _passed_over(_name(maker), game, error)
            found, failure = None, str(error)
        _settle(settle, _name(maker), failure)  # before the next one takes memory
        if found is None:
            if expected is None:
                return []
            continue
        expected = found.scores if expected is None else expected
        logger.debug("engine %s: %.3g s for %d coalitions", found.name, found.seconds, walks.evaluations)
        if best is None or found.seconds * _CLEARLY_FASTER < best.seconds:
            best = found
            ranked.insert(0, maker)
        else:
            ranked.append(maker)
    if best is not None:
        rate = walks.evaluations / best.seconds
        logger.info("engine %s serves %s: %.0f coalitions a second", best.name, game.spec.name, rate)
    return ranked


@dataclass(frozen=True)
class _Measured:
    name: str
    scores: npt.NDArray[Any]
    seconds: float


def _measure(
    game: Game, maker: Maker, walks: Walks, expected: npt.NDArray[Any] | None, timer: Timer
) -> _Measured | None:
    """What an engine gives and how long it takes, or None if it is wrong. The engine is gone afterwards."""
    engine = maker(game)
    scores = engine.scores(walks)
    difference = "" if expected is None else _difference(game, scores, expected)
    if difference:
        logger.warning("engine %s is not used: %s", engine.name, difference)
        return None
    return _Measured(engine.name, scores, _seconds(engine, walks, timer))


def _passed_over(name: str, game: Game, error: Exception) -> None:
    if isinstance(error, EngineDoesNotFit):
        logger.debug("engine %s does not serve %s: %s", name, game.spec.name, error)
    else:
        logger.warning("engine %s is not used for %s: %s: %s", name, game.spec.name, type(error).__name__, error)


def _settle(settle: Callable[[], None], name: str, failure: str) -> None:
    """Raises RuntimeError if the device does not answer any more."""
    try:
        settle()
    except Exception as error:
        cause = f" ({failure})" if failure else ""
        raise RuntimeError(
            f"the device is in error since engine {name} ran{cause}; nothing can be computed on it in this process: "
            f"start it anew, with device cpu if that happens again: {error}"
        ) from error


def _cuda_candidates() -> list[Maker]:
    try:
        from fedcoin.learning.triton_walks import TritonWalks
    except Exception as error:  # without triton, or one that does not work here
        logger.info("the Triton kernel is not used: %s", error)
        return []
    return [TritonWalks]


def _name(maker: Maker) -> str:
    return getattr(maker, "__name__", str(maker))


def _trial(game: Game) -> Walks:
    """A few walks through all clients, the same every time."""
    random = np.random.default_rng(0)
    count = max(1, min(64, _TRIAL_MARKS // game.clients))
    return walks_of_permutations(np.stack([random.permutation(game.clients) for _ in range(count)]))


def _trial_game(game: Game) -> Game:
    """A game of the same shape with made-up updates and samples, the same every time.

    Updates overlap in memory, so that they take no more than one: each is the one before it moved by a few numbers.
    """
    generator = torch.Generator().manual_seed(0)
    clients, parameters = game.stack.shape
    numbers = 0.1 * torch.randn(_MOVE * clients + parameters, generator=generator)
    return replace(
        game,
        stack=numbers.as_strided((clients, parameters), (_MOVE, 1)),
        counts=np.ones(clients),
        x=torch.randn(game.x.shape, generator=generator),
        y=torch.arange(game.samples) % game.spec.classes,
    )


def _seconds(engine: Engine, walks: Walks, timer: Timer) -> float:
    """The shortest of a few runs, after one that has compiled and cached what there is to."""
    times = []
    for _ in range(_TRIAL_REPEATS):
        begin = timer()
        engine.scores(walks)
        times.append(timer() - begin)
    return max(min(times), 1e-9)


def _difference(game: Game, scores: npt.NDArray[Any], expected: npt.NDArray[Any]) -> str:
    """What is wrong with `scores`, or nothing."""
    if scores.shape != expected.shape or scores.dtype != expected.dtype:
        return f"{scores.dtype}{list(scores.shape)} instead of {expected.dtype}{list(expected.shape)}"
    if game.utility == Utility.ACCURACY:
        allowed = max(1.0, np.ceil(_COUNT_TOLERANCE * game.samples))
        worst = float(np.abs(scores - expected).max(initial=0))
        return f"{worst:.0f} right answers differ" if worst > allowed else ""
    worst = float((np.abs(scores - expected) / np.maximum(1.0, np.abs(expected))).max(initial=0.0))
    return f"losses differ by a factor of {worst}" if not worst <= _LOSS_TOLERANCE else ""
