"""Algorithm 1 as the paper writes it: average the weights of each prefix, load the model, run it on the test set.

Written in plain, vectorised torch: each tensor of the average is the mean of the stacked tensors of the prefix's
updates, nothing is recorded for gradients, all threads work, and the number of images that go through the network
together is the fastest one tried.

The tuned form still evaluates one averaged model after another, but all updates lie in one matrix, brought in the
iteration's order, so that an average is a single product of shares with them and copies nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedcoin.core.model import ModelSpec
from fedcoin.learning.models import Weights, build, tensor_shapes

_BATCHES = (500, 1_000, 2_500, 5_000, 10_000)
_TRIALS = 3


class Algorithm1:
    """v(C) as right answers of FedAvg's model of C, one coalition at a time."""

    def __init__(
        self, spec: ModelSpec, updates: Sequence[Weights], x: Tensor, y: Tensor, device: torch.device | None = None
    ) -> None:
        place = torch.device("cpu") if device is None else device
        self._module = build(spec).to(place)
        names = list(tensor_shapes(spec))
        state = self._module.state_dict()
        self._tensors = [state[name] for name in names]
        self._sizes = [tensor.numel() for tensor in self._tensors]
        self._updates = [{name: update[name].to(place) for name in names} for update in updates]
        self._stack = torch.stack([torch.cat([tensor.flatten() for tensor in one.values()]) for one in self._updates])
        self._x, self._y = x.to(place), y.to(place)
        self.evaluations = 0
        """Coalitions evaluated so far."""
        self.batch = self._fastest_batch()
        """Images that go through the network together."""

    @property
    def clients(self) -> int:
        """K."""
        return len(self._updates)

    def value(self, members: Sequence[int] | NDArray[np.integer]) -> int:
        """Right answers of the coalition of `members`, at least one."""
        chosen = [self._updates[int(member)] for member in members]
        with torch.inference_mode():
            average = {name: torch.stack([update[name] for update in chosen]).mean(0) for name in chosen[0]}
            self._module.load_state_dict(average)
            return self._right_answers()

    def iteration(self, order: NDArray[np.int64]) -> list[int]:
        """Right answers of all prefixes of the rank `order`: lines 5 to 10."""
        return [self.value(order[:size]) for size in range(1, len(order) + 1)]

    def tuned_iteration(self, order: NDArray[np.int64]) -> list[int]:
        """The same, tuned."""
        counts = []
        with torch.inference_mode():
            ordered = self._stack[torch.from_numpy(order).to(self._stack.device)]
            for size in range(1, len(order) + 1):
                average = ordered.new_full((size,), 1 / size) @ ordered[:size]
                for tensor, part in zip(self._tensors, torch.split(average, self._sizes), strict=True):
                    tensor.copy_(part.view(tensor.shape))
                counts.append(self._right_answers())
        return counts

    def _right_answers(self) -> int:
        """Of the model that is loaded."""
        self.evaluations += 1
        right = 0
        for x, y in zip(self._x.split(self.batch), self._y.split(self.batch), strict=True):
            right += int((self._module(x).argmax(1) == y).sum())
        return right

    def _fastest_batch(self) -> int:
        """Tries each size on the first client's model."""
        count = len(self._y)
        timings: dict[int, float] = {}
        for batch in sorted({min(size, count) for size in _BATCHES}):
            self.batch = batch
            self.value([0])
            began = time.perf_counter()
            for _ in range(_TRIALS):
                self.value([0])
            timings[batch] = time.perf_counter() - began
        return min(timings, key=lambda size: timings[size])
