"""Errors to a gRPC status and back."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata

from fedcoin.core import errors
from fedcoin.rpc.errors import error_of, from_call, known_errors, printable, to_status


def failure(code: grpc.StatusCode, details: str, status: status_pb2.Status | None = None) -> AioRpcError:
    trailers = Metadata() if status is None else Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return AioRpcError(code, Metadata(), trailers, details)


def back(error: errors.FedCoinError) -> errors.FedCoinError:
    status = to_status(error)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    return from_call(failure(code, status.message, status), "host:1")


@pytest.mark.parametrize(
    "kind",
    sorted(set(known_errors().values()) - {errors.RemoteError}, key=lambda kind: kind.code),
    ids=lambda k: k.code,
)
def test_every_error_comes_back_as_its_own_class(kind: type[errors.FedCoinError]) -> None:
    ours = {errors.PeerUnreachable, errors.PeerTimeout}
    error = kind.__new__(kind)
    errors.FedCoinError.__init__(error, "what is wrong")
    result = back(error)
    assert type(result) is (errors.RemoteError if kind in ours else kind)
    assert (result.code, result.message) == (kind.code, "what is wrong")


def test_codes_are_unique() -> None:
    waiting, seen = [errors.FedCoinError], {}
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "code" in vars(kind):
            assert seen.setdefault(kind.code, kind) is kind


def test_the_status_carries_one_error_info() -> None:
    status = to_status(errors.BlockNotFound("no block at 9"))
    info = error_details_pb2.ErrorInfo()
    assert len(status.details) == 1
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, status.message) == ("BLOCK_NOT_FOUND", "fedcoin", "no block at 9")


def test_unknown_codes_keep_their_code() -> None:
    error = error_of("FROM_THE_FUTURE", "new rule")
    assert isinstance(error, errors.RemoteError)
    assert (error.code, error.message) == ("FROM_THE_FUTURE", "new rule")
    assert errors.RemoteError.code == "REMOTE_ERROR"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.PeerUnreachable),
        (grpc.StatusCode.CANCELLED, errors.PeerUnreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.PeerTimeout),
        (grpc.StatusCode.UNIMPLEMENTED, errors.WrongRole),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.RateLimited),
        (grpc.StatusCode.UNKNOWN, errors.RemoteError),
    ],
)
def test_a_bare_status_names_the_peer(code: grpc.StatusCode, kind: type[errors.FedCoinError]) -> None:
    error = from_call(failure(code, "details"), "host:1")
    assert type(error) is kind
    assert "host:1" in error.message


def test_garbage_in_the_details_is_ignored() -> None:
    trailers = Metadata(("grpc-status-details-bin", b"\xff\xff\xff"))
    error = from_call(AioRpcError(grpc.StatusCode.UNKNOWN, Metadata(), trailers, "x"), "host:1")
    assert error.code == "UNKNOWN"


def test_messages_of_peers_are_cut_and_printable() -> None:
    assert printable("a\x1b[31mb\nc") == "a�[31mb�c"
    assert len(printable("x" * 10_000)) == 1000
