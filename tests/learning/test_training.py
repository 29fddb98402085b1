"""Local training (§3), FedAvg (equation 2) and the scores of a single model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fedcoin.core.errors import (
    AggregationImpossible,
    DeviceUnavailable,
    SamplesDoNotFit,
    TrainingDiverged,
    TrainingSettingsInvalid,
)
from fedcoin.learning.datasets import Dataset
from fedcoin.learning.device import limit_threads, resolve_device
from fedcoin.learning.fedavg import fedavg
from fedcoin.learning.models import initial_weights, preset
from fedcoin.learning.training import TrainingSettings, accuracy, loss, train_locally

SPEC = preset("softmax", (2,), 2)
X = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
Y = torch.tensor([0, 1, 0])
ZERO = {"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(2)}


def test_section_3_one_step_is_w_minus_eta_gradient() -> None:
    trained = train_locally(SPEC, ZERO, X, Y, TrainingSettings(iterations=1, learning_rate=0.3, batch_size=3), seed=0)
    # Of the softmax at w = 0: the gradient of row c is the mean of (1/2 − [y = c])·x.
    residual = 0.5 - torch.nn.functional.one_hot(Y, 2).float()
    assert torch.allclose(trained["0.weight"], -0.3 * residual.T @ X / 3)
    assert torch.allclose(trained["0.bias"], -0.3 * residual.mean(0))
    assert not ZERO["0.weight"].any(), "the weights that were passed in stay as they are"


def test_training_learns_and_is_deterministic(digits: Dataset) -> None:
    spec = preset("mlp-32", digits.input_shape, 10)
    start = initial_weights(spec, 0)
    settings = TrainingSettings(iterations=None, epochs=5, learning_rate=0.3, momentum=0.5)
    first, again = (train_locally(spec, start, digits.x_train, digits.y_train, settings, seed=4) for _ in range(2))
    other = train_locally(spec, start, digits.x_train, digits.y_train, settings, seed=5)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    assert accuracy(spec, first, digits.x_test, digits.y_test) > 0.9
    assert loss(spec, first, digits.x_test, digits.y_test) < loss(spec, start, digits.x_test, digits.y_test)


def test_epochs_and_iterations_count_the_same_steps() -> None:
    by_epochs = train_locally(SPEC, ZERO, X, Y, TrainingSettings(iterations=None, epochs=2, batch_size=2), seed=1)
    by_steps = train_locally(SPEC, ZERO, X, Y, TrainingSettings(iterations=4, batch_size=2), seed=1)
    assert torch.equal(by_epochs["0.weight"], by_steps["0.weight"])


def test_batch_normalisation_trains_and_moves_its_statistics() -> None:
    spec = preset("torchvision:shufflenet_v2_x0_5", (3, 32, 32), 2)
    start = initial_weights(spec, 0)
    x, y = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 0])
    trained = train_locally(spec, start, x, y, TrainingSettings(iterations=2, batch_size=2), seed=0)
    name = next(name for name in start if name.endswith("running_mean"))
    assert not torch.equal(trained[name], start[name])
    with pytest.raises(TrainingSettingsInvalid, match="at least 2"):
        train_locally(spec, start, x[:1], y[:1], TrainingSettings(), seed=0)


def test_diverged_training_is_reported() -> None:
    spec = preset("mlp-8", (2,), 2)
    settings = TrainingSettings(iterations=30, learning_rate=1e30)
    with pytest.raises(TrainingDiverged):
        train_locally(spec, initial_weights(spec, 0), X * 1e10, Y, settings, seed=0)


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": None},
        {"epochs": 1},
        {"iterations": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"momentum": 1.0},
        {"momentum": -0.1},
    ],
)
def test_impossible_settings_are_refused(change: dict) -> None:
    with pytest.raises(TrainingSettingsInvalid):
        train_locally(SPEC, ZERO, X, Y, replace(TrainingSettings(), **change), seed=0)


@pytest.mark.parametrize(
    ("x", "y"), [(X[:2], Y), (X[:0], Y[:0]), (X[:, :1], Y), (X.double(), Y), (X, Y.int()), (X, Y + 1), (X, Y - 1)]
)
def test_samples_that_do_not_fit_are_refused(x: torch.Tensor, y: torch.Tensor) -> None:
    with pytest.raises(SamplesDoNotFit):
        accuracy(SPEC, ZERO, x, y)


def test_ties_and_nan_are_wrong_answers() -> None:
    assert accuracy(SPEC, ZERO, X, Y) == 0.0
    assert accuracy(SPEC, ZERO | {"0.bias": torch.tensor([1.0, 0.0])}, X, Y) == pytest.approx(2 / 3)
    for bias in ([1.0, torch.nan], [torch.nan, 1.0], [torch.inf, torch.inf]):
        assert accuracy(SPEC, ZERO | {"0.bias": torch.tensor(bias)}, X, Y) == 0.0


def test_loss_is_clipped_and_nan_counts_as_the_most() -> None:
    assert loss(SPEC, ZERO, X, Y) == pytest.approx(torch.log(torch.tensor(2.0)).item())
    assert loss(SPEC, ZERO | {"0.bias": torch.tensor([torch.nan, 0.0])}, X, Y) == 100.0
    assert loss(SPEC, ZERO | {"0.bias": torch.tensor([0.0, 1e6])}, X, Y) == pytest.approx(200 / 3)


def test_equation_2_fedavg_is_the_mean() -> None:
    updates = [{"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, 8.0])}]
    assert fedavg(updates)["w"].tolist() == [2.0, 5.0]
    assert fedavg(updates, [3, 1])["w"].tolist() == [1.5, 3.5]
    assert fedavg(updates)["w"].dtype == torch.float32


def test_fedavg_does_not_lose_small_updates_to_float32_sums() -> None:
    updates = [{"w": torch.tensor([value])} for value in (2.0**24, 1.0, 1.0, -(2.0**24))]
    assert fedavg(updates)["w"].item() == 0.5


@pytest.mark.parametrize(
    ("updates", "samples"),
    [
        ([], None),
        ([{"w": torch.zeros(2)}], [1, 2]),
        ([{"w": torch.zeros(2)}], [0]),
        ([{"w": torch.zeros(2)}, {"v": torch.zeros(2)}], None),
        ([{"w": torch.zeros(2)}, {"w": torch.zeros(1)}], None),
    ],
)
def test_fedavg_refuses_what_has_no_mean(updates: list, samples: list[int] | None) -> None:
    with pytest.raises(AggregationImpossible):
        fedavg(updates, samples)


def test_devices_are_named_strictly() -> None:
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:4096", "cpu:0"):
        with pytest.raises(DeviceUnavailable):
            resolve_device(name)


def test_limit_threads_is_at_least_one() -> None:
    before = torch.get_num_threads()
    limit_threads(0)
    assert torch.get_num_threads() == 1
    limit_threads(before)
