"""What a peer may ask of a node: bytes of a message, seconds of a call, calls and bytes a second."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from fedcoin.rpc.blobs import CHUNK_BYTES
from fedcoin.rpc.channel import MAX_MESSAGE_BYTES

MAX_WAIT_SECONDS = 60.0
"""Of PollRound."""


@dataclass(frozen=True)
class Rule:
    """Limits of one RPC."""

    message_bytes: int = 64 * 2**10
    """Bytes of one request message at most; checked before it is parsed."""
    seconds: float | None = 30.0
    """Of the whole call; None: without end."""


_TRANSFER_SECONDS = 600.0
_CHUNKS = Rule(CHUNK_BYTES + 2**16, _TRANSFER_SECONDS)
_DOWNLOAD = Rule(seconds=_TRANSFER_SECONDS)
_ENDLESS = Rule(seconds=None)

RULES: dict[str, Rule] = {
    "/fedcoin.v1.TaskService/PublishTask": Rule(2**20),
    "/fedcoin.v1.BlockService/PropagateBlock": Rule(MAX_MESSAGE_BYTES),
    "/fedcoin.v1.BlockService/SyncBlocks": _DOWNLOAD,
    "/fedcoin.v1.BlockService/WatchBlocks": _ENDLESS,
    "/fedcoin.v1.ShapleyService/StreamLeaves": _DOWNLOAD,
    "/fedcoin.v1.BlobService/DownloadBlob": _DOWNLOAD,
    "/fedcoin.v1.BlobService/UploadBlob": _CHUNKS,
    "/fedcoin.v1.TrainingService/SubmitUpdate": _CHUNKS,
    "/fedcoin.v1.TrainingService/PollRound": Rule(seconds=MAX_WAIT_SECONDS + 30.0),
    "/fedcoin.v1.OrderService/DownloadModel": _DOWNLOAD,
    "/fedcoin.v1.OrderService/WatchOrder": _ENDLESS,
    "/grpc.health.v1.Health/Watch": _ENDLESS,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _DOWNLOAD,
}
DEFAULT_RULE = Rule()


@dataclass(frozen=True)
class Limits:
    """How much one peer may ask. A peer is an IP address (an IPv6 /64); on this machine itself, a connection."""

    calls_per_second: float = 500.0
    call_burst: float = 2000.0
    bytes_per_second: float = 64 * 2**20
    byte_burst: float = 256 * 2**20
    concurrent_per_peer: int = 512
    concurrent: int = 4096
    """Calls in flight of all peers together."""
    idle_seconds: float = 30.0
    """Between two messages that a peer streams to us."""
    peers: int = 10_000
    """Peers remembered at most."""


class TokenBucket:
    """`rate` tokens a second, up to `burst`; full at first."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Takes `amount` tokens if they are there."""
        self._refill(now)
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def borrow(self, amount: float, now: float) -> float:
        """Takes `amount` tokens and returns the seconds until the bucket would have had them."""
        self._refill(now)
        self._tokens -= amount
        return max(0.0, -self._tokens / self._rate)

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


@dataclass
class Allowance:
    """What is left to one peer."""

    calls: TokenBucket
    bytes: TokenBucket
    running: int = 0


class Allowances:
    """Allowances by peer; the one not heard from longest is forgotten first."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._peers: OrderedDict[str, Allowance] = OrderedDict()

    def of(self, peer: str) -> Allowance:
        """The allowance of a peer, as ServicerContext.peer() names it."""
        key = peer_key(peer)
        allowance = self._peers.get(key)
        if allowance is None:
            limits, now = self._limits, self._clock()
            allowance = Allowance(
                TokenBucket(limits.calls_per_second, limits.call_burst, now),
                TokenBucket(limits.bytes_per_second, limits.byte_burst, now),
            )
            self._peers[key] = allowance
            if len(self._peers) > limits.peers:
                self._peers.popitem(last=False)
        self._peers.move_to_end(key)
        return allowance


def peer_key(peer: str) -> str:
    """Who shares one allowance: `ipv4:10.0.0.7:5123` → `10.0.0.7`; the whole text for peers on this machine."""
    text = unquote(peer)
    host = text.partition(":")[2].rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback:
        return text
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
