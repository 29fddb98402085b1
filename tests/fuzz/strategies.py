"""Values of any canonical layout, and bytes that are nearly one, drawn from the layouts themselves."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

import fedcoin.consensus
import fedcoin.core
import fedcoin.ledger
from fedcoin.core.encoding import Codec, Struct

_FEW = 3
"""Items of a list at most, so that examples stay small."""


def all_structs() -> dict[str, Struct[Any]]:
    """Every layout of core, ledger and consensus by its place, so that a new one cannot be forgotten.

    Without those that are only hashed and never read, which leave the signature out.
    """
    found: dict[str, Struct[Any]] = {}
    for package in (fedcoin.core, fedcoin.ledger, fedcoin.consensus):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, Struct) and value.kind.__module__ == module.name and _is_whole(value):
                    found[f"{module.name.removeprefix('fedcoin.')}.{name}"] = value
    return found


def _is_whole(struct: Struct[Any]) -> bool:
    return {field.name for field in fields(struct.kind)} == {*struct.fields}


def values(codec: Codec[Any]) -> st.SearchStrategy[Any]:
    """Values that fit a codec, the ends of its range among them."""
    kind, inner = codec.kind, codec.inner
    name, _, limit = kind.partition("≤")
    if isinstance(inner, Struct):
        return structs(inner)
    if name.startswith("enum"):
        return st.sampled_from(list(inner))
    if name == "vector":
        return st.lists(values(inner), max_size=min(_FEW, int(limit))).map(tuple)
    if name == "optional":
        return st.none() | values(inner)
    if name == "union":
        return st.one_of(*(structs(struct) for struct in inner.values()))
    if name == "bool":
        return st.booleans()
    if name == "blob":
        return st.binary(max_size=min(40, int(limit)))
    if name == "text":
        return st.text(max_size=min(10, int(limit) // 4))
    if name.startswith("bytes"):
        size = int(name.removeprefix("bytes"))
        return st.binary(min_size=size, max_size=size)
    bits = int(name[1:])
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if name[0] == "i" else (0, 2**bits - 1)
    return st.integers(low, high) | st.sampled_from([low, high])


def structs(struct: Struct[Any]) -> st.SearchStrategy[Any]:
    """Values of a layout."""
    return st.builds(struct.kind, **{name: values(codec) for name, codec in struct.fields.items()})


@st.composite
def mutated(draw: st.DrawFn, encodings: st.SearchStrategy[bytes]) -> bytes:
    """An encoding with a few bytes cut, flipped, put in, doubled, or turned into a length that is a lie."""
    data = draw(encodings)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "flip", "put in", "double", "lie", "drop"])):
            case "cut":
                data = data[:at]
            case "flip":
                data = (
                    data[:at]
                    + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[at : at + 1])
                    + data[at + 1 :]
                )
            case "put in":
                data = data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]
            case "double":
                data = data[:at] + data[at : at + 40] + data[at:]
            case "lie":
                length = draw(st.sampled_from([1, 64, 1024, 65_536, 2**20, 2**31, 2**32 - 1]))
                data = data[:at] + length.to_bytes(4, "big") + data[at + 4 :]
            case _:
                data = data[:at] + data[at + 1 :]
    return data
