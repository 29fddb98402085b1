"""Alg. 2 live (Alg. 1 lines 23–27): which known block becomes the tip, and which audits stand in the way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from fedcoin.consensus.candidates import Candidates
from fedcoin.consensus.chain import Chain, InvalidBranch
from fedcoin.consensus.messages import AdoptChain, Audit, Effect, Verdict
from fedcoin.consensus.races import Races
from fedcoin.consensus.settings import PoSapSettings
from fedcoin.consensus.ties import Ties


class Tips:
    """Moves the chain's tip."""

    def __init__(
        self,
        chain: Chain,
        races: Races,
        candidates: Candidates,
        settings: PoSapSettings,
        adopted: Callable[[AdoptChain, int], None],
    ) -> None:
        """`adopted`: told of every move of the tip, with the time in ms."""
        self.ties = Ties(chain, candidates, settings)
        self._chain = chain
        self._races = races
        self._candidates = candidates
        self._settings = settings
        self._adopted = adopted

    def reconsider(self, on_tip: Collection[bytes], now: int) -> list[Effect]:
        """Adopts the longest acceptable branch, and starts the audits that stand in the way of a longer one.

        `on_tip`: miners that work on our tip, this one included.
        """
        effects = self._end_tie(on_tip, now)
        stuck = self.ties.is_stuck(on_tip, now)
        progress = True
        while progress:
            progress = False
            for leaf in self._chain.tree.candidates(self._chain.height):
                target, audit = self._furthest(leaf, stuck, now)
                if audit:
                    effects.append(audit)
                if target is not None:
                    progress, stuck = True, False
                    effects += self.adopt(target, now)
                    break
        return effects

    def adopt(self, target: bytes, now: int) -> list[Effect]:
        """Moves the tip to a known block; nothing if a block on the way breaks a rule, which is marked then."""
        try:
            adoption = self._chain.adopt(target)
        except InvalidBranch:
            return []  # The next look finds another candidate or none.
        self._adopted(adoption, now)
        self.ties.tip_changed(now)
        return [adoption]

    def judge(self, audit: Audit, verdicts: Mapping[bytes, Verdict], now: int) -> None:
        """The audit of a block has ended."""
        if audit.block is None or not self._chain.tree.contains(audit.block):
            return
        block = self._chain.block(audit.block)
        before = self._chain.state_at(block.header.previous)
        self._candidates.audited(block, verdicts, before, now, self._settings.audit_retry_ms)

    def _end_tie(self, on_tip: Collection[bytes], now: int) -> list[Effect]:
        effects: list[Effect] = []
        stuck = self.ties.is_stuck(on_tip, now)
        for rival in self.ties.better(on_tip, now):
            block = self._chain.block(rival)
            if self._candidates.burial_needed(block, None, now, stuck) == 0:
                return effects + self.adopt(rival, now)
            audit = self._candidates.audit_wanted(block, self._chain.problem_of, now)
            effects += [audit] if audit else []
        return effects

    def _furthest(self, leaf: bytes, stuck: bool, now: int) -> tuple[bytes | None, Effect | None]:
        """The furthest block towards `leaf` that may be adopted now (None: none beyond the tip); an audit to start."""
        _, path = self._chain.path_to(leaf)
        target, audit = None, None
        for index, block_hash in enumerate(path):
            block = self._chain.block(block_hash)
            descendants = len(path) - 1 - index
            if self._candidates.burial_needed(block, self._races.get(block.header.race), now, stuck) > descendants:
                if descendants == 0:
                    audit = self._candidates.audit_wanted(block, self._chain.problem_of, now)
                break
            if block.header.height > self._chain.height:
                target = block_hash
        return target, audit
