"""Values ↔ protobuf messages, without a line per field.

The Structs of core say what a signed value consists of; dataclass fields say it for the views. A message has the same
name and fields as its value. What comes from a message has passed each field's codec, so a wrong length or an unknown
enum value is MALFORMED_ENCODING here and never meets the code behind.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache, cached_property
from typing import Any, TypeVar, cast

from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fedcoin.core.block import BLOCK
from fedcoin.core.encoding import Codec, RememberingStruct, Struct
from fedcoin.core.errors import MalformedEncoding
from fedcoin.core.estimate import ESTIMATE
from fedcoin.core.genesis import GENESIS
from fedcoin.core.task import TASK, UPDATE_COMMITMENT
from fedcoin.core.transaction import TRANSACTION
from fedcoin.rpc import views
from fedcoin.rpc.errors import printable
from fedcoin.v1 import (
    block_pb2,  # noqa: F401 - each import registers its messages
    estimate_pb2,  # noqa: F401
    fraud_pb2,  # noqa: F401
    genesis_pb2,  # noqa: F401
    node_service_pb2,  # noqa: F401
    order_service_pb2,  # noqa: F401
    peer_service_pb2,  # noqa: F401
    registry_service_pb2,  # noqa: F401
    shapley_service_pb2,  # noqa: F401
    task_service_pb2,  # noqa: F401
    training_service_pb2,  # noqa: F401
    transaction_service_pb2,  # noqa: F401
)

T = TypeVar("T")

MAX_VIEW_ITEMS = 100_000
"""Items of a list in a view at most."""
MAX_VIEW_TEXT = 4096
"""Characters of a text in a view at most."""


_REMEMBERED = 8_192
"""Transactions that were read from messages and are remembered."""
_REMEMBERED_BYTES = 512
"""Of the message of such a one at most."""


@dataclass(frozen=True)
class Link:
    """How one field of a value stands in a message. `where` names the field in errors."""

    write: Callable[[Message, str, Any], None]
    read: Callable[[Message, str, str], Any]
    item: Shape | Callable[[Any, str], Any]
    """Of a repeated field's items: their shape, or the check of a scalar."""


@dataclass(frozen=True)
class Shape:
    """How a dataclass stands in a message of the same name."""

    kind: type
    message: type[Message]
    links: dict[str, Link]

    def fill(self, message: Message, value: Any) -> None:
        """Writes the value's fields into `message`."""
        for name, link in self.links.items():
            link.write(message, name, getattr(value, name))

    def take(self, message: Message) -> Any:
        """The value that `message` holds. Raises MalformedEncoding."""
        kind = self.kind.__name__
        return self.kind(**{name: link.read(message, name, f"{kind}.{name}") for name, link in self.links.items()})


class RememberingShape(Shape):
    """Of values that come and go several times: from each peer once, and again in a block.

    A message that was read before gives the same object, which knows its id, address and encoding already.
    """

    @cached_property
    def _known(self) -> dict[bytes, Any]:
        return {}

    def fill(self, message: Message, value: Any) -> None:
        """Writes the value's fields into `message`, which is empty."""
        wire = vars(value).get("_wire")
        if wire is None:
            super().fill(message, value)
            vars(value)["_wire"] = message.SerializeToString()
        else:
            message.MergeFromString(wire)

    def take(self, message: Message) -> Any:
        """The value that `message` holds. Raises MalformedEncoding."""
        data = message.SerializeToString()
        value = self._known.get(data)
        if value is None:
            value = super().take(message)
            if len(data) <= _REMEMBERED_BYTES:
                self._known[data] = value
                if len(self._known) > _REMEMBERED:
                    del self._known[next(iter(self._known))]
        return value


def to_message(value: Any) -> Any:
    """The protobuf message of a core value or a view. Raises MalformedEncoding where a number does not fit."""
    shape = shape_of(type(value))
    message = shape.message()
    try:
        shape.fill(message, value)
    except (ValueError, TypeError) as error:
        raise MalformedEncoding(f"{type(value).__name__} does not fit its message: {error}") from error
    return message


def from_message(kind: type[T], message: Message) -> T:
    """The value of type `kind` that a message holds, every field checked. Raises MalformedEncoding."""
    return cast(T, shape_of(kind).take(message))


