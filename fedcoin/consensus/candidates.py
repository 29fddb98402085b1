"""Which known block may become the tip now: the part of VerifyBlock that depends on what this node has heard.

A fresh block is adopted when an audit of its leaves has passed and its S̄ is close to our own (Alg. 2 line 3). A block
that fails only that is kept: it is reconsidered as estimates arrive, once it is buried under another block, or when
nobody has handed out its leaves for so long that waiting protects nothing any more. One whose forger was caught stays
out until so much was built on it that the rest of the network evidently judges otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from fedcoin.consensus.certificate import averaged_of, has_quorum
from fedcoin.consensus.messages import Audit, AuditItem, StartAudit, Verdict
from fedcoin.consensus.race import Race
from fedcoin.consensus.settings import PoSapSettings
from fedcoin.core.block import Block
from fedcoin.core.params import ChainParams
from fedcoin.core.task import Problem
from fedcoin.ledger.state import State
from fedcoin.shapley.distance import within_distance

ITERATIONS_PER_LEAF = 16
"""An audit recomputes one leaf for so many iterations of an estimate, two at least."""
BURIED = 1
"""Descendants that make up for a missing audit or a failed condition 2."""
BURIED_CONVICTED = 6
"""Descendants that overrule a conviction of ours."""
CHILD_GRACE_MS = 3_000
"""How long a block whose child was promised goes without an audit of its own; the promise may be a lie."""
SPOT_CHECK_LIMIT_MS = 60_000
"""A spot check that has not ended by then counts as lost."""


ProblemOf = Callable[[Block], Problem | None]
"""The problem of the race that a block has ended; None if it names a wrong one."""


class Standing(Enum):
    """Where the audit of a block stands."""

    WAITING = auto()
    RUNNING = auto()
    PASSED = auto()
    CONVICTED = auto()


@dataclass
class _Candidate:
    first_seen: int
    standing: Standing = Standing.WAITING
    retry_at: int = 0
    close: bool = False
    """Condition 2 of Alg. 2 has held at some time since the block came."""
    undecided: bool = False
    """An audit has ended without a verdict on the winner."""
    convicted: set[bytes] = field(default_factory=set)


class Candidates:
    """Judges fresh blocks. Draws which leaves to audit from `rng`, privately, so that nobody can prepare for it."""

    def __init__(self, own_key: bytes, params: ChainParams, rng: random.Random, settings: PoSapSettings) -> None:
        self.own_key = own_key
        self._params = params
        self._rng = rng
        self._settings = settings
        self._known: dict[bytes, _Candidate] = {}

    def add(self, block_hash: bytes, now: int, child_follows: bool) -> None:
        """A block has become known."""
        self._known[block_hash] = _Candidate(now, retry_at=now + CHILD_GRACE_MS if child_follows else now)

    def forget(self, keep: Callable[[bytes], bool]) -> None:
        """Drops what is decided."""
        self._known = {block_hash: entry for block_hash, entry in self._known.items() if keep(block_hash)}

    def burial_needed(self, block: Block, race: Race | None, now: int, stuck: bool = False) -> int:
        """How many descendants `block` needs before this node adopts it; 0: it may become the tip at once.

        `stuck`: for long there has been no quorum on our tip. Then a conviction of ours holds up nothing any more.
        """
        if block.header.winner == self.own_key:
            return 0
        # One from before a restart has not passed any audit that we remember: it counts as seen now.
        entry = self._known.setdefault(block.id(), _Candidate(now))
        # First judged when the block comes: our S̄ moves on while its leaves are audited, and would be held against it.
        entry.close = entry.close or self._close_to_ours(block, race)
        if entry.standing is Standing.CONVICTED:
            return 0 if stuck and now >= entry.first_seen + self._settings.stall_ms else BURIED_CONVICTED
        if entry.first_seen + self._settings.patience_ms < now:
            return 0
        waited = now >= entry.first_seen + self._settings.close_patience_ms
        if entry.standing is Standing.PASSED and (entry.close or waited):
            return 0
        return BURIED

    def any_waits(self, siblings: Sequence[bytes], now: int, hold_ms: int) -> bool:
        """Whether one of these blocks waits for the end of its first audit, and the first of them came lately.

        A heavy problem takes its time to audit. But a winner that does not hand out its leaves holds nobody up for
        longer than one audit.
        """
        known = [self._known[block_hash] for block_hash in siblings if block_hash in self._known]
        if not known or now > min(entry.first_seen for entry in known) + hold_ms:
            return False
        return any(entry.standing in (Standing.WAITING, Standing.RUNNING) and not entry.undecided for entry in known)

    def is_tie(self, one: bytes, other: bytes, now: int, window_ms: int, patience_ms: int) -> bool:
        """Whether two blocks came at about the same time, and long enough ago."""
        first, second = self._known.get(one), self._known.get(other)
        if first is None or second is None or abs(first.first_seen - second.first_seen) > window_ms:
            return False
        return now >= max(first.first_seen, second.first_seen) + patience_ms

    def first_seen(self, block_hash: bytes, now: int) -> int:
        """When a block became known, in ms; `now` if it was before a restart."""
        return self._known.setdefault(block_hash, _Candidate(now)).first_seen

    def audit_wanted(self, block: Block, problem_of: ProblemOf, now: int) -> StartAudit | None:
        """The audit to start for a block that waits to be adopted, if none is under way.

        There is none for a block that names a problem of another branch: it is invalid, which its parent's state shows.
        """
        entry = self._known.get(block.id())
        if entry is None or entry.standing is not Standing.WAITING or now < entry.retry_at:
            return None
        problem = problem_of(block)
        if problem is None:
            entry.retry_at = now + CHILD_GRACE_MS
            return None
        entry.standing = Standing.RUNNING
        items = tuple(
            AuditItem(estimate, self._draw(estimate.time))
            for estimate in block.certificate
            if estimate.miner != self.own_key
        )
        return StartAudit(Audit(block.header.race, problem, items, block.id()))

    def audited(
        self, block: Block, verdicts: Mapping[bytes, Verdict], parent_state: State | None, now: int, retry_ms: int
    ) -> None:
        """An audit of `block` has ended. `parent_state`: None if the block follows one that is not on our chain."""
        entry = self._known.get(block.id())
        if entry is None:
            return
        entry.convicted |= {miner for miner, verdict in verdicts.items() if verdict is Verdict.CONVICTED}
        if entry.convicted and not self._stands_without(block, entry.convicted, parent_state):
            entry.standing = Standing.CONVICTED
        elif verdicts.get(block.header.winner) is Verdict.HONEST:
            entry.standing = Standing.PASSED
        else:
            entry.standing = Standing.WAITING
            entry.undecided = True
            entry.retry_at = now + retry_ms

    def _stands_without(self, block: Block, convicted: set[bytes], state: State | None) -> bool:
        """Whether the block would have won without the convicted miners' estimates: then they have gained nothing."""
        winner, *others = block.certificate
        honest = [estimate for estimate in others if estimate.miner not in convicted]
        if winner.miner in convicted or not honest or state is None:
            return False
        if not has_quorum([winner.miner, *(estimate.miner for estimate in honest)], state, self._params):
            return False
        difficulty = block.header.difficulty
        return within_distance(winner.total, winner.time, *averaged_of(honest), self._params.norm, difficulty)

    def _close_to_ours(self, block: Block, race: Race | None) -> bool:
        """Alg. 2 line 3, condition 2: ‖S̄ − S̄_t‖_p ≤ D, S̄ being ours. Without an S̄ of our own there is nothing to
        compare."""
        ours = race.averaged_with_own() if race is not None else None
        if ours is None:
            return True
        header = block.header
        return within_distance(header.averaged_total, header.averaged_time, *ours, self._params.norm, header.difficulty)

    def _draw(self, time: int) -> tuple[int, ...]:
        # Fewer of a short estimate: an audit must not take longer than the race did.
        count = min(time, self._settings.audit_leaves, max(2, time // ITERATIONS_PER_LEAF))
        return tuple(sorted(self._rng.sample(range(time), count)))


class SpotChecks:
    """Audits while a race runs: a share of our own work goes into recomputing leaves that others have announced."""

    def __init__(self, rng: random.Random, share: float, most: int = 4) -> None:
        """`share`: recomputed leaves per iteration of our own; `most`: leaves in one check."""
        self._rng = rng
        self._share = share
        self._most = most
        self._credit = 0.0
        self._lost_after: int | None = None
        """When the running check counts as lost; None while none runs."""

    def earn(self, iterations: int) -> None:
        """We have done some iterations of our own."""
        self._credit = min(self._credit + iterations * self._share, 8.0 * self._most)

    def next(self, race: Race, now: int) -> StartAudit | None:
        """The next check, if enough is saved up for one and none is running."""
        running = self._lost_after is not None and now < self._lost_after
        if running or self._credit < 1 or not race.others:
            return None
        estimate = race.others[self._rng.choice(sorted(race.others))]
        count = min(int(self._credit), self._most, estimate.time)
        self._credit -= count
        self._lost_after = now + SPOT_CHECK_LIMIT_MS
        indices = tuple(sorted(self._rng.sample(range(estimate.time), count)))
        return StartAudit(Audit(race.id, race.terms.problem, (AuditItem(estimate, indices),)))

    def finished(self) -> None:
        """The running check has ended."""
        self._lost_after = None
