"""Messages for every RPC: plausible ones, plausible ones with something wrong, and bytes that are no message at all."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fedcoin.core.encoding import Codec, Struct
from fedcoin.rpc.convert import CORE, shape_of, to_message
from fedcoin.rpc.server import SERVICES
from fedcoin.v1 import blob_service_pb2

_SIZES = (0, 1, 8, 20, 32, 33, 64, 65, 200)
"""Lengths of byte strings: of digests, keys, addresses and signatures, and some that nothing has."""
_NUMBERS = (0, 1, 2, 3, 7, 127, 128, 1000, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
_TEXTS = ("", "a", "127.0.0.1:1", "[::1]:70000", "\x1b[2J", "é" * 40, "x" * 300, "\x00", "../../etc/passwd", "%s%n")
_FLOATS = (0.0, -1.0, 1e308, float("nan"), float("inf"), -float("inf"), 5e-324)
_MOST_ITEMS = 4
_SAMPLES_A_KIND = 60

assert blob_service_pb2.DESCRIPTOR is not None  # registers its messages, which no value is converted from

_LAYOUTS: dict[type, Struct[Any]] = {
    value.kind: value
    for core in CORE
    for value in vars(sys.modules[core.__module__]).values()
    if isinstance(value, Struct) and {field.name for field in fields(value.kind)} == {*value.fields}
}


class Method:
    """One RPC."""

    def __init__(self, service: str, descriptor: Any) -> None:
        self.path = f"/fedcoin.v1.{service}/{descriptor.name}"
        self.request: Descriptor = descriptor.input_type
        self._answer = GetMessageClass(descriptor.output_type)
        self.client_streaming: bool = descriptor.client_streaming
        self.server_streaming: bool = descriptor.server_streaming

    def empty(self) -> Message:
        """A request without any field."""
        message: Message = GetMessageClass(self.request)()
        return message

    def answer(self, data: bytes) -> Message:
        """What a node has answered. Raises DecodeError."""
        message: Message = self._answer.FromString(data)
        return message


def methods(services: Iterable[str] | None = None) -> list[Method]:
    """All RPCs of these services (`BlockService`; None: of all)."""
    names = [service.name for service in SERVICES] if services is None else list(services)
    pool = descriptor_pool.Default()
    return [
        Method(name, descriptor)
        for name in names
        for descriptor in pool.FindServiceByName(f"fedcoin.v1.{name}").methods
    ]


class Forge:
    """Makes messages from a seed; the same seed and samples give the same messages."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._samples: dict[str, list[Message]] = {}
        """By full name of the message."""

    def learn(self, message: Message) -> None:
        """Keeps a real message, and all that it consists of, as material."""
        kept = self._samples.setdefault(message.DESCRIPTOR.full_name, [])
        if len(kept) < _SAMPLES_A_KIND:
            kept.append(message)
        for field, value in message.ListFields():
            if field.message_type is not None:
                for inner in value if field.is_repeated else [value]:
                    self.learn(inner)

    # --- plausible messages ------------------------------------------------------------------------------------------

    def message(self, kind: Descriptor) -> Message:
        """A message of this kind that a reader may well take in."""
        draw, known = self.random, self._samples.get(kind.full_name)
        if known and draw.random() < 0.6:
            copy = GetMessageClass(kind)()
            copy.CopyFrom(draw.choice(known))
            return copy
        core = next((each for each in CORE if kind.full_name == f"fedcoin.v1.{each.__name__}"), None)
        if core is not None and draw.random() < 0.7:
            found: Message = to_message(self.value(_LAYOUTS[core]))
            return found
        return self._filled(kind)

    def value(self, struct: Struct[Any]) -> Any:
        """A value that fits a canonical layout."""
        return struct.kind(**{name: self._fitting(codec) for name, codec in struct.fields.items()})

    def _fitting(self, codec: Codec[Any]) -> Any:
        draw, inner = self.random, codec.inner
        name, _, limit = codec.kind.partition("≤")
        if isinstance(inner, Struct):
            return self.value(inner)
        if name.startswith("enum"):
            return draw.choice(list(inner))
        if name == "vector":
            return tuple(self._fitting(inner) for _ in range(draw.randrange(_MOST_ITEMS)))
        if name == "optional":
            return None if draw.random() < 0.3 else self._fitting(inner)
        if name == "union":
            return self.value(draw.choice(list(inner.values())))
        if name == "text":
            return draw.choice(_TEXTS)[: int(limit) // 4]
        if name == "bool":
            return draw.random() < 0.5
        if name == "blob":
            return draw.randbytes(min(draw.choice(_SIZES), int(limit)))
        if name.startswith("bytes"):
            return draw.randbytes(int(name.removeprefix("bytes")))
        bits = int(name[1:])
        number = draw.choice(_NUMBERS) if draw.random() < 0.5 else draw.getrandbits(bits)
        return number % 2**bits - (2 ** (bits - 1) if name[0] == "i" else 0)

    def _filled(self, kind: Descriptor) -> Message:
        """Every field with something of its own type, or left out."""
        message: Message = GetMessageClass(kind)()
        for field in kind.fields:
            if self.random.random() < 0.15:
                continue
            if field.is_repeated:
                target = getattr(message, field.name)
                for _ in range(self.random.randrange(_MOST_ITEMS)):
                    if field.message_type is not None:
                        target.add().CopyFrom(self.message(field.message_type))
                    else:
                        target.append(self._scalar(field))
            elif field.message_type is not None:
                getattr(message, field.name).CopyFrom(self.message(field.message_type))
            else:
                setattr(message, field.name, self._scalar(field))
        return message

    def _scalar(self, field: Any) -> Any:
        """Something of a scalar field's own type, odd more often than not."""
        draw = self.random
        number = draw.choice(_NUMBERS)
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return draw.randbytes(draw.choice(_SIZES))
            case FieldDescriptor.CPPTYPE_STRING:
                return draw.choice(_TEXTS)
            case FieldDescriptor.CPPTYPE_BOOL:
                return draw.random() < 0.5
            case FieldDescriptor.CPPTYPE_DOUBLE:
                return draw.choice(_FLOATS)
            case FieldDescriptor.CPPTYPE_FLOAT:
                return draw.choice((0.0, -1.0, float("nan"), float("inf")))
            case FieldDescriptor.CPPTYPE_ENUM:
                return draw.choice((0, 1, 2, 3, 99, -1))
            case FieldDescriptor.CPPTYPE_UINT32:
                return number % 2**32
            case FieldDescriptor.CPPTYPE_INT32:
                return number % 2**32 - 2**31
            case FieldDescriptor.CPPTYPE_INT64:
                return number - 2**63
        return number

    # --- malformed ones ----------------------------------------------------------------------------------------------

    def hostile(self, kind: Descriptor) -> bytes:
        """Bytes sent as a message of this kind: mostly one with something wrong, sometimes right, sometimes noise."""
        draw = self.random.random()
        if draw < 0.1:
            return self.random.randbytes(self.random.choice((0, 1, 3, 50, 400)))
        if draw < 0.13:
            return self._nested()
        if draw < 0.18:
            return self.message(self._other_kind()).SerializeToString()
        message = self.message(kind)
        if draw < 0.45:
            self._spoil(message)
        data = message.SerializeToString()
        return data if draw < 0.55 else self.mutated(data)

    def upload(self, kind: Descriptor) -> Iterator[bytes]:
        """The messages of one upload: header and chunks, in any order and number."""
        for _ in range(self.random.randrange(5)):
            yield self.hostile(kind)

    def mutated(self, data: bytes) -> bytes:
        """The bytes with some cut, flipped, put in, doubled, or turned into a tag or length that is a lie."""
        draw = self.random
        for _ in range(draw.randint(1, 3)):
            at = draw.randint(0, len(data))
            data = draw.choice(_MUTATIONS)(data, at, draw)
        return data

    def _spoil(self, message: Message) -> None:
        """Another value in one of the fields, however deep."""
        while True:
            nested = [
                inner
                for field, value in message.ListFields()
                if field.message_type is not None
                for inner in (value if field.is_repeated else [value])
            ]
            if not nested or self.random.random() < 0.3:
                break
            message = self.random.choice(nested)
        scalars = [field for field in message.DESCRIPTOR.fields if field.message_type is None]
        if not scalars:
            return
        field = self.random.choice(scalars)
        if field.is_repeated:
            getattr(message, field.name).extend(self._scalar(field) for _ in range(self.random.choice((1, 5, 2000))))
        else:
            setattr(message, field.name, self._scalar(field))

    def _other_kind(self) -> Descriptor:
        kind: Any = shape_of(self.random.choice(CORE)).message
        found: Descriptor = kind.DESCRIPTOR
        return found

    def _nested(self) -> bytes:
        """A message in a message in a message, a few thousand times."""
        data = b""
        tag = bytes([self.random.randrange(1, 16) << 3 | 2])
        for _ in range(self.random.choice((30, 200, 2000))):
            data = tag + _varint(len(data)) + data
            if len(data) > 30_000:
                break
        return data


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


Mutation = Callable[[bytes, int, random.Random], bytes]
_MUTATIONS: tuple[Mutation, ...] = (
    lambda data, at, draw: data[:at],
    lambda data, at, draw: data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :],
    lambda data, at, draw: data[:at] + draw.randbytes(draw.randint(1, 12)) + data[at:],
    lambda data, at, draw: data[:at] + data[at : at + 100] + data[at:],
    lambda data, at, draw: data[:at] + _varint(draw.choice(_NUMBERS)) + data[at + 1 :],
    lambda data, at, draw: data[:at] + b"\xff" * draw.randint(1, 11) + data[at:],
    lambda data, at, draw: data[:at] + data[at + draw.randint(1, 40) :],
    lambda data, at, draw: data + bytes([draw.randrange(1, 16) << 3 | draw.randrange(8)]) + draw.randbytes(4),
)
