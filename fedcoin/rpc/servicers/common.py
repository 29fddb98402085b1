"""What servicers share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc

from fedcoin.core.errors import MalformedEncoding, RequestIdTooLong, TransferCutShort
from fedcoin.rpc.address import is_address, is_local
from fedcoin.rpc.blobs import Assembly
from fedcoin.rpc.calls import PEER_METADATA
from fedcoin.rpc.limits import is_here

MAX_REQUEST_ID = 64


def source_of(context: grpc.aio.ServicerContext) -> str | None:
    """Where the caller says that it listens (HOST:PORT), or None. A hint for relaying; nothing vouches for it.

    An address of this machine is believed only where the call comes from it: nobody else is to have us call it.
    """
    for key, value in context.invocation_metadata() or ():
        if key == PEER_METADATA and isinstance(value, str) and is_address(value):
            return value if not is_local(value) or is_here(context.peer()) else None
    return None


def check_request_id(request: Any) -> None:
    """Raises RequestIdTooLong."""
    if len(request.request_id) > MAX_REQUEST_ID:
        raise RequestIdTooLong


async def upload(requests: AsyncIterator[Any], begin: Callable[[Any], Awaitable[Assembly | None]]) -> bytes | None:
    """Bytes that arrive as a header, which `begin` judges before more is read, and chunks.

    Raises BlobMismatch, TransferCutShort. None where `begin` says that they are not needed; they are not read then.
    """
    assembly: Assembly | None = None
    async with aclosing(requests) as pieces:  # type: ignore[type-var]
        async for piece in pieces:
            kind = piece.WhichOneof("piece")
            if assembly is None:
                if kind != "header":
                    raise MalformedEncoding("the first message of an upload is its header")
                assembly = await begin(piece.header)
                if assembly is None:
                    return None
            elif kind == "chunk":
                assembly.add(piece.chunk)
            else:
                raise MalformedEncoding("after the header of an upload come chunks only")
    if assembly is None:
        raise TransferCutShort("the upload ended before its header")
    return assembly.finish()
