"""HOST:PORT."""

from __future__ import annotations

import pytest

from fedcoin.core.errors import InvalidPeerAddress
from fedcoin.rpc.address import is_address, join_address, split_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("localhost:7070", ("localhost", 7070)),
        ("a-b.example.org:1", ("a-b.example.org", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[::1]:0", ("::1", 0)),
    ],
)
def test_addresses_split_and_join(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text) == parts
    assert join_address(*parts) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        ":1",
        "host:",
        "host:65536",
        "host:-1",
        "host:1x",
        "::1:7",
        "[::g]:7",
        "a b:7",
        "unix:/x",
        "h\n:7",
        "dns:///x:7",
        "a" * 300 + ":7",
        "host:٣",
        "-a:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidPeerAddress):
        split_address(text)
    assert not is_address(text)


def test_port_0_cannot_be_called() -> None:
    assert not is_address("host:0")
    assert is_address("host:1")
