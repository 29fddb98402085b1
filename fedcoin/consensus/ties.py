"""Ends ties that would never end by themselves.

First seen decides a tie (§4.1). But miners that hold different tips of one height can never form a quorum: they would
work on for ever, each on its own parent. So two rules come after first seen:

- A true tie, whose blocks came at about the same time, falls to the lower rank if nothing extends either for a while. A
  block that somebody held back comes too late to be one.
- If there is no quorum on our tip for longer, after a cut in the network has healed, say, we follow the miners: to the
  tip that more of them work on, of equals to the one of the lower rank.

The rank comes from the block below both and from the winner's key: nothing that a winner can choose.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator

from fedcoin.consensus.candidates import Candidates
from fedcoin.consensus.certificate import has_quorum
from fedcoin.consensus.chain import Chain
from fedcoin.consensus.settings import PoSapSettings
from fedcoin.core.encoding import tagged_hash
from fedcoin.core.estimate import Estimate
from fedcoin.ledger.miners import active_miners

RACES_A_MINER = 8
"""Races on other tips in which a miner's word is remembered."""


def tie_rank(fork: bytes, block_hash: bytes, winner: bytes) -> tuple[bytes, bytes]:
    """What decides between two branches that part at `fork`, by the first block of each; the lower one wins.

    A block's hash alone would not do: its winner tries timestamps and orders of transactions until it is low. Keys are
    registered before the block that they are ranked on is known. Only two blocks of one winner go by their hash.
    """
    return tagged_hash("fedcoin/v1/tie", fork + winner), block_hash


