"""The engine for every architecture: whole coalition models, one after another or a few together, over the samples.

Each coalition's parameters are a running sum along its walk, float64 in the order in which clients join, divided by its
weight: exactly what `fedavg` gives for the same list. An update that overflows touches only the coalitions it is in.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.core.model import ModelFamily, ModelSpec
from fedcoin.core.task import Utility
from fedcoin.learning.architecture import trace_layers
from fedcoin.learning.batched import BatchedLayers, working_bytes
from fedcoin.learning.game import Game
from fedcoin.learning.models import activation_count, build, parameter_count, tensor_shapes
from fedcoin.learning.scoring import count_correct, sum_loss
from fedcoin.shapley.walks import Walks

_COLUMNS = 1 << 20
"""Parameters that are added at a time: bounds the float64 copy of a newcomer's."""
_LEAST_BLOCK, _CPU_BLOCK, _CUDA_BLOCK = 16, 1024, 16384
_CPU_BUFFERS, _CUDA_BUFFERS = 16 << 20, 1 << 30
"""Bytes of activations of the coalitions and samples that go through the layers together."""
_MOST_BUFFERS = 256 << 20
"""Above this, with the fewest samples together, the module itself is run instead."""
_MOST_MODELS = 8
_LOOPED_BLOCK = 128
"""Samples that a module takes at a time on the CPU: fewer are slower, more leave the caches."""


class _Network(Protocol):
    models: int
    block: int

    def working_bytes(self) -> int: ...

    def logits(self, rows: Tensor, samples: Tensor) -> Tensor:
        """[models, classes, n] for flat parameters [models, P] and samples [n, *input_shape], n up to `block`."""
        ...


