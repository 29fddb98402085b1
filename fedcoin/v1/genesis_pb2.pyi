from fedcoin.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChainParams(_message.Message):
    __slots__ = ("name", "target_interval_ms", "audit_interval_ms", "difficulty_window", "initial_difficulty", "initial_audit_difficulty", "min_difficulty", "max_difficulty", "norm", "quorum_numerator", "quorum_denominator", "inactive_after", "finality_depth", "heartbeat_ms", "min_fee", "miner_bond", "bond_blocks", "max_block_bytes", "max_blob_bytes", "max_transactions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TARGET_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    AUDIT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    DIFFICULTY_WINDOW_FIELD_NUMBER: _ClassVar[int]
    INITIAL_DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    INITIAL_AUDIT_DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    MIN_DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    MAX_DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    QUORUM_NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    QUORUM_DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    INACTIVE_AFTER_FIELD_NUMBER: _ClassVar[int]
    FINALITY_DEPTH_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    MIN_FEE_FIELD_NUMBER: _ClassVar[int]
    MINER_BOND_FIELD_NUMBER: _ClassVar[int]
    BOND_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    MAX_BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BLOB_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    target_interval_ms: int
    audit_interval_ms: int
    difficulty_window: int
    initial_difficulty: int
    initial_audit_difficulty: int
    min_difficulty: int
    max_difficulty: int
    norm: int
    quorum_numerator: int
    quorum_denominator: int
    inactive_after: int
    finality_depth: int
    heartbeat_ms: int
    min_fee: int
    miner_bond: int
    bond_blocks: int
    max_block_bytes: int
    max_blob_bytes: int
    max_transactions: int
    def __init__(self, name: _Optional[str] = ..., target_interval_ms: _Optional[int] = ..., audit_interval_ms: _Optional[int] = ..., difficulty_window: _Optional[int] = ..., initial_difficulty: _Optional[int] = ..., initial_audit_difficulty: _Optional[int] = ..., min_difficulty: _Optional[int] = ..., max_difficulty: _Optional[int] = ..., norm: _Optional[int] = ..., quorum_numerator: _Optional[int] = ..., quorum_denominator: _Optional[int] = ..., inactive_after: _Optional[int] = ..., finality_depth: _Optional[int] = ..., heartbeat_ms: _Optional[int] = ..., min_fee: _Optional[int] = ..., miner_bond: _Optional[int] = ..., bond_blocks: _Optional[int] = ..., max_block_bytes: _Optional[int] = ..., max_blob_bytes: _Optional[int] = ..., max_transactions: _Optional[int] = ...) -> None: ...

class Allocation(_message.Message):
    __slots__ = ("address", "amount")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    address: bytes
    amount: int
    def __init__(self, address: _Optional[bytes] = ..., amount: _Optional[int] = ...) -> None: ...

class Genesis(_message.Message):
    __slots__ = ("params", "timestamp", "allocations", "miners", "problem")
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    ALLOCATIONS_FIELD_NUMBER: _ClassVar[int]
    MINERS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    params: ChainParams
    timestamp: int
    allocations: _containers.RepeatedCompositeFieldContainer[Allocation]
    miners: _containers.RepeatedScalarFieldContainer[bytes]
    problem: _task_pb2.Problem
    def __init__(self, params: _Optional[_Union[ChainParams, _Mapping]] = ..., timestamp: _Optional[int] = ..., allocations: _Optional[_Iterable[_Union[Allocation, _Mapping]]] = ..., miners: _Optional[_Iterable[bytes]] = ..., problem: _Optional[_Union[_task_pb2.Problem, _Mapping]] = ...) -> None: ...
