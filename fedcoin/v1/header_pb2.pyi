from fedcoin.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BlockHeader(_message.Message):
    __slots__ = ("version", "chain_id", "kind", "height", "winner", "averaged_total", "averaged_time", "previous", "winner_total", "winner_time", "difficulty", "merkle_root", "timestamp", "task", "certificate_root", "state_root")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    AVERAGED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    AVERAGED_TIME_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    WINNER_TOTAL_FIELD_NUMBER: _ClassVar[int]
    WINNER_TIME_FIELD_NUMBER: _ClassVar[int]
    DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    MERKLE_ROOT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_ROOT_FIELD_NUMBER: _ClassVar[int]
    STATE_ROOT_FIELD_NUMBER: _ClassVar[int]
    version: int
    chain_id: bytes
    kind: _task_pb2.RaceKind
    height: int
    winner: bytes
    averaged_total: _containers.RepeatedScalarFieldContainer[int]
    averaged_time: int
    previous: bytes
    winner_total: _containers.RepeatedScalarFieldContainer[int]
    winner_time: int
    difficulty: int
    merkle_root: bytes
    timestamp: int
    task: bytes
    certificate_root: bytes
    state_root: bytes
    def __init__(self, version: _Optional[int] = ..., chain_id: _Optional[bytes] = ..., kind: _Optional[_Union[_task_pb2.RaceKind, str]] = ..., height: _Optional[int] = ..., winner: _Optional[bytes] = ..., averaged_total: _Optional[_Iterable[int]] = ..., averaged_time: _Optional[int] = ..., previous: _Optional[bytes] = ..., winner_total: _Optional[_Iterable[int]] = ..., winner_time: _Optional[int] = ..., difficulty: _Optional[int] = ..., merkle_root: _Optional[bytes] = ..., timestamp: _Optional[int] = ..., task: _Optional[bytes] = ..., certificate_root: _Optional[bytes] = ..., state_root: _Optional[bytes] = ...) -> None: ...
