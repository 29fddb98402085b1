"""Forward passes of many models of one layered architecture over the same block of samples, in fixed shapes.

Activations are [models, features, block] or [models, channels, height, width, block]: the samples come last, so that
every operation runs along contiguous memory whatever the architecture, and a convolution is one gather of shifted
images and a matrix product. All shapes are set when the object is made. A model's logits then depend on its own
parameters and the samples alone: a matrix product may round differently for another shape, but it never sees one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from fedcoin.core.model import LayerKind
from fedcoin.learning.architecture import LayerShape

_TILE = 1 << 19
"""Bytes of a convolution's columns at a time on the CPU: they are written once and read once, within a core's cache."""
_INNER = 256
"""Inputs that one matrix product adds up on the CPU. Libraries split longer sums among threads, however many there are,
and values must not depend on that."""

Parameters = Sequence[tuple[Tensor, Tensor]]
"""Weight [models, out, …] and bias [models, out] of every layer that has some, in order."""


@dataclass(frozen=True)
class _Place:
    """A layer with its buffers; a shared layer sees samples that are still the same for all models."""

    step: LayerShape
    shared: bool
    padded: Tensor | None
    """Input with zeros around it, [models, C, H + 2p, W + 2p, block]."""
    columns: Tensor | None
    """What each output pixel of a convolution sees, [models, C, k, k, H', W', block]; on the CPU for one model and as
    many rows of pixels as stay in cache, [1, C, k, k, rows, W', block]."""
    row_maxima: Tensor | None
    """Maxima over the width of a pooling window, [models, C, H, W', block]."""
    output: Tensor | None
    """[models, *output_shape, block]."""


class BatchedLayers:
    """Consecutive layers of B models over blocks of a fixed number of samples, with buffers of its own."""

    def __init__(
        self,
        steps: Sequence[LayerShape],
        models: int,
        block: int,
        device: torch.device,
        shared: bool = False,
        in_tiles: bool | None = None,
    ) -> None:
        """`shared`: the input is one for all models, [1, *input_shape, block], rather than one each.

        `in_tiles`: convolutions take a few rows of pixels of one model at a time, which suits caches, instead of all at
        once, which suits CUDA; by default what suits the device.
        """
        self._in_tiles = device.type == "cpu" if in_tiles is None else in_tiles
        self._places = [
            _place(
                step,
                1 if is_shared else models,
                1 if still_shared else models,
                block,
                device,
                is_shared,
                self._in_tiles,
            )
            for step, is_shared, still_shared in _sharing(_pool_first(steps), shared)
        ]

    def run(self, parameters: Parameters, values: Tensor, scale: Tensor | None = None) -> tuple[Tensor, bool]:
        """The last layer's output and whether it still carries the scale. Overwrites `values`.

        ReLU and pooling commute with a positive factor, so `values` and biases may come multiplied by `scale`, one
        factor a model, up to the first tanh; there they are divided by it.
        """
        remaining = iter(parameters)
        for place in self._places:
            kind = place.step.layer.kind
            if kind == LayerKind.RELU:
                values.relu_()
            elif kind == LayerKind.TANH:
                if scale is not None:
                    values.div_(scale.view(-1, *[1] * (values.dim() - 1)))
                    scale = None
                values.tanh_()
            elif kind == LayerKind.MAX_POOL2D:
                values = _pool(place, values)
            elif kind == LayerKind.CONV2D and self._in_tiles:
                values = _convolve_in_tiles(place, *next(remaining), _pad(place, values))
            else:
                weight, bias = next(remaining)
                values = _product(place, weight, bias, _columns(place, values))
        return values, scale is not None


class FirstLayer:
    """A layer with parameters that acts on blocks of samples, for one model at a time."""

    def __init__(self, step: LayerShape, block: int, device: torch.device) -> None:
        self._place = _place(step, 1, 0, block, device, is_shared=True, in_tiles=False)
        self._samples = torch.zeros((1, *step.input_shape, block), device=device)

    def columns(self, samples: Tensor) -> Tensor:
        """What the layer's weights are multiplied with, [inputs, pixels · block], for samples [n, *input_shape].

        Zeros stand in for the samples that a block lacks. Valid until the next call.
        """
        self._samples[..., : len(samples)].copy_(samples.movedim(0, -1))
        self._samples[..., len(samples) :].zero_()
        return _columns(self._place, self._samples)[0]

    @staticmethod
    def apply(weight: Tensor, bias: Tensor, columns: Tensor, out: Tensor) -> None:
        """Write the layer's output for the model with this weight [out, …] and bias [out] into `out`."""
        _multiply(bias[:, None], weight.flatten(1), columns, out.view(len(bias), -1))


def first_layer_bytes(step: LayerShape, block: int) -> int:
    """Bytes of the buffers of FirstLayer(step, block, …), and of one copy of the samples."""
    return 4 * block * (2 * prod(step.input_shape) + sum(prod(shape) for shape in _shapes(step)[:3] if shape))


def working_bytes(
    steps: Sequence[LayerShape], models: int, block: int, device: torch.device, shared: bool = False
) -> int:
    """Bytes of the buffers of BatchedLayers(steps, models, block, device, shared)."""
    total = 0
    for step, is_shared, still_shared in _sharing(_pool_first(steps), shared):
        padded, columns, row_maxima, output = _shapes(step)
        inputs, outputs = (1 if is_shared else models), (1 if still_shared else models)
        if device.type == "cpu" and columns is not None:
            total += prod(columns[:3]) * _tile_rows(columns, block) * columns[4]
        else:
            total += inputs * prod(columns or (0,))
        total += inputs * (prod(padded or (0,)) + prod(row_maxima or (0,))) + outputs * prod(output or (0,))
    return 4 * block * total


def _pool_first(steps: Sequence[LayerShape]) -> list[LayerShape]:
    """ReLU after pooling instead of before it: the same numbers from fewer operations."""
    ordered = list(steps)
    for at in range(len(ordered) - 1):
        relu, pool = ordered[at : at + 2]
        if relu.layer.kind == LayerKind.RELU and pool.layer.kind == LayerKind.MAX_POOL2D:
            ordered[at] = pool
            ordered[at + 1] = LayerShape(relu.layer, pool.output_shape, pool.output_shape)
    return ordered


def _sharing(steps: Sequence[LayerShape], shared: bool) -> list[tuple[LayerShape, bool, bool]]:
    """Each layer with whether its input and its output are the same for all models."""
    marked = []
    for step in steps:
        after = shared and step.weight is None
        marked.append((step, shared, after))
        shared = after
    return marked


Shape = tuple[int, ...]


def _shapes(step: LayerShape) -> tuple[Shape | None, Shape | None, Shape | None, Shape | None]:
    """Shapes of padded input, columns, row maxima and output, for one model and one sample."""
    layer = step.layer
    if layer.kind in (LayerKind.RELU, LayerKind.TANH):
        return None, None, None, None
    if layer.kind == LayerKind.LINEAR:
        return None, None, None, step.output_shape
    channels, height, width = step.input_shape
    if layer.kind == LayerKind.MAX_POOL2D:
        return None, None, (channels, height, step.output_shape[2]), step.output_shape
    padded = (channels, height + 2 * layer.padding, width + 2 * layer.padding) if layer.padding else None
    return padded, (channels, layer.kernel, layer.kernel, *step.output_shape[1:]), None, step.output_shape


def _place(
    step: LayerShape,
    inputs: int,
    outputs: int,
    block: int,
    device: torch.device,
    is_shared: bool,
    in_tiles: bool,
) -> _Place:
    padded, columns, row_maxima, output = _shapes(step)

    def buffer(shape: Shape | None, models: int) -> Tensor | None:
        return None if shape is None else torch.zeros((models, *shape, block), device=device)

    if in_tiles and columns is not None:
        columns = (*columns[:3], _tile_rows(columns, block), columns[4])
    return _Place(
        step,
        is_shared,
        buffer(padded, inputs),
        buffer(columns, 1 if in_tiles else inputs),
        buffer(row_maxima, inputs),
        buffer(output, outputs),
    )


def _tile_rows(columns: Shape, block: int) -> int:
    """Rows of output pixels that go together, of columns (C, k, k, H', W')."""
    most = max(1, min(columns[3], _TILE // (4 * block * prod(columns[:3]) * columns[4])))
    # Tiles of one size where that costs little: a smaller last one has to be packed.
    return next((rows for rows in range(most, most // 2, -1) if columns[3] % rows == 0), most)


def _pool(place: _Place, values: Tensor) -> Tensor:
    """Max-pooling along the width, then along the height; a NaN in a window is its maximum, as in torch."""
    kernel, stride = place.step.layer.kernel, place.step.layer.stride
    assert place.row_maxima is not None
    assert place.output is not None
    for dim, source, target in ((3, values, place.row_maxima), (2, place.row_maxima, place.output)):
        count = target.shape[dim]
        windows = [source.narrow(dim, at, (count - 1) * stride + 1) for at in range(kernel)]
        strided = [w[:, :, :, ::stride] if dim == 3 else w[:, :, ::stride] for w in windows]
        if kernel == 1:
            target.copy_(strided[0])
        else:
            torch.maximum(strided[0], strided[1], out=target)
        for more in strided[2:]:
            torch.maximum(target, more, out=target)
    return place.output


def _pad(place: _Place, values: Tensor) -> Tensor:
    """The input of a convolution with zeros around it, [models, C, H + 2p, W + 2p, block]."""
    if place.padded is None:
        return values
    begin = place.step.layer.padding
    height, width = place.step.input_shape[1:]
    place.padded[:, :, begin : begin + height, begin : begin + width].copy_(values)
    return place.padded


def _windows(place: _Place, images: Tensor, begin: int, rows: int) -> Tensor:
    """A view of what the output pixels of some rows see, [models, C, k, k, rows, W', block]."""
    layer, stride = place.step.layer, images.stride()
    shape = (*images.shape[:2], layer.kernel, layer.kernel, rows, place.step.output_shape[2], images.shape[-1])
    strides = (*stride[:4], stride[2] * layer.stride, stride[3] * layer.stride, stride[4])
    return images.as_strided(shape, strides, images.storage_offset() + begin * layer.stride * stride[2])


def _columns(place: _Place, values: Tensor) -> Tensor:
    """The input of the matrix product of a layer: [models, inputs, columns]."""
    if place.step.layer.kind == LayerKind.LINEAR:
        return values.view(len(values), -1, values.shape[-1])
    assert place.columns is not None
    place.columns.copy_(_windows(place, _pad(place, values), 0, place.step.output_shape[1]))
    return place.columns.view(len(values), prod(place.columns.shape[1:4]), -1)


def _convolve_in_tiles(place: _Place, weight: Tensor, bias: Tensor, images: Tensor) -> Tensor:
    """A convolution by tiles of output rows: for one model after the other, or for all of them on shared images."""
    assert place.output is not None
    assert place.columns is not None
    height, width = place.step.output_shape[1:]
    block, most = images.shape[-1], place.columns.shape[4]
    models = 1 if place.shared else len(images)
    weights, biases = weight.reshape(models, -1, prod(weight.shape[2:])), bias.reshape(models, -1, 1)
    outputs = place.output.view(models, -1, height * width * block)
    for image, kernels, offsets, out in zip(images.split(1), weights, biases, outputs, strict=True):
        for begin in range(0, height, most):
            rows = min(most, height - begin)
            tile = place.columns[:, :, :, :, :rows]
            tile.copy_(_windows(place, image, begin, rows))
            pixels = slice(begin * width * block, (begin + rows) * width * block)
            # A tile of fewer rows than there is room for is no matrix in memory: pack it.
            columns = tile.flatten(1, 3).flatten(2)[0]
            _multiply(offsets, kernels, columns, out[:, pixels])
    return place.output


def _product(place: _Place, weight: Tensor, bias: Tensor, columns: Tensor) -> Tensor:
    assert place.output is not None
    models, outputs = bias.shape
    if place.shared:
        flat = place.output.view(models * outputs, -1)
        _multiply(bias.reshape(-1, 1), weight.reshape(models * outputs, -1), columns[0], flat)
    else:
        flat = place.output.view(models, outputs, -1)
        _multiply(bias[:, :, None], weight.flatten(2), columns, flat)
    return place.output


def _multiply(bias: Tensor, weight: Tensor, columns: Tensor, out: Tensor) -> None:
    """out = bias + weight @ columns, for one matrix or a batch, in an order that is the same for any threads."""
    add = torch.addmm if out.dim() == 2 else torch.baddbmm
    inner = weight.shape[-1]
    step = _INNER if out.device.type == "cpu" else inner
    total = bias
    for begin in range(0, inner, step):
        part = slice(begin, begin + step)
        total = add(total, weight[..., part], columns[..., part, :], out=out)
