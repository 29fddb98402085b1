"""Pages of lists, with opaque tokens (AIP-158).

A token names the list and its filter beside the place, so that a token of another list is refused and not misread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from fedcoin.core.errors import InvalidPageSize, InvalidPageToken

DEFAULT_PAGE = 100
MAX_PAGE = 1000
MAX_PAGE_BYTES = 4 * 2**20
"""A page ends early when its items take more than this, so that no answer exceeds the limit for messages."""
_TAG = 8


def page_size(asked: int) -> int:
    """Items of a page: 0 asks for the default, more than MAX_PAGE for MAX_PAGE. Raises InvalidPageSize if negative."""
    if asked < 0:
        raise InvalidPageSize
    return min(asked or DEFAULT_PAGE, MAX_PAGE)


def _tag(name: str, condition: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\x00" + condition).digest()[:_TAG]


def make_token(name: str, condition: bytes, place: bytes) -> str:
    """The token of the page that begins behind `place` in list `name` under the filter `condition`."""
    return base64.urlsafe_b64encode(_tag(name, condition) + place).decode().rstrip("=")


def read_token(token: str, name: str, condition: bytes, size: int) -> bytes | None:
    """The place of `size` bytes that a token names; None for the first page. Raises InvalidPageToken."""
    if not token:
        return None
    if len(token) > 200 or not token.isascii():
        raise InvalidPageToken
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPageToken from None
    if len(data) != _TAG + size or data[:_TAG] != _tag(name, condition):
        raise InvalidPageToken
    return data[_TAG:]


def fill_page(field: Any, messages: Iterable[Any], count: int) -> int:
    """Appends up to `count` messages to a response's repeated field, fewer if they are large; returns how many."""
    taken = room = 0
    for message in messages:
        size = message.ByteSize()
        if taken == count or (taken and room + size > MAX_PAGE_BYTES):
            break
        field.append(message)
        taken, room = taken + 1, room + size
    return taken


def offset_page(request: Any, name: str, condition: bytes, items: Sequence[Any], convert: Any, field: Any) -> str:
    """Fills one page of a list that is all at hand, and returns the next page's token. Raises InvalidPageToken."""
    place = read_token(request.page_token, name, condition, 4)
    start = int.from_bytes(place, "big") if place is not None else 0
    end = start + fill_page(field, map(convert, items[start:]), page_size(request.page_size))
    return make_token(name, condition, end.to_bytes(4, "big")) if end < len(items) else ""
