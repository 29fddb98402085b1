"""Bringing fraud before the chain (docs/adr/0010): what this miner reports, which cases it recomputes, how it votes.

An audit that convicts a miner with evidence leads to a FraudReport, unless somebody else is ahead. Every other case
that the tip's state knows is tried once: its accused step is recomputed on our own device, and if it is beyond twice
the tolerance we vote. Two blocks of one height that one key has signed lead to a DoubleSign.

Decides only what to do; `PoSap` signs and sends. Everything here is forgotten in a restart but what the chain and the
mempool hold: cases are then tried again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from fedcoin.consensus.case_files import CaseFiles
from fedcoin.consensus.chain import Chain
from fedcoin.consensus.messages import Audit, Effect, Evidence, NotProsecuted, StartTrial, TrialFinished
from fedcoin.core.block import Block
from fedcoin.core.encoding import tagged_hash
from fedcoin.core.errors import FedCoinError
from fedcoin.core.fraud import DoubleSign, FraudReport, FraudVote
from fedcoin.core.keys import address_of
from fedcoin.core.transaction import Body, Transaction, Transfer
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.fraud import FraudCase, open_cases
from fedcoin.ledger.mempool import Mempool
from fedcoin.ledger.miners import MinerStanding, active_miners, find_miner, is_active

TURN_MS = 3_000
"""Between the reports of one miner and of the next: the first one saves all others their fee."""
TURNS = 20
"""Miners that take turns; in larger networks several share one."""
OTHERS_FIRST_MS = 60_000
"""So long after an audit others' reports against the same miner are waited for."""
TRIAL_RETRY_MS = 60_000
"""Before a case that could not be recomputed is tried again."""
TRIAL_LOST_MS = 600_000
"""A trial that has not ended by then counts as lost."""
SEND_RETRY_MS = 60_000
"""Before a report or vote that could not be sent, for lack of money say, is tried again."""
MAX_SUSPECTS = 16
"""Miners whose evidence waits here to be reported, at most."""
MAX_SIGNED = 16_384
"""Blocks that are remembered by winner and height."""


@dataclass(frozen=True)
class Suspicion:
    """Something to bring before the chain."""

    evidence: FraudReport | DoubleSign
    since: int
    """ms."""


@dataclass
class _Trial:
    """Where our recomputation of one case stands."""

    retry_at: int
    """Not before then; while it runs: when it counts as lost."""
    guilty: bool | None = None
    """None: not known yet."""


