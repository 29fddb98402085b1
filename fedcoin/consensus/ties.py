"""Ends ties that would never end by themselves.

First seen decides a tie (§4.1). But miners that hold different tips of one height can never form a quorum: they would
work on for ever, each on its own parent. So two rules come after first seen:

- A true tie, whose blocks came at about the same time, falls to the lower hash if nothing extends either for a while. A
  block that somebody held back comes too late to be one.
- If there is no quorum on our tip for longer, after a cut in the network has healed, say, we follow the miners: to the
  tip that more of them work on, of equals to the lower hash.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fedcoin.consensus.candidates import Candidates
from fedcoin.consensus.certificate import has_quorum
from fedcoin.consensus.chain import Chain
from fedcoin.consensus.settings import PoSapSettings
from fedcoin.core.estimate import Estimate
from fedcoin.ledger.miners import active_miners


class Ties:
    """Which tip of our height is better than ours, and the estimates of miners that work on other tips."""

    def __init__(self, chain: Chain, candidates: Candidates, settings: PoSapSettings) -> None:
        self._chain = chain
        self._candidates = candidates
        self._settings = settings
        self._elsewhere: dict[bytes, Estimate] = {}
        """Latest estimate of each miner that has last been heard on a block that is not our tip but may become it."""
        self._tip_since: int | None = None

    def heard(self, estimate: Estimate) -> None:
        """A miner that may take part works on another known block. Raises InvalidSignature."""
        chain, known = self._chain, self._elsewhere.get(estimate.miner)
        if chain.tree.height(estimate.parent) < chain.height or chain.tree.is_invalid(estimate.parent):
            return
        if known is not None and known.parent == estimate.parent and known.time >= estimate.time:
            return
        chain.verified.estimate(estimate)
        self._elsewhere[estimate.miner] = estimate

    def heard_here(self, miner: bytes) -> None:
        """A miner works on our tip."""
        self._elsewhere.pop(miner, None)

    def early(self) -> tuple[Estimate, ...]:
        """Estimates on our tip that came before it became our tip."""
        return tuple(estimate for estimate in self._elsewhere.values() if estimate.parent == self._chain.tip)

    def tip_changed(self, now: int) -> None:
        """Forgets what has become pointless."""
        chain = self._chain
        self._tip_since = now
        self._elsewhere = {
            miner: estimate
            for miner, estimate in self._elsewhere.items()
            if chain.tree.height(estimate.parent) >= chain.height
        }

    def better(self, on_tip: Collection[bytes], now: int) -> Iterator[bytes]:
        """Tips of our height to turn to if their audits allow. `on_tip`: miners that work on ours, and this one."""
        chain = self._chain
        if self._tip_since is None:
            self._tip_since = now
        rivals = [
            leaf
            for leaf in chain.tree.candidates(chain.height - 1)
            if leaf != chain.tip and chain.tree.height(leaf) == chain.height
        ]
        if not rivals or self._extended():
            return
        settings = self._settings
        stalled = now >= self._tip_since + settings.stall_ms and not self._quorum(on_tip)
        for rival in rivals:
            true_tie = self._candidates.is_tie(rival, chain.tip, now, settings.tie_window_ms, settings.tie_patience_ms)
            waited = stalled and self._candidates.first_seen(rival, now) + settings.stall_ms <= now
            if (true_tie and rival < chain.tip) or (waited and self._more_work_on(rival, on_tip)):
                yield rival

    def _extended(self) -> bool:
        """Whether a block on our tip is known; then the tie is over, even while that block is being audited."""
        tree = self._chain.tree
        return any(not tree.is_invalid(child) for child in tree.children(self._chain.tip))

    def _quorum(self, miners: Collection[bytes]) -> bool:
        return len(miners) > 1 and has_quorum(miners, self._chain.state, self._chain.params)

    def _more_work_on(self, rival: bytes, on_tip: Collection[bytes]) -> bool:
        active = {record.public_key for record in active_miners(self._chain.state, self._chain.params)}
        there = {miner for miner, estimate in self._elsewhere.items() if estimate.parent == rival} & active
        here = active.intersection(on_tip) - there
        return len(there) > len(here) or (len(there) == len(here) > 0 and rival < self._chain.tip)
