"""Protobuf messages from hostile peers: read as a value, or refused with an error of our own."""

from __future__ import annotations

from typing import Any

import pytest
from fuzzlib.forge import Forge, methods
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from fedcoin.core.encoding import Struct
from fedcoin.core.errors import FedCoinError
from fedcoin.rpc.convert import CORE, VIEWS, from_message, shape_of, to_message
from fedcoin.rpc.wire import reader
from tests.fuzz.profile import profile
from tests.fuzz.strategies import all_structs, structs

STRUCTS: dict[type, Struct[Any]] = {struct.kind: struct for struct in all_structs().values()}
SEEDS = st.integers(0, 2**64)


@pytest.mark.parametrize("kind", CORE)
def test_a_value_is_the_same_after_the_wire(kind: type) -> None:
    @profile(12)
    @given(structs(STRUCTS[kind]))
    def check(value: Any) -> None:
        message = to_message(value)
        received = type(message).FromString(message.SerializeToString())
        assert from_message(kind, received) == value

    check()


@pytest.mark.parametrize("kind", [*CORE, *VIEWS])
def test_any_message_becomes_a_value_that_can_be_written_or_is_refused(kind: type) -> None:
    message = shape_of(kind).message
    read = reader(message.FromString, 2**20)

    @profile(50)
    @given(SEEDS)
    def check(seed: int) -> None:
        try:
            value = from_message(kind, read(Forge(seed).hostile(message.DESCRIPTOR)).take())
        except FedCoinError:
            return
        if kind in STRUCTS:
            encoding = STRUCTS[kind].encode(value)
            assert STRUCTS[kind].decode(encoding) == value
        else:
            to_message(value)

    check()


@pytest.mark.parametrize("method", methods(), ids=lambda method: method.path)
def test_requests_are_read_or_refused_before_any_handler(method: Any) -> None:
    read = reader(GetMessageClass(method.request).FromString, 2**20)

    @profile(12)
    @given(SEEDS)
    def check(seed: int) -> None:
        received = read(Forge(seed).hostile(method.request))
        assert (received.message is None) == (received.error is not None)

    check()
