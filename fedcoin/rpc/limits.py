"""What a peer may ask of a node: bytes of a message, seconds of a call, calls and bytes a second."""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from fedcoin.core.errors import NodeBusy, RateLimited, RequestTooSlow
from fedcoin.rpc.blobs import CHUNK_BYTES
from fedcoin.rpc.channel import MAX_MESSAGE_BYTES

MAX_WAIT_SECONDS = 60.0
"""Of PollRound."""

MAX_RELAYED = 256
"""Transactions in one PropagateTransactions."""
MAX_RELAYED_BYTES = 2**20
"""Of such a message."""


@dataclass(frozen=True)
class Rule:
    """Limits of one RPC."""

    message_bytes: int = 64 * 2**10
    """Bytes of one request message at most; checked before it is parsed."""
    seconds: float | None = 30.0
    """Of the whole call; None: without end."""
    concurrent: int | None = None
    """Calls of this RPC that one peer may have in flight; None: no limit of its own."""
    transactions: str = ""
    """The request's field whose items are transactions, each of which counts against the peer's allowance of them."""

    @property
    def long(self) -> bool:
        """A subscription or a transfer, which may hold its place for long."""
        return self.seconds is None or self.seconds >= TRANSFER_SECONDS


TRANSFER_SECONDS = 600.0
_CHUNKS = Rule(CHUNK_BYTES + 2**16, TRANSFER_SECONDS, concurrent=64)
_DOWNLOAD = Rule(seconds=TRANSFER_SECONDS, concurrent=64)
_ENDLESS = Rule(seconds=None)

RULES: dict[str, Rule] = {
    "/fedcoin.v1.TaskService/PublishTask": Rule(2**20, concurrent=64),
    "/fedcoin.v1.TransactionService/PropagateTransactions": Rule(
        MAX_RELAYED_BYTES, concurrent=8, transactions="transactions"
    ),
    "/fedcoin.v1.BlockService/PropagateBlock": Rule(MAX_MESSAGE_BYTES, concurrent=8),
    "/fedcoin.v1.BlockService/SyncBlocks": _DOWNLOAD,
    "/fedcoin.v1.BlockService/WatchBlocks": _ENDLESS,
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
    transactions_per_second: float = 2000.0
    """Relayed ones: each costs a look at the state, and most of them a signature check."""
    transaction_burst: float = 8000.0
    concurrent_per_peer: int = 512
    concurrent: int = 4096
    """Calls in flight of all peers together."""
    long_per_peer: int = 128
    """Subscriptions and transfers of one peer in flight."""
    long: int = 2048
    """Of all peers together, so that they leave room for calls that end soon."""
    connections: int = 512
    """TCP connections of all peers together."""
    connections_per_peer: int = 128
    """TCP connections over which one peer makes calls."""
    idle_seconds: float = 30.0
    """Between two messages that a peer sends us, the beginning of the call counted as one."""
    slowest: float = 16 * 2**10
    """Bytes a second that whoever streams to us, or reads a stream of ours, has to manage on average."""
    slow_seconds: float = 10.0
    """For which it need not."""
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


class Pace:
    """Whether the other side of a stream keeps up. Time for which it is we who hold up the stream does not count."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self._waited = 0.0

    def add(self, size: int, waited: float) -> None:
        """A message of `size` bytes took `waited` seconds to pass. Raises RequestTooSlow."""
        self._bytes += size
        self._waited += waited
        if self._waited > self._limits.slow_seconds and self._bytes < self._waited * self._limits.slowest:
            raise RequestTooSlow(f"{self._bytes} bytes in {self._waited:.0f} s are too few; use a better connection")


CONNECTION_SECONDS = 60.0
"""A connection without calls for as long counts no more among those of its peer."""


@dataclass
class Allowance:
    """What is left to one peer."""

    calls: TokenBucket
    bytes: TokenBucket
    """That it sends us."""
    transactions: TokenBucket
    sent: TokenBucket
    """Bytes of streams that we send it."""
    running: Counter[str] = field(default_factory=Counter)
    """Calls in flight, by method."""
    long: int = 0
    """Of them, subscriptions and transfers."""
    connections: dict[str, float] = field(default_factory=dict)
    """When each of its connections last made a call."""


class Allowances:
    """Allowances by peer; the one not heard from longest is forgotten first."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._peers: OrderedDict[str, Allowance] = OrderedDict()
        self._long = 0

    def of(self, peer: str) -> Allowance:
        """The allowance of a peer, as ServicerContext.peer() names it."""
        key = peer_key(peer)
        allowance = self._peers.get(key)
        if allowance is None:
            limits, now = self._limits, self._clock()
            allowance = Allowance(
                TokenBucket(limits.calls_per_second, limits.call_burst, now),
                TokenBucket(limits.bytes_per_second, limits.byte_burst, now),
                TokenBucket(limits.transactions_per_second, limits.transaction_burst, now),
                TokenBucket(limits.bytes_per_second, limits.byte_burst, now),
            )
            self._peers[key] = allowance
            if len(self._peers) > limits.peers:
                self._peers.popitem(last=False)
        self._peers.move_to_end(key)
        return allowance

    def admit(self, peer: str, method: str, rule: Rule) -> tuple[Allowance, Callable[[], None]]:
        """Lets a call begin. What comes with the allowance is to be called once when the call has ended.

        Raises RateLimited, NodeBusy.
        """
        limits, allowance, now = self._limits, self.of(peer), self._clock()
        if not allowance.calls.take(1, now):
            raise RateLimited(f"more than {limits.calls_per_second:g} calls a second; slow down")
        _count_connection(allowance, peer, now, limits.connections_per_peer)
        running = allowance.running
        if running.total() >= limits.concurrent_per_peer:
            raise RateLimited(f"{running.total()} calls are running already; wait for one to end")
        if rule.concurrent is not None and running[method] >= rule.concurrent:
            raise RateLimited(f"{running[method]} calls of this RPC are running already; wait for one to end")
        if rule.long and self._long >= limits.long:
            raise NodeBusy("too many subscriptions and transfers of all peers are running; try again later")
        if rule.long and allowance.long >= limits.long_per_peer:
            raise RateLimited("too many subscriptions and transfers are running already; wait for one to end")
        running[method] += 1
        allowance.long += rule.long
        self._long += rule.long

        def end() -> None:
            running[method] -= 1
            if not running[method]:
                del running[method]
            allowance.long -= rule.long
            self._long -= rule.long

        return allowance, end


def _count_connection(allowance: Allowance, peer: str, now: float, most: int) -> None:
    """Notes that a connection makes a call. Raises RateLimited if its peer has too many."""
    seen = allowance.connections
    if peer not in seen and len(seen) >= most:
        for name in [name for name, at in seen.items() if at < now - CONNECTION_SECONDS]:
            del seen[name]
        if len(seen) >= most:
            raise RateLimited(f"calls come over {len(seen)} connections already; use fewer")
    seen[peer] = now


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


def is_here(peer: str) -> bool:
    """Whether a caller, as ServicerContext.peer() names it, is on this machine."""
    return peer.startswith("unix") or (bool(peer) and peer_key(peer) == unquote(peer))


def address_key(address: str) -> str:
    """The key of the peer that listens on HOST:PORT; its calls to us come under the same one, but on this machine."""
    return peer_key(f"ipv4:{address}").removeprefix("ipv4:")
