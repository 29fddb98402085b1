"""Misbehaviour: what a peer sends that only a broken or hostile node sends costs points, and too many points a pause.

Points are looked up by error code and halve with time, so that an honest node with a rare fault is never near the
threshold. What honest nodes cause costs nothing: being behind, ahead or on another branch, a nonce taken by a race, a
clock that is off. Neither does what an honest node may relay without being able to judge it: rules that need the state
of a branch that is not the tip (SPEC section 15.2). Nothing here survives a restart: a ban is a pause, not a verdict.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_FORGED = 25.0
_MALFORMED = 5.0
_INSISTENT = 1.0

POINTS: Mapping[str, float] = {
    # Blocks that break a rule which they decide alone: whoever relays a block has checked these.
    "WRONG_CHAIN_ID": _FORGED,
    "TOO_MANY_TRANSACTIONS": _FORGED,
    "BLOCK_TOO_LARGE": _FORGED,
    "MERKLE_ROOT_MISMATCH": _FORGED,
    "CERTIFICATE_ROOT_MISMATCH": _FORGED,
    "TASK_MISSING": _FORGED,
    "MALFORMED_CERTIFICATE": _FORGED,
    "WINNER_MISMATCH": _FORGED,
    "ESTIMATE_OF_ANOTHER_RACE": _FORGED,
    "ESTIMATE_OUT_OF_RANGE": _FORGED,
    "AVERAGED_MISMATCH": _FORGED,
    "DISTANCE_TOO_LARGE": _FORGED,
    "BLOCKS_OUT_OF_ORDER": _FORGED,
    # Whatever is signed: a signature binds the chain, so that a wallet of another network comes here too.
    "INVALID_SIGNATURE": _FORGED,
    "INVALID_PUBLIC_KEY": _FORGED,
    # Bytes that are not what was asked for or announced.
    "INVALID_MERKLE_PROOF": _FORGED,
    "BLOB_MISMATCH": _FORGED,
    "UPDATE_DIGEST_WRONG": _FORGED,
    # A block of a later version: its sender may be honest, but is of no use to us.
    "UNSUPPORTED_VERSION": _MALFORMED,
    # No message at all, or a larger one than its kind may be.
    "MALFORMED_ENCODING": _MALFORMED,
    "MALFORMED_LEAF": _MALFORMED,
    "REQUEST_TOO_LARGE": _MALFORMED,
    "REQUEST_ID_TOO_LONG": _MALFORMED,
    "REQUEST_TOO_SLOW": _MALFORMED,
    "BLOB_TOO_LARGE": _MALFORMED,
    "UPDATE_TOO_LARGE": _MALFORMED,
    "UPDATE_MALFORMED": _MALFORMED,
    "UPDATE_NOT_FINITE": _MALFORMED,
    "UPDATE_WRONG_SHAPE": _MALFORMED,
    "INVALID_PEER_ADDRESS": _MALFORMED,
    "NOT_THE_REQUESTER": _MALFORMED,
    "INVALID_PAGE_TOKEN": _INSISTENT,
    "INVALID_PAGE_SIZE": _INSISTENT,
    "RATE_LIMITED": _INSISTENT,
}
"""Code → points. A code that does not stand here costs nothing."""

ONCE_A_SECOND = frozenset({"RATE_LIMITED"})
"""Codes that one burst raises a thousand times. They count once a second: only who goes on for minutes is banned."""


@dataclass(frozen=True)
class BanRule:
    """When a peer is refused, and for how long."""

    threshold: float = 100.0
    """Points."""
    half_life: float = 600.0
    """Seconds in which points halve."""
    seconds: float = 600.0
    """Length of a ban; 0: nobody is ever banned."""
    remembered: int = 10_000
    """Peers at most; the one that has been quiet longest is forgotten first."""


@dataclass
class _Record:
    points: float
    at: float
    banned_until: float = 0.0
    counted: float = float("-inf")
    """When a code of ONCE_A_SECOND last counted."""


class Scores:
    """Points and bans by peer. A peer is what `fedcoin.rpc.limits.peer_key` says."""

    def __init__(self, rule: BanRule | None, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._rule = rule or BanRule()
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def charge(self, peer: str, code: str) -> bool:
        """Books an error that `peer` has caused. True if this has it banned from now on."""
        cost = POINTS.get(code, 0.0)
        if not cost:
            return False
        now = self._clock()
        record = self._records.setdefault(peer, _Record(0.0, now))
        self._records.move_to_end(peer)
        if code in ONCE_A_SECOND:
            if now < record.counted + 1.0:
                return False
            record.counted = now
        record.points, record.at = self._left(record, now) + cost, now
        while len(self._records) > self._rule.remembered:
            self._records.popitem(last=False)
        if record.points < self._rule.threshold or not self._rule.seconds or record.banned_until > now:
            return False
        # The ban is the price: whoever comes back begins with half the points, so that a second ban comes sooner.
        record.points = self._rule.threshold / 2
        record.banned_until = now + self._rule.seconds
        return True

    def banned_for(self, peer: str) -> float:
        """Seconds for which a peer is still refused; 0: it is not."""
        record = self._records.get(peer)
        return max(0.0, record.banned_until - self._clock()) if record is not None else 0.0

    def points(self, peer: str) -> float:
        """What stands against a peer now."""
        record = self._records.get(peer)
        return self._left(record, self._clock()) if record is not None else 0.0

    def banned(self) -> list[str]:
        """Peers that are refused now."""
        now = self._clock()
        return [peer for peer, record in self._records.items() if record.banned_until > now]

    def _left(self, record: _Record, now: float) -> float:
        return record.points * float(2.0 ** (-(now - record.at) / self._rule.half_life))
