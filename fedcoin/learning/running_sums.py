"""The torch engine for walks: the first layer of every coalition's model is a running sum of the clients' own.

FedAvg is linear, so X·mean(W) = mean(X·W): the first layer of each client acts on the samples once, and a step of a
walk adds the newcomer's pre-activations to a running sum. Only the activation and the later layers remain for each
coalition, as many coalitions at a time as stay in cache. Samples are cut into blocks: blocks outside, walks inside, so
that pre-activations that do not fit in memory are computed once for all walks of a batch.

Scores do not depend on the memory limit, the other walks or their number: blocks and the coalitions that go through the
layers together have fixed shapes, set by the game alone, and are padded where there is less to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.core.model import LayerKind, ModelFamily
from fedcoin.core.task import Utility
from fedcoin.learning.architecture import LayerShape, trace_layers
from fedcoin.learning.batched import BatchedLayers, FirstLayer, first_layer_bytes, working_bytes
from fedcoin.learning.device import CPU_MEMORY
from fedcoin.learning.engine import EngineDoesNotFit
from fedcoin.learning.game import Game
from fedcoin.learning.prefix_means import Prefixes, PrefixMeans, batches, padded_width, shares_of, temporary_bytes
from fedcoin.learning.scoring import count_correct, sum_loss
from fedcoin.shapley.walks import Walks

_LEAST_BLOCK, _CPU_BLOCK, _CUDA_BLOCK = 16, 2048, 16384
"""Samples of a block: powers of two, so that rows stay aligned."""
_CPU_SLOT, _CPU_SLOTS = 2 << 20, 4 << 20
"""Bytes of one coalition's pre-activations of a block, and of all that go on together: about what caches hold."""
_CUDA_SLOT, _CUDA_SLOTS = 64 << 20, 512 << 20
_MOST_MODELS = 64
_BLOCK_BYTES, _MOST_BYTES = 128 << 20, 1 << 30
"""Of one block of all clients' pre-activations, and of all buffers of the later layers: what is aimed at where there is
a choice, and above which a game is for another engine."""
_MOST_COALITIONS = 1 << 14
"""Of one batch."""
_MOST_NEEDED = CPU_MEMORY * 5 // 8
"""Bytes that a game may need on the CPU whatever its limit is: where it needs more, whole models in turn need less.
Below the default limit, and no function of the game's own, since the choice of the engine must be none."""