class BatchedEngine:
    """Engine for any architecture, on the CPU and on CUDA."""

    name = "batched"

    def __init__(self, game: Game) -> None:
        """Raises MemoryTooSmall if the limit is below one block, and as tensor_shapes."""
        self._game = game
        parameters = parameter_count(game.spec)
        self._network = _network(game)
        # Sums in float64 and a newcomer's columns, the averaged models, activations and logits.
        logits = 3 * 4 * self._network.models * self._network.block * game.spec.classes
        needed = 8 * parameters + 8 * _COLUMNS + 8 * self._network.models * parameters + logits
        needed += self._network.working_bytes()
        if needed > game.memory_limit:
            raise MemoryTooSmall(
                f"coalitions of {game.clients} updates of {game.spec.name!r} need {needed} bytes, "
                f"{game.memory_limit} are allowed: allow more"
            )
        # Updates that would crowd the device stay where they are, and each average is sent over.
        fits = needed + 4 * game.stack.numel() <= game.memory_limit
        self._stack = game.stack.to(game.device) if fits else game.stack
        # Rows of a multiple of 64 bytes, so that products see the same alignment whichever row a coalition gets.
        self._rows = torch.zeros((self._network.models, -(-parameters // 16) * 16), device=game.device)[:, :parameters]
        self._labels = game.y.to(game.device)

    def scores(self, walks: Walks) -> npt.NDArray[Any]:
        """See Engine. Raises MemoryTooSmall if CUDA runs out of memory."""
        accurate = self._game.utility == Utility.ACCURACY
        result = np.zeros(walks.evaluations, dtype=np.int64 if accurate else np.float64)
        begin = filled = 0
        try:
            # TF32 and autotuned algorithms would make values differ between devices and runs for no need.
            with (
                torch.no_grad(),
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
            ):
                for mean in self._means(walks):
                    self._rows[filled].copy_(mean)
                    filled += 1
                    if filled == self._network.models or begin + filled == len(result):
                        result[begin : begin + filled] = self._score().cpu().numpy()[:filled]
                        begin, filled = begin + filled, 0
        except torch.OutOfMemoryError as error:
            raise MemoryTooSmall(f"the device has too little memory for one block of samples: {error}") from error
        return result

    def _means(self, walks: Walks) -> Iterator[Tensor]:
        """The flat parameters of each marked coalition's average: float32 [P]."""
        members, marks = walks.members.tolist(), walks.marks.tolist()
        sums = torch.zeros(self._rows.shape[1], dtype=torch.float64, device=self._stack.device)
        for start, end in zip(walks.starts[:-1].tolist(), walks.starts[1:].tolist(), strict=True):
            sums.zero_()
            weight = 0.0
            for step in range(start, end):
                count = float(self._game.counts[members[step]])
                weight += count
                for left in range(0, len(sums), _COLUMNS):
                    columns = slice(left, left + _COLUMNS)
                    sums[columns].add_(self._stack[members[step], columns], alpha=count)
                if marks[step]:
                    yield (sums / weight).to(torch.float32)

    def _score(self) -> Tensor:
        """Right answers (int64) or summed losses (float64) of the rows, [models]."""
        block, x = self._network.block, self._game.x
        measure = count_correct if self._game.utility == Utility.ACCURACY else sum_loss
        total: Tensor | None = None
        for begin in range(0, self._game.samples, block):
            logits = self._network.logits(self._rows, x[begin : begin + block].to(self._game.device))
            score = measure(logits, self._labels[begin : begin + block])
            total = score if total is None else total + score
        assert total is not None
        return total


def _network(game: Game) -> _Network:
    """The layers in fixed shapes if their buffers are of reasonable size, else the module. The same for every limit."""
    if game.spec.family == ModelFamily.LAYERS:
        layered = _Layered.fitting(game)
        if layered is not None:
            return layered
    return _Looped(game)


class _Layered:
    """A list of layers by BatchedLayers."""

    def __init__(self, spec: ModelSpec, models: int, block: int, device: torch.device) -> None:
        self._steps = trace_layers(spec)
        self.models, self.block, self._device = models, block, device
        self._layers: BatchedLayers | None = None

    @classmethod
    def fitting(cls, game: Game) -> _Layered | None:
        """With blocks and models from the game alone, or None if one block of samples has too many activations."""
        steps, cuda = trace_layers(game.spec), game.device.type == "cuda"
        enough = max(_LEAST_BLOCK, 1 << (game.samples - 1).bit_length())
        block, models = min(enough, _CUDA_BLOCK if cuda else _CPU_BLOCK), _MOST_MODELS
        budget = _CUDA_BUFFERS if cuda else _CPU_BUFFERS
        while models > 1 and working_bytes(steps, models, block, game.device, shared=True) > budget:
            if block > max(_LEAST_BLOCK, 4 * models):
                block //= 2
            else:
                models //= 2
        while block > _LEAST_BLOCK and working_bytes(steps, models, block, game.device, shared=True) > budget:
            block //= 2
        if working_bytes(steps, models, block, game.device, shared=True) > _MOST_BUFFERS + budget:
            return None
        return cls(game.spec, models, block, game.device)

    def working_bytes(self) -> int:
        inputs = 2 * 4 * self.block * prod(self._steps[0].input_shape)
        return working_bytes(self._steps, self.models, self.block, self._device, shared=True) + inputs

    def logits(self, rows: Tensor, samples: Tensor) -> Tensor:
        """[models, classes, n]."""
        if self._layers is None:  # made with the first call, once the engine has checked the memory
            self._layers = BatchedLayers(self._steps, self.models, self.block, self._device, shared=True)
        parameters, at = [], 0
        for step in self._steps:
            if step.weight is not None:
                middle, end = at + prod(step.weight), at + step.parameters
                parameters.append((rows[:, at:middle].unflatten(1, step.weight), rows[:, middle:end]))
                at = end
        # Samples last; zeros in place of the ones that the last block lacks.
        values = torch.zeros((1, *samples.shape[1:], self.block), device=self._device)
        values[0, ..., : len(samples)] = samples.movedim(0, -1)
        result, _ = self._layers.run(parameters, values)
        return result[..., : len(samples)]


class _Looped:
    """Any module, such as torchvision's: one model after the other."""

    models = 1

    def __init__(self, game: Game) -> None:
        spec, self._device = game.spec, game.device
        self._per_sample = 4 * activation_count(spec)
        budget, most = (4 << 30, 4096) if self._device.type == "cuda" else (512 << 20, _LOOPED_BLOCK)
        self.block = max(1, min(game.samples, most, budget // self._per_sample))
        self._shapes = tensor_shapes(spec)
        self._module = build(spec).to(self._device)
        self._integers = {
            name: value for name, value in self._module.state_dict().items() if not value.is_floating_point()
        }

    def working_bytes(self) -> int:
        return self.block * self._per_sample

    def logits(self, rows: Tensor, samples: Tensor) -> Tensor:
        """[1, classes, n]."""
        state: dict[str, Tensor] = dict(self._integers)
        at = 0
        for name, shape in self._shapes.items():
            value = rows[0, at : at + prod(shape)].view(shape)
            state[name] = _channels_last(value)
            at += prod(shape)
        result: Tensor = torch.func.functional_call(self._module, state, (_channels_last(samples),))
        return result.T.contiguous()[None]


def _channels_last(value: Tensor) -> Tensor:
    # The order in which convolutions run without copies.
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
