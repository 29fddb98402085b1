"""What a node and its evaluator process say to each other: frames over a pipe.

    u32 length of the head | u64 length of the body | head: JSON | body: bytes

Both ends are our own program, so nothing here is hostile; blobs and problems inside a body are, and the worker checks
them. Nothing is pickled all the same.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

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


def read_frame(take: Callable[[int], bytes]) -> tuple[Head, bytes]:
    """The next frame; `take(n)` gives exactly n bytes, or raises EOFError."""
    head_size, body_size = PREFIX.unpack(take(PREFIX.size))
    head: Head = json.loads(take(head_size))
    return head, take(body_size) if body_size else b""


def rows_body(rows: Leaves) -> bytes:
    """Leaves as bytes: K·i64 each, big-endian."""
    return rows.astype(">i8").tobytes()


def rows_from(body: bytes, clients: int) -> Leaves:
    """The leaves in a body, int64 [n, K]."""
    return np.frombuffer(body, dtype=">i8").astype(np.int64).reshape(-1, clients)
