from fedcoin.v1 import estimate_pb2 as _estimate_pb2
from fedcoin.v1 import fraud_pb2 as _fraud_pb2
from fedcoin.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MinerEstimate(_message.Message):
    __slots__ = ("miner", "time", "distance")
    MINER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    miner: bytes
    time: int
    distance: float
    def __init__(self, miner: _Optional[bytes] = ..., time: _Optional[int] = ..., distance: _Optional[float] = ...) -> None: ...

class MiningProgress(_message.Message):
    __slots__ = ("active", "race", "kind", "task", "order", "round", "clients", "difficulty", "iterations", "distance", "heard_from", "quorum", "iterations_per_second", "device", "estimates")
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    RACE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    HEARD_FROM_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    ITERATIONS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    active: bool
    race: bytes
    kind: _task_pb2.RaceKind
    task: bytes
    order: bytes
    round: int
    clients: int
    difficulty: float
    iterations: int
    distance: float
    heard_from: int
    quorum: int
    iterations_per_second: float
    device: str
    estimates: _containers.RepeatedCompositeFieldContainer[MinerEstimate]
    def __init__(self, active: bool = ..., race: _Optional[bytes] = ..., kind: _Optional[_Union[_task_pb2.RaceKind, str]] = ..., task: _Optional[bytes] = ..., order: _Optional[bytes] = ..., round: _Optional[int] = ..., clients: _Optional[int] = ..., difficulty: _Optional[float] = ..., iterations: _Optional[int] = ..., distance: _Optional[float] = ..., heard_from: _Optional[int] = ..., quorum: _Optional[int] = ..., iterations_per_second: _Optional[float] = ..., device: _Optional[str] = ..., estimates: _Optional[_Iterable[_Union[MinerEstimate, _Mapping]]] = ...) -> None: ...

class SendEstimateRequest(_message.Message):
    __slots__ = ("estimate", "request_id")
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    estimate: _estimate_pb2.Estimate
    request_id: str
    def __init__(self, estimate: _Optional[_Union[_estimate_pb2.Estimate, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class SendEstimateResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListEstimatesRequest(_message.Message):
    __slots__ = ("race", "page_size", "page_token")
    RACE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    race: bytes
    page_size: int
    page_token: str
    def __init__(self, race: _Optional[bytes] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEstimatesResponse(_message.Message):
    __slots__ = ("estimates", "next_page_token")
    ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    estimates: _containers.RepeatedCompositeFieldContainer[_estimate_pb2.Estimate]
    next_page_token: str
    def __init__(self, estimates: _Optional[_Iterable[_Union[_estimate_pb2.Estimate, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetLeavesRequest(_message.Message):
    __slots__ = ("race", "miner", "tree_size", "indices")
    RACE_FIELD_NUMBER: _ClassVar[int]
    MINER_FIELD_NUMBER: _ClassVar[int]
    TREE_SIZE_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    race: bytes
    miner: bytes
    tree_size: int
    indices: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, race: _Optional[bytes] = ..., miner: _Optional[bytes] = ..., tree_size: _Optional[int] = ..., indices: _Optional[_Iterable[int]] = ...) -> None: ...

class GetLeavesResponse(_message.Message):
    __slots__ = ("leaves",)
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    leaves: _containers.RepeatedCompositeFieldContainer[_fraud_pb2.LeafProof]
    def __init__(self, leaves: _Optional[_Iterable[_Union[_fraud_pb2.LeafProof, _Mapping]]] = ...) -> None: ...

class GetMiningRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMiningResponse(_message.Message):
    __slots__ = ("progress",)
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    progress: MiningProgress
    def __init__(self, progress: _Optional[_Union[MiningProgress, _Mapping]] = ...) -> None: ...
