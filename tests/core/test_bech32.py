"""Addresses: the test strings of BIP-350, and mistyped ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcoin.core.bech32 import decode, encode
from fedcoin.core.errors import InvalidAddress
from fedcoin.core.keys import format_address, parse_address

ADDRESS = bytes(range(100, 120))


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("a", "A1LQFN3A"),
        ("a", "a1lqfn3a"),
        (
            "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber1",
            "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
        ),
        ("abcdef", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"),
        ("?", "?1v759aa"),
        ("split", "split1checkupstagehandshakeupstreamerranterredcaperredlc445v"),
    ],
)
def test_valid_strings_of_bip_350(prefix, text):
    assert encode(prefix, decode(prefix, text)) == text.lower()


def test_a_valid_string_of_bip_350_that_is_no_whole_bytes_passes_the_checksum_only():
    text = "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8"
    with pytest.raises(InvalidAddress, match="last bits"):
        decode("1", text)


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (
            "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber1",
            "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
        ),
        ("", "qyrz8wqd2c9m"),
        ("y", "y1b0jsk6g"),
        ("lt", "lt1igcx5c0"),
        ("in", "in1muywd"),
        ("mm", "mm1crxm3i"),
        ("au", "au1s5cgom"),
        ("m", "M1VUXWEZ"),
        ("a", "A1lqfn3a"),
        ("a", "a12uel5l"),  # valid bech32 of BIP-173, but not bech32m
    ],
)
def test_invalid_strings_of_bip_350(prefix, text):
    with pytest.raises(InvalidAddress):
        decode(prefix, text)


@pytest.mark.parametrize("text", ["\x201xj0phk", "\x7f1g6xzxy", "\x801vctc34", "1qyrz8wqd2c9m", "16plkw9", "1p2gdwpf"])
def test_strings_without_our_prefix_are_no_addresses(text):
    with pytest.raises(InvalidAddress, match="begins with fdc1"):
        parse_address(text)


@given(st.binary(min_size=20, max_size=20))
def test_addresses_round_trip_in_lower_and_upper_case(address):
    text = format_address(address)
    assert text.startswith("fdc1")
    assert text == text.lower()
    assert parse_address(text) == parse_address(text.upper()) == parse_address(f"  {text}\n") == address


def test_every_single_mistyped_letter_is_found():
    text = format_address(ADDRESS)
    for place in range(4, len(text)):
        for letter in "qpzry9x8gf2tvdw0s3jn54khce6mua7l":
            if letter != text[place]:
                with pytest.raises(InvalidAddress):
                    parse_address(text[:place] + letter + text[place + 1 :])


def test_swapped_neighbours_are_found():
    text = format_address(ADDRESS)
    for place in range(4, len(text) - 1):
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        if swapped != text:
            with pytest.raises(InvalidAddress):
                parse_address(swapped)


@pytest.mark.parametrize("size", [0, 19, 21, 32])
def test_another_length_is_no_address(size):
    with pytest.raises(InvalidAddress, match="20 bytes"):
        parse_address(encode("fdc", bytes(size)))


@given(st.text(max_size=100))
def test_hostile_text_is_refused_and_crashes_nothing(text):
    with pytest.raises(InvalidAddress):
        parse_address(text)
