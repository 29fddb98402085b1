"""Values as JSON that every language can read, and back.

Bytes are hexadecimal; u64 and i64 are decimal strings, because JavaScript's numbers end at 2^53; enumerations are their
numbers; an optional is null or the value; a union is an object with one member, named as in the protobuf oneof.
"""

from __future__ import annotations

from typing import Any

from fedcoin.core.encoding import Codec, Struct


def to_json(struct: Struct[Any], value: Any) -> dict[str, Any]:
    """A value of a layout as JSON."""
    return {name: _write(codec, getattr(value, name)) for name, codec in struct.fields.items()}


def from_json(struct: Struct[Any], data: dict[str, Any], **missing: Any) -> Any:
    """The value that `to_json` wrote; `missing` fills fields that the layout leaves out."""
    return struct.kind(**{name: _read(codec, data[name]) for name, codec in struct.fields.items()}, **missing)


def big(value: int) -> str:
    """A 64-bit (or longer) integer."""
    return str(value)


def bigs(values: Any) -> list[str]:
    """A vector of them."""
    return [str(int(value)) for value in values]


def _write(codec: Codec[Any], value: Any) -> Any:
    kind = codec.kind
    if kind in ("u64", "i64"):
        return str(value)
    if kind.startswith(("bytes", "blob")):
        return value.hex()
    if kind.startswith("vector"):
        return [_write(codec.inner, item) for item in value]
    if kind == "optional":
        return None if value is None else _write(codec.inner, value)
    if kind == "union":
        name, struct = next((name, struct) for name, struct in codec.inner.items() if struct.kind is type(value))
        return {name: to_json(struct, value)}
    if kind.startswith("struct"):
        return to_json(codec.inner, value)
    return int(value) if isinstance(value, int) else value


def _read(codec: Codec[Any], data: Any) -> Any:
    kind = codec.kind
    if kind in ("u64", "i64"):
        return int(data)
    if kind.startswith(("bytes", "blob")):
        return bytes.fromhex(data)
    if kind.startswith("vector"):
        return tuple(_read(codec.inner, item) for item in data)
    if kind == "optional":
        return None if data is None else _read(codec.inner, data)
    if kind == "union":
        ((name, fields),) = data.items()
        return from_json(codec.inner[name], fields)
    if kind.startswith("struct"):
        return from_json(codec.inner, data)
    return codec.inner(data) if kind.startswith("enum") else data
