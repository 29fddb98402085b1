from fedcoin.v1 import fraud_pb2 as _fraud_pb2
from fedcoin.v1 import model_pb2 as _model_pb2
from fedcoin.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Schedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCHEDULE_UNSPECIFIED: _ClassVar[Schedule]
    SCHEDULE_EQUAL: _ClassVar[Schedule]
    SCHEDULE_GEOMETRIC: _ClassVar[Schedule]

class PaymentKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYMENT_KIND_UNSPECIFIED: _ClassVar[PaymentKind]
    PAYMENT_KIND_WINNER: _ClassVar[PaymentKind]
    PAYMENT_KIND_CLIENT: _ClassVar[PaymentKind]
    PAYMENT_KIND_SERVER: _ClassVar[PaymentKind]
    PAYMENT_KIND_RETURN: _ClassVar[PaymentKind]
    PAYMENT_KIND_REFUND: _ClassVar[PaymentKind]
    PAYMENT_KIND_BOND: _ClassVar[PaymentKind]
    PAYMENT_KIND_REWARD: _ClassVar[PaymentKind]
    PAYMENT_KIND_DAMAGES: _ClassVar[PaymentKind]
SCHEDULE_UNSPECIFIED: Schedule
SCHEDULE_EQUAL: Schedule
SCHEDULE_GEOMETRIC: Schedule
PAYMENT_KIND_UNSPECIFIED: PaymentKind
PAYMENT_KIND_WINNER: PaymentKind
PAYMENT_KIND_CLIENT: PaymentKind
PAYMENT_KIND_SERVER: PaymentKind
PAYMENT_KIND_RETURN: PaymentKind
PAYMENT_KIND_REFUND: PaymentKind
PAYMENT_KIND_BOND: PaymentKind
PAYMENT_KIND_REWARD: PaymentKind
PAYMENT_KIND_DAMAGES: PaymentKind

class Transfer(_message.Message):
    __slots__ = ("recipient", "amount")
    RECIPIENT_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    recipient: bytes
    amount: int
    def __init__(self, recipient: _Optional[bytes] = ..., amount: _Optional[int] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("server", "amount", "train_share", "com_share", "sap_share", "rounds", "schedule", "ratio_numerator", "ratio_denominator", "model", "aggregation", "utility", "baseline", "sampler", "evaluation_set", "min_clients", "expiry")
    SERVER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_SHARE_FIELD_NUMBER: _ClassVar[int]
    COM_SHARE_FIELD_NUMBER: _ClassVar[int]
    SAP_SHARE_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    RATIO_NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    RATIO_DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    UTILITY_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_SET_FIELD_NUMBER: _ClassVar[int]
    MIN_CLIENTS_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_FIELD_NUMBER: _ClassVar[int]
    server: bytes
    amount: int
    train_share: int
    com_share: int
    sap_share: int
    rounds: int
    schedule: Schedule
    ratio_numerator: int
    ratio_denominator: int
    model: _model_pb2.ModelSpec
    aggregation: _task_pb2.Aggregation
    utility: _task_pb2.Utility
    baseline: _task_pb2.Baseline
    sampler: _task_pb2.Sampler
    evaluation_set: bytes
    min_clients: int
    expiry: int
    def __init__(self, server: _Optional[bytes] = ..., amount: _Optional[int] = ..., train_share: _Optional[int] = ..., com_share: _Optional[int] = ..., sap_share: _Optional[int] = ..., rounds: _Optional[int] = ..., schedule: _Optional[_Union[Schedule, str]] = ..., ratio_numerator: _Optional[int] = ..., ratio_denominator: _Optional[int] = ..., model: _Optional[_Union[_model_pb2.ModelSpec, _Mapping]] = ..., aggregation: _Optional[_Union[_task_pb2.Aggregation, str]] = ..., utility: _Optional[_Union[_task_pb2.Utility, str]] = ..., baseline: _Optional[_Union[_task_pb2.Baseline, str]] = ..., sampler: _Optional[_Union[_task_pb2.Sampler, str]] = ..., evaluation_set: _Optional[bytes] = ..., min_clients: _Optional[int] = ..., expiry: _Optional[int] = ...) -> None: ...

class MinerRegistration(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class MinerLeave(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Transaction(_message.Message):
    __slots__ = ("sender", "nonce", "fee", "transfer", "order", "registration", "leave", "fraud_report", "fraud_vote", "double_sign", "signature")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    FEE_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    FRAUD_REPORT_FIELD_NUMBER: _ClassVar[int]
    FRAUD_VOTE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_SIGN_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    sender: bytes
    nonce: int
    fee: int
    transfer: Transfer
    order: Order
    registration: MinerRegistration
    leave: MinerLeave
    fraud_report: _fraud_pb2.FraudReport
    fraud_vote: _fraud_pb2.FraudVote
    double_sign: _fraud_pb2.DoubleSign
    signature: bytes
    def __init__(self, sender: _Optional[bytes] = ..., nonce: _Optional[int] = ..., fee: _Optional[int] = ..., transfer: _Optional[_Union[Transfer, _Mapping]] = ..., order: _Optional[_Union[Order, _Mapping]] = ..., registration: _Optional[_Union[MinerRegistration, _Mapping]] = ..., leave: _Optional[_Union[MinerLeave, _Mapping]] = ..., fraud_report: _Optional[_Union[_fraud_pb2.FraudReport, _Mapping]] = ..., fraud_vote: _Optional[_Union[_fraud_pb2.FraudVote, _Mapping]] = ..., double_sign: _Optional[_Union[_fraud_pb2.DoubleSign, _Mapping]] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Payment(_message.Message):
    __slots__ = ("kind", "order", "round", "payer", "payee", "amount")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PAYER_FIELD_NUMBER: _ClassVar[int]
    PAYEE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    kind: PaymentKind
    order: bytes
    round: int
    payer: bytes
    payee: bytes
    amount: int
    def __init__(self, kind: _Optional[_Union[PaymentKind, str]] = ..., order: _Optional[bytes] = ..., round: _Optional[int] = ..., payer: _Optional[bytes] = ..., payee: _Optional[bytes] = ..., amount: _Optional[int] = ...) -> None: ...