class RunningSums:
    """Engine for layered models that begin with a LINEAR or CONV2D layer, on the CPU and on CUDA."""

    name = "running-sums"

    def __init__(self, game: Game) -> None:
        """Raises EngineDoesNotFit for another architecture and for models and clients of too many parameters on the
        CPU, MemoryTooSmall if the limit is below one block.
        """
        if game.spec.family != ModelFamily.LAYERS:
            raise EngineDoesNotFit(f"{game.spec.name} is no list of layers")
        self._game = game
        self._steps = trace_layers(game.spec)
        if self._steps[0].weight is None:
            raise EngineDoesNotFit("the first layer has no parameters")
        self._block, self._models = _shape(game, self._steps)
        self._most = _MOST_COALITIONS
        self._row = 4 * padded_width(self._steps[1:]) + 16
        needed = self._fixed_bytes() + self._models * self._row
        if game.device.type == "cpu" and needed > _MOST_NEEDED:
            raise EngineDoesNotFit(f"{needed} bytes for one block of samples")
        self._room = game.memory_limit - self._fixed_bytes()
        if game.memory_limit < needed:
            raise MemoryTooSmall(
                f"coalitions of {game.clients} updates of {game.spec.name!r} need {needed} bytes, "
                f"{game.memory_limit} are allowed: allow more"
            )
        self._prepare()

    @property
    def block(self) -> int:
        """Samples of a block."""
        return self._block

    @property
    def cached_blocks(self) -> int:
        """Blocks whose pre-activations are kept from one call to the next."""
        return len(self._cached)

    def scores(self, walks: Walks) -> npt.NDArray[Any]:
        """See Engine. Raises MemoryTooSmall if CUDA runs out of memory whatever is tried."""
        parts = [np.zeros(0, self._dtype)]
        begin = 0
        with torch.no_grad():
            todo = batches(walks, self._capacity())
            while begin < len(todo):
                try:
                    parts.append(self._batch(todo[begin]))
                    begin += 1
                except torch.OutOfMemoryError as error:
                    self._give_up_memory(error)
                    todo, begin = batches(_after(walks, sum(map(len, parts))), self._capacity()), 0
        return np.concatenate(parts)

    def _prepare(self) -> None:
        """Everything that stays: the first layer of each client, the later parameters, buffers, and cached blocks."""
        game, device, first = self._game, self._game.device, self._steps[0]
        assert first.weight is not None
        self._dtype = np.dtype(np.int64 if game.utility == Utility.ACCURACY else np.float64)
        shares = shares_of(game.counts)
        middle, end = prod(first.weight), first.parameters
        first_stack = game.stack[:, :end].to(device)
        self._first_weights = [row[:middle].view(first.weight) for row in first_stack]
        self._first_biases = [row[middle:] for row in first_stack]
        self._shares = shares.tolist()
        self._means = PrefixMeans(self._steps[1:], game.stack[:, end:], shares, device)
        kinds = [step.layer.kind for step in self._steps]
        scaled = kinds.index(LayerKind.TANH) if LayerKind.TANH in kinds else len(kinds)
        # ReLU, pooling and the largest logit do not see a positive factor, so sums need no division up to a tanh.
        self._carried = [at < scaled for at, step in enumerate(self._steps) if at and step.weight is not None]
        self._first = FirstLayer(first, self._block, device)
        self._later = BatchedLayers(self._steps[1:], self._models, self._block, device)
        self._slots = torch.zeros((self._models, *first.output_shape, self._block), device=device)
        self._carry = torch.zeros_like(self._slots[0])
        self._labels = game.y.to(device)
        self._recomputed = torch.empty((0, *first.output_shape, self._block), device=device)
        self._cached: list[Tensor] = []
        self._cacheable = self._blocks_that_fit()

    def _fixed_bytes(self) -> int:
        """Bytes that are taken whatever the limit is."""
        game, first = self._game, self._steps[0]
        features = prod(first.output_shape)
        # The later layers' of everyone, and the first layer's of one client times its share.
        parameters = 4 * (game.clients + 1) * padded_width(self._steps[1:]) + 4 * first.parameters
        if game.device.type != "cpu":
            parameters += 4 * game.clients * first.parameters
        sums = 4 * self._block * features * (game.clients + self._models + 1)
        logits = 3 * 4 * self._block * game.spec.classes * self._models
        later = working_bytes(self._steps[1:], self._models, self._block, game.device)
        return first_layer_bytes(first, self._block) + parameters + sums + logits + later + temporary_bytes(game.device)

    def _blocks_that_fit(self) -> int:
        """Blocks to keep, once a quarter of what is left is set aside for the coalitions of a batch."""
        features = prod(self._steps[0].output_shape)
        return (self._room - self._room // 4) // (4 * self._game.clients * self._block * features)

    def _capacity(self) -> int:
        """Coalitions of a batch."""
        return max(self._models, min(self._most, self._room // 4 // self._row))

    def _give_up_memory(self, error: torch.OutOfMemoryError) -> None:
        """Halve the batch and forget half of the cached blocks; fail if there is nothing left to give up."""
        if self._capacity() == self._models and not self._cached:
            raise MemoryTooSmall(f"the device has too little memory for one block of samples: {error}") from error
        self._most = max(self._models, self._capacity() // 2)
        self._cacheable = len(self._cached) // 2
        del self._cached[self._cacheable :]
        self._recomputed = self._recomputed[:0].clone()
        torch.cuda.empty_cache()

    def _batch(self, prefixes: Prefixes) -> npt.NDArray[Any]:
        parameters, scales = self._means.rows(prefixes, self._models, self._carried)
        total = torch.zeros(len(scales), dtype=torch.from_numpy(np.zeros(0, self._dtype)).dtype, device=scales.device)
        for number, begin in enumerate(range(0, self._game.samples, self._block)):
            sums = self._preactivations(number)
            self._score_block(prefixes, sums, parameters, scales, self._labels[begin : begin + self._block], total)
        result: npt.NDArray[Any] = total[: prefixes.evaluations].cpu().numpy()
        return result

    def _preactivations(self, number: int) -> Tensor:
        """Each client's share times its pre-activations of a block: [K, *first output shape, block]."""
        if number < len(self._cached):
            return self._cached[number]
        begin, shape = number * self._block, (self._game.clients, *self._recomputed.shape[1:])
        keep = number == len(self._cached) < self._cacheable
        if keep:
            result = torch.empty(shape, device=self._game.device)
        elif len(self._recomputed):
            result = self._recomputed
        else:
            result = self._recomputed = torch.empty(shape, device=self._game.device)
        columns = self._first.columns(self._game.x[begin : begin + self._block].to(self._game.device))
        for weight, bias, share, target in zip(
            self._first_weights, self._first_biases, self._shares, result, strict=True
        ):
            # The share comes first: a product with the weights themselves could overflow where no average does.
            self._first.apply(weight * share, bias * share, columns, target)
        if keep:
            self._cached.append(result)
        return result

    def _score_block(
        self,
        prefixes: Prefixes,
        preactivations: Tensor,
        parameters: Sequence[tuple[Tensor, Tensor]],
        scales: Tensor,
        labels: Tensor,
        total: Tensor,
    ) -> None:
        """Add one block's right answers or losses of each coalition to `total`."""
        slots, full, clients = self._slots.unbind(0), self._models, preactivations.unbind(0)
        row = filled = 0
        for members, marks in zip(prefixes.members, prefixes.marks, strict=True):
            last: Tensor | None = None
            for begin, end in pairwise([-1, *marks]):
                slot = slots[filled]
                for member in members[begin + 1 : end + 1]:
                    joins = clients[member]
                    last = slot.copy_(joins) if last is None else torch.add(last, joins, out=slot)
                filled += 1
                if filled == full:
                    last = self._carry.copy_(slot)  # the layers overwrite the slots
                    self._flush(row, parameters, scales, labels, total)
                    row, filled = row + full, 0
        if filled:
            self._flush(row, parameters, scales, labels, total)

    def _flush(
        self, row: int, parameters: Sequence[tuple[Tensor, Tensor]], scales: Tensor, labels: Tensor, total: Tensor
    ) -> None:
        """Send the slots, which are rows from `row` on, through the later layers."""
        rows = slice(row, row + self._models)
        logits, carried = self._later.run([(w[rows], b[rows]) for w, b in parameters], self._slots, scales[rows])
        logits = logits[..., : len(labels)]
        if self._game.utility == Utility.ACCURACY:
            total[rows] += count_correct(logits, labels)
        else:
            total[rows] += sum_loss(logits / scales[rows, None, None] if carried else logits, labels)


def _shape(game: Game, steps: Sequence[LayerShape]) -> tuple[int, int]:
    """Samples of a block and coalitions that go on together: powers of two, from the game alone.

    Raises EngineDoesNotFit.
    """
    cuda = game.device.type == "cuda"
    features = 4 * prod(steps[0].output_shape)
    blocks = _MOST_BYTES if cuda else _BLOCK_BYTES
    slot, slots = (_CUDA_SLOT, _CUDA_SLOTS) if cuda else (_CPU_SLOT, _CPU_SLOTS)
    most = min(slot // features, blocks // (game.clients * features), _CUDA_BLOCK if cuda else _CPU_BLOCK)
    enough = max(_LEAST_BLOCK, 1 << (game.samples - 1).bit_length())
    block = max(_LEAST_BLOCK, min(enough, 1 << max(0, most.bit_length() - 1)))
    models = min(_MOST_MODELS, max(1, slots // (features * block)))
    models = 1 << (models.bit_length() - 1)
    while models > 1 and working_bytes(steps[1:], models, block, game.device) > blocks:
        models //= 2
    while block > _LEAST_BLOCK and working_bytes(steps[1:], models, block, game.device) > blocks:
        block //= 2
    largest = max(working_bytes(steps[1:], models, block, game.device), game.clients * features * block)
    if largest > _MOST_BYTES:
        raise EngineDoesNotFit(f"{largest} bytes for {block} samples")
    return block, models


def _after(walks: Walks, marks: int) -> Walks:
    """`walks` without their first `marks` marks."""
    rest = walks.marks.copy()
    rest[np.flatnonzero(rest)[:marks]] = False
    return Walks(walks.clients, walks.members, walks.starts, rest)
