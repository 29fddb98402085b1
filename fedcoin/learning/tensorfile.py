"""The safetensors container, written in one way only and read strictly.

    u64 (little-endian) length of the header | header, JSON padded with spaces to 8 bytes | tensors, little-endian

The header maps each name to {"dtype", "shape", "data_offsets": [begin, end]}. What is written has its names sorted, no
metadata and no gaps, so equal tensors give equal bytes. What is read may come from any safetensors library; a gap, an
overlap, a repeated name or a byte left over is refused. Nothing here can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """The bytes are not a strict safetensors file. Callers turn it into the error of what they were reading."""


def write_tensors(tensors: Mapping[str, Array]) -> bytes:
    """The one file with these tensors. Raises TensorFileError for an element type that is not in DTYPES."""
    header: dict[str, Any] = {}
    pieces: list[bytes] = []
    at = 0
    for name in sorted(tensors):
        array = tensors[name]
        kind = next((kind for kind, dtype in DTYPES.items() if dtype == array.dtype.newbyteorder("<")), None)
        if kind is None:
            raise TensorFileError(f"{name!r} has element type {array.dtype}, expected one of {', '.join(DTYPES)}")
        piece = np.ascontiguousarray(array, dtype=DTYPES[kind]).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(piece)]}
        pieces.append(piece)
        at += len(piece)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *pieces])


def header_allowance(names: Mapping[str, tuple[int, ...]] | Mapping[str, Any]) -> int:
    """A generous upper bound, in bytes, of an honest header for tensors of these names."""
    return 1024 + sum(4 * len(name.encode()) + 256 for name in names)


def read_tensors(data: bytes, max_header: int) -> dict[str, Array]:
    """Read-only arrays over `data`, by name, in the order of the header.

    A header above `max_header` bytes is refused before it is parsed. Raises TensorFileError.
    """
    if len(data) < 8:
        raise TensorFileError(f"{len(data)} bytes are too few for a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > max_header or length > len(data) - 8:
        raise TensorFileError(f"a header of {length} bytes is not possible here")
    header = _parse_header(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    arrays: dict[str, Array] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            _check_metadata(entry)
            continue
        dtype, shape, begin, end = _parse_entry(name, entry)
        if end - begin != prod(shape) * dtype.itemsize or end > len(body):
            raise TensorFileError(f"{name!r}: the bytes {begin} to {end} do not hold a tensor of shape {shape}")
        spans.append((begin, end))
        arrays[name] = np.frombuffer(body[begin:end], dtype=dtype).reshape(shape)
    at = 0
    for begin, end in sorted(spans):
        if begin != at:
            raise TensorFileError(f"tensors overlap or leave a gap at byte {min(begin, at)}")
        at = end
    if at != len(body):
        raise TensorFileError(f"{len(body) - at} bytes left over after the tensors")
    return arrays


def _parse_header(text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise TensorFileError("the header repeats a name")
        return result

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except TensorFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise TensorFileError("the header is not JSON") from error
    if not isinstance(header, dict):
        raise TensorFileError("the header is not a JSON object")
    return header


def _parse_entry(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise TensorFileError(f"{name!r}: expected dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise TensorFileError(f"{name!r}: element type {str(kind)[:16]!r} is not one of {', '.join(DTYPES)}")
    if not _counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise TensorFileError(f"{name!r}: the shape is not a list of up to {MAX_DIMENSIONS} sizes")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise TensorFileError(f"{name!r}: data_offsets are not a begin and an end")
    return DTYPES[kind], tuple(shape), offsets[0], offsets[1]


def _counts(value: Any) -> bool:
    """Whether it is a list of integers from 0 up to 2^48 (numpy's sizes stay far from overflow)."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**48 for item in value)


def _check_metadata(entry: Any) -> None:
    if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
        raise TensorFileError("__metadata__ is not a map of texts")
