from fedcoin.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Estimate(_message.Message):
    __slots__ = ("kind", "task", "parent", "miner", "time", "total", "leaf_root", "opened_at", "signature")
    KIND_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MINER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    LEAF_ROOT_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    kind: _task_pb2.RaceKind
    task: bytes
    parent: bytes
    miner: bytes
    time: int
    total: _containers.RepeatedScalarFieldContainer[int]
    leaf_root: bytes
    opened_at: int
    signature: bytes
    def __init__(self, kind: _Optional[_Union[_task_pb2.RaceKind, str]] = ..., task: _Optional[bytes] = ..., parent: _Optional[bytes] = ..., miner: _Optional[bytes] = ..., time: _Optional[int] = ..., total: _Optional[_Iterable[int]] = ..., leaf_root: _Optional[bytes] = ..., opened_at: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...
