"""Token buckets, and who shares one."""

from __future__ import annotations

import pytest

from fedcoin.rpc.limits import Allowances, Limits, TokenBucket, peer_key


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
