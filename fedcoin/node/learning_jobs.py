"""What servers and clients have done in their worker process. Everything goes in and comes out as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedcoin.core.errors import OfferUnacceptable
from fedcoin.core.model import ModelSpec
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Aggregation
from fedcoin.rpc.views import TrainingSettings


@dataclass(frozen=True)
class ModelFacts:
    """Sizes of an architecture."""

    parameters: int
    max_update_bytes: int
    """The most that an update may have."""


@dataclass(frozen=True, eq=False)
class ClientData:
    """The samples of one FL client."""

    x: npt.NDArray[np.float32]
    """[n, *input_shape]."""
    y: npt.NDArray[np.int64]
    """[n]."""

    @property
    def samples(self) -> int:
        """n_k."""
        return len(self.y)


def describe_model(spec: ModelSpec) -> ModelFacts:
    """Raises ModelDoesNotFit, ModelTooLarge, UnknownModel."""
    from fedcoin.learning.models import parameter_count
    from fedcoin.learning.weights import expected_size

    return ModelFacts(parameter_count(spec), expected_size(spec))


def check_evaluation_set(data: bytes, spec: ModelSpec) -> int:
    """Number of samples. Raises as decode_evaluation_set."""
    from fedcoin.learning.evaluation_set import decode_evaluation_set

    return len(decode_evaluation_set(data, spec)[1])


def starting_model(spec: ModelSpec, seed: int) -> bytes:
    """w_0, as safetensors."""
    from fedcoin.learning.models import initial_weights
    from fedcoin.learning.weights import encode

    return encode(initial_weights(spec, seed))


def check_update(data: bytes, spec: ModelSpec) -> None:
    """Raises UpdateTooLarge, UpdateMalformed, UpdateWrongShape, UpdateNotFinite."""
    from fedcoin.learning.weights import decode

    decode(data, spec)


def aggregate(
    spec: ModelSpec,
    updates: Sequence[bytes],
    samples: Sequence[int],
    aggregation: Aggregation,
    evaluation_set: bytes,
    device: str,
) -> tuple[bytes, int]:
    """w_{t+1} = 𝒜(updates) (equation 2) as safetensors, and its accuracy on the evaluation set times UTILITY_SCALE."""
    from fedcoin.learning.evaluation_set import decode_evaluation_set
    from fedcoin.learning.fedavg import fedavg
    from fedcoin.learning.training import accuracy
    from fedcoin.learning.weights import decode, encode

    x, y = decode_evaluation_set(evaluation_set, spec)
    counts = samples if aggregation == Aggregation.WEIGHTED else None
    model = fedavg([decode(update, spec) for update in updates], counts)
    return encode(model), int(accuracy(spec, model, x, y, device) * UTILITY_SCALE)


def train(spec: ModelSpec, base: bytes, data: ClientData, settings: TrainingSettings, seed: int, device: str) -> bytes:
    """w_k after training on the client's data from the round's starting model, as safetensors.

    Raises the errors of decode and train_locally, and OfferUnacceptable if the data do not fit the architecture.
    """
    from fedcoin.learning import training
    from fedcoin.learning.arrays import samples_from_arrays
    from fedcoin.learning.weights import decode, encode

    if tuple(data.x.shape[1:]) != spec.input_shape or int(data.y.max()) >= spec.classes:
        raise OfferUnacceptable(
            f"the model is for samples {spec.input_shape} of {spec.classes} classes, "
            f"this client's are {data.x.shape[1:]} with labels up to {data.y.max()}"
        )
    local = training.TrainingSettings(
        iterations=None,
        epochs=settings.iterations,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
    )
    x, y = samples_from_arrays(data.x, data.y)
    return encode(training.train_locally(spec, decode(base, spec), x, y, local, seed, device))
