"""Local training of a client (§3, §6.1): stochastic gradient descent on the cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from fedcoin.core.errors import SamplesDoNotFit, TrainingDiverged, TrainingSettingsInvalid
from fedcoin.core.model import ModelSpec
from fedcoin.learning.architecture import MAX_ACTIVATIONS
from fedcoin.learning.device import resolve_device
from fedcoin.learning.models import Weights, activation_count, build, extract_weights, load_weights
from fedcoin.learning.scoring import count_correct, sum_loss


@dataclass(frozen=True)
class TrainingSettings:
    """How a client trains. Exactly one of `iterations` and `epochs` is given."""

    iterations: int | None = 20
    """Gradient steps; 20 in §6.1."""
    epochs: int | None = None
    """Passes over the client's samples."""
    batch_size: int = 32
    """Samples per step; a client with fewer uses all it has."""
    learning_rate: float = 0.1
    """η of §3."""
    momentum: float = 0.0

    def check(self) -> None:
        """Raises TrainingSettingsInvalid."""
        lengths = [value for value in (self.iterations, self.epochs) if value is not None]
        if len(lengths) != 1 or lengths[0] < 1:
            raise TrainingSettingsInvalid("give either iterations or epochs, at least 1")
        if self.batch_size < 1:
            raise TrainingSettingsInvalid(f"a batch size of {self.batch_size} is not possible")
        if not (isfinite(self.learning_rate) and self.learning_rate > 0):
            raise TrainingSettingsInvalid(f"a learning rate of {self.learning_rate} is not possible")
        if not 0 <= self.momentum < 1:
            raise TrainingSettingsInvalid(f"momentum must be from 0 to below 1, not {self.momentum}")


def train_locally(
    spec: ModelSpec, weights: Weights, x: Tensor, y: Tensor, settings: TrainingSettings, seed: int, device: str = "cpu"
) -> Weights:
    """The weights after training on x (float32 [n, *input_shape]) and y (int64 [n]), from `weights`.

    w ← w − η·∇ℓ (§3). On one device and torch version the result depends on the arguments alone. Raises
    TrainingSettingsInvalid, SamplesDoNotFit, TrainingDiverged, DeviceUnavailable.
    """
    settings.check()
    check_samples(spec, x, y)
    place = resolve_device(device)
    module = build(spec)
    load_weights(module, weights)
    module.to(place).train()
    fewest = 2 if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()) else 1
    if min(len(y), settings.batch_size) < fewest:
        raise TrainingSettingsInvalid(f"{spec.name} has batch normalisation and needs at least 2 samples in a batch")
    optimiser = torch.optim.SGD(module.parameters(), lr=settings.learning_rate, momentum=settings.momentum)
    x, y = x.to(place), y.to(place)
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)  # dropout draws from it
        for batch in _batches(len(y), settings, seed, fewest):
            optimiser.zero_grad()
            chosen = batch.to(place)
            torch.autograd.backward(nn.functional.cross_entropy(module(x[chosen]), y[chosen]))
            optimiser.step()
    trained = extract_weights(module)
    if not all(bool(torch.isfinite(value).all()) for value in trained.values()):
        raise TrainingDiverged(f"training diverged: use a learning rate below {settings.learning_rate}")
    return trained


def accuracy(spec: ModelSpec, weights: Weights, x: Tensor, y: Tensor, device: str = "cpu") -> float:
    """Share of right answers, 0 to 1; ties and NaN are wrong (see scoring). Raises as check_samples."""
    return sum(int(count_correct(logits, labels)) for logits, labels in _logits(spec, weights, x, y, device)) / len(y)


def loss(spec: ModelSpec, weights: Weights, x: Tensor, y: Tensor, device: str = "cpu") -> float:
    """Mean cross-entropy, each sample's clipped at MAX_LOSS. Raises as check_samples."""
    return sum(float(sum_loss(logits, labels)) for logits, labels in _logits(spec, weights, x, y, device)) / len(y)


def check_samples(spec: ModelSpec, x: Tensor, y: Tensor) -> None:
    """Raises SamplesDoNotFit unless x and y are samples and labels for `spec`, at least one."""
    if x.dim() < 1 or tuple(x.shape[1:]) != spec.input_shape or y.shape != (len(x),) or not len(y):
        raise SamplesDoNotFit(
            f"samples {tuple(x.shape)} with labels {tuple(y.shape)} do not fit a model for {spec.input_shape}"
        )
    if x.dtype != torch.float32 or y.dtype != torch.int64:
        raise SamplesDoNotFit(f"samples are {x.dtype} and labels {y.dtype}, expected float32 and int64")
    if int(y.min()) < 0 or int(y.max()) >= spec.classes:
        raise SamplesDoNotFit(f"labels must be from 0 to {spec.classes - 1}")


def _batches(count: int, settings: TrainingSettings, seed: int, fewest: int) -> Iterator[Tensor]:
    """Indices of each step's samples: a fresh order every epoch, the last batch of an epoch may be smaller."""
    generator = torch.Generator().manual_seed(seed)
    left = settings.iterations
    epochs = settings.epochs
    while left != 0 and epochs != 0:
        for batch in torch.split(torch.randperm(count, generator=generator), settings.batch_size):
            if len(batch) < fewest:
                continue
            yield batch
            left = None if left is None else left - 1
            if left == 0:
                return
        epochs = None if epochs is None else epochs - 1


def _logits(spec: ModelSpec, weights: Weights, x: Tensor, y: Tensor, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    check_samples(spec, x, y)
    place = resolve_device(device)
    module = build(spec)
    load_weights(module, weights)
    module.to(place)
    size = max(1, min(1024, MAX_ACTIVATIONS // activation_count(spec)))
    with torch.no_grad():
        for samples, labels in zip(torch.split(x, size), torch.split(y, size), strict=True):
            yield module(samples.to(place)).T.contiguous(), labels.to(place)
