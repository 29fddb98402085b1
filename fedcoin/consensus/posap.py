"""Proof of Shapley as a state machine: `step(input, now)` → effects.

Algorithm 1 reads as an endless loop with three reactions; here every reaction is one input. The same inputs at the same
times, with the same key and random source, give the same effects. Bad input raises the error of the rule it breaks and
changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedcoin.consensus.assemble import assemble_block
from fedcoin.consensus.candidates import Candidates, SpotChecks
from fedcoin.consensus.certificate import has_quorum, others_needed
from fedcoin.consensus.chain import Chain, ChainStorage, InvalidBranch, StoredChain
from fedcoin.consensus.messages import (
    AdoptChain,
    Audit,
    AuditFinished,
    Effect,
    Input,
    IterationsDone,
    MiningView,
    ReceiveBlock,
    ReceiveEstimate,
    ReceiveTask,
    ReceiveTransaction,
    SendBlock,
    SendEstimate,
    SendTask,
    SendTransaction,
    StartRace,
    StopRace,
    StoreBlock,
    StoreLeaves,
    Tick,
    Verdict,
)
from fedcoin.consensus.race import Race
from fedcoin.consensus.races import Races
from fedcoin.consensus.verify import verify_alone
from fedcoin.core.block import Block
from fedcoin.core.errors import (
    FedCoinError,
    InvalidAncestor,
    MinerConvicted,
    MinerNotAllowed,
    TimestampInFuture,
    UnknownParent,
    UnknownRace,
)
from fedcoin.core.estimate import Estimate
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Problem, Task
from fedcoin.ledger.mempool import Mempool
from fedcoin.ledger.miners import may_mine
from fedcoin.ledger.problems import last_problem


@dataclass(frozen=True)
class PoSapSettings:
    """What a node may choose for itself; none of it is a rule of the chain."""

    mine: bool = True
    """False: follow the chain only."""
    patience_ms: int = 60_000
    """How long a fresh block waits for the leaves of its winner."""
    audit_retry_ms: int = 3_000
    """Pause before leaves that nobody handed out are asked for again."""
    audit_leaves: int = 8
    """Leaves recomputed per estimate of a fresh block."""
    audit_share: float = 0.05
    """Share of our own work that goes into checks while a race runs."""
    max_future_ms: int = 15_000
    """A block may be this far ahead of our clock."""
    mempool_capacity: int = 10_000
    hold_ms: int = 5_000
    """How long a fresh block's audit keeps us from making a block of our own."""
    tie_window_ms: int = 5_000
    """Two blocks of one height that arrive within this time of each other are a true tie."""
    tie_patience_ms: int = 2_000
    """How long first seen decides a true tie; if nothing extends either by then, the lower hash does."""
    conviction_blocks: int = 100
    """A convicted miner's estimates are not taken for so many blocks."""


