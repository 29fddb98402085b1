"""safetensors, behind limits: the container of updates and evaluation sets.

The safetensors library writes equal tensors to equal bytes and refuses gaps, overlaps and bytes left over. What is
added here: the header's length is checked before it is parsed, a name may stand in it once, and every refusal comes out
as one error. Nothing can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
}
"""Element types that FedCoin reads."""
MAX_DIMENSIONS = 8

Array = npt.NDArray[Any]


class TensorFileError(ValueError):
    """The bytes are not a safetensors file. Callers turn it into the error of what they were reading."""


def write_tensors(tensors: Mapping[str, Array]) -> bytes:
    """The one file with these tensors. Raises TensorFileError for an element type that is not in DTYPES."""
    for name, array in tensors.items():
        if array.dtype.newbyteorder("<") not in DTYPES.values():
            raise TensorFileError(f"{name!r} has element type {array.dtype}, expected one of {', '.join(DTYPES)}")
    return save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})


def header_allowance(names: Mapping[str, Any]) -> int:
    """A generous upper bound, in bytes, of an honest header for tensors of these names."""
    return 1024 + sum(4 * len(name.encode()) + 256 for name in names)


def read_tensors(data: bytes, max_header: int) -> dict[str, Array]:
    """Read-only arrays by name. A header above `max_header` bytes is refused before it is parsed.

    Raises TensorFileError.
    """
    if len(data) < 8:
        raise TensorFileError(f"{len(data)} bytes are too few for a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > max_header or length > len(data) - 8:
        raise TensorFileError(f"a header of {length} bytes is not possible here")
    _refuse_repeated_names(data[8 : 8 + length])
    try:
        entries = deserialize(data)
    except SafetensorError as error:
        raise TensorFileError(str(error)) from error
    return {name: _array(name, entry) for name, entry in entries}


def _refuse_repeated_names(header: bytes) -> None:
    """Readers differ in which of two entries of one name they take, so the same bytes would be different weights."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise TensorFileError("the header repeats a name")
        return dict(pairs)

    try:
        json.loads(header, object_pairs_hook=unique)
    except TensorFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise TensorFileError("the header is not JSON") from error


def _array(name: str, entry: Mapping[str, Any]) -> Array:
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        kind = str(entry["dtype"])[:16]
        raise TensorFileError(f"{name!r}: element type {kind!r} is not one of {', '.join(DTYPES)}")
    if len(entry["shape"]) > MAX_DIMENSIONS:
        raise TensorFileError(f"{name!r}: a tensor has at most {MAX_DIMENSIONS} dimensions")
    return np.frombuffer(bytes(entry["data"]), dtype=dtype).reshape(entry["shape"])
