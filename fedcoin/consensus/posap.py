"""Proof of Shapley as a state machine: `step(input, now)` → effects.

Algorithm 1 reads as an endless loop with three reactions; here every reaction is one input. The same inputs at the same
times, with the same key and random source, give the same effects. Bad input raises the error of the rule it breaks and
changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from fedcoin.consensus.assemble import assemble_block
from fedcoin.consensus.candidates import Candidates, SpotChecks
from fedcoin.consensus.certificate import has_quorum, others_needed
from fedcoin.consensus.chain import Chain, ChainStorage, StoredChain, touched_accounts
from fedcoin.consensus.messages import (
    AdoptChain,
    AuditFinished,
    Effect,
    Input,
    IterationsDone,
    MiningView,
    RaceReady,
    RaceStalled,
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
    TrialFinished,
    Verdict,
)
from fedcoin.consensus.prosecution import Prosecution
from fedcoin.consensus.race import Race
from fedcoin.consensus.races import Races
from fedcoin.consensus.settings import PoSapSettings
from fedcoin.consensus.side_blocks import SideBlocks
from fedcoin.consensus.tips import Tips
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
from fedcoin.core.task import Task
from fedcoin.core.transaction import Body, sign_transaction
from fedcoin.ledger.bonds import close_due
from fedcoin.ledger.mempool import Mempool
from fedcoin.ledger.miners import may_mine

__all__ = ["PoSap", "PoSapSettings"]


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
        self._candidates = Candidates(key.public_key, self.chain.params, rng, self.settings)
        self._spot_checks = SpotChecks(rng, self.settings.audit_share)
        self._tips = Tips(self.chain, self.races, self._candidates, self.settings, self._after_adoption)
        self._side_blocks = SideBlocks(self.chain.tree)
        self._prosecution = Prosecution(self.chain, self.mempool, key.public_key)
        self._convicted: dict[bytes, int] = {}
        self._working_on: bytes | None = None
        self._signed = stored.signed if stored is not None else 0
        """Highest height at which we have signed a block."""
        self._now = 0
        """Of the last step."""
        self._transactions_fit = False
        """Whether a block now could take a waiting transaction. Those behind a gap of nonces are no reason for one."""

    def step(self, event: Input, now: int) -> list[Effect]:
        """What follows from `event` at `now` (ms since 1970).

        Raises a FedCoinError for bad input, which changes nothing.
        """
        self._now = now
        effects: list[Effect] = []
        # One more transaction that waits changes nothing else, and there may be hundreds a second.
        quiet = isinstance(event, ReceiveTransaction) and self._transactions_fit
        match event:
            case IterationsDone():
                effects = self._iterations_done(event, now)
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
            case TrialFinished():
                self._prosecution.trial_finished(event, now)
            case RaceStalled() | RaceReady():
                self.races.note(event)
            case Tick():
                self._look_for_transactions(now)
        if quiet or (isinstance(event, ReceiveEstimate | ReceiveBlock) and not effects):
            return effects  # Nothing new: most of what peers send has come from another one before.
        effects += self._tips.reconsider(self._on_tip(), now)
        effects += self._take_held_tasks(now)
        effects += self._take_early_estimates()
        if isinstance(event, Tick | AuditFinished | TrialFinished):
            effects += self._prosecution.act(self._send_own, now)
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
            difficulty=self._difficulty_of(race, self._now) / UTILITY_SCALE,
            iterations=race.log.time,
            distance=race.distance(),
            heard_from=len(race.others),
            quorum=others_needed(self.chain.state, self.chain.params),
            estimates={miner: (race.others[miner].time, far) for miner, far in race.distances().items()},
        )

    # --- Alg. 1, reaction by reaction --------------------------------------------------------------------------------

    def _iterations_done(self, event: IterationsDone, now: int) -> list[Effect]:
        """Lines 4–13."""
        race = self.races.get(event.race)
        if race is None:
            return []  # The race ended while the evaluator was still at work.
        if race.opened_at is None:
            race.opened_at = now
        estimate = race.add_iterations(event.start, event.leaves)
        self._spot_checks.earn(len(event.leaves))
        effects: list[Effect] = []
        if not event.stored:
            # Persist first, so that a restart extends what it has announced instead of contradicting it.
            effects.append(StoreLeaves(event.race, event.start, event.leaves))
        effects.append(SendEstimate(estimate))
        check = self._spot_checks.next(race, now)
        return [*effects, check] if check else effects

    def _receive_estimate(self, event: ReceiveEstimate) -> list[Effect]:
        """Lines 15–16."""
        estimate = event.estimate
        race = self.races.of_estimate(estimate)
        if race is None:
            if not self.chain.tree.contains(estimate.parent) or estimate.parent == self.chain.tip:
                raise UnknownRace
            if self.chain.tree.height(estimate.parent) < self.chain.height:
                return []  # Of a race that is over: neither an error nor worth relaying.
        if estimate.miner in self._convicted:
            raise MinerConvicted
        if not self.chain.may_mine_on(estimate.parent, estimate.miner):
            raise MinerNotAllowed
        if race is None and estimate.miner != self.key.public_key:
            self._tips.ties.heard(estimate)
        if race is None or not race.receive(estimate):
            return []
        self._tips.ties.heard_here(estimate)
        return [SendEstimate(estimate, event.source)]

    def _take_early_estimates(self) -> list[Effect]:
        """Estimates that came before the block that they follow became our tip."""
        effects: list[Effect] = []
        for estimate in self._tips.ties.early():
            if self.races.of_estimate(estimate) is None:
                continue  # Its task is still on the way.
            self._tips.ties.heard_here(estimate)
            try:
                effects += self._receive_estimate(ReceiveEstimate(estimate))
            except FedCoinError:
                continue  # Its miner was convicted, or it is out of range.
        return effects

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
        self.chain.verify_depth(block.header.previous)
        # On a side branch the state is not at hand; registration as far as it shows keeps strangers out.
        if not all(self.chain.may_mine_on(block.header.previous, estimate.miner) for estimate in block.certificate):
            raise MinerNotAllowed
        verify_alone(block, self.chain.chain_id, self.chain.params, self.chain.verified)
        self._prosecution.block_seen(block, now)
        if not event.more_follows:
            self._side_blocks.verify_room(block.header.winner, self.chain.tip, now)
        if block.header.previous == self.chain.tip:
            self.chain.check_on_tip(block)
        self.chain.insert(block)
        self._prosecution.block_kept(block)
        self._candidates.add(block_hash, now, event.more_follows)
        self._learn_from_certificate(block)
        if event.more_follows:
            return [StoreBlock(block)]  # The others have it, or hear of it by its child.
        self._side_blocks.add(block.header.winner, block_hash, now)
        return [StoreBlock(block), SendBlock(block, event.source)]

    def _receive_task(self, event: ReceiveTask, now: int) -> list[Effect]:
        """Alg. 3 line 5: a task enters the network."""
        if not self.races.add_task(event.task, now):
            return []
        self._prosecution.files.note_task(event.task)
        return [SendTask(event.task, event.source)]

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
        self.chain.verified.note(transaction)
        self._prosecution.heard(transaction)
        if not self._transactions_fit:
            self._look_for_transactions(now)
        return [SendTransaction(transaction, event.source)]

    def _audit_finished(self, event: AuditFinished, now: int) -> list[Effect]:
        for miner, verdict in event.verdicts.items():
            if verdict is Verdict.CONVICTED:
                self._convicted[miner] = self.chain.height
                self.races.drop_miner(miner)
                self._tips.ties.drop(miner)
        self._prosecution.audited(event.audit, event.evidence, now)
        if event.audit.block is None:
            self._spot_checks.finished()
        else:
            self._tips.judge(event.audit, event.verdicts, now)
        return []

    def _send_own(self, body: Body, now: int) -> list[Effect]:
        nonce = self.mempool.pending_nonce(self.key.address, self.chain.state)
        transaction = sign_transaction(self.key, self.chain.chain_id, nonce, self.chain.params.min_fee, body)
        return self._receive_transaction(ReceiveTransaction(transaction), now)

    def _after_adoption(self, adoption: AdoptChain, now: int) -> None:
        """Line 25: the chain has another tip."""
        for block in adoption.undone:
            self.mempool.restore(block.transactions)
        self._prosecution.undone(adoption.undone)
        tip = self.chain.parent_of_next()
        self.mempool.revalidate(self.chain.state, tip.timestamp + 1, touched_accounts(adoption))
        self.races.tip_changed()
        self._look_for_transactions(now)
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

    def _look_for_transactions(self, now: int) -> None:
        # On what a block finds: a vote in a case that lapses in it would have us work for a block that cannot be made.
        state = self.chain.state.fork()
        close_due(state, self.chain.params, self.chain.height + 1)
        self._transactions_fit = self.mempool.fits(state, self._next_timestamp(now))

    def _on_tip(self) -> set[bytes]:
        """Miners that work on our tip, as far as we have heard; this one included, unless it is idle."""
        return self.races.miners() | ({self.key.public_key} if self._working_on is not None else set())

    # --- winning and choosing ----------------------------------------------------------------------------------------

    def _win(self, now: int) -> list[Effect]:
        """Lines 17–20."""
        race = self.races.get(self._working_on or b"")
        if race is None or race.terms.parent != self.chain.tip or not self._may_win(race, now):
            return []
        if self.chain.height < self._signed:
            return []  # A second block of this height would cost the bond; our chain has forgotten the first one.
        try:
            made = assemble_block(self.chain, self.mempool, race, self.key, now)
            if made is None:
                return []
            block, after = made
            self.chain.check_on_tip(block, after)
        except FedCoinError:
            return []  # No block of this race can be valid, one with so many clients that it is too large, say.
        self._candidates.add(self.chain.insert(block), now, child_follows=False)
        self._signed = block.header.height
        return [StoreBlock(block, signed=True), *self._tips.adopt(block.id(), now), SendBlock(block)]

    def _is_own_estimate(self, effect: Effect) -> bool:
        return isinstance(effect, SendEstimate) and effect.estimate.miner == self.key.public_key

    def _may_win(self, race: Race, now: int) -> bool:
        timestamp = self._next_timestamp(now)
        if not race.has_converged(self._difficulty_of(race, timestamp)) or self._contender_waits(now):
            return False
        if race.terms.task is not None and race.terms.task.expiry < timestamp:
            return False
        if not self._prosecution.may_sign(self.chain.height + 1):
            return False
        miners = [self.key.public_key, *race.others]
        return has_quorum(miners, self.chain.state, self.chain.params)

    def _difficulty_of(self, race: Race, timestamp: int) -> int:
        return race.difficulty_at(timestamp, self.chain.parent_of_next().timestamp, self.chain.params)

    def _contender_waits(self, now: int) -> bool:
        """Line 3: a block was received and is being verified. It was seen first, so one of ours would only be a tie."""
        children = self.chain.tree.children(self.chain.tip)
        return self._candidates.any_waits(children, now, self.settings.hold_ms)

    def _choose_race(self, now: int) -> list[Effect]:
        """Line 3: go on with the race that is worth working on, or turn to it."""
        race = None
        if self.settings.mine and may_mine(self.chain.state, self.key.public_key, self.chain.height):
            due = self._transactions_fit or self._tips.ties.shows_position(now)
            race = self.races.choose(self._next_timestamp(now), due)
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
