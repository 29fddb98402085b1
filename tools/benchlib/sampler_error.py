"""How far each sampler's mean is from the Shapley values after so many iterations.

Several miners, whose permutations are independent, each run from iteration 0 as in a race. After every iteration the
distance ‖S − S*‖₂ of a miner's running mean from the reference is known; utilities are accuracies from 0 to 1. The
reference is exact for few clients; otherwise it is the mean of a long run by a miner that takes no part, and its own
standard error is stated. The cost of an iteration is counted in units of K coalition evaluations, so that a sampler's
preparation, and iterations with a few evaluations more or fewer, count for what they are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchlib.miner import CALL_LIMIT, CALL_SECONDS, RACE, miner_key
from benchlib.problem import Progress
from fedcoin.core.errors import FedCoinError
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Sampler
from fedcoin.shapley.exact import exact_values
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.samplers import open_sampler
from fedcoin.shapley.walks import Evaluator, walks_of

TARGETS = (1e-2, 1e-3)
EXACT_REFERENCE = 12
"""Up to so many clients the reference is exact."""
BLOCK = 64
"""A variance is estimated from means of so many iterations, since a sampler may pair or stratify them."""
_REFERENCE_MINER = 1_000_000
_TIMED_MINER = 1_000_001
_SAMPLE = 64
_ROUNDS, _TURN = 7, 32

Vectors = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """How long to run."""

    miners: int
    iterations: int
    """Of each miner."""
    reference: int
    """Iterations of the reference, if it is not exact."""
    longest: int
    """The first miner goes on until it stays below the last target, but not beyond this."""


@dataclass(frozen=True)
class Reference:
    """S*."""

    values: Vectors
    standard_error: float
    """Root of the expected squared distance from the truth."""
    how: str


class Stream:
    """The leaves of one miner by one sampler, in the order of their indices."""

    def __init__(self, sampler: Sampler, evaluator: Evaluator, miner: int) -> None:
        self._iterations = Iterations(sampler, evaluator)
        self._key = miner_key(miner)
        self._pieces: list[NDArray[np.int64]] = []
        self.count = 0
        began = time.perf_counter()
        self._iterations.prepare()
        self.preparation_seconds = time.perf_counter() - began

    def extend(self, count: int, what: str, say: Progress) -> None:
        """Goes on until there are `count` leaves."""
        call = 1
        while self.count < count:
            step = min(call, count - self.count)
            say(f"{what}: iteration {self.count:,} of {count:,}")
            began = time.perf_counter()
            self._pieces.append(self._iterations.leaves(RACE, self._key, range(self.count, self.count + step)))
            taken = time.perf_counter() - began
            self.count += step
            if 2 * taken <= CALL_SECONDS:
                call = min(2 * call, CALL_LIMIT)

    def leaves(self) -> Vectors:
        """All leaves, as accuracies: float64 [count, K]."""
        return np.concatenate(self._pieces) / UTILITY_SCALE

    def errors(self, reference: Vectors) -> Vectors:
        """‖S − S*‖₂ after 1, 2, … iterations, [count]."""
        means = np.cumsum(np.concatenate(self._pieces), axis=0) / np.arange(1, self.count + 1)[:, None]
        return np.linalg.norm(means / UTILITY_SCALE - reference, axis=1)


def measure_samplers(evaluator: Evaluator, plan: Plan, say: Progress) -> dict[str, Any]:
    """The figures of every sampler that serves so many clients, as they stand in the report."""
    reference = find_reference(evaluator, plan.reference, say)
    found: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for sampler in Sampler:
        try:
            found[sampler.name] = _measure(sampler, evaluator, plan, reference, say)
        except FedCoinError as error:
            refused[sampler.name] = str(error)
    for name, seconds in in_turn(evaluator, [Sampler[name] for name in found], say).items():
        found[name]["iteration_s"] = seconds
    plain = found[Sampler.PERMUTATION.name]
    for figures in found.values():
        for fewer, cost in (("times_fewer", "cost_to_reach"), ("times_fewer_expected", "cost_expected")):
            figures[fewer] = {target: ratio(plain[cost][target], figures[cost][target]) for target in figures[cost]}
        figures["times_less_variance"] = ratio(plain["variance"], figures["variance"])
    return {
        "clients": evaluator.clients,
        "reference": {"how": reference.how, "standard_error": reference.standard_error},
        "plan": {"miners": plan.miners, "iterations": plan.iterations, "longest": plan.longest},
        "samplers": found,
        "refused": refused,
    }


def find_reference(evaluator: Evaluator, iterations: int, say: Progress) -> Reference:
    """S*: exact for few clients, else from a long run of the sampler that varies least."""
    clients = evaluator.clients
    if clients <= EXACT_REFERENCE:
        coalitions = [members for size in range(1, clients + 1) for members in combinations(range(clients), size)]
        marks = [[False] * (len(members) - 1) + [True] for members in coalitions]
        values = evaluator.values(walks_of(clients, coalitions, marks))
        worth = {frozenset(members): int(value) for members, value in zip(coalitions, values, strict=True)}
        worth[frozenset()] = evaluator.empty_value
        exact = exact_values(worth.__getitem__, clients)
        return Reference(np.array([float(value) for value in exact]) / UTILITY_SCALE, 0.0, "all coalitions")
    stream = Stream(Sampler.HYBRID, evaluator, _REFERENCE_MINER)
    stream.extend(iterations, "reference", say)
    leaves = stream.leaves()
    error = float(np.sqrt(variance_of(leaves) / len(leaves)))
    return Reference(leaves.mean(axis=0), error, f"{iterations:,} iterations of {Sampler.HYBRID.name}")


def in_turn(evaluator: Evaluator, samplers: Sequence[Sampler], say: Progress) -> dict[str, float]:
    """Seconds per iteration of each sampler without its preparation: medians of rounds in which all take their turn."""
    iterations = {sampler.name: Iterations(sampler, evaluator) for sampler in samplers}
    seconds: dict[str, list[float]] = {name: [] for name in iterations}
    for number in range(_ROUNDS + 1):
        for name, each in iterations.items():
            say(f"{name}: time of an iteration, round {number} of {_ROUNDS}")
            each.prepare()
            began = time.perf_counter()
            each.leaves(RACE, miner_key(_TIMED_MINER), range(_TURN * number, _TURN * (number + 1)))
            seconds[name].append((time.perf_counter() - began) / _TURN)
    return {name: median(taken[1:]) for name, taken in seconds.items()}  # the first round warms up


def variance_of(leaves: Vectors) -> float:
    """n · E‖mean of n − truth‖²: the variance of an iteration, summed over clients, from means of blocks."""
    block = min(BLOCK, max(1, len(leaves) // 8))
    count = len(leaves) // block
    if count < 2:
        return float("nan")
    means = leaves[: count * block].reshape(count, block, -1).mean(axis=1)
    return float(block * means.var(axis=0, ddof=1).sum())


def crossing(errors: Vectors, target: float) -> int | None:
    """The iteration from which the error stays at or below the target; None if the last one is above it."""
    above = np.flatnonzero(errors > target)
    if not len(above):
        return 1
    return None if above[-1] == len(errors) - 1 else int(above[-1]) + 2


def grid(length: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, … up to `length`, which is the last one."""
    points = {size for power in range(40) for size in (2**power, 3 * 2**power) if size < length}
    return [*sorted(points), length]


