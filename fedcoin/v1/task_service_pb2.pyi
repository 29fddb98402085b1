from fedcoin.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskTerms(_message.Message):
    __slots__ = ("tip", "height", "timestamp", "difficulty", "norm")
    TIP_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DIFFICULTY_FIELD_NUMBER: _ClassVar[int]
    NORM_FIELD_NUMBER: _ClassVar[int]
    tip: bytes
    height: int
    timestamp: int
    difficulty: int
    norm: int
    def __init__(self, tip: _Optional[bytes] = ..., height: _Optional[int] = ..., timestamp: _Optional[int] = ..., difficulty: _Optional[int] = ..., norm: _Optional[int] = ...) -> None: ...

class GetTaskTermsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTaskTermsResponse(_message.Message):
    __slots__ = ("terms",)
    TERMS_FIELD_NUMBER: _ClassVar[int]
    terms: TaskTerms
    def __init__(self, terms: _Optional[_Union[TaskTerms, _Mapping]] = ...) -> None: ...

class PublishTaskRequest(_message.Message):
    __slots__ = ("task", "request_id")
    TASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    task: _task_pb2.Task
    request_id: str
    def __init__(self, task: _Optional[_Union[_task_pb2.Task, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class PublishTaskResponse(_message.Message):
    __slots__ = ("task_hash",)
    TASK_HASH_FIELD_NUMBER: _ClassVar[int]
    task_hash: bytes
    def __init__(self, task_hash: _Optional[bytes] = ...) -> None: ...

class ListOpenTasksRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListOpenTasksResponse(_message.Message):
    __slots__ = ("tasks", "next_page_token")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[_task_pb2.Task]
    next_page_token: str
    def __init__(self, tasks: _Optional[_Iterable[_Union[_task_pb2.Task, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
