"""The IDX format of MNIST and its relatives, plain or gzipped, read strictly."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from fedcoin.core.errors import DatasetMalformed, DatasetNotFound

UNSIGNED_BYTE = 0x08
MAX_IDX_BYTES = 1 << 31
_PIECE = 1 << 20


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The unsigned bytes in the IDX file at `path`, which must have this many dimensions.

    Raises DatasetNotFound, DatasetMalformed (wrong magic number, truncated, too long, broken gzip); the message names
    the file.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    header_size = 4 + 4 * dimensions
    try:
        with opener(path, "rb") as file:
            header = file.read(header_size)
            shape = _parse_header(path, header, dimensions)
            size = prod(shape)
            # One byte more than announced is enough to tell that the file is too long, however far it inflates.
            body = _read_up_to(file, size + 1)
    except FileNotFoundError as error:
        raise DatasetNotFound(f"{path} is not there") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetMalformed(f"{path} is not a complete gzip file: fetch it again") from error
    except OSError as error:
        raise DatasetNotFound(f"{path} cannot be read: {error.strerror}") from error
    if len(body) != size:
        state = "truncated" if len(body) < size else "longer than its header says"
        raise DatasetMalformed(f"{path} is {state}: expected {size} bytes for shape {shape}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _read_up_to(file: BinaryIO | gzip.GzipFile, count: int) -> bytearray:
    """As file.read, which would take `count` bytes of memory even where a short file only announces them."""
    data = bytearray()
    while len(data) < count and (piece := file.read(min(_PIECE, count - len(data)))):
        data += piece
    return data


def _parse_header(path: Path, header: bytes, dimensions: int) -> tuple[int, ...]:
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if header[:4] != expected:
        raise DatasetMalformed(f"{path} starts with {header[:4].hex()}, an IDX file of this kind with {expected.hex()}")
    if len(header) != 4 + 4 * dimensions:
        raise DatasetMalformed(f"{path} is truncated inside its header")
    shape = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, len(header), 4))
    if not 0 < prod(shape) <= MAX_IDX_BYTES:
        raise DatasetMalformed(f"{path} announces shape {shape}: empty or too large")
    return shape
