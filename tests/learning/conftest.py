"""Small trained problems on the embedded digits, made once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from fedcoin.core.model import ModelSpec
from fedcoin.learning.datasets import Dataset, load_dataset
from fedcoin.learning.models import Weights, initial_weights, preset
from fedcoin.learning.partition import partition_by_type
from fedcoin.learning.training import TrainingSettings, train_locally


@dataclass(frozen=True)
class TrainedRound:
    """Updates of K clients after local training, with what a server would publish beside them."""

    spec: ModelSpec
    base: Weights
    updates: list[Weights]
    samples: list[int]
    x: Tensor
    y: Tensor


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests share the machine, and one thread gives the same sums everywhere."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


def train_round(data: Dataset, model: str, clients: int) -> TrainedRound:
    spec = preset(model, data.input_shape, data.classes)
    base = initial_weights(spec, seed=7)
    shares = partition_by_type(data.y_train, data.classes, clients, seed=3)
    updates = [
        train_locally(
            spec,
            base,
            data.x_train[share.sample_indices],
            data.y_train[share.sample_indices],
            TrainingSettings(learning_rate=0.5),
            seed=share.index,
        )
        for share in shares
    ]
    # Unequal on purpose, so that a weighted mean differs from the plain one.
    samples = [10 + 7 * share.index for share in shares]
    return TrainedRound(spec, base, updates, samples, data.x_test, data.y_test)


@pytest.fixture(scope="session", params=["softmax", "mlp-16", "cnn"])
def trained(request: pytest.FixtureRequest, digits: Dataset) -> TrainedRound:
    return train_round(digits, request.param, clients=4)


@pytest.fixture(scope="session")
def trained_softmax(digits: Dataset) -> TrainedRound:
    return train_round(digits, "softmax", clients=4)
