"""FedCoin's errors on the wire: a canonical gRPC status with one google.rpc.ErrorInfo (AIP-193).

ErrorInfo.reason is the error's code, domain is "fedcoin". A peer learns code and message, never a traceback.
"""

from __future__ import annotations

import logging
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from fedcoin.core.errors import (
    FedCoinError,
    PeerTimeout,
    PeerUnreachable,
    RateLimited,
    RemoteError,
    WrongRole,
)

log = logging.getLogger(__name__)

DOMAIN = "fedcoin"
MAX_MESSAGE = 1000
"""Characters of a message that travel: trailers of a call have room for 8 KiB."""
_DETAILS = "grpc-status-details-bin"
_OUR_FAILURES = ("INTERNAL", "DATA_LOSS", "UNKNOWN")
"""Statuses of errors that are this node's own affair: their messages may name its files."""


def printable(text: str, limit: int = MAX_MESSAGE) -> str:
    """A peer's text without control characters (which could drive a person's terminal), cut to `limit` characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(character if character.isprintable() else "�" for character in cut)


def to_status(error: FedCoinError) -> status_pb2.Status:
    """The status that carries the error."""
    detail = AnyMessage()
    detail.Pack(error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN))
    code: int = code_pb2.Code.Value(error.status)
    return status_pb2.Status(code=code, message=printable(error.message), details=[detail])


async def abort(context: grpc.aio.ServicerContext, error: Exception, method: str) -> NoReturn:
    """Ends a call with the error. What is our own failure is logged here; the peer learns no more than that it is."""
    if isinstance(error, FedCoinError) and error.status not in _OUR_FAILURES:
        status = to_status(error)
    else:
        log.error("%s failed", method, exc_info=error)
        status = to_status(FedCoinError("the node failed at this request; its log says why"))
    call_status = rpc_status.to_status(status)
    await context.abort(call_status.code, status.message, call_status.trailing_metadata)
    raise AssertionError("abort returns never")


def known_errors() -> dict[str, type[FedCoinError]]:
    """Code → class of every error class with a code of its own that is loaded."""
    found: dict[str, type[FedCoinError]] = {}
    waiting = [FedCoinError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "code" in vars(kind):
            found.setdefault(kind.code, kind)
    return found


_OURS = frozenset({PeerUnreachable.code, PeerTimeout.code, RemoteError.code})
"""Codes that speak of our own call: a peer that sends one is not taken at its word."""


def error_of(code: str, message: str) -> FedCoinError:
    """The error with this code, of the class that has it here, otherwise RemoteError."""
    kind = known_errors().get(code)
    if kind is None or code in _OURS:
        return RemoteError(message, code)
    error = kind.__new__(kind)
    FedCoinError.__init__(error, message)
    error.reported = True
    return error


def from_call(failure: grpc.aio.AioRpcError, address: str) -> FedCoinError:
    """What a failed call means to the caller. `address` is the peer's, for the message."""
    code, details = failure.code(), printable(failure.details() or "", 300)
    reason = _reason(failure)
    if reason is not None:
        return error_of(reason, printable(failure.details() or ""))
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
        return PeerUnreachable(f"{address} does not answer; is it running and reachable? ({details})")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return PeerTimeout(f"{address} did not answer in time")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return WrongRole(f"{address} does not offer this service: it has another role or another version ({details})")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        refused = RateLimited(f"{address} refuses more for now ({details})")
        refused.reported = True  # gRPC's own limit there: nothing that this peer does to us
        return refused
    return RemoteError(f"{address} reports {code.name}: {details}", code.name)


def _reason(failure: grpc.aio.AioRpcError) -> str | None:
    for key, value in failure.trailing_metadata() or ():
        if key != _DETAILS or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return printable(info.reason, 63)
        except DecodeError:
            continue
    return None
