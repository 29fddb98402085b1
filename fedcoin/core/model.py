"""A model architecture as data: a list of layers, or a torchvision model by name. Never code.

Orders and tasks carry it, so it has a canonical layout. What a layer means, and which ones exist, is fixed here; the
evaluator builds the network in `fedcoin.learning.models` and refuses what does not fit together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from fedcoin.core.encoding import Struct, enum, text, u16, u32, vector

MAX_LAYERS = 64
MAX_MODEL_NAME = 64


class LayerKind(IntEnum):
    """What a layer does with its input."""

    LINEAR = 1
    """Fully connected, with bias; `size` output features. Flattens its input."""
    CONV2D = 2
    """2-D convolution, with bias; `size` output channels, square `kernel`, `stride`, `padding`."""
    MAX_POOL2D = 3
    """Maximum over square windows of `kernel`, moved by `stride`."""
    RELU = 4
    TANH = 5


class ModelFamily(IntEnum):
    """Where an architecture comes from."""

    LAYERS = 1
    """The list `layers`, in order; the last one is LINEAR with `classes` outputs."""
    TORCHVISION = 2
    """`torchvision.models.<name>` with `classes` outputs and no pretrained weights."""


@dataclass(frozen=True)
class Layer:
    """One layer. Fields that the kind does not use are 0."""

    kind: LayerKind
    size: int = 0
    kernel: int = 0
    stride: int = 0
    padding: int = 0


@dataclass(frozen=True)
class ModelSpec:
    """An architecture for classification."""

    family: ModelFamily
    name: str
    """A word for people (`softmax`, `mlp-64`), or torchvision's name of the model."""
    input_shape: tuple[int, ...]
    """Of one sample: (features,) or (channels, height, width)."""
    classes: int
    layers: tuple[Layer, ...] = ()


LAYER = Struct(Layer, "fedcoin/v1/layer", kind=enum(LayerKind), size=u32, kernel=u16, stride=u16, padding=u16)
MODEL_SPEC = Struct(
    ModelSpec,
    "fedcoin/v1/model",
    family=enum(ModelFamily),
    name=text(MAX_MODEL_NAME),
    input_shape=vector(u32, 4),
    classes=u32,
    layers=vector(LAYER.codec, MAX_LAYERS),
)
