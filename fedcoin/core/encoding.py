"""The canonical encoding: one fixed byte layout for everything that is hashed or signed.

Protobuf bytes are not canonical, so nothing hashes or signs them. A value's layout is declared once, beside its
fields, as a `Struct` of codecs, and gives both directions:

    integers      big-endian, fixed width (u8 u16 u32 u64, i64 two's complement)
    raw(n)        exactly n bytes
    blob(limit)   u32 length, then the bytes
    text(limit)   u32 length, then UTF-8
    vector(c, n)  u32 count, then that many c
    enum(E)       u8, one of E's values
    boolean       u8, 0 or 1
    optional(c)   u8 0, or u8 1 and then c
    union(...)    u8 kind, then the fields of that kind

Decoding is strict: it refuses lengths above the limit before it takes memory, unknown enum values, and bytes left over.
`proto/SPEC.md` states the same layouts in prose and `proto/vectors/` pins them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Generic, TypeVar

from fedcoin.core.errors import MalformedEncoding

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)
D = TypeVar("D")

HASH_SIZE = 32
"""Bytes of a SHA-256 digest."""


class Reader:
    """A cursor over bytes that refuses to read past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises MalformedEncoding if there are fewer."""
        end = self._at + count
        if end > len(self._data):
            raise MalformedEncoding(f"{count} bytes wanted at offset {self._at}, {len(self._data) - self._at} left")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._at


@dataclass(frozen=True)
class Codec(Generic[T]):
    """How one kind of value is written and read.

    `write(value)` raises MalformedEncoding where the value does not fit; `read(reader)` where the bytes do not.
    `kind` and `inner` describe the layout, for code that maps a Struct to another representation.
    """

    write: Callable[[T], bytes]
    read: Callable[[Reader], T]
    kind: str
    inner: Any = None


def _integer(size: int, signed: bool, kind: str) -> Codec[int]:
    def write(value: int) -> bytes:
        try:
            return value.to_bytes(size, "big", signed=signed)
        except (OverflowError, AttributeError) as error:
            raise MalformedEncoding(f"{value!r} does not fit {kind}") from error

    return Codec(write, lambda reader: int.from_bytes(reader.take(size), "big", signed=signed), kind)


u8 = _integer(1, False, "u8")
u16 = _integer(2, False, "u16")
u32 = _integer(4, False, "u32")
u64 = _integer(8, False, "u64")
i64 = _integer(8, True, "i64")


def raw(size: int) -> Codec[bytes]:
    """Exactly `size` bytes, no length prefix."""

    def write(value: bytes) -> bytes:
        if not isinstance(value, bytes) or len(value) != size:
            raise MalformedEncoding(f"expected exactly {size} bytes, got {value!r}")
        return value

    return Codec(write, lambda reader: reader.take(size), f"bytes{size}")


def _length(reader: Reader, limit: int, what: str) -> int:
    count = u32.read(reader)
    if count > limit:
        raise MalformedEncoding(f"{what} of {count} exceeds the limit of {limit}")
    return count


def blob(limit: int) -> Codec[bytes]:
    """Up to `limit` bytes behind a u32 length."""

    def write(value: bytes) -> bytes:
        if not isinstance(value, bytes) or len(value) > limit:
            raise MalformedEncoding(f"expected at most {limit} bytes")
        return u32.write(len(value)) + value

    return Codec(write, lambda reader: reader.take(_length(reader, limit, "byte string")), f"blob≤{limit}")


def text(limit: int) -> Codec[str]:
    """A UTF-8 string of up to `limit` bytes behind a u32 length."""
    inner = blob(limit)

    def write(value: str) -> bytes:
        try:
            return inner.write(value.encode())
        except (UnicodeError, AttributeError) as error:
            raise MalformedEncoding("expected a string of valid Unicode") from error

    def read(reader: Reader) -> str:
        try:
            return inner.read(reader).decode()
        except UnicodeDecodeError as error:
            raise MalformedEncoding("a text is not valid UTF-8") from error

    return Codec(write, read, f"text≤{limit}")


def vector(item: Codec[T], limit: int) -> Codec[tuple[T, ...]]:
    """Up to `limit` items behind a u32 count."""

    def write(value: Sequence[T]) -> bytes:
        if len(value) > limit:
            raise MalformedEncoding(f"list of {len(value)} exceeds the limit of {limit}")
        return u32.write(len(value)) + b"".join(map(item.write, value))

    def read(reader: Reader) -> tuple[T, ...]:
        count = _length(reader, limit, "list")
        return tuple(item.read(reader) for _ in range(count))

    return Codec(write, read, f"vector≤{limit}", item)


def enum(kind: type[E]) -> Codec[E]:
    """One of the values of `kind`, as u8."""

    def read(reader: Reader) -> E:
        value = u8.read(reader)
        try:
            return kind(value)
        except ValueError as error:
            raise MalformedEncoding(f"{value} is no {kind.__name__}") from error

    def write(value: E) -> bytes:
        try:
            return u8.write(kind(value))
        except ValueError as error:
            raise MalformedEncoding(f"{value!r} is no {kind.__name__}") from error

    return Codec(write, read, f"enum {kind.__name__}", kind)


def _read_boolean(reader: Reader) -> bool:
    value = u8.read(reader)
    if value > 1:
        raise MalformedEncoding(f"{value} is neither false (0) nor true (1)")
    return value == 1


boolean: Codec[bool] = Codec(lambda value: b"\x01" if value else b"\x00", _read_boolean, "bool")


def optional(item: Codec[T]) -> Codec[T | None]:
    """Nothing (0) or one item (1 and then the item)."""

    def write(value: T | None) -> bytes:
        return b"\x00" if value is None else b"\x01" + item.write(value)

    def read(reader: Reader) -> T | None:
        flag = u8.read(reader)
        if flag > 1:
            raise MalformedEncoding(f"{flag} is neither absent (0) nor present (1)")
        return item.read(reader) if flag else None

    return Codec(write, read, "optional", item)


def union(**kinds: tuple[int, Struct[Any]]) -> Codec[Any]:
    """One of several structs: its number as u8, then its fields. Keys are the names of the kinds, for protobuf's
    oneof."""
    by_number = dict(kinds.values())
    numbers = {struct.kind: number for number, struct in kinds.values()}

    def write(value: Any) -> bytes:
        number = numbers.get(type(value))
        if number is None:
            raise MalformedEncoding(f"{type(value).__name__} is none of {', '.join(kinds)}")
        return u8.write(number) + by_number[number].encode(value)

    def read(reader: Reader) -> Any:
        number = u8.read(reader)
        if number not in by_number:
            raise MalformedEncoding(f"{number} is none of the kinds {sorted(by_number)}")
        return by_number[number].codec.read(reader)

    return Codec(write, read, "union", {name: struct for name, (_, struct) in kinds.items()})


class Struct(Generic[D]):
    """The layout of a dataclass: its fields' codecs in order, under a domain tag.

    The tag keeps bytes of one kind from being taken for another kind: it is hashed and signed in front of the fields.
    """

    def __init__(self, kind: type[D], tag: str, /, **fields: Codec[Any]) -> None:
        self.kind = kind
        self.tag = tag
        self.fields = fields
        self.codec: Codec[D] = Codec(self._write, self._read, f"struct {kind.__name__}", self)
        self._writers = [(name, codec.write) for name, codec in fields.items()]
        self._readers = [(name, codec.read) for name, codec in fields.items()]

    def _write(self, value: D) -> bytes:
        # A list, because join makes one of a generator first: half of the time of a node goes into encoding.
        return b"".join([write(getattr(value, name)) for name, write in self._writers])

    def _read(self, reader: Reader) -> D:
        return self.kind(**{name: read(reader) for name, read in self._readers})

    def encode(self, value: D) -> bytes:
        """All fields in order, without the tag. Raises MalformedEncoding."""
        return self._write(value)

    def decode(self, data: bytes) -> D:
        """The value whose encoding is exactly `data`. Raises MalformedEncoding."""
        reader = Reader(data)
        value = self._read(reader)
        if reader.left:
            raise MalformedEncoding(f"{reader.left} bytes left over after {self.kind.__name__}")
        return value

    def digest(self, value: D, context: bytes = b"") -> bytes:
        """SHA-256 of tag, context (the chain id, where there is one) and fields."""
        return tagged_hash(self.tag, context + self.encode(value))


class RememberingStruct(Struct[D]):
    """A Struct whose bytes are kept on the value: for frozen values that are encoded again and again."""

    def _write(self, value: D) -> bytes:
        known: bytes | None = vars(value).get("_encoded")
        if known is None:
            known = vars(value)["_encoded"] = super()._write(value)
        return known


def tagged_hash(tag: str, data: bytes) -> bytes:
    """SHA-256(u8 length of tag ‖ tag ‖ data): the only hash in the protocol outside Merkle trees."""
    return hashlib.sha256(_tag_bytes(tag) + data).digest()


@cache
def _tag_bytes(tag: str) -> bytes:
    """u8 length of tag ‖ tag. There are a few dozen tags, all of them in the code."""
    name = tag.encode()
    return u8.write(len(name)) + name
