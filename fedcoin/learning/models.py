"""Networks from their declaration, and the weights that travel.

`Weights` maps the names of a network's state_dict to float32 CPU tensors, in that order. Running statistics of batch
normalisation are part of it (they are averaged like parameters); integer buffers are not: they keep their first value.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from fedcoin.core.errors import ModelDoesNotFit, UnknownModel
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.learning.architecture import LayerShape, Shape, check_outline, check_size, trace_layers

Weights = dict[str, Tensor]

TORCHVISION_MODELS = frozenset(
    {
        *("resnet18", "resnet34", "resnet50", "densenet121", "squeezenet1_0", "squeezenet1_1"),
        *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet0_5", "mnasnet1_0"),
        *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "efficientnet_b0", "efficientnet_b1"),
    }
)
"""Names that a TORCHVISION architecture may have: one input, one output, below the size limits."""

PRESETS = ("softmax", "mlp", "mlp-64", "mlp-128-64", "cnn", "torchvision:resnet18")
"""Examples of what `preset` takes: any mlp-<width>[-<width>…] and any allowed torchvision:<name>."""


class _FlatLinear(nn.Linear):
    """A fully connected layer that flattens each sample first."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name in nn.Linear)
        return super().forward(input.flatten(1))


def build(spec: ModelSpec) -> nn.Module:
    """The network of `spec`, always with the same first weights, in evaluation mode.

    The global random state is left alone. Raises ModelDoesNotFit, ModelTooLarge, UnknownModel; all before memory for
    the parameters is taken.
    """
    return _build_seeded(spec, 0)


def initial_weights(spec: ModelSpec, seed: int) -> Weights:
    """Random first weights of `spec`: the same for the same seed (0 ≤ seed < 2^63) and version of torch."""
    return extract_weights(_build_seeded(spec, seed))


def extract_weights(module: nn.Module) -> Weights:
    """A copy of the module's float state on the CPU."""
    return {
        name: value.detach().to("cpu", torch.float32, copy=True)
        for name, value in module.state_dict().items()
        if value.is_floating_point()
    }


def load_weights(module: nn.Module, weights: Weights) -> None:
    """Put `weights` into a module that `build` made; integer buffers stay as they are."""
    with torch.no_grad():
        state = module.state_dict()
        for name, value in weights.items():
            state[name].copy_(value)


@lru_cache(maxsize=32)
def tensor_shapes(spec: ModelSpec) -> dict[str, Shape]:
    """Name and shape of every tensor in the weights of `spec`, in their order. Do not change the result.

    Raises ModelDoesNotFit, ModelTooLarge, UnknownModel.
    """
    if spec.family == ModelFamily.TORCHVISION:
        _, shapes = _torchvision_outline(spec)
        return shapes
    named: dict[str, Shape] = {}
    for index, step in enumerate(trace_layers(spec)):
        if step.weight is not None and step.bias is not None:
            named[f"{index}.weight"] = step.weight
            named[f"{index}.bias"] = step.bias
    return named


def parameter_count(spec: ModelSpec) -> int:
    """Number of float32 values in the weights of `spec`. Raises as tensor_shapes."""
    return sum(map(prod, tensor_shapes(spec).values()))


def activation_count(spec: ModelSpec) -> int:
    """Number of float32 values that one sample's forward pass produces. Raises as tensor_shapes."""
    if spec.family == ModelFamily.TORCHVISION:
        activations, _ = _torchvision_outline(spec)
        return activations
    return prod(spec.input_shape) + sum(prod(step.output_shape) for step in trace_layers(spec))


