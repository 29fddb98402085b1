"""The kernel's shared library: finding it, and calling it. The structures mirror kernel.h."""

from __future__ import annotations

import ctypes
import logging
from ctypes import POINTER, Structure, byref, c_int64, c_uint64, c_void_p
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin.core.errors import MemoryTooSmall
from fedcoin.shapley.walks import Walks

ABI = 3
_NO_MEMORY = 1
_SUFFIXES = (".so", ".pyd", ".dylib", ".dll")

logger = logging.getLogger(__name__)

Scores = npt.NDArray[np.int64]


class Variant(IntEnum):
    """The instruction sets that the kernel is compiled for; a processor runs those up to its best one."""

    BASELINE = 0
    AVX2 = 1
    AVX512 = 2


class OpKind(IntEnum):
    """What is done after the first layer."""

    RELU = 1
    TANH = 2
    LINEAR = 3


class OpStruct(Structure):
    """One operation; see kernel.h."""

    _fields_ = [(name, c_int64) for name in ("kind", "inputs", "outputs", "weights", "biases")]


class GameStruct(Structure):
    """A game; see kernel.h. It holds addresses only: whoever makes it keeps the arrays alive."""

    _fields_ = [
        *(
            (name, c_int64)
            for name in ("clients", "inputs", "hidden", "outputs", "block", "stack_row", "later_row", "relative")
        ),
        *((name, c_int64) for name in ("widest", "loss", "ops_count")),
        ("ops", POINTER(OpStruct)),
        *((name, c_void_p) for name in ("stack", "later", "counts", "x", "order", "labels")),
    ]


class WalksStruct(Structure):
    """Walks; see kernel.h."""

    _fields_ = [(name, c_void_p) for name in ("members", "starts", "marks")]


class Library:
    """The loaded kernel. Its calls release the GIL and may run side by side."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self._prepare = handle.fedcoin_kernel_prepare
        self._prepare.restype = c_int64
        self._prepare.argtypes = [POINTER(GameStruct), c_int64, c_int64, c_int64, c_void_p]
        self._run = handle.fedcoin_kernel_run
        self._run.restype = c_int64
        self._run.argtypes = [
            *(POINTER(GameStruct), c_int64, c_int64, c_int64, c_void_p, c_int64),
            *(POINTER(WalksStruct), c_int64, c_int64, c_void_p),
        ]
        best = handle.fedcoin_kernel_variant
        best.restype = c_int64
        self.variant = Variant(best())
        """The best variant for this processor."""

    def prepare(
        self, game: GameStruct, variant: Variant, blocks: tuple[int, int], sums: npt.NDArray[np.float32]
    ) -> None:
        """Write the pre-activations of a range of blocks into `sums` (of all blocks). Raises MemoryTooSmall."""
        _check(self._prepare(byref(game), variant, *blocks, address(sums)))

    def run(
        self,
        game: GameStruct,
        variant: Variant,
        blocks: tuple[int, int],
        sums: npt.NDArray[np.float32],
        ready: int,
        walks: Walks,
        part: tuple[int, int],
    ) -> Scores:
        """Scores of the marks of walks part[0] to part[1] on a range of blocks; `sums` holds the first `ready` blocks.

        Right answers, or losses times 2^30. Raises MemoryTooSmall.
        """
        members, starts, marks = (np.ascontiguousarray(array) for array in (walks.members, walks.starts, walks.marks))
        scores = np.zeros(np.count_nonzero(marks[starts[part[0]] : starts[part[1]]]), dtype=np.int64)
        arrays = WalksStruct(address(members), address(starts), address(marks))
        _check(
            self._run(byref(game), variant, *blocks, address(sums), ready, byref(arrays), *part, address(scores)),
        )
        return scores


def address(array: npt.NDArray[Any]) -> int:
    """Where the array's data begins."""
    return int(array.ctypes.data)


@lru_cache(maxsize=1)
def load_library() -> Library | None:
    """The library beside this file, or None if it was not built, or not for this system or this version of FedCoin.

    In a checkout, where its sources lie beside it too, it must have been built from these.
    """
    folder = Path(__file__).parent
    for path in sorted(folder.glob("_kernel*")):
        if not path.name.endswith(_SUFFIXES):
            continue
        try:
            handle = ctypes.CDLL(str(path))
            version = handle.fedcoin_kernel_abi
            version.restype = c_int64
            if version() != ABI:
                continue
            built_from = handle.fedcoin_kernel_hash
            built_from.restype = c_uint64
            if built_from() == (source_hash(folder) or built_from()):
                return Library(handle)
            logger.warning(
                "%s is not used: it was built from other sources. Install FedCoin again: pip install -e .", path
            )
        except (OSError, AttributeError):
            continue  # of another system or an older build: torch serves instead
    return None


def source_hash(folder: Path) -> int:
    """Of the kernel's sources in `folder`, as setup.py gives it to the compiler; 0 if they are not there."""
    sources = sorted(path for path in folder.glob("kernel*") if path.suffix in {".c", ".h"})
    text = b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in sources)
    return int.from_bytes(sha256(text).digest()[:8], "big") if sources else 0


def _check(status: int) -> None:
    if status == _NO_MEMORY:
        raise MemoryTooSmall("the system has no memory left for the evaluation: free some, or use fewer threads")
    if status:
        raise RuntimeError(f"the kernel was called for a variant that it lacks ({status})")
