"""One workload measured: all contenders in turn, round after round, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchlib.algorithm1 import Algorithm1
from benchlib.alone import measure_alone
from benchlib.bound import last_width, slots_per_sample, work_of_iteration
from benchlib.libraries import ITERATIONS, installed
from benchlib.machine import RateMeter, Rates
from benchlib.miner import BenchMiner, engine_name
from benchlib.problem import Problem, Progress
from fedcoin.learning.device import resolve_device

_TURN_SECONDS = 0.5
"""Contenders with short iterations do several in a turn, for about so long."""
_TURN_LIMIT = 20
_PREFIXES = 1_000
"""Coalitions whose counts are compared at least, whatever the rounds have evaluated; fewer if that takes too long."""
_COMPARING_SECONDS = 20.0


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    threads: int
    repeats: int
    seed: int
    device: str
    cache: Path
    data_root: Path | None


@dataclass
class Rounds:
    """What the rounds have measured: seconds per iteration by contender, and the machine's rates beside them."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    rates: list[Rates] = field(default_factory=list)

    def median(self, contender: str) -> float | None:
        """Seconds per iteration; None if the contender was not there."""
        taken = self.seconds.get(contender)
        return median(taken) if taken else None

    @property
    def median_rates(self) -> Rates:
        """Each rate's median."""
        return Rates(**{name: median(getattr(rates, name) for rates in self.rates) for name in asdict(self.rates[0])})


class NaiveGame:
    """Algorithm 1 and the libraries that play with its utility; remembers counts to compare."""

    def __init__(self, game: Algorithm1, seed: int) -> None:
        self.game = game
        self._rng = np.random.default_rng(seed)
        self.orders: list[NDArray[np.int64]] = []
        self.counts: list[list[int]] = []
        began = time.perf_counter()
        self.iterate()
        self._each_turn = max(1, min(_TURN_LIMIT, round(_TURN_SECONDS / (time.perf_counter() - began))))

    def iterate(self) -> None:
        """One iteration of Algorithm 1 on a fresh rank."""
        order = self._rng.permutation(self.game.clients)
        self.orders.append(order)
        self.counts.append(self.game.iteration(order))

    def algorithm1(self) -> float:
        """One turn; seconds per iteration."""
        return self._turn(self.iterate)

    def tuned(self) -> float:
        """One turn of Algorithm 1, tuned; seconds per iteration."""
        return self._turn(lambda: self.game.tuned_iteration(self._rng.permutation(self.game.clients)))

    def library(self, name: str) -> float:
        """One turn of pydvl or shapiq, each with fresh permutations; seconds per K evaluations."""
        return self._turn(lambda: ITERATIONS[name](self.game, int(self._rng.integers(2**31))))

    def _turn(self, iterate: Callable[[], object]) -> float:
        evaluated, began = self.game.evaluations, time.perf_counter()
        for _ in range(self._each_turn):
            iterate()
        seconds = time.perf_counter() - began
        return seconds * self.game.clients / (self.game.evaluations - evaluated)


def measure_workload(problem: Problem, settings: Settings, say: Progress) -> dict[str, Any]:
    """All figures of one workload, as they stand in the report. Raises the errors of open_evaluator, RuntimeError."""
    workload, spec = problem.workload, problem.spec
    device = resolve_device(settings.device)
    say(f"{workload.name}: loading")
    x, y = problem.samples()
    naive = NaiveGame(Algorithm1(spec, problem.updates(), x, y, device), settings.seed)
    miner = BenchMiner(problem.evaluator(settings.device))
    rounds = _run_rounds(naive, miner, RateMeter(device, spec.classes, last_width(spec)), settings, workload.name, say)
    say(f"{workload.name}: comparing counts")
    counts = _compare_counts(naive, miner, len(y))
    call, engine = miner.call, engine_name(miner.evaluator)
    del miner  # its memory is not the other process's, but the machine's is one
    say(f"{workload.name}: memory and bits in two processes of their own")
    first, second = (measure_alone(problem, settings.threads, call, settings.device) for _ in range(2))
    rates = rounds.median_rates
    work = work_of_iteration(spec, workload.clients, len(y), call)
    bound = work.bound_seconds(rates)
    algorithm1, tuned, fedcoin = (
        median(rounds.seconds[name]) for name in ("algorithm1", "algorithm1_tuned", "fedcoin")
    )
    libraries = {name: rounds.median(name) for name in ITERATIONS}
    return {
        "clients": workload.clients,
        "model": workload.model,
        "images": len(y),
        "engine": engine,
        "algorithm1_s": algorithm1,
        "algorithm1_tuned_s": tuned,
        **{f"{name}_s": seconds for name, seconds in libraries.items()},
        "fedcoin_s": fedcoin,
        "ratio": algorithm1 / fedcoin,
        "tuned_ratio": tuned / fedcoin,
        **{f"{name}_ratio": None if value is None else value / fedcoin for name, value in libraries.items()},
        "iterations_per_second": 1 / fedcoin,
        "bound_s": bound,
        "bound_compute_s": work.compute_seconds(rates),
        "bound_memory_s": work.memory_seconds(rates),
        "share_of_bound": bound / fedcoin,
        "operations_per_sample": slots_per_sample(spec),
        "rates": asdict(rates),
        "peak_rss_bytes": max(first.peak_rss_bytes, second.peak_rss_bytes),
        "load_s": min(first.load_seconds, second.load_seconds),
        **counts,
        "bit_identical": first.leaves_sha256 == second.leaves_sha256,
        "iterations_per_call": call,
        "algorithm1_batch": naive.game.batch,
        "rounds": {"seconds": rounds.seconds, "rates": [asdict(rates) for rates in rounds.rates]},
    }


def _run_rounds(
    naive: NaiveGame, miner: BenchMiner, meter: RateMeter, settings: Settings, name: str, say: Progress
) -> Rounds:
    """a, b, c, a, b, c, …, so that whatever slows the machine for a while slows everyone."""
    contenders: dict[str, Callable[[], float]] = {
        "algorithm1": naive.algorithm1,
        "algorithm1_tuned": naive.tuned,
    }
    for library in filter(installed, ITERATIONS):
        say(f"{name}: warming up {library}")
        naive.library(library)
        contenders[library] = lambda library=library: naive.library(library)  # type: ignore[misc]
    contenders["fedcoin"] = miner.run
    rounds = Rounds()
    for number in range(settings.repeats):
        for contender, turn in contenders.items():
            say(f"{name}: round {number + 1} of {settings.repeats}, {contender}")
            torch.set_num_threads(settings.threads)  # libraries have been known to change it
            rounds.seconds.setdefault(contender, []).append(turn())
        rounds.rates.append(meter.measure())
    return rounds


def _compare_counts(naive: NaiveGame, miner: BenchMiner, samples: int) -> dict[str, float]:
    """Right answers of the same prefixes, by Algorithm 1 and by the evaluator."""
    latest = time.perf_counter() + _COMPARING_SECONDS
    while len(naive.orders) * naive.game.clients < _PREFIXES and time.perf_counter() < latest:
        naive.iterate()
    expected = np.array(naive.counts, dtype=np.int64)
    found = miner.right_answers(np.stack(naive.orders), samples)
    differences = np.abs(found - expected)
    return {
        "max_count_difference": int(differences.max()),
        "mean_count_difference": float(differences.mean()),
        "prefixes_compared": int(differences.size),
    }