def ratio(of: float | None, to: float | None) -> float | None:
    """The quotient, where both are known."""
    return None if of is None or not to else of / to


def _measure(sampler: Sampler, evaluator: Evaluator, plan: Plan, reference: Reference, say: Progress) -> dict[str, Any]:
    prescribed = open_sampler(sampler, evaluator.clients)
    preparation = prescribed.preparation.evaluations / evaluator.clients
    sample = prescribed.walks(RACE, miner_key(0), range(_SAMPLE))
    each = sample.evaluations / _SAMPLE / evaluator.clients
    streams = [Stream(sampler, evaluator, miner) for miner in range(plan.miners)]
    for stream in streams:
        stream.extend(plan.iterations, f"{sampler.name}, miner {streams.index(stream) + 1} of {plan.miners}", say)
    # After each pass of EXACT nothing is left to vary, so that what its iterations vary by predicts nothing.
    complete = sampler is Sampler.EXACT
    variance = None if complete else float(np.mean([variance_of(stream.leaves()) for stream in streams]))
    errors = np.stack([stream.errors(reference.values) for stream in streams])
    points = grid(plan.iterations)
    curve = [_point(errors[:, :point], preparation, each) for point in points]
    expected = {f"{target:g}": None if variance is None else variance / target**2 for target in TARGETS}
    most = expected[f"{TARGETS[-1]:g}"] or 0.0
    long = _go_on(streams[0], reference.values, most, plan.longest, sampler.name, say)
    curve += [_point(long[None, :point], preparation, each) for point in grid(len(long)) if point > plan.iterations]
    reached = {f"{target:g}": _reached(errors, long, target, complete) for target in TARGETS}
    first = streams[0]
    return {
        "preparation_cost": preparation,
        "cost_per_iteration": each,
        "steps_per_iteration": len(sample.members) / _SAMPLE,
        "preparation_s": first.preparation_seconds,
        "variance": variance,
        "curve": curve,
        "iterations_to_reach": reached,
        "iterations_expected": expected,
        "cost_to_reach": {target: _cost(count, preparation, each) for target, count in reached.items()},
        "cost_expected": {target: _cost(count, preparation, each) for target, count in expected.items()},
    }


def _point(errors: Vectors, preparation: float, each: float) -> dict[str, float]:
    """The last column of errors [miners, n]: over the miners, after n iterations."""
    last, count = errors[:, -1], errors.shape[1]
    return {
        "iterations": count,
        "cost": preparation + each * count,
        "error": float(np.sqrt(np.mean(last**2))),
        "least": float(last.min()),
        "most": float(last.max()),
    }


def _go_on(stream: Stream, reference: Vectors, expected: float, longest: int, name: str, say: Progress) -> Vectors:
    """The first miner's errors, continued well beyond the last target, so that no lucky dip passes for reaching it."""
    while True:
        errors = stream.errors(reference)
        crossed = crossing(errors, TARGETS[-1])
        enough = longest if crossed is None else 1.2 * max(crossed, expected)
        if stream.count >= min(enough, longest):
            return errors
        stream.extend(min(longest, stream.count * 5 // 4 + 1), f"{name}, long run", say)


def _reached(errors: Vectors, long: Vectors, target: float, complete: bool) -> int | None:
    """Where the miners' root mean square error comes to the target; the long run's, if the others were too short.

    To stay below it; or, of a sampler whose passes are `complete`, for the first time.
    """
    joint = np.sqrt(np.mean(errors**2, axis=0))
    if complete:
        below = np.flatnonzero(joint <= target)
        return int(below[0]) + 1 if len(below) else None
    return crossing(joint, target) or crossing(long, target)


def _cost(iterations: float | None, preparation: float, each: float) -> float | None:
    """In units of K evaluations."""
    return None if iterations is None else preparation + each * iterations
