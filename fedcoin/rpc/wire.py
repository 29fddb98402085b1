"""Received bytes, judged before protobuf turns them into objects.

Two bytes of an empty submessage become about ninety in memory, so 16 MiB of them would take 700 MiB and stop the event
loop for most of a second. Large messages are therefore walked first and refused if they have too many fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor

from fedcoin.core.errors import FedCoinError, MalformedEncoding, RequestTooLarge

MAX_FIELDS = 400_000
"""Fields of one message at most, nested ones included. The largest genesis has 300,000."""
SMALL = 256 * 2**10
"""Bytes that are parsed without a walk: they cannot take more than some ten MiB."""


@dataclass(frozen=True)
class Received:
    """A message as it came in: parsed, or what is wrong with it."""

    size: int
    """Bytes on the wire."""
    message: Any
    error: FedCoinError | None = None

    def take(self) -> Any:
        """The message. Raises what is wrong with it."""
        if self.error is not None:
            raise self.error
        return self.message


def reader(parse: Callable[[bytes], Any] | None, limit: int) -> Callable[[bytes], Received]:
    """A deserializer that never raises: gRPC would answer with the exception's text, or swallow it.

    `parse`: FromString of a generated message; `limit`: bytes of the message at most.
    """
    descriptor: Descriptor | None = getattr(getattr(parse, "__self__", None), "DESCRIPTOR", None)

    def read(data: bytes) -> Received:
        try:
            if len(data) > limit:
                raise RequestTooLarge(f"a message of {len(data)} bytes; at most {limit} are taken here")
            if descriptor is not None and len(data) > SMALL:
                check_fields(data, descriptor, MAX_FIELDS)
            return Received(len(data), parse(data) if parse else data)
        except FedCoinError as error:
            return Received(len(data), None, error)
        except Exception:  # protobuf's DecodeError, and whatever hostile bytes may provoke
            return Received(len(data), None, MalformedEncoding("the bytes are no such protobuf message"))

    return read


def check_fields(data: bytes, descriptor: Descriptor, limit: int) -> None:
    """Raises RequestTooLarge if the message has more than `limit` fields, MalformedEncoding if it is none."""
    left = limit
    waiting = [(0, len(data), descriptor)]
    while waiting:
        at, end, kind = waiting.pop()
        nested = _nested(kind)
        while at < end:
            left -= 1
            if left < 0:
                raise RequestTooLarge(f"a message of more than {limit} fields")
            tag = data[at]
            at += 1
            if tag > 0x7F:
                tag, at = _varint(data, at - 1, end)
            form = tag & 7
            if form == 0:
                _, at = _varint(data, at, end)
            elif form == 2:
                length, at = _varint(data, at, end)
                inner = nested.get(tag >> 3)
                if inner is not None and length:
                    waiting.append((at, min(at + length, end), inner))
                at += length
            elif form in {1, 5}:
                at += 8 if form == 1 else 4
            else:
                raise MalformedEncoding("the message has groups, which none of ours has")
        if at > end:
            raise MalformedEncoding("a field reaches beyond its message")


@cache
def _nested(kind: Descriptor) -> dict[int, Descriptor]:
    return {field.number: field.message_type for field in kind.fields if field.message_type is not None}


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at < end and data[at] < 0x80:
        return data[at], at + 1
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise MalformedEncoding("a number in the message does not end")
