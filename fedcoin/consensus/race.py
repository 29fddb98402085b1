"""One race of Proof of Shapley (Alg. 1) as one miner sees it: its own iterations, and the estimates of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedcoin.consensus.certificate import averaged_of
from fedcoin.consensus.difficulty import eased_difficulty, race_interval
from fedcoin.consensus.messages import Leaves, RaceInfo
from fedcoin.consensus.verified import Verified
from fedcoin.core.errors import EstimateOfAnotherRace, LeavesOutOfOrder
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import ChainParams
from fedcoin.core.task import Problem, RaceKind, Task, race_id
from fedcoin.shapley.distance import distance, within_distance
from fedcoin.shapley.leaves import LeafLog


@dataclass(frozen=True)
class RaceTerms:
    """What a race is about."""

    kind: RaceKind
    task_hash: bytes
    """Task hash; for an AUDIT race the problem's."""
    problem: Problem
    parent: bytes
    difficulty: int
    """D, times UTILITY_SCALE."""
    norm: int
    """p."""
    task: Task | None = None

    @property
    def race(self) -> bytes:
        """Race id."""
        return race_id(self.kind, self.task_hash, self.parent)


class Race:
    """Alg. 1 lines 1–22 for one task, without I/O."""

    def __init__(self, terms: RaceTerms, key: PrivateKey, chain_id: bytes, verified: Verified) -> None:
        """`verified`: signatures that need no second look."""
        self.terms = terms
        self.id = terms.race
        self.opened_at: int | None = None
        """When we began to work on it; None while we only listen."""
        self.log = LeafLog(terms.problem.clients)
        """Lines 1–2: S = 0, time = 0; it grows by line 11 and 12."""
        self._key = key
        self._chain_id = chain_id
        self._verified = verified
        self._estimates: dict[bytes, Estimate] = {}
        self._own: Estimate | None = None

    @property
    def info(self) -> RaceInfo:
        """What the evaluator must know."""
        return RaceInfo(self.id, self.terms.kind, self.terms.problem, self._key.public_key)

    @property
    def others(self) -> Mapping[bytes, Estimate]:
        """Latest estimate of each other miner."""
        return self._estimates

    @property
    def own(self) -> Estimate | None:
        """Our latest estimate; None before the first iteration."""
        return self._own

    def add_iterations(self, start: int, leaves: Leaves) -> Estimate:
        """Lines 4–12 have been done for some iterations: S and time grow. Returns what line 13 broadcasts.

        Raises LeavesOutOfOrder unless they follow those already counted and are at least one, MalformedLeaf. Nothing is
        counted then.
        """
        if start != self.log.time or not len(leaves):
            raise LeavesOutOfOrder(f"{len(leaves)} iterations from {start} came, {self.log.time} was next")
        self.log.extend(leaves)
        terms = self.terms
        unsigned = Estimate(
            terms.kind,
            terms.task_hash,
            terms.parent,
            self._key.public_key,
            self.log.time,
            self.log.total,
            self.log.root(),
            self.opened_at or 0,
            b"",
        )
        self._own = sign_estimate(self._key, self._chain_id, unsigned)
        return self._own

    def receive(self, estimate: Estimate) -> bool:
        """Line 15. True if it is a later one of its miner than we had.

        The caller has checked that the miner may take part. Raises EstimateOfAnotherRace, EstimateOutOfRange,
        InvalidSignature.
        """
        terms = self.terms
        if (estimate.kind, estimate.task, estimate.parent) != (terms.kind, terms.task_hash, terms.parent):
            raise EstimateOfAnotherRace
        estimate.verify_range(terms.problem.clients)
        if estimate.miner == self._key.public_key or not self._is_later(estimate):
            return False
        self._verified.estimate(estimate)
        self._estimates[estimate.miner] = estimate
        return True

    def drop(self, miner: bytes) -> None:
        """Forgets a convicted miner."""
        self._estimates.pop(miner, None)

    def averaged(self) -> tuple[tuple[int, ...], int] | None:
        """Line 16: S̄ over the latest estimates of the OTHER miners; None if there are none."""
        return averaged_of(self._estimates.values()) if self._estimates else None

    def averaged_with_own(self) -> tuple[tuple[int, ...], int] | None:
        """Our best S̄ for condition 2 of Alg. 2: all we know, our own work included."""
        known = [*self._estimates.values(), *([self._own] if self._own else [])]
        return averaged_of(known) if known else None

    def difficulty_at(self, timestamp: int, parent_timestamp: int, params: ChainParams) -> int:
        """D of a block of ours with this timestamp: it eases while the race lasts."""
        openings = [estimate.opened_at for estimate in (*self._estimates.values(), *([self._own] if self._own else []))]
        if not openings:
            return self.terms.difficulty
        interval = race_interval(timestamp, parent_timestamp, openings)
        return eased_difficulty(self.terms.difficulty, self.terms.kind, interval, params)

    def has_converged(self, difficulty: int) -> bool:
        """Line 17: ‖S − S̄‖_p ≤ D."""
        mean = self.averaged()
        if mean is None or self._own is None:
            return False
        own = self._own
        return within_distance(own.total, own.time, *mean, self.terms.norm, difficulty)

    def distance(self) -> float | None:
        """‖S − S̄‖_p as a real number, for people; None before both sides are known."""
        mean = self.averaged()
        if mean is None or self._own is None:
            return None
        return distance(self._own.total, self._own.time, *mean, self.terms.norm)

    def distances(self) -> dict[bytes, float | None]:
        """‖S − S̄‖_p of every other miner, S̄ being that of all but itself as far as we know them; None without such."""
        known = self.averaged_with_own()
        if known is None:
            return {}
        total, time = known
        found: dict[bytes, float | None] = {}
        for miner, theirs in self._estimates.items():
            rest = tuple(a - b for a, b in zip(total, theirs.total, strict=True))
            rest_time = time - theirs.time
            norm = self.terms.norm
            found[miner] = distance(theirs.total, theirs.time, rest, rest_time, norm) if rest_time else None
        return found

    def certificate(self) -> tuple[Estimate, ...]:
        """Our estimate, then the others by public key: what a block of ours would carry."""
        assert self._own is not None, "a certificate needs an estimate of our own"
        return (self._own, *(self._estimates[miner] for miner in sorted(self._estimates)))

    def _is_later(self, estimate: Estimate) -> bool:
        known = self._estimates.get(estimate.miner)
        return known is None or estimate.time > known.time
