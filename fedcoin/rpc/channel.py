"""How nodes connect: one set of options for all channels and listening sockets."""

from __future__ import annotations

from typing import Any

import grpc

from fedcoin.rpc.address import split_address
from fedcoin.rpc.answers import answer_limit
from fedcoin.rpc.tls import ClientTls, channel_credentials
from fedcoin.rpc.wire import reader

MAX_MESSAGE_BYTES = 16 * 2**20
"""Bytes of one message at most; larger things go in chunks."""

KEEPALIVE_MS = 30_000
"""A caller pings a silent peer this often, so that a dead one is noticed."""

HANDSHAKE_MS = 10_000
"""A connection that has not become HTTP/2 by then (over TLS, where it is used) is ended."""
IDLE_MS = 300_000
"""A connection without calls for as long is ended by whoever listens; the next call opens another."""

_COMMON: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]

CHANNEL_OPTIONS: list[tuple[str, int | str]] = [
    *_COMMON,
    # The default backoff needs seconds to notice that a peer is back after an outage.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_retries", 0),
    # A proxy set in the environment is meant for web pages, not for peers.
    ("grpc.enable_http_proxy", 0),
]

SERVER_OPTIONS: list[tuple[str, int]] = [
    *_COMMON,
    # Shared ports would let a second program start on the same port and take half of the calls.
    ("grpc.so_reuseport", 0),
    # Pings faster than this end a connection; callers' KEEPALIVE_MS lies above it.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 3),
    ("grpc.max_metadata_size", 16_384),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.max_connection_idle_ms", IDLE_MS),
    # Above what one peer may have in flight: it is the guard that says so, in words.
    ("grpc.max_concurrent_streams", 1024),
]


def open_channel(address: str, tls: ClientTls | None) -> grpc.aio.Channel:
    """A channel to HOST:PORT; connects at the first call. Raises InvalidPeerAddress, TlsFilesInvalid."""
    split_address(address)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    options = list(CHANNEL_OPTIONS)
    if tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return grpc.aio.secure_channel(address, channel_credentials(tls), options=options)


class CheckedChannel:
    """What a generated stub needs of a channel, with responses that are judged before they are parsed.

    Calls answer with `wire.Received`.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, method: str, request_serializer: Any, response_deserializer: Any, **options: Any) -> Any:
        """As grpc.aio.Channel.unary_unary."""
        answer = _checked(method, response_deserializer)
        return self._channel.unary_unary(method, request_serializer, answer, **options)

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **options: Any) -> Any:
        """As grpc.aio.Channel.unary_stream."""
        return self._channel.unary_stream(
            method, request_serializer, _checked(method, response_deserializer), **options
        )

    def stream_unary(self, method: str, request_serializer: Any, response_deserializer: Any, **options: Any) -> Any:
        """As grpc.aio.Channel.stream_unary."""
        return self._channel.stream_unary(
            method, request_serializer, _checked(method, response_deserializer), **options
        )


def _checked(method: str, deserializer: Any) -> Any:
    return reader(deserializer, answer_limit(method))
