from fedcoin.v1 import model_pb2 as _model_pb2
from fedcoin.v1 import task_pb2 as _task_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainingSettings(_message.Message):
    __slots__ = ("iterations", "batch_size", "learning_rate", "momentum")
    ITERATIONS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    iterations: int
    batch_size: int
    learning_rate: float
    momentum: float
    def __init__(self, iterations: _Optional[int] = ..., batch_size: _Optional[int] = ..., learning_rate: _Optional[float] = ..., momentum: _Optional[float] = ...) -> None: ...

class RoundOffer(_message.Message):
    __slots__ = ("order_id", "round", "model", "base_model", "settings", "train_price", "deadline")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_PRICE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    order_id: bytes
    round: int
    model: _model_pb2.ModelSpec
    base_model: bytes
    settings: TrainingSettings
    train_price: int
    deadline: int
    def __init__(self, order_id: _Optional[bytes] = ..., round: _Optional[int] = ..., model: _Optional[_Union[_model_pb2.ModelSpec, _Mapping]] = ..., base_model: _Optional[bytes] = ..., settings: _Optional[_Union[TrainingSettings, _Mapping]] = ..., train_price: _Optional[int] = ..., deadline: _Optional[int] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("public_key", "samples", "joined_at", "signature")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    JOINED_AT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    samples: int
    joined_at: int
    signature: bytes
    def __init__(self, public_key: _Optional[bytes] = ..., samples: _Optional[int] = ..., joined_at: _Optional[int] = ..., signature: _Optional[bytes] = ...) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PollRoundRequest(_message.Message):
    __slots__ = ("public_key", "wait_seconds")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    wait_seconds: float
    def __init__(self, public_key: _Optional[bytes] = ..., wait_seconds: _Optional[float] = ...) -> None: ...

class PollRoundResponse(_message.Message):
    __slots__ = ("offer",)
    OFFER_FIELD_NUMBER: _ClassVar[int]
    offer: RoundOffer
    def __init__(self, offer: _Optional[_Union[RoundOffer, _Mapping]] = ...) -> None: ...

class UpdateHeader(_message.Message):
    __slots__ = ("commitment", "public_key", "signature", "size")
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    commitment: _task_pb2.UpdateCommitment
    public_key: bytes
    signature: bytes
    size: int
    def __init__(self, commitment: _Optional[_Union[_task_pb2.UpdateCommitment, _Mapping]] = ..., public_key: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., size: _Optional[int] = ...) -> None: ...

class SubmitUpdateRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: UpdateHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[UpdateHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class SubmitUpdateResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
