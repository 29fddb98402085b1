from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LayerKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYER_KIND_UNSPECIFIED: _ClassVar[LayerKind]
    LAYER_KIND_LINEAR: _ClassVar[LayerKind]
    LAYER_KIND_CONV2D: _ClassVar[LayerKind]
    LAYER_KIND_MAX_POOL2D: _ClassVar[LayerKind]
    LAYER_KIND_RELU: _ClassVar[LayerKind]
    LAYER_KIND_TANH: _ClassVar[LayerKind]

class ModelFamily(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODEL_FAMILY_UNSPECIFIED: _ClassVar[ModelFamily]
    MODEL_FAMILY_LAYERS: _ClassVar[ModelFamily]
    MODEL_FAMILY_TORCHVISION: _ClassVar[ModelFamily]
LAYER_KIND_UNSPECIFIED: LayerKind
LAYER_KIND_LINEAR: LayerKind
LAYER_KIND_CONV2D: LayerKind
LAYER_KIND_MAX_POOL2D: LayerKind
LAYER_KIND_RELU: LayerKind
LAYER_KIND_TANH: LayerKind
MODEL_FAMILY_UNSPECIFIED: ModelFamily
MODEL_FAMILY_LAYERS: ModelFamily
MODEL_FAMILY_TORCHVISION: ModelFamily

class Layer(_message.Message):
    __slots__ = ("kind", "size", "kernel", "stride", "padding")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    kind: LayerKind
    size: int
    kernel: int
    stride: int
    padding: int
    def __init__(self, kind: _Optional[_Union[LayerKind, str]] = ..., size: _Optional[int] = ..., kernel: _Optional[int] = ..., stride: _Optional[int] = ..., padding: _Optional[int] = ...) -> None: ...

class ModelSpec(_message.Message):
    __slots__ = ("family", "name", "input_shape", "classes", "layers")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_SHAPE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    family: ModelFamily
    name: str
    input_shape: _containers.RepeatedScalarFieldContainer[int]
    classes: int
    layers: _containers.RepeatedCompositeFieldContainer[Layer]
    def __init__(self, family: _Optional[_Union[ModelFamily, str]] = ..., name: _Optional[str] = ..., input_shape: _Optional[_Iterable[int]] = ..., classes: _Optional[int] = ..., layers: _Optional[_Iterable[_Union[Layer, _Mapping]]] = ...) -> None: ...
