"""The address book: nobody can fill it with addresses of one owner."""

import random

import pytest

from fedcoin.node import address_book
from fedcoin.node.address_book import (
    HEARD_FAILURES,
    HEARD_FROM_SOURCE,
    HEARD_OF_NETWORK,
    MET_FAILURES,
    MET_OF_NETWORK,
    AddressBook,
    network_of,
)
from fedcoin.rpc.address import is_local


@pytest.fixture
def book() -> AddressBook:
    return AddressBook(random.Random(1))


def anything(address: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9:7070", "203.0.113.0/24"),
        ("[2001:db8:1:2::9]:7070", "2001:db8:1::/48"),
        ("[::ffff:203.0.113.9]:7070", "203.0.113.0/24"),
        ("A.b.Example.org:7070", "example.org"),
        ("miner:7070", "miner"),
        ("127.0.0.1:7070", "127.0.0.1:7070"),
        ("localhost:7070", "localhost:7070"),
        ("[::1]:7070", "[::1]:7070"),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("address", "local"),
    [
        *(("127.0.0.1:1", True), ("127.9.9.9:1", True), ("[::1]:1", True), ("[::ffff:127.0.0.1]:1", True)),
        *(("localhost:1", True), ("a.localhost.:1", True), ("169.254.1.1:1", True), ("224.0.0.1:1", True)),
        *(
            ("10.0.0.1:1", False),
            ("203.0.113.1:1", False),
            ("[2001:db8::1]:1", False),
            ("a.example:1", False),
            ("", False),
        ),
    ],
)
def test_addresses_of_this_machine_and_its_link(address: str, local: bool) -> None:
    assert is_local(address) == local


def test_many_addresses_of_one_network_do_not_push_out_others(book: AddressBook) -> None:
    book.hear("198.51.100.1:1", "honest")
    for number in range(10_000):
        book.hear(f"203.0.113.{number % 256}:{number + 1}", f"source {number}")
    assert "198.51.100.1:1" in book
    assert len(book) == 1 + HEARD_OF_NETWORK


def test_one_source_does_not_push_out_what_others_have_told(book: AddressBook) -> None:
    for number in range(100):
        book.hear(f"198.51.{number}.1:1", f"honest {number}")
    for number in range(10_000):
        book.hear(f"10.{number // 256}.{number % 256}.1:1", "liar")
    assert all(f"198.51.{number}.1:1" in book for number in range(100))
    assert len(book) == 100 + HEARD_FROM_SOURCE


def test_a_full_book_costs_the_largest_source(book: AddressBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_book, "MAX_HEARD", 20)
    for number in range(5):
        book.hear(f"198.51.{number}.1:1", f"honest {number}")
    for number in range(100):
        book.hear(f"10.0.{number}.1:1", "liar")
    assert all(f"198.51.{number}.1:1" in book for number in range(5))
    assert len(book) == 20


def test_of_those_met_one_network_keeps_few_and_the_worst_goes(book: AddressBook) -> None:
    first = [f"203.0.113.1:{port + 1}" for port in range(MET_OF_NETWORK)]
    for address in first:
        assert book.meet(address) == []
    book.fail(first[3])
    assert book.meet("203.0.113.2:1") == [first[3]]
    assert book.meet("198.51.100.1:1") == []
    assert len(book) == MET_OF_NETWORK + 1


def test_addresses_that_do_not_answer_are_forgotten(book: AddressBook) -> None:
    book.hear("a:1", "x")
    assert [book.fail("a:1") for _ in range(HEARD_FAILURES)] == [False] * (HEARD_FAILURES - 1) + [True]
    book.meet("b:1")
    assert [book.fail("b:1") for _ in range(MET_FAILURES)] == [False] * (MET_FAILURES - 1) + [True]
    assert len(book) == 0
    assert book.fail("c:1") is False


def test_an_answer_makes_up_for_failures(book: AddressBook) -> None:
    book.meet("b:1")
    for _ in range(5):
        assert not any(book.fail("b:1") for _ in range(MET_FAILURES - 1))
        assert book.meet("b:1") == []
    assert "b:1" in book


def test_picking_asks_both_lists(book: AddressBook) -> None:
    for number in range(200):
        book.hear(f"10.0.{number}.1:1", f"s{number}")
    book.meet("met:1")
    picked = [book.pick(anything) for _ in range(100)]
    assert 20 < picked.count("met:1") < 80, "a few that are known to answer weigh as much as many that are not"
    assert "met:1" not in [book.pick(anything, heard_only=True) for _ in range(50)]
    assert book.pick(lambda address: False) is None
    book.forget("met:1")
    assert "met:1" not in book
