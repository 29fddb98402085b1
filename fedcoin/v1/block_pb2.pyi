from fedcoin.v1 import estimate_pb2 as _estimate_pb2
from fedcoin.v1 import header_pb2 as _header_pb2
from fedcoin.v1 import task_pb2 as _task_pb2
from fedcoin.v1 import transaction_pb2 as _transaction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Block(_message.Message):
    __slots__ = ("header", "signature", "task", "certificate", "payments", "transactions")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    PAYMENTS_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    header: _header_pb2.BlockHeader
    signature: bytes
    task: _task_pb2.Task
    certificate: _containers.RepeatedCompositeFieldContainer[_estimate_pb2.Estimate]
    payments: _containers.RepeatedCompositeFieldContainer[_transaction_pb2.Payment]
    transactions: _containers.RepeatedCompositeFieldContainer[_transaction_pb2.Transaction]
    def __init__(self, header: _Optional[_Union[_header_pb2.BlockHeader, _Mapping]] = ..., signature: _Optional[bytes] = ..., task: _Optional[_Union[_task_pb2.Task, _Mapping]] = ..., certificate: _Optional[_Iterable[_Union[_estimate_pb2.Estimate, _Mapping]]] = ..., payments: _Optional[_Iterable[_Union[_transaction_pb2.Payment, _Mapping]]] = ..., transactions: _Optional[_Iterable[_Union[_transaction_pb2.Transaction, _Mapping]]] = ...) -> None: ...
