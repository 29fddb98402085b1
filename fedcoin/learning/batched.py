"""Forward passes of many models of one architecture over the same samples.

A batch is B models whose parameters lie flat in a row each, [B, P], in the order of `tensor_shapes`. Samples are the
last axis of flat activations ([B, features, n]), so that scoring and matrix products run along contiguous memory.
"""

from __future__ import annotations

from math import prod
from typing import Protocol

import torch
from torch import Tensor

from fedcoin.core.model import LayerKind, ModelFamily, ModelSpec
from fedcoin.learning.architecture import LayerShape, trace_layers
from fedcoin.learning.models import activation_count, build, tensor_shapes


class BatchedNetwork(Protocol):
    """Runs B models over the same samples."""

    most_models: int
    """Models that are worth running together."""
    bytes_per_sample: int
    """Upper estimate of temporary memory for one model and one sample."""

    def logits(self, flat: Tensor, x: Tensor) -> Tensor:
        """[B, classes, n] for parameters [B, P] and samples [n, *input_shape]."""
        ...


def batched_network(spec: ModelSpec, device: torch.device) -> BatchedNetwork:
    """The batched form of `spec`. Raises as tensor_shapes."""
    if spec.family == ModelFamily.LAYERS:
        return LayeredNetwork(spec)
    return LoopedNetwork(spec, device)


class LayeredNetwork:
    """A list of layers: batched matrix products and grouped convolutions.

    The samples are one for all models until the first layer with parameters, which is therefore a single product.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.most_models = 256
        self.steps = trace_layers(spec)
        outputs = [prod(step.output_shape) for step in self.steps]
        # A layer's input and output live together; the samples themselves are there once for all models.
        self.bytes_per_sample = 4 * 2 * max(map(sum, zip([0, *outputs], outputs, strict=False)))

    def logits(self, flat: Tensor, x: Tensor) -> Tensor:
        """[B, classes, n] for parameters [B, P] and samples [n, *input_shape]."""
        shared = x.flatten(1).T if x.dim() == 2 else x
        return self._run(0, flat, shared, len(flat), shared=True)

    @property
    def first_is_linear(self) -> bool:
        """Whether the pre-activations of the first layer are linear in the parameters alone."""
        return self.steps[0].layer.kind == LayerKind.LINEAR

    @property
    def first_parameters(self) -> int:
        """Parameters of the first layer, which come first in a flat row."""
        return self.steps[0].parameters

    def first_layer(self, flat: Tensor, x: Tensor) -> Tensor:
        """Pre-activations of the first (LINEAR) layer: [B, features, n]."""
        return _linear(self.steps[0], flat, 0, x.flatten(1).T, len(flat), shared=True)

    def after_first(self, flat: Tensor, preactivations: Tensor) -> Tensor:
        """The logits from the first layer's pre-activations and the parameters of the layers after it, [B, P − P₁]."""
        return self._run(1, flat, preactivations, len(flat), shared=False)

    def _run(self, begin: int, flat: Tensor, values: Tensor, models: int, shared: bool) -> Tensor:
        """Layers from `begin` on. Images are [n, C, H, W] while shared, then [n, B·C, H, W]; flat ones [(B,) F, n]."""
        at = 0
        for step in self.steps[begin:]:
            kind = step.layer.kind
            if kind == LayerKind.RELU:
                values = values.relu()
            elif kind == LayerKind.TANH:
                values = values.tanh()
            elif kind == LayerKind.MAX_POOL2D:
                values = torch.nn.functional.max_pool2d(values, step.layer.kernel, step.layer.stride)
            elif kind == LayerKind.CONV2D:
                values = _convolve(step, flat, at, values, models, shared)
                shared = False
            else:
                if len(step.input_shape) == 3:
                    values = _flatten_images(values, models, shared)
                values = _linear(step, flat, at, values, models, shared)
                shared = False
            at += step.parameters
        return values


def _parameters(step: LayerShape, flat: Tensor, at: int) -> tuple[Tensor, Tensor]:
    """Weights [B, out, in…] and biases [B, out] of one layer."""
    assert step.weight is not None
    middle = at + prod(step.weight)
    return flat[:, at:middle].reshape(-1, *step.weight), flat[:, middle : middle + step.weight[0]]


def _linear(step: LayerShape, flat: Tensor, at: int, values: Tensor, models: int, shared: bool) -> Tensor:
    weight, bias = _parameters(step, flat, at)
    if shared:
        product = weight.reshape(-1, weight.shape[-1]) @ values
        return product.view(models, weight.shape[1], -1).add_(bias[:, :, None])
    return torch.baddbmm(bias[:, :, None], weight, values)


def _convolve(step: LayerShape, flat: Tensor, at: int, images: Tensor, models: int, shared: bool) -> Tensor:
    weight, bias = _parameters(step, flat, at)
    return torch.nn.functional.conv2d(
        images,
        weight.flatten(0, 1),
        bias.flatten(),
        stride=step.layer.stride,
        padding=step.layer.padding,
        groups=1 if shared else models,
    )


def _flatten_images(images: Tensor, models: int, shared: bool) -> Tensor:
    if shared:
        return images.flatten(1).T
    return images.reshape(len(images), models, -1).permute(1, 2, 0).contiguous()


class LoopedNetwork:
    """A torchvision model: one model after the other through the module."""

    def __init__(self, spec: ModelSpec, device: torch.device) -> None:
        self.module = build(spec).to(device)
        self.shapes = tensor_shapes(spec)
        self.most_models = 1
        self.bytes_per_sample = 4 * activation_count(spec)
        self.integers = {
            name: value for name, value in self.module.state_dict().items() if not value.is_floating_point()
        }

    def logits(self, flat: Tensor, x: Tensor) -> Tensor:
        """[B, classes, n] for parameters [B, P] and samples [n, *input_shape]."""
        return torch.stack([self._one(row, x).T for row in flat])

    def _one(self, row: Tensor, x: Tensor) -> Tensor:
        state = dict(self.integers)
        at = 0
        for name, shape in self.shapes.items():
            state[name] = row[at : at + prod(shape)].view(shape)
            at += prod(shape)
        result: Tensor = torch.func.functional_call(self.module, state, (x,))
        return result