def from_field(kind: type[T], message: Message, name: str) -> T:
    """As from_message, for the message in the field `name`, which must be there. Raises MalformedEncoding."""
    if not message.HasField(name):
        raise MalformedEncoding(f"{message.DESCRIPTOR.name}.{name} is missing")
    return from_message(kind, getattr(message, name))


def exactly(value: bytes, size: int, what: str) -> bytes:
    """`value` if it has `size` bytes. Raises MalformedEncoding."""
    if len(value) != size:
        raise MalformedEncoding(f"{what} has {len(value)} bytes, {size} are wanted")
    return value


def exactly_or_empty(value: bytes, size: int, what: str) -> bytes:
    """`value` if it has `size` bytes or none. Raises MalformedEncoding."""
    return exactly(value, size, what) if value else value


def shape_of(kind: type) -> Shape:
    """The shape of a core value or a view."""
    return _shape(kind)


@cache
def _shape(kind: Hashable) -> Shape:
    assert isinstance(kind, type)
    struct = _structs().get(kind)
    if struct is not None:
        links = {name: _codec_link(codec) for name, codec in struct.fields.items()}
    else:
        hints = typing.get_type_hints(kind)
        links = {field.name: _hint_link(hints[field.name], field.name) for field in fields(kind)}
    descriptor = descriptor_pool.Default().FindMessageTypeByName(f"fedcoin.v1.{kind.__name__}")
    form = RememberingShape if isinstance(struct, RememberingStruct) else Shape
    return form(kind, GetMessageClass(descriptor), links)


@cache
def _structs() -> dict[type, Struct[Any]]:
    found: dict[type, Struct[Any]] = {}

    def visit(layout: Any) -> None:
        if isinstance(layout, Struct):
            found[layout.kind] = layout
            for codec in layout.fields.values():
                visit(codec)
        elif isinstance(layout, Codec):
            visit(layout.inner)
        elif isinstance(layout, dict):
            for struct in layout.values():
                visit(struct)

    for struct in (BLOCK, TASK, ESTIMATE, TRANSACTION, GENESIS, UPDATE_COMMITMENT):
        visit(struct)
    return found


# --- links -----------------------------------------------------------------------------------------------------------


def _scalar(check: Callable[[Any, str], Any]) -> Link:
    return Link(setattr, lambda message, name, where: check(getattr(message, name), where), check)


def _nested(shape: Shape) -> Link:
    def write(message: Message, name: str, value: Any) -> None:
        target = getattr(message, name)
        target.SetInParent()
        shape.fill(target, value)

    def read(message: Message, name: str, where: str) -> Any:
        if message.HasField(name):
            return shape.take(getattr(message, name))
        raise MalformedEncoding(f"{where} is missing")

    return Link(write, read, shape)


def _optional(link: Link) -> Link:
    """A field that may be absent, which stands for None."""

    def write(message: Message, name: str, value: Any) -> None:
        if value is not None:
            link.write(message, name, value)

    def read(message: Message, name: str, where: str) -> Any:
        return link.read(message, name, where) if message.HasField(name) else None

    return Link(write, read, _refuse)


def _repeated(item: Link, limit: int) -> Link:
    inner = item.item

    def write(message: Message, name: str, value: Any) -> None:
        target = getattr(message, name)
        if isinstance(inner, Shape):
            for one in value:
                inner.fill(target.add(), one)
        else:
            target.extend(value)

    def read(message: Message, name: str, where: str) -> tuple[Any, ...]:
        source = getattr(message, name)
        if len(source) > limit:
            raise MalformedEncoding(f"{where} has {len(source)} items, at most {limit} are allowed")
        if isinstance(inner, Shape):
            return tuple(inner.take(one) for one in source)
        return tuple(inner(one, where) for one in source)

    return Link(write, read, inner)


