"""What the benchmark's figures rest on: counts of operations, baselines that compute what they claim, statistics."""

import numpy as np
import pytest
import torch
from benchlib.algorithm1 import Algorithm1
from benchlib.bound import slots_per_sample, work_of_iteration
from benchlib.images import made_up
from benchlib.libraries import ITERATIONS, installed
from benchlib.machine import Rates
from benchlib.miner import BenchMiner
from benchlib.problem import prepare_problem
from benchlib.report import markdown, milliseconds, significant
from benchlib.sampler_error import Plan, crossing, find_reference, grid, measure_samplers, variance_of
from benchlib.workloads import WORKLOADS

from fedcoin.learning.fedavg import fedavg
from fedcoin.learning.models import preset
from fedcoin.learning.training import accuracy


@pytest.fixture(scope="module")
def game(problem):
    x, y = problem.samples()
    return Algorithm1(problem.spec, problem.updates(), x, y)


def test_operations_of_w100_by_hand():
    counts = slots_per_sample(preset("mlp-128", (1, 28, 28), 10))
    assert counts == {"additions": 128, "activations": 128, "multiplications": 1280, "comparisons": 10}


def test_operations_of_softmax_are_additions_and_comparisons_only():
    counts = slots_per_sample(preset("softmax", (1, 28, 28), 10))
    assert counts == {"additions": 10, "activations": 0, "multiplications": 0, "comparisons": 10}


def test_operations_of_the_cnn_by_hand():
    counts = slots_per_sample(preset("cnn", (1, 28, 28), 10))
    first, second = 8 * 28 * 28, 16 * 14 * 14
    assert counts["additions"] == first
    assert counts["activations"] == first + first + second + second  # ReLU, and 4 comparisons for a quarter as many
    assert counts["multiplications"] == second * 8 * 9 + 16 * 7 * 7 * 10


def test_bound_is_the_larger_of_computing_and_reading():
    work = work_of_iteration(preset("mlp-128", (1, 28, 28), 10), clients=100, samples=10_000, batch=64)
    assert work.slots == 1546 * 100 * 10_000
    assert work.bytes == 128 * 100 * 10_000 * 4 / 64
    fast, slow = Rates(200.0, 100.0, 10.0), Rates(200.0, 100.0, 0.1)
    assert work.bound_seconds(fast) == pytest.approx(1.546e9 / 100e9)
    assert work.bound_seconds(slow) == pytest.approx(8e6 / 0.1e9)


def test_algorithm_1_counts_what_the_averaged_model_gets_right(game, problem):
    x, y = problem.samples()
    updates = problem.updates()
    order = np.array([2, 0, 3, 1])
    expected = [
        round(accuracy(problem.spec, fedavg([updates[k] for k in order[:size]]), x, y) * len(y))
        for size in (1, 2, 3, 4)
    ]
    assert game.iteration(order) == expected
    assert game.tuned_iteration(order) == expected
    assert game.value([3, 0, 2]) == expected[2]


def test_counts_of_the_evaluator_are_whole_answers(game, problem):
    orders = np.array([[0, 1, 2, 3], [3, 1, 0, 2]])
    counts = BenchMiner(problem.evaluator("cpu")).right_answers(orders, 200)
    assert np.abs(counts - [game.iteration(order) for order in orders]).max() <= 1


@pytest.mark.parametrize("library", ITERATIONS)
def test_library_plays_the_same_game(game, library):
    if not installed(library):
        pytest.skip(f"{library} is not installed")
    before = game.evaluations
    values = ITERATIONS[library](game, 5)
    assert values.sum() == pytest.approx(game.value(range(4)))
    assert game.evaluations - before == 4 + 1


def test_trained_clients_are_read_back_and_not_trained_again(problem, cache):
    said = []
    again = prepare_problem(WORKLOADS["tiny"], cache, None, 0, said.append)
    assert again == problem
    assert said == []
    other = prepare_problem(WORKLOADS["tiny"], cache, None, 1, said.append)
    assert other.folder != problem.folder
    assert len(said) == 4


def test_made_up_images_are_the_same_for_a_seed_and_can_be_learnt(problem):
    first, second = made_up(3, 50, 20), made_up(3, 50, 20)
    assert torch.equal(first.x_train, second.x_train)
    assert first.x_train.shape == (50, 1, 28, 28)
    assert 0 <= float(first.x_train.min()) <= float(first.x_train.max()) <= 1
    x, y = problem.samples()
    assert accuracy(problem.spec, problem.updates()[0], x, y) > 0.4


def test_crossing_counts_from_where_the_error_stays_below():
    assert crossing(np.array([3.0, 0.5, 2.0, 0.9, 0.8]), 1.0) == 4
    assert crossing(np.array([0.5, 0.4]), 1.0) == 1
    assert crossing(np.array([0.5, 2.0]), 1.0) is None


def test_variance_is_that_of_one_iteration_summed_over_clients():
    draws = np.random.default_rng(0).normal(scale=[1.0, 2.0], size=(64_000, 2))
    assert variance_of(draws) == pytest.approx(5.0, rel=0.1)
    assert np.isnan(variance_of(draws[:1]))


def test_variance_of_pairs_that_cancel_is_nothing():
    half = np.random.default_rng(0).normal(size=(1_000, 3))
    assert variance_of(np.stack([half, -half], axis=1).reshape(-1, 3)) == pytest.approx(0.0, abs=1e-20)


def test_grid_is_logarithmic_and_ends_at_the_end():
    assert grid(1) == [1]
    assert grid(13) == [1, 2, 3, 4, 6, 8, 12, 13]


def test_every_sampler_approaches_the_exact_values(problem):
    evaluator = problem.evaluator("cpu")
    reference = find_reference(evaluator, 1, lambda text: None)
    assert reference.values.sum() == pytest.approx(evaluator.values(_everyone(4))[0] / 10**9)
    plan = Plan(miners=2, iterations=512, reference=1, longest=512)
    figures = measure_samplers(evaluator, plan, lambda text: None)
    for name, found in figures["samplers"].items():
        # EXACT has no variance to speak of: it is exact after each pass, of 7 iterations here.
        likely = 0.005 if found["variance"] is None else (found["variance"] / 512) ** 0.5
        assert found["curve"][-1]["error"] < 4 * likely, name


def test_table_aligns_numbers_to_the_right():
    assert markdown([("a", "bb"), ("ccc", "d")]) == "| a   | bb |\n|-----|---:|\n| ccc |  d |"


def test_figures_are_rounded_for_people():
    assert [significant(value) for value in (1234.5, 12.34, 1.234, 0.01234)] == ["1,234", "12.3", "1.23", "0.0123"]
    assert milliseconds(None) == "not installed"
    assert milliseconds(0.0105) == "10.5 ms"


def _everyone(clients):
    from fedcoin.shapley.walks import walks_of

    return walks_of(clients, [list(range(clients))], [[False] * (clients - 1) + [True]])
