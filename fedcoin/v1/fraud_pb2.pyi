from fedcoin.v1 import estimate_pb2 as _estimate_pb2
from fedcoin.v1 import header_pb2 as _header_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LeafProof(_message.Message):
    __slots__ = ("index", "leaf", "path")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LEAF_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    index: int
    leaf: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, index: _Optional[int] = ..., leaf: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ...) -> None: ...

class FraudReport(_message.Message):
    __slots__ = ("estimate", "order", "before", "accused")
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    ACCUSED_FIELD_NUMBER: _ClassVar[int]
    estimate: _estimate_pb2.Estimate
    order: bytes
    before: LeafProof
    accused: LeafProof
    def __init__(self, estimate: _Optional[_Union[_estimate_pb2.Estimate, _Mapping]] = ..., order: _Optional[bytes] = ..., before: _Optional[_Union[LeafProof, _Mapping]] = ..., accused: _Optional[_Union[LeafProof, _Mapping]] = ...) -> None: ...

class FraudVote(_message.Message):
    __slots__ = ("case",)
    CASE_FIELD_NUMBER: _ClassVar[int]
    case: bytes
    def __init__(self, case: _Optional[bytes] = ...) -> None: ...

class DoubleSign(_message.Message):
    __slots__ = ("first", "first_signature", "second", "second_signature")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    FIRST_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    SECOND_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    first: _header_pb2.BlockHeader
    first_signature: bytes
    second: _header_pb2.BlockHeader
    second_signature: bytes
    def __init__(self, first: _Optional[_Union[_header_pb2.BlockHeader, _Mapping]] = ..., first_signature: _Optional[bytes] = ..., second: _Optional[_Union[_header_pb2.BlockHeader, _Mapping]] = ..., second_signature: _Optional[bytes] = ...) -> None: ...
