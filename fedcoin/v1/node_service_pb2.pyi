from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NodeStatus(_message.Message):
    __slots__ = ("role", "version", "chain_id", "public_key", "tip", "height", "state_root", "peers", "started_at", "syncing", "network")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    TIP_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    STATE_ROOT_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    SYNCING_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    role: str
    version: str
    chain_id: bytes
    public_key: bytes
    tip: bytes
    height: int
    state_root: bytes
    peers: int
    started_at: int
    syncing: bool
    network: str
    def __init__(self, role: _Optional[str] = ..., version: _Optional[str] = ..., chain_id: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., tip: _Optional[bytes] = ..., height: _Optional[int] = ..., state_root: _Optional[bytes] = ..., peers: _Optional[int] = ..., started_at: _Optional[int] = ..., syncing: bool = ..., network: _Optional[str] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: NodeStatus
    def __init__(self, status: _Optional[_Union[NodeStatus, _Mapping]] = ...) -> None: ...
