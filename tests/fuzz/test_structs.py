"""Every canonical layout: what is written is read back, what is read is canonical, hostile bytes do no harm."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin.core.encoding import Struct
from fedcoin.core.errors import MalformedEncoding
from tests.fuzz.profile import profile
from tests.fuzz.strategies import all_structs, mutated, structs

STRUCTS = all_structs()
MULTIPLE = 64
"""Bytes of memory that one hostile byte may cost: dataclasses, tuples and integers are larger than what they say."""
ROOM = 64 * 2**10
"""Bytes that any decoding may take."""

EVERY = pytest.mark.parametrize("struct", STRUCTS.values(), ids=STRUCTS)


def test_the_search_finds_the_layouts_of_all_layers() -> None:
    assert {"core.block.BLOCK", "core.task.TASK", "ledger.orders.ORDER_RECORD", "consensus.difficulty.WINDOW"} <= {
        *STRUCTS
    }
    assert len(STRUCTS) >= 24


@EVERY
def test_what_is_written_is_read_back(struct: Struct[Any]) -> None:
    @profile(15)
    @given(structs(struct))
    def check(value: Any) -> None:
        assert struct.decode(struct.encode(value)) == value

    check()


@EVERY
def test_what_is_read_has_one_encoding_only(struct: Struct[Any]) -> None:
    @profile(30)
    @given(mutated(structs(struct).map(struct.encode)) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        try:
            value = struct.decode(data)
        except MalformedEncoding:
            return
        assert struct.encode(value) == data

    check()


@EVERY
def test_hostile_bytes_take_no_memory_that_they_do_not_have(struct: Struct[Any]) -> None:
    @profile(10)
    @given(mutated(structs(struct).map(struct.encode)))
    def check(data: bytes) -> None:
        # A million items announced, and as many bytes as the smallest items need to keep the decoder going.
        for hostile in (data, data + bytes(2000), data[: len(data) // 2] + b"\xff" * 2000):
            tracemalloc.start()
            try:
                struct.decode(hostile)
            except MalformedEncoding:
                pass
            finally:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            assert peak <= MULTIPLE * len(hostile) + ROOM

    check()
