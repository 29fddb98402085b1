"""Token buckets, and who shares one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fedcoin.rpc.limits import Allowances, Limits, TokenBucket, address_key, is_here, peer_key
from fedcoin.rpc.servicers.common import source_of


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0.0)
    assert [bucket.take(1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(1, 0.4)
    assert bucket.take(1, 0.5)
    assert [bucket.take(1, 1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_borrower_waits_for_what_it_took() -> None:
    bucket = TokenBucket(rate=10, burst=100, now=0.0)
    assert bucket.borrow(100, 0.0) == 0.0
    assert bucket.borrow(50, 0.0) == pytest.approx(5.0)
    assert bucket.borrow(0, 4.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("ipv4:10.0.0.7:5123", "10.0.0.7"),
        ("ipv6:%5B2001:db8:1:2:3::4%5D:5123", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.7]:1", "10.0.0.7"),
        ("ipv4:127.0.0.1:5123", "ipv4:127.0.0.1:5123"),
        ("ipv6:%5B::1%5D:5123", "ipv6:[::1]:5123"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_peers_share_an_allowance_by_host_except_on_this_machine(peer: str, key: str) -> None:
    assert peer_key(peer) == key


@pytest.mark.parametrize(
    ("peer", "here"),
    [
        *(("ipv4:127.0.0.1:5", True), ("ipv6:%5B::1%5D:5", True), ("ipv6:[::ffff:127.0.0.1]:5", True), ("unix:", True)),
        *(("ipv4:10.0.0.7:5", False), ("ipv6:%5B2001:db8::4%5D:5", False), ("", False)),
    ],
)
def test_callers_on_this_machine(peer: str, here: bool) -> None:
    assert is_here(peer) == here


def test_a_source_on_this_machine_is_believed_only_from_this_machine() -> None:
    def source(peer: str, claim: str) -> str | None:
        context: Any = SimpleNamespace(invocation_metadata=lambda: (("fedcoin-peer", claim),), peer=lambda: peer)
        return source_of(context)

    assert source("ipv4:127.0.0.1:5", "127.0.0.1:7070") == "127.0.0.1:7070"
    assert source("ipv4:203.0.113.5:5", "127.0.0.1:22") is None
    assert source("ipv4:203.0.113.5:5", "localhost:22") is None
    assert source("ipv4:203.0.113.5:5", "203.0.113.5:7070") == "203.0.113.5:7070"


def test_the_key_of_an_address_is_that_of_its_calls() -> None:
    assert address_key("203.0.113.5:7070") == peer_key("ipv4:203.0.113.5:5123")
    assert address_key("[2001:db8::4]:7070") == peer_key("ipv6:%5B2001:db8::9%5D:5123")
    assert address_key("a.example:7070") == "a.example:7070"
    assert address_key("127.0.0.1:7070") == "127.0.0.1:7070"


def test_only_so_many_peers_are_remembered() -> None:
    allowances = Allowances(Limits(peers=2), lambda: 0.0)
    first = allowances.of("ipv4:10.0.0.1:1")
    allowances.of("ipv4:10.0.0.2:1")
    assert allowances.of("ipv4:10.0.0.1:2") is first
    allowances.of("ipv4:10.0.0.3:1")
    assert allowances.of("ipv4:10.0.0.1:3") is first
    allowances.of("ipv4:10.0.0.4:1")
    allowances.of("ipv4:10.0.0.5:1")
    assert allowances.of("ipv4:10.0.0.1:1") is not first
