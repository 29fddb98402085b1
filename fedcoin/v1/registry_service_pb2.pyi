from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MinerStanding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MINER_STANDING_UNSPECIFIED: _ClassVar[MinerStanding]
    MINER_STANDING_REGISTERED: _ClassVar[MinerStanding]
    MINER_STANDING_LEAVING: _ClassVar[MinerStanding]
    MINER_STANDING_CONVICTED: _ClassVar[MinerStanding]
MINER_STANDING_UNSPECIFIED: MinerStanding
MINER_STANDING_REGISTERED: MinerStanding
MINER_STANDING_LEAVING: MinerStanding
MINER_STANDING_CONVICTED: MinerStanding

class MinerInfo(_message.Message):
    __slots__ = ("public_key", "name", "standing", "since", "active", "registered_height", "bond")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    BOND_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    name: str
    standing: MinerStanding
    since: int
    active: bool
    registered_height: int
    bond: int
    def __init__(self, public_key: _Optional[bytes] = ..., name: _Optional[str] = ..., standing: _Optional[_Union[MinerStanding, str]] = ..., since: _Optional[int] = ..., active: bool = ..., registered_height: _Optional[int] = ..., bond: _Optional[int] = ...) -> None: ...

class FraudCaseInfo(_message.Message):
    __slots__ = ("case_id", "accused", "reporter", "order", "opened_height", "lapse_height", "decided", "votes")
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    ACCUSED_FIELD_NUMBER: _ClassVar[int]
    REPORTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    OPENED_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    LAPSE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    case_id: bytes
    accused: bytes
    reporter: bytes
    order: bytes
    opened_height: int
    lapse_height: int
    decided: bool
    votes: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, case_id: _Optional[bytes] = ..., accused: _Optional[bytes] = ..., reporter: _Optional[bytes] = ..., order: _Optional[bytes] = ..., opened_height: _Optional[int] = ..., lapse_height: _Optional[int] = ..., decided: bool = ..., votes: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ListMinersRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "after")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    after: bytes
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., after: _Optional[bytes] = ...) -> None: ...

class ListMinersResponse(_message.Message):
    __slots__ = ("miners", "next_page_token")
    MINERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    miners: _containers.RepeatedCompositeFieldContainer[MinerInfo]
    next_page_token: str
    def __init__(self, miners: _Optional[_Iterable[_Union[MinerInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListFraudCasesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "after")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    after: bytes
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., after: _Optional[bytes] = ...) -> None: ...

class ListFraudCasesResponse(_message.Message):
    __slots__ = ("cases", "next_page_token")
    CASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    cases: _containers.RepeatedCompositeFieldContainer[FraudCaseInfo]
    next_page_token: str
    def __init__(self, cases: _Optional[_Iterable[_Union[FraudCaseInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
