"""What a node and its evaluator process say to each other: frames over a pipe.

    u32 length of the head | u64 length of the body | head: JSON | body: bytes

Both ends are our own program, so nothing here is hostile; blobs and problems inside a body are, and the worker checks
them. Nothing is pickled all the same.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Head = dict[str, Any]
Leaves = NDArray[np.int64]
"""Marginal contributions [iterations, K], times UTILITY_SCALE."""

PREFIX = struct.Struct(">IQ")


def frame_start(head: Head, body_size: int = 0) -> bytes:
    """Everything of a frame that comes before its body."""
    text = json.dumps(head, separators=(",", ":")).encode()
    return PREFIX.pack(len(text), body_size) + text


def read_frame(source: BinaryIO) -> tuple[Head, bytes]:
    """The next frame of a pipe. Raises EOFError where it ends."""
    head_size, body_size = PREFIX.unpack(_take(source, PREFIX.size))
    head: Head = json.loads(_take(source, head_size))
    return head, _take(source, body_size)


def write_frame(output: BinaryIO, head: Head, body: bytes = b"") -> None:
    """Sends a frame. Raises BrokenPipeError where nobody reads any more."""
    output.write(frame_start(head, len(body)))
    output.write(body)
    output.flush()


def claim_output() -> BinaryIO:
    """What was this process's standard output, for frames; what a library prints goes to standard error from now on."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return output


def _take(source: BinaryIO, count: int) -> bytes:
    data = source.read(count)
    if len(data) < count:
        raise EOFError
    return data


def rows_body(rows: Leaves) -> bytes:
    """Leaves as bytes: K·i64 each, big-endian."""
    return rows.astype(">i8").tobytes()


def rows_from(body: bytes, clients: int) -> Leaves:
    """The leaves in a body, int64 [n, K]."""
    return np.frombuffer(body, dtype=">i8").astype(np.int64).reshape(-1, clients)
