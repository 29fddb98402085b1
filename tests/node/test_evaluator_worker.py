"""The worker's side of the evaluator, without its process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcoin.core.task import PROBLEM, Baseline, Problem, Sampler
from fedcoin.learning import evaluator
from fedcoin.learning.evaluator import TorchEvaluator
from fedcoin.node.evaluator_frames import rows_from
from fedcoin.node.evaluator_worker import CACHED_PROBLEMS, Evaluations
from fedcoin.node.preparation import KeptPreparations
from fedcoin.shapley.iterations import Preparation
from fedcoin.shapley.samplers import open_sampler
from fedcoin.shapley.walks import Values, Walks
from tests.support.tiny_problem import make_tiny_problem

RACE, MINER = b"r" * 32, b"\x02" + b"m" * 32


def load(evaluations: Evaluations, problem: Problem, blobs: dict[bytes, bytes]) -> dict[str, Any]:
    for digest in problem.blobs:
        assert evaluations.answer({"op": "blob", "digest": digest.hex()}, blobs[digest]) is None
    answer = evaluations.answer({"op": "load"}, PROBLEM.encode(problem))
    assert answer is not None
    return answer[0]


def prepare(evaluations: Evaluations, problem: Problem, seconds: float = 60.0) -> dict[str, Any]:
    answer = evaluations.answer({"op": "prepare", "problem": problem.id().hex(), "seconds": seconds}, b"")
    assert answer is not None
    return answer[0]


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Coalitions of each call of an evaluator."""
    asked: list[int] = []
    honest = TorchEvaluator.values

    def noted(self: TorchEvaluator, walks: Walks) -> Values:
        asked.append(walks.evaluations)
        return honest(self, walks)

    monkeypatch.setattr(TorchEvaluator, "values", noted)
    return asked


def ask(evaluations: Evaluations, problem: Problem, **head: Any) -> np.ndarray:
    words = {"problem": problem.id().hex(), "race": RACE.hex(), "miner": MINER.hex(), **head}
    answer = evaluations.answer(words, b"")
    assert answer is not None
    return rows_from(answer[1], answer[0]["clients"])


@pytest.mark.parametrize("sampler", Sampler)
def test_what_a_sampler_prepares_is_evaluated_once(sampler: Sampler, evaluated: list[int]) -> None:
    problem, blobs = make_tiny_problem(clients=6, sampler=sampler, baseline=Baseline.ZERO)
    evaluations = Evaluations("cpu")
    assert load(evaluations, problem, blobs) == {"clients": problem.clients, "samples": 60}
    expected = open_sampler(sampler, problem.clients)
    count = expected.preparation.evaluations
    assert prepare(evaluations, problem) == {
        "done": True, "clients": 6, "samples": 60, "evaluated": count, "evaluations": count
    }  # fmt: skip
    assert sum(evaluated) == count
    evaluated.clear()
    ask(evaluations, problem, op="mine", start=3, seconds=0.0, limit=10)
    ask(evaluations, problem, op="recompute", indices=[5, 7])
    assert sum(evaluated) == sum(expected.walks(RACE, MINER, part).evaluations for part in ([3], [5, 7]))


def test_a_batch_has_at_least_one_iteration_and_at_most_as_many_as_allowed() -> None:
    problem, blobs = make_tiny_problem()
    evaluations = Evaluations("cpu")
    load(evaluations, problem, blobs)
    prepare(evaluations, problem)
    assert len(ask(evaluations, problem, op="mine", start=0, seconds=0.0, limit=10)) == 1
    assert len(ask(evaluations, problem, op="mine", start=0, seconds=60.0, limit=700)) == 700


def test_problems_beyond_the_cache_are_missing() -> None:
    evaluations = Evaluations("cpu")
    problems = [make_tiny_problem(label) for label in range(CACHED_PROBLEMS + 1)]
    for problem, blobs in problems:
        load(evaluations, problem, blobs)
    first = {"op": "recompute", "problem": problems[0][0].id().hex()}
    assert evaluations.answer(first, b"") == ({"missing": True}, b"")


def test_preparation_goes_on_where_it_stopped_and_nothing_is_mined_before_it_is_done(evaluated: list[int]) -> None:
    problem, blobs = make_tiny_problem(clients=30, sampler=Sampler.HYBRID, baseline=Baseline.ZERO)
    count = open_sampler(Sampler.HYBRID, 30).preparation.evaluations
    evaluations = Evaluations("cpu")
    assert prepare(evaluations, problem) == {"missing": True}
    load(evaluations, problem, blobs)
    mine = {"op": "mine", "problem": problem.id().hex(), "race": RACE.hex(), "miner": MINER.hex()}
    limits = {"start": 0, "seconds": 0.0, "limit": 1}
    slices = 0
    while not (answer := prepare(evaluations, problem, 0.0))["done"]:
        slices += 1
        assert answer["evaluated"] == sum(evaluated) < answer["evaluations"] == count
        assert evaluations.answer({**mine, **limits}, b"") == ({"missing": True}, b"")
    assert slices > 2
    assert sum(evaluated) == count
    whole = Evaluations("cpu")
    load(whole, problem, blobs)
    prepare(whole, problem)
    for one in (evaluations, whole):
        leaves = ask(one, problem, op="mine", **limits)
        np.testing.assert_array_equal(leaves, ask(evaluations, problem, op="recompute", indices=[0]))


def test_problem_that_is_loaded_is_not_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    honest = evaluator.open_evaluator

    def noted(*arguments: Any) -> TorchEvaluator:
        opened.append(1)
        return honest(*arguments)

    monkeypatch.setattr(evaluator, "open_evaluator", noted)
    problem, blobs = make_tiny_problem()
    evaluations = Evaluations("cpu")
    assert load(evaluations, problem, blobs) == load(evaluations, problem, blobs)
    assert len(opened) == 1


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_problem_that_was_put_away_keeps_what_was_prepared(seconds: float, evaluated: list[int]) -> None:
    problem, blobs = make_tiny_problem(clients=30, sampler=Sampler.HYBRID, baseline=Baseline.ZERO)
    evaluations = Evaluations("cpu")
    load(evaluations, problem, blobs)
    prepare(evaluations, problem, seconds)
    for label in range(1, CACHED_PROBLEMS + 1):
        load(evaluations, *make_tiny_problem(label, baseline=Baseline.ZERO))
    assert prepare(evaluations, problem) == {"missing": True}
    load(evaluations, problem, blobs)
    assert prepare(evaluations, problem)["done"]
    assert sum(evaluated) == open_sampler(Sampler.HYBRID, 30).preparation.evaluations


def test_kept_preparations_are_bounded_by_their_bytes() -> None:
    kept = KeptPreparations(100)
    for number in range(3):
        kept.keep(bytes([number]), Preparation(np.zeros(5, dtype=np.int64)))
    assert [kept.get(bytes([number])) is not None for number in range(3)] == [False, True, True]
    kept.keep(b"large", Preparation(np.zeros(13, dtype=np.int64)))
    assert kept.get(b"large") is None