class PoSap:
    """A miner's consensus: Alg. 1 with the checks of Alg. 2 and audits of leaves."""

    def __init__(
        self,
        genesis: Genesis,
        storage: ChainStorage,
        key: PrivateKey,
        rng: random.Random,
        settings: PoSapSettings | None = None,
        stored: StoredChain | None = None,
    ) -> None:
        """`rng`: private randomness, for audits only. `stored`: the chain to go on from."""
        self.settings = settings or PoSapSettings()
        self.key = key
        self.chain = Chain(genesis, storage, stored)
        self.mempool = Mempool(self.chain.chain_id, self.chain.params, self.settings.mempool_capacity)
        self.races = Races(self.chain, key)
        self._candidates = Candidates(
            key.public_key, self.chain.params, rng, self.settings.patience_ms, self.settings.audit_leaves
        )
        self._spot_checks = SpotChecks(rng, self.settings.audit_share)
        self._convicted: dict[bytes, int] = {}
        self._working_on: bytes | None = None

    def step(self, event: Input, now: int) -> list[Effect]:
        """What follows from `event` at `now` (ms since 1970). Raises a FedCoinError for bad input, which changes
        nothing."""
        match event:
            case IterationsDone():
                effects = self._iterations_done(event)
            case ReceiveEstimate():
                effects = self._receive_estimate(event)
            case ReceiveBlock():
                effects = self._receive_block(event, now)
            case ReceiveTask():
                effects = self._receive_task(event, now)
            case ReceiveTransaction():
                effects = self._receive_transaction(event, now)
            case AuditFinished():
                effects = self._audit_finished(event, now)
            case Tick():
                effects = []
        effects += self._reconsider(now)
        effects += self._take_held_tasks(now)
        block = self._win(now)
        if block:
            # Our estimate stands in the block's certificate. Sent ahead of the block it would make others win as well.
            effects = [effect for effect in effects if not self._is_own_estimate(effect)]
        return [*effects, *block, *self._choose_race(now)]

    # --- what people and RPCs ask ------------------------------------------------------------------------------------

    def open_tasks(self) -> Sequence[Task]:
        """Tasks on the tip, the one to be mined first in front."""
        return self.races.open_tasks()

    def estimates(self, race: bytes | None = None) -> Sequence[Estimate]:
        """Latest estimates in a race (None: the current one), ours included."""
        found = self.races.get(race if race is not None else self._working_on or b"")
        if found is None:
            return ()
        return (*found.others.values(), *([found.own] if found.own else []))

    def view(self) -> MiningView:
        """Where the current race stands."""
        race = self.races.get(self._working_on or b"")
        if race is None:
            return MiningView()
        terms = race.terms
        return MiningView(
            race=race.id,
            kind=terms.kind,
            task=terms.task_hash,
            order=terms.task.order if terms.task else None,
            round=terms.task.round if terms.task else None,
            clients=terms.problem.clients,
            difficulty=terms.difficulty / UTILITY_SCALE,
            iterations=race.log.time,
            distance=race.distance(),
            heard_from=len(race.others),
            quorum=others_needed(self.chain.state, self.chain.params),
            estimates={miner: (e.time, race.distance_of(miner)) for miner, e in race.others.items()},
        )

    # --- Alg. 1, reaction by reaction --------------------------------------------------------------------------------

    def _iterations_done(self, event: IterationsDone) -> list[Effect]:
        """Lines 4–13."""
        race = self.races.get(event.race)
        if race is None:
            return []  # The race ended while the evaluator was still at work.
        estimate = race.add_iterations(event.start, event.leaves)
        self._spot_checks.earn(len(event.leaves))
        effects: list[Effect] = []
        if not event.stored:
            # Persist first, so that a restart extends what it has announced instead of contradicting it.
            effects.append(StoreLeaves(event.race, event.start, event.leaves))
        effects.append(SendEstimate(estimate))
        check = self._spot_checks.next(race)
        return [*effects, check] if check else effects

    def _receive_estimate(self, event: ReceiveEstimate) -> list[Effect]:
        """Lines 15–16."""
        estimate = event.estimate
        race = self.races.of_estimate(estimate)
        if race is None:
            if self.chain.tree.contains(estimate.parent) and estimate.parent != self.chain.tip:
                return []  # Of a race that is over: neither an error nor worth relaying.
            raise UnknownRace
        if estimate.miner in self._convicted:
            raise MinerConvicted
        if not may_mine(self.chain.state, estimate.miner, self.chain.height):
            raise MinerNotAllowed
        return [SendEstimate(estimate, event.source)] if race.receive(estimate) else []

    def _receive_block(self, event: ReceiveBlock, now: int) -> list[Effect]:
        """Lines 23–27, as far as the block alone and its parent decide."""
        block = event.block
        block_hash = block.id()
        if self.chain.tree.contains(block_hash):
            return []
        if not self.chain.tree.contains(block.header.previous):
            raise UnknownParent
        if self.chain.tree.is_invalid(block.header.previous):
            raise InvalidAncestor
        if block.header.timestamp > now + self.settings.max_future_ms:
            raise TimestampInFuture
        # On a side branch the state is not at hand; present registration keeps strangers from filling the disk.
        if not all(may_mine(self.chain.state, estimate.miner, block.header.height) for estimate in block.certificate):
            raise MinerNotAllowed
        verify_alone(block, self.chain.chain_id, self.chain.params)
        if block.header.previous == self.chain.tip:
            self.chain.check_on_tip(block)
        self.chain.insert(block)
        self._candidates.add(block_hash, now, event.more_follows)
        self._learn_from_certificate(block)
        return [StoreBlock(block), SendBlock(block, event.source)]

    def _receive_task(self, event: ReceiveTask, now: int) -> list[Effect]:
        """Alg. 3 line 5: a task enters the network."""
        return [SendTask(event.task, event.source)] if self.races.add_task(event.task, now) else []

    def _take_held_tasks(self, now: int) -> list[Effect]:
        """Tasks that came before the block they were published on became our tip."""
        effects: list[Effect] = []
        for task in self.races.take_held():
            try:
                effects += self._receive_task(ReceiveTask(task), now)
            except FedCoinError:
                continue  # It fits the chain no longer; its server will publish another.
        return effects

    def _receive_transaction(self, event: ReceiveTransaction, now: int) -> list[Effect]:
        transaction = event.transaction
        if self.mempool.get(transaction.id(self.chain.chain_id)) is not None:
            return []
        self.mempool.add(transaction, self.chain.state, self._next_timestamp(now))
        return [SendTransaction(transaction, event.source)]

    def _audit_finished(self, event: AuditFinished, now: int) -> list[Effect]:
        for miner, verdict in event.verdicts.items():
            if verdict is Verdict.CONVICTED:
                self._convicted[miner] = self.chain.height
                self.races.drop_miner(miner)
        if event.audit.block is None:
            self._spot_checks.finished()
        elif self.chain.tree.contains(event.audit.block):
            self._judge_block(event.audit, event.verdicts, now)
        return []

    # --- Alg. 2, live ------------------------------------------------------------------------------------------------

    def _judge_block(self, audit: Audit, verdicts: Mapping[bytes, Verdict], now: int) -> None:
        assert audit.block is not None, "the audit of a block"
        block = self.chain.block(audit.block)
        on_tip = self.chain.state if block.header.previous == self.chain.tip else None
        self._candidates.audited(block, verdicts, on_tip, now, self.settings.audit_retry_ms)

    def _reconsider(self, now: int) -> list[Effect]:
        """Adopts the longest acceptable branch, and starts the audits that stand in the way of a longer one."""
        effects: list[Effect] = self._break_tie(now)
        progress = True
        while progress:
            progress = False
            for leaf in self.chain.tree.candidates(self.chain.height):
                target, audit = self._furthest(leaf, now)
                if audit:
                    effects.append(audit)
                if target is not None:
                    progress = True
                    effects += self._adopt(target)
                    break
        return effects

    def _break_tie(self, now: int) -> list[Effect]:
        """Ends a tie that would never end by itself.

        First seen decides ties. But miners that hold different tips of one height can never form a quorum, so a true
        tie,
        whose blocks came at about the same time, falls to the lower hash if nothing extends either of them for a
        while. A
        block that somebody held back comes too late to be one.
        """
        settings, tip = self.settings, self.chain.tip
        for leaf in self.chain.tree.candidates(self.chain.height - 1):
            if leaf >= tip or self.chain.tree.height(leaf) != self.chain.height:
                continue
            if not self._candidates.is_tie(leaf, tip, now, settings.tie_window_ms, settings.tie_patience_ms):
                continue
            block = self.chain.block(leaf)
            if self._candidates.burial_needed(block, None, now) == 0:
                return self._adopt(leaf)
            audit = self._candidates.audit_wanted(block, self._problem_of(block), now)
            return [audit] if audit else []
        return []

    def _furthest(self, leaf: bytes, now: int) -> tuple[bytes | None, Effect | None]:
        """The furthest block towards `leaf` that may be adopted now (None: none beyond the tip), and an audit to
        start."""
        _, path = self.chain.path_to(leaf)
        target, audit = None, None
        for index, block_hash in enumerate(path):
            block = self.chain.block(block_hash)
            descendants = len(path) - 1 - index
            if self._candidates.burial_needed(block, self.races.get(block.header.race), now) > descendants:
                if descendants == 0:
                    audit = self._candidates.audit_wanted(block, self._problem_of(block), now)
                break
            if block.header.height > self.chain.height:
                target = block_hash
        return target, audit

    def _adopt(self, target: bytes) -> list[Effect]:
        try:
            adoption = self.chain.adopt(target)
        except InvalidBranch:
            return []  # That block is marked; the next look finds another candidate or none.
        self._after_adoption(adoption)
        return [adoption]

    def _after_adoption(self, adoption: AdoptChain) -> None:
        for block in adoption.undone:
            self.mempool.restore(block.transactions)
        tip = self.chain.parent_of_next()
        self.mempool.revalidate(self.chain.state, tip.timestamp + 1)
        self.races.tip_changed()
        height = self.chain.height
        self._candidates.forget(keep=lambda block_hash: self.chain.tree.height(block_hash) > height - 10)
        limit = height - self.settings.conviction_blocks
        self._convicted = {miner: at for miner, at in self._convicted.items() if at > limit}

    def _learn_from_certificate(self, block: Block) -> None:
        """Its estimates are signed and in range: they count as received (line 15) for condition 2."""
        race = self.races.get(block.header.race)
        for estimate in block.certificate:
            if race is not None and estimate.miner not in self._convicted:
                race.receive(estimate)

    def _problem_of(self, block: Block) -> Problem:
        return block.task.problem if block.task is not None else last_problem(self.chain.state)

    # --- winning and choosing ----------------------------------------------------------------------------------------

    def _win(self, now: int) -> list[Effect]:
        """Lines 17–20."""
        race = self.races.get(self._working_on or b"")
        if race is None or race.terms.parent != self.chain.tip or not self._may_win(race, now):
            return []
        block = assemble_block(self.chain, self.mempool, race, self.key, now)
        if block is None:
            return []
        self._candidates.add(self.chain.insert(block), now, child_follows=False)
        return [StoreBlock(block), *self._adopt(block.id()), SendBlock(block)]

    def _is_own_estimate(self, effect: Effect) -> bool:
        return isinstance(effect, SendEstimate) and effect.estimate.miner == self.key.public_key

    def _may_win(self, race: Race, now: int) -> bool:
        if not race.has_converged() or self._contender_waits(now):
            return False
        if race.terms.task is not None and race.terms.task.expiry < self._next_timestamp(now):
            return False
        miners = [self.key.public_key, *race.others]
        return has_quorum(miners, self.chain.state, self.chain.params)

    def _contender_waits(self, now: int) -> bool:
        """Line 3: a block was received and is being verified. It was seen first, so one of ours would only be a tie."""
        waits = self._candidates.waits_for_verdict
        return any(waits(child, now, self.settings.hold_ms) for child in self.chain.tree.children(self.chain.tip))

    def _choose_race(self, now: int) -> list[Effect]:
        """Line 3: go on with the race that is worth working on, or turn to it."""
        race = None
        if self.settings.mine and may_mine(self.chain.state, self.key.public_key, self.chain.height):
            race = self.races.choose(self._next_timestamp(now), bool(len(self.mempool)))
        wanted = race.id if race is not None else None
        if wanted == self._working_on:
            return []
        self._working_on = wanted
        if race is None:
            return [StopRace()]
        if race.opened_at is None:
            race.opened_at = now
        return [StartRace(race.info, race.log.time)]

    def _next_timestamp(self, now: int) -> int:
        return max(now, self.chain.parent_of_next().timestamp + 1)