class Prosecution:
    """One miner's part in convicting others."""

    def __init__(self, chain: Chain, mempool: Mempool, own_key: bytes) -> None:
        self.files = CaseFiles(chain)
        self._chain = chain
        self._mempool = mempool
        self._own_key = own_key
        self._suspects: dict[bytes, Suspicion] = {}
        """By the accused's public key."""
        self._trials: dict[bytes, _Trial] = {}
        self._running: bytes | None = None
        self._waiting: dict[bytes, Transaction] = {}
        """By id: reports and votes that wait in the mempool."""
        self._gap = False
        """One of our own has left the mempool without a block: the chain had decided the case."""
        self._pauses: dict[bytes, int] = {}
        """What could not be sent → when to try again."""
        self._signed: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        """(winner, height) → the first of its blocks that we have seen."""
        self._own_height = 0
        """Of our own blocks that others have handed us."""

    # --- what we learn -----------------------------------------------------------------------------------------------

    def heard(self, transaction: Transaction) -> None:
        """A transaction has entered the mempool."""
        if isinstance(transaction.body, FraudReport | FraudVote | DoubleSign):
            self._waiting[transaction.id(self._chain.chain_id)] = transaction

    def undone(self, blocks: Iterable[Block]) -> None:
        """The mempool holds again what these have held."""
        for block in blocks:
            for transaction in block.transactions:
                self.heard(transaction)

    def audited(self, audit: Audit, evidence: Mapping[bytes, Evidence], now: int) -> None:
        """An audit has found evidence against some miners."""
        for item in audit.items:
            estimate = item.estimate
            found = self.files.race_of(estimate) if estimate.miner in evidence else None
            if found is not None:
                report = FraudReport(estimate, found.order, *evidence[estimate.miner])
                self._suspect(estimate.miner, report, now)

    def block_seen(self, block: Block, now: int) -> None:
        """A block with a good signature has come, whether it is kept or not."""
        header, block_hash = block.header, block.id()
        other = self._signed.get((header.winner, header.height)) or self._adopted_by(header.winner, header.height)
        if other is None or other == block_hash or header.winner == self._own_key:
            return
        known = self._chain.block(other)
        first, second = sorted((block, known), key=Block.id)
        evidence = DoubleSign(first.header, first.signature, second.header, second.signature)
        self._suspect(header.winner, evidence, now)

    def block_kept(self, block: Block) -> None:
        """A block that came from a peer has become part of the tree."""
        if block.header.winner == self._own_key:
            self._own_height = max(self._own_height, block.header.height)
        self._signed.setdefault((block.header.winner, block.header.height), block.id())
        if len(self._signed) > MAX_SIGNED:
            self._signed.popitem(last=False)

    def may_sign(self, height: int) -> bool:
        """Whether a block of ours of that height is no double signature, as far as we know.

        Tips never fall while a node runs; but one whose store was lost may meet what it has signed before.
        """
        return height > self._own_height

    def trial_finished(self, event: TrialFinished, now: int) -> None:
        """Our recomputation of a case has ended."""
        if event.case == self._running:
            self._running = None
        self._trials[event.case] = _Trial(now + TRIAL_RETRY_MS, event.guilty)

    def not_sent(self, body: Body, now: int) -> None:
        """What was to be sent was refused."""
        self._pauses[_subject(body)] = now + SEND_RETRY_MS

    # --- what to do --------------------------------------------------------------------------------------------------

    def act(self, send: Callable[[Body, int], list[Effect]], now: int) -> list[Effect]:
        """Reports, votes, and the next case to recompute. `send(body, now)`: signs a transaction and sends it."""
        effects: list[Effect] = []
        for body in self.wanted(now):
            try:
                effects += send(body, now)
            except FedCoinError as error:
                self.not_sent(body, now)
                effects.append(NotProsecuted(body, error))
        trial = self.next_trial(now)
        return [*effects, trial] if trial else effects

    def wanted(self, now: int) -> list[Body]:
        """What this miner should sign and send now."""
        if not (self._suspects or self._trials or self._waiting):
            return []
        self._tidy(now)
        bodies = self._unpaused([*self._reports(now), *self._votes()], now)
        return bodies or self._unpaused(self._filler(), now)

    def _unpaused(self, bodies: list[Body], now: int) -> list[Body]:
        return [body for body in bodies if self._pauses.get(_subject(body), 0) <= now]

    def next_trial(self, now: int) -> StartTrial | None:
        """The next case to recompute: one at a time, those never tried first, then the one that has waited longest.

        One that leads to nothing again and again, for a problem too heavy to be prepared in time, say, holds up no
        other. And one case is looked into at a time: finding its race may take reading a hundred blocks.
        """
        if self._running is not None and now < self._trials[self._running].retry_at:
            return None
        due = [case for case in self._votable() if self._is_due(case, now)]
        if not due:
            return None
        case = min(due, key=lambda case: self._trials[case.id].retry_at if case.id in self._trials else 0)
        report = self.files.report_of(case)
        found = self.files.race_of(report.estimate) if report is not None else None
        if report is None or found is None or found.order != report.order:
            # Nothing that we can recompute now, or damages claimed for somebody who has no part in that race.
            self._trials[case.id] = _Trial(now + TRIAL_RETRY_MS)
            return None
        self._running = case.id
        self._trials[case.id] = _Trial(now + TRIAL_LOST_MS)
        return StartTrial(case.id, report, found.problem)

    def _is_due(self, case: FraudCase, now: int) -> bool:
        trial = self._trials.get(case.id)
        return trial is None or (trial.guilty is None and now >= trial.retry_at)

    def _reports(self, now: int) -> Iterator[Body]:
        may_report = self._is_active(self._own_key)
        for accused, suspicion in self._suspects.items():
            if isinstance(suspicion.evidence, FraudReport) and (not may_report or self._is_reported(accused, now)):
                continue
            sent = any(_accused_by(transaction.body) == accused for transaction in self._on_the_way())
            if not sent and now >= suspicion.since + self._turn(accused) * TURN_MS:
                yield suspicion.evidence

    def _votes(self) -> Iterator[Body]:
        own = (transaction.body for transaction in self._on_the_way() if transaction.sender == self._own_key)
        voted = {body.case for body in own if isinstance(body, FraudVote)}
        for case in self._votable():
            trial = self._trials.get(case.id)
            if trial is not None and trial.guilty and case.id not in voted:
                yield FraudVote(case.id)

    def _votable(self) -> list[FraudCase]:
        """Open cases in which our vote is missing, the oldest first."""
        if not self._is_active(self._own_key):
            return []
        cases = (
            case
            for case in open_cases(self._chain.state)
            if not case.decided and case.accused != self._own_key and self._own_key not in case.votes
        )
        return sorted(cases, key=lambda case: (case.opened_height, case.id))

    def _is_reported(self, accused: bytes, now: int) -> bool:
        """Whether somebody's case against a miner makes ours superfluous.

        One of which our own trial thinks otherwise does not, so that nobody shields a forger by a report that leads
        nowhere; nor does one that we could not try for a minute.
        """
        fresh = now < self._suspects[accused].since + OTHERS_FIRST_MS
        for case in open_cases(self._chain.state):
            if case.accused == accused and not case.decided:
                trial = self._trials.get(case.id)
                guilty = trial.guilty if trial is not None else None
                if guilty or self._own_key in case.votes or (guilty is None and fresh):
                    return True
        return False

    def _turn(self, accused: bytes) -> int:
        """Miners report one after another, in an order that is another one for each accused."""
        keys = [miner.public_key for miner in active_miners(self._chain.state, self._chain.params)]
        ranked = sorted(keys, key=lambda key: tagged_hash("fedcoin/v1/turn", accused + key))
        return ranked.index(self._own_key) % TURNS if self._own_key in ranked else TURNS

    # --- housekeeping ------------------------------------------------------------------------------------------------

    def _suspect(self, accused: bytes, evidence: FraudReport | DoubleSign, now: int) -> None:
        known = self._suspects.get(accused)
        # Two signed blocks need nobody's vote.
        stronger = isinstance(evidence, DoubleSign) and known is not None and isinstance(known.evidence, FraudReport)
        if (known is None and len(self._suspects) < MAX_SUSPECTS) or stronger:
            self._suspects[accused] = Suspicion(evidence, now)

    def _tidy(self, now: int) -> None:
        """Forgets what is settled."""
        state = self._chain.state
        for accused in list(self._suspects):
            miner = find_miner(state, accused)
            if miner is None or miner.standing is MinerStanding.CONVICTED:
                del self._suspects[accused]
        known = {case.id for case in open_cases(state)}
        self._trials = {case: trial for case, trial in self._trials.items() if case in known or case == self._running}
        self._pauses = {subject: until for subject, until in self._pauses.items() if until > now}
        for txid, transaction in list(self._waiting.items()):
            if txid not in self._mempool:
                del self._waiting[txid]
                unused = transaction.nonce >= get_account(state, transaction.sender_address).nonce
                self._gap = self._gap or (unused and transaction.sender == self._own_key)

    def _filler(self) -> list[Body]:
        """A vote of ours that was not needed any more leaves a gap of nonces, and what we have sent after it waits
        behind the gap: a transfer to ourselves fills it."""
        if not self._gap:
            return []
        address = address_of(self._own_key)
        nonce = self._mempool.pending_nonce(address, self._chain.state)
        behind = any(each.sender == self._own_key and each.nonce > nonce for each in self._mempool.transactions())
        self._gap = behind
        return [Transfer(address, 1)] if behind else []

    def _on_the_way(self) -> Iterator[Transaction]:
        """Reports and votes in the mempool that no gap of nonces holds up."""
        for txid, transaction in self._waiting.items():
            pending = self._mempool.pending_nonce(transaction.sender_address, self._chain.state)
            if txid in self._mempool and transaction.nonce < pending:
                yield transaction

    def _adopted_by(self, winner: bytes, height: int) -> bytes | None:
        """The adopted block of that height, if it is this winner's: after a restart nothing else is at hand."""
        chain = self._chain
        if not 0 < height <= chain.height:
            return None
        block_hash = chain.tree.ancestor(chain.tip, height)
        return block_hash if chain.block(block_hash).header.winner == winner else None

    def _is_active(self, key: bytes) -> bool:
        miner = find_miner(self._chain.state, key)
        return miner is not None and is_active(miner, self._chain.params)


def _accused_by(body: Body) -> bytes | None:
    if isinstance(body, FraudReport):
        return body.estimate.miner
    return body.first.winner if isinstance(body, DoubleSign) else None


def _subject(body: Body) -> bytes:
    return body.case if isinstance(body, FraudVote) else _accused_by(body) or b""
