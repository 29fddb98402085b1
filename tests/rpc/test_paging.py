"""Pages and their tokens (AIP-158)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fedcoin.core.errors import InvalidPageSize, InvalidPageToken
from fedcoin.rpc.convert import to_message
from fedcoin.rpc.paging import DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_BYTES, fill_page, make_token, page_size, read_token
from fedcoin.v1 import shapley_service_pb2


def test_page_sizes() -> None:
    assert page_size(0) == DEFAULT_PAGE
    assert page_size(7) == 7
    assert page_size(10**6) == MAX_PAGE
    with pytest.raises(InvalidPageSize):
        page_size(-1)


def test_a_token_gives_its_place_back() -> None:
    assert read_token(make_token("orders", b"filter", b"\x07" * 32), "orders", b"filter", 32) == b"\x07" * 32
    assert read_token("", "orders", b"", 32) is None


@pytest.mark.parametrize(
    ("name", "condition", "size"), [("accounts", b"filter", 32), ("orders", b"other", 32), ("orders", b"filter", 20)]
)
def test_a_token_of_another_list_is_refused(name: str, condition: bytes, size: int) -> None:
    with pytest.raises(InvalidPageToken):
        read_token(make_token("orders", b"filter", b"\x07" * 32), name, condition, size)


@pytest.mark.parametrize("token", ["x", "é", "A" * 10_000, "!!!!", "AAAA=", "\x00"])
def test_made_up_tokens_are_refused(token: str) -> None:
    with pytest.raises(InvalidPageToken):
        read_token(token, "orders", b"", 32)


def test_a_page_of_large_items_ends_early(samples: SimpleNamespace) -> None:
    message = to_message(samples.ESTIMATE)
    message.total.extend([2**62] * 1000)
    response = shapley_service_pb2.ListEstimatesResponse()
    taken = fill_page(response.estimates, [message] * 1000, 1000)
    assert 0 < taken < 1000
    assert response.ByteSize() <= MAX_PAGE_BYTES * 1.01
