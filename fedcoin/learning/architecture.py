"""Shapes and sizes of a declared architecture, worked out from the list before any memory is taken.

A ModelSpec can come from a peer, so everything here is refused rather than repaired: layers that do not fit one after
another, fields that the layer's kind does not use, and architectures too large to build or too slow to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fedcoin.core.errors import ModelDoesNotFit, ModelTooLarge
from fedcoin.core.model import MAX_LAYERS, Layer, LayerKind, ModelFamily, ModelSpec

MAX_PARAMETERS = 50_000_000
"""Of one model: 200 MB of float32 an update."""
MAX_ACTIVATIONS = 50_000_000
"""Values that one sample's forward pass produces, input included."""
MAX_OPERATIONS = 20_000_000_000
"""Multiplications that one sample's forward pass needs."""
MAX_CLASSES = 65_536

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerShape:
    """One layer with the shapes of one sample before and after it, and of its parameters (weight, bias)."""

    layer: Layer
    input_shape: Shape
    output_shape: Shape
    weight: Shape | None = None
    bias: Shape | None = None

    @property
    def parameters(self) -> int:
        """Number of float parameters."""
        return sum(prod(shape) for shape in (self.weight, self.bias) if shape is not None)

    @property
    def operations(self) -> int:
        """Multiplications (comparisons, for pooling) for one sample."""
        if self.layer.kind == LayerKind.MAX_POOL2D:
            return prod(self.output_shape) * self.layer.kernel**2
        if self.weight is None:
            return prod(self.output_shape)
        return prod(self.output_shape) * prod(self.weight[1:])


def check_outline(spec: ModelSpec) -> None:
    """What holds for both families: a plausible input shape and number of classes. Raises ModelDoesNotFit."""
    if len(spec.input_shape) not in (1, 3) or min(spec.input_shape) < 1:
        raise ModelDoesNotFit(
            f"input shape {spec.input_shape} is neither (features,) nor (channels, height, width) of positive sizes"
        )
    if prod(spec.input_shape) > MAX_ACTIVATIONS:
        raise ModelTooLarge(f"a sample of {prod(spec.input_shape)} values exceeds the limit of {MAX_ACTIVATIONS}")
    if not 2 <= spec.classes <= MAX_CLASSES:
        raise ModelDoesNotFit(f"{spec.classes} classes: expected 2 to {MAX_CLASSES}")


def trace_layers(spec: ModelSpec) -> tuple[LayerShape, ...]:
    """The layers of a LAYERS model with their shapes.

    Raises ModelDoesNotFit where a layer does not fit its input or says more than its kind uses, ModelTooLarge above
    MAX_PARAMETERS, MAX_ACTIVATIONS or MAX_OPERATIONS.
    """
    check_outline(spec)
    if spec.family != ModelFamily.LAYERS:
        raise ModelDoesNotFit(f"{spec.family.name} is not a list of layers")
    if not 1 <= len(spec.layers) <= MAX_LAYERS:
        raise ModelDoesNotFit(f"{len(spec.layers)} layers: expected 1 to {MAX_LAYERS}")
    traced: list[LayerShape] = []
    shape = spec.input_shape
    for index, layer in enumerate(spec.layers):
        step = _step(index, layer, shape)
        traced.append(step)
        shape = step.output_shape
    last = spec.layers[-1]
    if last.kind != LayerKind.LINEAR or last.size != spec.classes:
        raise ModelDoesNotFit(f"the last layer must be LINEAR with size {spec.classes} (the classes)")
    check_size(
        parameters=sum(step.parameters for step in traced),
        activations=prod(spec.input_shape) + sum(prod(step.output_shape) for step in traced),
        operations=sum(step.operations for step in traced),
    )
    return tuple(traced)


def check_size(parameters: int, activations: int, operations: int) -> None:
    """Raises ModelTooLarge if one of the three is above its limit."""
    for what, value, limit in (
        ("parameters", parameters, MAX_PARAMETERS),
        ("activations a sample", activations, MAX_ACTIVATIONS),
        ("multiplications a sample", operations, MAX_OPERATIONS),
    ):
        if value > limit:
            raise ModelTooLarge(f"{value} {what} exceed the limit of {limit}: use a smaller architecture")


def _step(index: int, layer: Layer, shape: Shape) -> LayerShape:
    where = f"layer {index} ({layer.kind.name})"
    _check_unused(where, layer)
    if layer.kind in (LayerKind.RELU, LayerKind.TANH):
        return LayerShape(layer, shape, shape)
    if layer.kind == LayerKind.LINEAR:
        if layer.size < 1:
            raise ModelDoesNotFit(f"{where}: size must be at least 1")
        return LayerShape(layer, shape, (layer.size,), (layer.size, prod(shape)), (layer.size,))
    if len(shape) != 3:
        raise ModelDoesNotFit(f"{where} needs (channels, height, width), its input is {shape}")
    if layer.kernel < 1 or layer.stride < 1:
        raise ModelDoesNotFit(f"{where}: kernel and stride must be at least 1")
    channels, height, width = shape
    spatial = tuple((side + 2 * layer.padding - layer.kernel) // layer.stride + 1 for side in (height, width))
    if min(height, width) + 2 * layer.padding < layer.kernel:
        raise ModelDoesNotFit(f"{where}: a kernel of {layer.kernel} does not fit an input of {height}x{width}")
    if layer.kind == LayerKind.MAX_POOL2D:
        return LayerShape(layer, shape, (channels, *spatial))
    if layer.size < 1:
        raise ModelDoesNotFit(f"{where}: size must be at least 1")
    if layer.padding >= layer.kernel:
        raise ModelDoesNotFit(f"{where}: padding must be below the kernel of {layer.kernel}")
    weight = (layer.size, channels, layer.kernel, layer.kernel)
    return LayerShape(layer, shape, (layer.size, *spatial), weight, (layer.size,))


_USED: dict[LayerKind, frozenset[str]] = {
    LayerKind.LINEAR: frozenset({"size"}),
    LayerKind.CONV2D: frozenset({"size", "kernel", "stride", "padding"}),
    LayerKind.MAX_POOL2D: frozenset({"kernel", "stride"}),
    LayerKind.RELU: frozenset(),
    LayerKind.TANH: frozenset(),
}


def _check_unused(where: str, layer: Layer) -> None:
    # One architecture, one encoding: a field without meaning must not give the same model another hash.
    for name in ("size", "kernel", "stride", "padding"):
        value = getattr(layer, name)
        if value < 0 or (value and name not in _USED[layer.kind]):
            raise ModelDoesNotFit(f"{where}: {name} must be 0, it is {value}")
