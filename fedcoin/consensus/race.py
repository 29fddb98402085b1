"""One race of Proof of Shapley (Alg. 1) as one miner sees it: its own iterations, and the estimates of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedcoin.consensus.certificate import averaged_of, verify_range
from fedcoin.consensus.messages import Leaves, RaceInfo
from fedcoin.core.errors import EstimateOfAnotherRace, LeavesOutOfOrder
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.keys import PrivateKey
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

    def __init__(self, terms: RaceTerms, key: PrivateKey, chain_id: bytes) -> None:
        self.terms = terms
        self.id = terms.race
        self.opened_at: int | None = None
        """When we began to work on it; None while we only listen."""
        self.log = LeafLog(terms.problem.clients)
        """Lines 1–2: S = 0, time = 0; it grows by line 11 and 12."""
        self._key = key
        self._chain_id = chain_id
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

        Raises LeavesOutOfOrder unless they follow those already counted.
        """
        if start != self.log.time:
            raise LeavesOutOfOrder(f"iteration {start} came, {self.log.time} was next")
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
        verify_range(estimate, terms.problem.clients)
        if estimate.miner == self._key.public_key or not self._is_later(estimate):
            return False
        estimate.verify(self._chain_id)
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

    def has_converged(self) -> bool:
        """Line 17: ‖S − S̄‖_p ≤ D."""
        mean = self.averaged()
        if mean is None or self._own is None:
            return False
        own = self._own
        return within_distance(own.total, own.time, *mean, self.terms.norm, self.terms.difficulty)

    def distance(self) -> float | None:
        """‖S − S̄‖_p as a real number, for people; None before both sides are known."""
        mean = self.averaged()
        if mean is None or self._own is None:
            return None
        return distance(self._own.total, self._own.time, *mean, self.terms.norm)

    def distance_of(self, miner: bytes) -> float | None:
        """‖S − S̄‖_p of another miner, against all others that we know."""
        theirs = self._estimates.get(miner)
        rest = [estimate for other, estimate in self._estimates.items() if other != miner]
        rest += [self._own] if self._own else []
        if theirs is None or not rest:
            return None
        return distance(theirs.total, theirs.time, *averaged_of(rest), self.terms.norm)

    def certificate(self) -> tuple[Estimate, ...]:
        """Our estimate, then the others by public key: what a block of ours would carry."""
        assert self._own is not None, "a certificate needs an estimate of our own"
        return (self._own, *(self._estimates[miner] for miner in sorted(self._estimates)))

    def _is_later(self, estimate: Estimate) -> bool:
        known = self._estimates.get(estimate.miner)
        return known is None or estimate.time > known.time
