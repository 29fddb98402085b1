from fedcoin.v1 import training_service_pb2 as _training_service_pb2
from fedcoin.v1 import transaction_pb2 as _transaction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_PHASE_UNSPECIFIED: _ClassVar[OrderPhase]
    ORDER_PHASE_OFFERED: _ClassVar[OrderPhase]
    ORDER_PHASE_WAITING: _ClassVar[OrderPhase]
    ORDER_PHASE_TRAINING: _ClassVar[OrderPhase]
    ORDER_PHASE_MINING: _ClassVar[OrderPhase]
    ORDER_PHASE_FINISHED: _ClassVar[OrderPhase]
    ORDER_PHASE_FAILED: _ClassVar[OrderPhase]
ORDER_PHASE_UNSPECIFIED: OrderPhase
ORDER_PHASE_OFFERED: OrderPhase
ORDER_PHASE_WAITING: OrderPhase
ORDER_PHASE_TRAINING: OrderPhase
ORDER_PHASE_MINING: OrderPhase
ORDER_PHASE_FINISHED: OrderPhase
ORDER_PHASE_FAILED: OrderPhase

class RoundReport(_message.Message):
    __slots__ = ("round", "clients", "accuracy", "task", "block", "model")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    round: int
    clients: _containers.RepeatedScalarFieldContainer[bytes]
    accuracy: float
    task: bytes
    block: bytes
    model: bytes
    def __init__(self, round: _Optional[int] = ..., clients: _Optional[_Iterable[bytes]] = ..., accuracy: _Optional[float] = ..., task: _Optional[bytes] = ..., block: _Optional[bytes] = ..., model: _Optional[bytes] = ...) -> None: ...

class OrderProgress(_message.Message):
    __slots__ = ("order_id", "phase", "round", "rounds", "updates", "clients", "message", "reports")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    order_id: bytes
    phase: OrderPhase
    round: int
    rounds: int
    updates: int
    clients: int
    message: str
    reports: _containers.RepeatedCompositeFieldContainer[RoundReport]
    def __init__(self, order_id: _Optional[bytes] = ..., phase: _Optional[_Union[OrderPhase, str]] = ..., round: _Optional[int] = ..., rounds: _Optional[int] = ..., updates: _Optional[int] = ..., clients: _Optional[int] = ..., message: _Optional[str] = ..., reports: _Optional[_Iterable[_Union[RoundReport, _Mapping]]] = ...) -> None: ...

class ServerInfo(_message.Message):
    __slots__ = ("address", "public_key", "chain_id", "clients", "open_orders", "max_rounds", "settings")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    MAX_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    address: bytes
    public_key: bytes
    chain_id: bytes
    clients: int
    open_orders: int
    max_rounds: int
    settings: _training_service_pb2.TrainingSettings
    def __init__(self, address: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., chain_id: _Optional[bytes] = ..., clients: _Optional[int] = ..., open_orders: _Optional[int] = ..., max_rounds: _Optional[int] = ..., settings: _Optional[_Union[_training_service_pb2.TrainingSettings, _Mapping]] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("info",)
    INFO_FIELD_NUMBER: _ClassVar[int]
    info: ServerInfo
    def __init__(self, info: _Optional[_Union[ServerInfo, _Mapping]] = ...) -> None: ...

class OfferOrderRequest(_message.Message):
    __slots__ = ("order", "request_id")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    order: _transaction_pb2.Order
    request_id: str
    def __init__(self, order: _Optional[_Union[_transaction_pb2.Order, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class OfferOrderResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetOrderProgressRequest(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: bytes
    def __init__(self, order_id: _Optional[bytes] = ...) -> None: ...

class GetOrderProgressResponse(_message.Message):
    __slots__ = ("progress",)
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    progress: OrderProgress
    def __init__(self, progress: _Optional[_Union[OrderProgress, _Mapping]] = ...) -> None: ...

class WatchOrderRequest(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: bytes
    def __init__(self, order_id: _Optional[bytes] = ...) -> None: ...

class WatchOrderResponse(_message.Message):
    __slots__ = ("progress",)
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    progress: OrderProgress
    def __init__(self, progress: _Optional[_Union[OrderProgress, _Mapping]] = ...) -> None: ...

class DownloadModelRequest(_message.Message):
    __slots__ = ("order_id", "public_key", "requested_at", "signature")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_AT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    order_id: bytes
    public_key: bytes
    requested_at: int
    signature: bytes
    def __init__(self, order_id: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., requested_at: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class ModelHeader(_message.Message):
    __slots__ = ("digest", "size")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    size: int
    def __init__(self, digest: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class DownloadModelResponse(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: ModelHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[ModelHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...