class Ties:
    """Which tip of our height is better than ours, and the estimates of miners that work on other tips."""

    def __init__(self, chain: Chain, candidates: Candidates, settings: PoSapSettings) -> None:
        self._chain = chain
        self._candidates = candidates
        self._settings = settings
        self._elsewhere: dict[bytes, Estimate] = {}
        """Latest estimate of each miner that has last been heard on a block that is not our tip but may become it."""
        self._heard: dict[bytes, OrderedDict[bytes, Estimate]] = {}
        """Miner → race → its estimate with the largest `time`, of its last races. Anybody may repeat what a miner has
        said before it moved, so each estimate counts once. By `time` and not by `opened_at`, because clocks may be set
        back."""
        self._stalled: set[bytes] = set()
        """Tips that were left because more miners work elsewhere. Their lower rank alone does not bring us back: what
        is a true tie here need not be one for those others."""
        self._tip_since: int | None = None

    def heard(self, estimate: Estimate) -> None:
        """A miner that may take part works on another known block. Raises EstimateOutOfRange, InvalidSignature."""
        chain = self._chain
        if chain.tree.height(estimate.parent) < chain.height or chain.tree.is_invalid(estimate.parent):
            return
        known = self._known(estimate)
        if known is not None and known.time >= estimate.time:
            return
        estimate.verify_range(len(estimate.total))
        chain.verified.estimate(estimate)
        self._note(estimate)
        self._elsewhere[estimate.miner] = estimate

    def heard_here(self, estimate: Estimate) -> None:
        """A miner works on our tip; its signature has been verified."""
        known = self._known(estimate)
        if known is None or known.time <= estimate.time:
            self._note(estimate)
            self._elsewhere.pop(estimate.miner, None)

    def _known(self, estimate: Estimate) -> Estimate | None:
        races = self._heard.get(estimate.miner)
        return races.get(estimate.race) if races else None

    def _note(self, estimate: Estimate) -> None:
        """Nobody can check what races there are on a block that is not our tip, so a miner has a few places only."""
        races = self._heard.setdefault(estimate.miner, OrderedDict())
        races[estimate.race] = estimate
        races.move_to_end(estimate.race)
        while len(races) > RACES_A_MINER:
            races.popitem(last=False)

    def drop(self, miner: bytes) -> None:
        """Forgets a convicted miner."""
        self._elsewhere.pop(miner, None)

    def early(self) -> tuple[Estimate, ...]:
        """Estimates on our tip that came before it became our tip."""
        return tuple(estimate for estimate in self._elsewhere.values() if estimate.parent == self._chain.tip)

    def tip_changed(self, now: int) -> None:
        """Forgets what has become pointless."""
        chain = self._chain
        self._tip_since = now

        def open_still(estimate: Estimate) -> bool:
            return chain.tree.height(estimate.parent) >= chain.height

        self._elsewhere = {miner: each for miner, each in self._elsewhere.items() if open_still(each)}
        self._stalled = {tip for tip in self._stalled if chain.tree.height(tip) >= chain.height}
        for miner, races in list(self._heard.items()):
            self._heard[miner] = OrderedDict((race, each) for race, each in races.items() if open_still(each))
            if not self._heard[miner]:
                del self._heard[miner]

    def better(self, on_tip: Collection[bytes], now: int) -> Iterator[bytes]:
        """Tips of our height to turn to if their audits allow. `on_tip`: miners that work on ours, and this one."""
        chain = self._chain
        if self._tip_since is None:
            self._tip_since = now
        rivals = self._rivals()
        if not rivals or self._extended():
            return
        settings = self._settings
        stalled = now >= self._tip_since + settings.stall_ms and not self._quorum(on_tip)
        for rival in rivals:
            true_tie = self._candidates.is_tie(rival, chain.tip, now, settings.tie_window_ms, settings.tie_patience_ms)
            waited = stalled and self._candidates.first_seen(rival, now) + settings.stall_ms <= now
            if waited and self._more_work_on(rival, on_tip):
                self._stalled.add(chain.tip)
                yield rival
            elif true_tie and rival not in self._stalled and self._ranks_before(rival, chain.tip):
                yield rival

    def is_stuck(self, on_tip: Collection[bytes], now: int) -> bool:
        """Whether our tip has gone without a quorum for so long that no judgement of ours is worth the standstill.

        Where neither we nor others on other tips have anything to do, nothing stands still.
        """
        since = self._tip_since
        if since is None or now < since + self._settings.stall_ms:
            return False
        works = self._candidates.own_key in on_tip or bool(self._elsewhere)
        return works and not self._quorum(on_tip)

    def shows_position(self, now: int) -> bool:
        """Whether to work for no other reason than that others learn which of two tips we follow.

        Not before those that have nothing to do could follow the ones that work, and for a while only: if no tip has
        won by then, miners are missing, and the next reason for a block decides.
        """
        stall = self._settings.stall_ms
        rivals = self._rivals()
        if self._tip_since is None or not rivals or self._extended():
            return False
        latest = max(self._candidates.first_seen(rival, now) for rival in rivals)
        return 2 * stall <= now - max(latest, self._tip_since) < 4 * stall

    def _rivals(self) -> list[bytes]:
        chain = self._chain
        return [
            leaf
            for leaf in chain.tree.candidates(chain.height - 1)
            if leaf != chain.tip and chain.tree.height(leaf) == chain.height
        ]

    def _extended(self) -> bool:
        """Whether a block on our tip is known; then the tie is over, even while that block is being audited."""
        tree = self._chain.tree
        return any(not tree.is_invalid(child) for child in tree.children(self._chain.tip))

    def _quorum(self, on_tip: Collection[bytes]) -> bool:
        miners = set(on_tip) - self._elsewhere.keys()
        return len(miners) > 1 and has_quorum(miners, self._chain.state, self._chain.params)

    def _more_work_on(self, rival: bytes, on_tip: Collection[bytes]) -> bool:
        active = {record.public_key for record in active_miners(self._chain.state, self._chain.params)}
        there = {miner for miner, estimate in self._elsewhere.items() if estimate.parent == rival} & active
        here = active.intersection(on_tip) - there
        return len(there) > len(here) or (len(there) == len(here) > 0 and self._ranks_before(rival, self._chain.tip))

    def _ranks_before(self, one: bytes, other: bytes) -> bool:
        """Whether of two tips of one height the first one has the lower rank."""
        chain = self._chain
        fork = chain.tree.common_ancestor(one, other)

        def rank(tip: bytes) -> tuple[bytes, bytes]:
            first = chain.tree.ancestor(tip, chain.tree.height(fork) + 1)
            return tie_rank(fork, first, chain.block(first).header.winner)

        return rank(one) < rank(other)
