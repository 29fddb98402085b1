"""Signed values as JSON that people can read, driven by their canonical layouts.

A Struct becomes an object with its fields' names, bytes become hexadecimal, addresses bech32m, enums their names in
lower case, and a union an object with one key, the kind's name. Reading is strict: a field that is missing, unknown or
of another type is refused and named by its path.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeVar

from fedcoin.core.encoding import Codec, Struct
from fedcoin.core.errors import FedCoinError, MalformedEncoding
from fedcoin.core.keys import ADDRESS_SIZE, format_address, parse_address

D = TypeVar("D")

_ADDRESS_KIND = f"bytes{ADDRESS_SIZE}"


def to_json(struct: Struct[Any], value: Any) -> dict[str, Any]:
    """`value` as an object of plain JSON values. Raises MalformedEncoding where it does not fit its layout."""
    struct.encode(value)
    return {name: _write(codec, getattr(value, name)) for name, codec in struct.fields.items()}


def from_json(struct: Struct[D], data: Any, where: str = "") -> D:
    """The value that `to_json` made. Raises MalformedEncoding naming the field, with `where` in front of its path."""
    if not isinstance(data, dict):
        raise MalformedEncoding(f"{where or 'the top level'}: expected an object")
    for name in data:
        if name not in struct.fields:
            raise MalformedEncoding(f"{_join(where, str(name)[:64])}: unknown field")
    values = {}
    for name, codec in struct.fields.items():
        if name not in data:
            raise MalformedEncoding(f"{_join(where, name)}: missing")
        values[name] = _read(codec, data[name], _join(where, name))
    return struct.kind(**values)


def _write(codec: Codec[Any], value: Any) -> Any:
    kind, inner = codec.kind, codec.inner
    if kind == _ADDRESS_KIND:
        return format_address(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(inner, Struct):
        return to_json(inner, value)
    if kind.startswith("enum"):
        return value.name.lower()
    if kind.startswith("vector"):
        return [_write(inner, item) for item in value]
    if kind == "optional":
        return None if value is None else _write(inner, value)
    if kind == "union":
        name = next(name for name, struct in inner.items() if struct.kind is type(value))
        return {name: to_json(inner[name], value)}
    return value


def _read(codec: Codec[Any], data: Any, where: str) -> Any:
    kind, inner = codec.kind, codec.inner
    if isinstance(inner, Struct):
        return from_json(inner, data, where)
    if kind.startswith("vector"):
        if not isinstance(data, list):
            raise MalformedEncoding(f"{where}: expected a list")
        value: Any = tuple(_read(inner, item, f"{where}[{index}]") for index, item in enumerate(data))
    elif kind == "optional":
        value = None if data is None else _read(inner, data, where)
    elif kind == "union":
        if not isinstance(data, dict) or len(data) != 1 or next(iter(data)) not in inner:
            raise MalformedEncoding(f"{where}: expected an object with one of the keys {', '.join(inner)}")
        name = next(iter(data))
        value = from_json(inner[name], data[name], _join(where, name))
    else:
        value = _scalar(codec, data, where)
    try:
        codec.write(value)
    except MalformedEncoding as error:
        raise MalformedEncoding(f"{where}: {error.message}") from error
    return value


def _scalar(codec: Codec[Any], data: Any, where: str) -> Any:
    kind = codec.kind
    if kind.startswith("enum"):
        members: type[IntEnum] = codec.inner
        names = {member.name.lower(): member for member in members}
        if not isinstance(data, str) or data not in names:
            raise MalformedEncoding(f"{where}: expected one of {', '.join(names)}")
        return names[data]
    if kind[0] in "ui" and kind[1:].isdecimal():
        if type(data) is not int:
            raise MalformedEncoding(f"{where}: expected an integer")
        return data
    if kind == "bool":
        if type(data) is not bool:
            raise MalformedEncoding(f"{where}: expected true or false")
        return data
    if not isinstance(data, str):
        raise MalformedEncoding(f"{where}: expected a text")
    if kind == _ADDRESS_KIND:
        try:
            return parse_address(data)
        except FedCoinError as error:
            raise MalformedEncoding(f"{where}: {error.message}") from error
    if kind.startswith(("bytes", "blob")):
        return read_hex(data, where)
    return data


def read_hex(data: Any, where: str) -> bytes:
    """Bytes of lower-case hexadecimal. Raises MalformedEncoding."""
    if not isinstance(data, str) or len(data) % 2 or any(letter not in "0123456789abcdef" for letter in data):
        raise MalformedEncoding(f"{where}: expected lower-case hexadecimal")
    return bytes.fromhex(data)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