def _union(kinds: dict[str, Struct[Any]]) -> Link:
    names = {struct.kind: name for name, struct in kinds.items()}

    def write(message: Message, _: str, value: Any) -> None:
        name = names.get(type(value))
        if name is None:
            raise MalformedEncoding(f"{type(value).__name__} is none of {', '.join(kinds)}")
        target = getattr(message, name)
        target.SetInParent()
        shape_of(type(value)).fill(target, value)

    def read(message: Message, name: str, where: str) -> Any:
        chosen = message.WhichOneof(name)
        if chosen is None:
            raise MalformedEncoding(f"{where} is missing: one of {', '.join(kinds)} is wanted")
        return shape_of(kinds[chosen].kind).take(getattr(message, chosen))

    return Link(write, read, _refuse)


def _refuse(value: Any, where: str) -> Any:
    raise MalformedEncoding(f"{where} cannot be repeated")


# --- core: codec → link ----------------------------------------------------------------------------------------------


def _codec_link(codec: Codec[Any]) -> Link:
    kind, _, limit = codec.kind.partition("≤")
    if kind == "vector":
        return _repeated(_codec_link(codec.inner), int(limit))
    if kind == "union":
        return _union(codec.inner)
    if kind == "optional":
        return _optional(_codec_link(codec.inner))
    if isinstance(codec.inner, Struct):
        return _nested(shape_of(codec.inner.kind))
    if kind.startswith("enum"):
        return _scalar(_enum_check(codec.inner))
    if kind.startswith("bytes"):
        size = int(kind.removeprefix("bytes"))
        return _scalar(lambda value, where: exactly(value, size, where))

    def check(value: Any, where: str) -> Any:
        if limit and len(value) > int(limit):
            raise MalformedEncoding(f"{where} is longer than {limit} bytes")
        try:
            codec.write(value)
        except MalformedEncoding as error:
            raise MalformedEncoding(f"{where}: {error}") from None
        return value

    return _scalar(check)


def _enum_check(kind: type[IntEnum]) -> Callable[[Any, str], IntEnum]:
    def check(value: int, where: str) -> IntEnum:
        try:
            return kind(value)
        except ValueError:
            raise MalformedEncoding(f"{where}: {value} is no {kind.__name__}") from None

    return check


# --- views: type hint → link -----------------------------------------------------------------------------------------

_VIEW_BYTES = {
    **dict.fromkeys(("address", "counterparty", "requester", "clients", "reporter"), 20),
    **dict.fromkeys(("public_key", "miner", "accused", "votes"), 33),
    **dict.fromkeys(("chain_id", "tip", "state_root", "race", "task", "order", "order_id", "case_id"), 32),
    **dict.fromkeys(("block", "transaction", "base_model", "model"), 32),
}
"""Length of byte fields in views by name; empty stands for "none"."""


def _hint_link(hint: Any, name: str) -> Link:
    origin = typing.get_origin(hint)
    if origin is tuple:
        return _repeated(_hint_link(typing.get_args(hint)[0], name), MAX_VIEW_ITEMS)
    if origin in {types.UnionType, typing.Union}:
        inner = next(kind for kind in typing.get_args(hint) if kind is not type(None))
        return _optional(_nested(shape_of(inner)))
    if issubclass(hint, IntEnum):
        return _scalar(_enum_check(hint))
    if hint is bytes:
        return _scalar(_bytes_check(name))
    if hint is str:
        return _scalar(lambda value, _: printable(value, MAX_VIEW_TEXT))
    if hint is float:
        return _scalar(_finite)
    if hint in {int, bool}:
        return _scalar(lambda value, _: value)
    return _nested(shape_of(hint))


def _bytes_check(name: str) -> Callable[[Any, str], bytes]:
    size = _VIEW_BYTES[name]
    return lambda value, where: exactly_or_empty(value, size, where)


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise MalformedEncoding(f"{where} is not a finite number")
    return value


VIEWS: tuple[type, ...] = (
    views.NodeStatus,
    views.PeerInfo,
    views.MinerEstimate,
    views.MiningProgress,
    views.AccountInfo,
    views.TransactionInfo,
    views.HistoryEntry,
    views.OrderInfo,
    views.MinerInfo,
    views.FraudCaseInfo,
    views.TaskTerms,
    views.TrainingSettings,
    views.RoundOffer,
    views.RoundReport,
    views.OrderProgress,
    views.ServerInfo,
)
CORE: tuple[type, ...] = tuple(_structs())
