"""How a game lies in memory for the kernel: operations, packed parameters of the later layers, sorted samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, prod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedcoin.core.model import LayerKind, ModelFamily
from fedcoin.core.task import Utility
from fedcoin.learning.architecture import trace_layers
from fedcoin.learning.engine import EngineDoesNotFit
from fedcoin.learning.evaluation_set import MAX_FEATURE
from fedcoin.learning.game import Game
from fedcoin.learning.native.library import OpKind
from fedcoin.learning.weights import MAX_PARAMETER

Floats = npt.NDArray[np.float32]

LEAST_BLOCK = 32
"""Samples of a block; blocks are multiples of it."""
MOST_BLOCK = 128
MOST_UNEVEN = 1e12
"""Ratio of sample counts."""
_UNIT = 16
# Floats in the widest vector: packed parameters start at multiples of it.
_NEAR_CACHE, _FAR_CACHE = 16 << 10, 3 << 19
# What the running sums of a block, and the pre-activations of all clients for it, should fit into (of L1 and L2).
_SAMPLES_OF_A_LABEL, _MOST_TABLES = 320, 64 << 20
# Blocks of one label each are worth it if few of them are filled up, and their tables of parameters are small.

_OPS = {LayerKind.LINEAR: OpKind.LINEAR, LayerKind.RELU: OpKind.RELU, LayerKind.TANH: OpKind.TANH}


@dataclass(frozen=True)
class Op:
    """One operation after the first layer, with the places of its parameters in a packed row."""

    kind: OpKind
    inputs: int = 0
    outputs: int = 0
    weights: int = 0
    biases: int = 0


@dataclass(frozen=True)
class Layout:
    """Sizes of a game for the kernel."""

    inputs: int
    hidden: int
    """Outputs of the first layer."""
    outputs: int
    """Of the last layer: the classes, or all but one if `relative`."""
    ops: tuple[Op, ...]
    row: int
    """Floats of one client's packed later layers."""
    widest: int
    """Most outputs of any layer."""
    clients: int
    samples: int
    tables: int = 1
    """Packed rows of a client: one, or one for each label if `relative`."""

    @property
    def relative(self) -> bool:
        """Whether each block has one label, and the last layer gives the other classes' logits less that label's.

        An answer is right if all of these are negative, which spares one class of multiplications.
        """
        return self.tables > 1

    def block(self) -> int:
        """Samples of a block that suit the caches. It does not change values."""
        near = _NEAR_CACHE // (4 * self.hidden)
        far = _FAR_CACHE // (4 * self.hidden * self.clients)
        most = min(near, far, MOST_BLOCK, _up(self.samples, LEAST_BLOCK))
        return max(LEAST_BLOCK, most // LEAST_BLOCK * LEAST_BLOCK)

    def block_bytes(self, block: int) -> int:
        """Of the pre-activations of all clients for one block."""
        return 4 * self.clients * self.hidden * block

    def packed_bytes(self) -> int:
        """Of the packed later layers of all clients, and of the samples' order and labels."""
        return 4 * self.tables * self.clients * self.row + 16 * (self.samples + self.tables * MOST_BLOCK)

    def thread_bytes(self, block: int) -> int:
        """Of one thread that keeps running sums and computes pre-activations of a block again."""
        own = self.hidden * block + self.row + 2 * self.widest * block + self.inputs * block
        return 4 * own + self.block_bytes(block) + 4096

    def least_bytes(self) -> int:
        """Of everything, with one thread, the least block, and no block kept."""
        return self.packed_bytes() + self.thread_bytes(LEAST_BLOCK)


def layout_of(game: Game) -> Layout:
    """Raises EngineDoesNotFit unless the model is a LINEAR layer followed by LINEAR, RELU and TANH."""
    if game.spec.family != ModelFamily.LAYERS:
        raise EngineDoesNotFit(f"{game.spec.name} is no list of layers")
    first, *later = trace_layers(game.spec)
    if first.layer.kind != LayerKind.LINEAR or any(step.layer.kind not in _OPS for step in later):
        raise EngineDoesNotFit("only fully connected layers from the first on")
    at = 0
    ops = []
    for step in later:
        kind = _OPS[step.layer.kind]
        if kind != OpKind.LINEAR:
            ops.append(Op(kind))
            continue
        inputs, outputs = prod(step.input_shape), step.output_shape[0]
        biases = at + _up(inputs * outputs, _UNIT)
        ops.append(Op(kind, inputs, outputs, at, biases))
        at = biases + _up(outputs, _UNIT)
    widest = max(prod(step.output_shape) for step in (first, *later))
    hidden, inputs, classes = first.output_shape[0], prod(first.input_shape), game.spec.classes
    layout = Layout(inputs, hidden, classes, tuple(ops), at, widest, game.clients, game.samples)
    return _relative(layout) if game.utility == Utility.ACCURACY else layout


def _relative(layout: Layout) -> Layout:
    """The layout with a block for each label where that pays, which depends on the game alone."""
    classes = layout.outputs
    if [op.kind for op in layout.ops] != [OpKind.RELU, OpKind.LINEAR]:
        return layout
    if layout.samples < _SAMPLES_OF_A_LABEL * classes or 4 * classes * layout.clients * layout.row > _MOST_TABLES:
        return layout
    biases = _up(layout.hidden * (classes - 1), _UNIT)
    last = Op(OpKind.LINEAR, layout.hidden, classes - 1, 0, biases)
    row = biases + _up(classes - 1, _UNIT)
    return replace(layout, outputs=classes - 1, ops=(layout.ops[0], last), row=row, tables=classes)


def pack_later_layers(game: Game, layout: Layout, counts: Floats) -> Floats:
    """The later layers' parameters times the clients' counts, weights as [inputs, outputs]: [tables, K, row]."""
    tables = aligned((layout.tables, game.clients, layout.row))
    for label, rows in enumerate(tables):
        for row, flat, count in zip(rows, game.stack.numpy(), counts, strict=True):
            at = (layout.inputs + 1) * layout.hidden
            for op in layout.ops:
                if op.kind != OpKind.LINEAR:
                    continue
                outputs = op.outputs + layout.relative
                size = outputs * op.inputs
                weights = flat[at : at + size].reshape(outputs, op.inputs) * count
                biases = flat[at + size : at + size + outputs] * count
                at += size + outputs
                if layout.relative:
                    weights, biases = (np.delete(part - part[label], label, axis=0) for part in (weights, biases))
                row[op.weights : op.weights + weights.size] = weights.T.ravel()
                row[op.biases : op.biases + op.outputs] = biases
    return tables


def out_of_range(game: Game) -> bool:
    """Whether a parameter or feature is larger than updates and evaluation sets may hold, or counts are too uneven.

    Within those bounds no sum overflows that would not in the average's network (which matters since a sum that once
    was infinite stays so, or becomes NaN), running sums of updates that cancel stay close to the mean, and logits lose
    no digits that differences of them, in blocks of one label, would keep. Sums of counts times parameters keep the
    digits of the client with the smallest count only if the others' are not too much larger.
    """
    uneven = float(game.counts.max()) > MOST_UNEVEN * float(game.counts.min())
    return uneven or _largest(game.stack) > MAX_PARAMETER or _largest(game.x) > MAX_FEATURE


def _largest(values: Tensor) -> float:
    """The largest magnitude. Infinite if there is one that is no number."""
    if not values.numel():
        return 0.0
    low, high = (float(bound) for bound in torch.aminmax(values))
    return max(-low, high) if low <= high else inf


def sort_by_label(game: Game, layout: Layout, block: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """The samples of all blocks by label, −1 for none, and their labels, −1 too: [blocks · block] both.

    Blocks have one label each if the layout is `relative`; else only the last one is filled up.
    """
    y = game.y.numpy()
    order = np.argsort(y, kind="stable").astype(np.int64)
    groups = [order[y[order] == label] for label in range(layout.tables)] if layout.relative else [order]
    filled = [np.pad(group, (0, _up(len(group), block) - len(group)), constant_values=-1) for group in groups]
    places = np.concatenate(filled)
    labels = aligned(places.shape, np.int32)
    labels[:] = np.where(places < 0, -1, y[places])
    return places, labels


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> npt.NDArray:
    """Zeros that begin at a cache line."""
    size = prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, dtype=np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + size].view(dtype).reshape(shape)


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