def preset(name: str, input_shape: Shape, classes: int) -> ModelSpec:
    """A common architecture by name, for samples of `input_shape`.

    `softmax` (multinomial logistic regression), `mlp` (one hidden layer of 64), `mlp-<width>[-<width>…]`, `cnn` (two
    convolutions), `torchvision:<name>`. Raises UnknownModel, ModelDoesNotFit, ModelTooLarge.
    """
    family, layers, title = ModelFamily.LAYERS, [], name
    if name.startswith("torchvision:"):
        family, title = ModelFamily.TORCHVISION, name.removeprefix("torchvision:")
    elif name == "softmax":
        layers = [Layer(LayerKind.LINEAR, classes)]
    elif name == "mlp" or re.fullmatch(r"mlp(-[1-9][0-9]{0,5}){1,8}", name):
        widths = [int(width) for width in name.split("-")[1:]] or [64]
        for width in widths:
            layers += [Layer(LayerKind.LINEAR, width), Layer(LayerKind.RELU)]
        layers.append(Layer(LayerKind.LINEAR, classes))
    elif name == "cnn":
        for channels in (8, 16):
            layers += [
                Layer(LayerKind.CONV2D, channels, kernel=3, stride=1, padding=1),
                Layer(LayerKind.RELU),
                Layer(LayerKind.MAX_POOL2D, kernel=2, stride=2),
            ]
        layers.append(Layer(LayerKind.LINEAR, classes))
    else:
        raise UnknownModel(f"no model is called {name!r}: use one of {', '.join(PRESETS)}, or other widths and names")
    spec = ModelSpec(family, title, tuple(input_shape), classes, tuple(layers))
    tensor_shapes(spec)
    return spec


def _build_seeded(spec: ModelSpec, seed: int) -> nn.Module:
    tensor_shapes(spec)  # refuses before anything is built
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if spec.family == ModelFamily.TORCHVISION:
            module = _torchvision(spec)
        else:
            steps = trace_layers(spec)
            module = nn.Sequential(OrderedDict((str(index), _layer(step)) for index, step in enumerate(steps)))
    return module.eval()


def _layer(step: LayerShape) -> nn.Module:
    layer = step.layer
    if layer.kind == LayerKind.LINEAR:
        return _FlatLinear(prod(step.input_shape), layer.size)
    if layer.kind == LayerKind.CONV2D:
        return nn.Conv2d(step.input_shape[0], layer.size, layer.kernel, layer.stride, layer.padding)
    if layer.kind == LayerKind.MAX_POOL2D:
        return nn.MaxPool2d(layer.kernel, layer.stride)
    return nn.ReLU() if layer.kind == LayerKind.RELU else nn.Tanh()


def _torchvision(spec: ModelSpec) -> nn.Module:
    if spec.name not in TORCHVISION_MODELS:
        raise UnknownModel(f"torchvision model {spec.name!r} is not one of {', '.join(sorted(TORCHVISION_MODELS))}")
    try:
        from torchvision.models import get_model
    except ImportError as error:
        raise UnknownModel(f"{spec.name} needs the package torchvision: install it, or use another model") from error
    module: nn.Module = get_model(spec.name, weights=None, num_classes=spec.classes)
    return module


@lru_cache(maxsize=32)
def _torchvision_outline(spec: ModelSpec) -> tuple[int, dict[str, Shape]]:
    """Activations of one sample, and names and shapes of the weights; from the meta device, which takes no memory."""
    check_outline(spec)
    if spec.layers:
        raise ModelDoesNotFit("a TORCHVISION architecture has no list of layers")
    if len(spec.input_shape) != 3 or spec.input_shape[0] != 3:
        raise ModelDoesNotFit(f"{spec.name} needs input (3, height, width), not {spec.input_shape}; see preset 'cnn'")
    with torch.device("meta"):
        module = _torchvision(spec).eval()
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items() if value.is_floating_point()}
    check_size(sum(map(prod, shapes.values())), 0, 0)
    activations = prod(spec.input_shape)
    operations = 0

    def count(layer: nn.Module, _: Any, output: Any) -> None:
        nonlocal activations, operations
        if isinstance(output, Tensor):
            activations += output[0].numel()
            weight = getattr(layer, "weight", None)
            operations += output[0].numel() * (weight[0].numel() if isinstance(weight, Tensor) else 1)

    for layer in module.modules():
        if not list(layer.children()):
            layer.register_forward_hook(count)
    try:
        with torch.no_grad():
            module(torch.empty((1, *spec.input_shape), device="meta"))
    except (RuntimeError, ValueError) as error:
        raise ModelDoesNotFit(f"{spec.name} cannot take samples of shape {spec.input_shape}: {error}") from error
    check_size(0, activations, operations)
    return activations, shapes
