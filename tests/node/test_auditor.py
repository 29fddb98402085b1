"""The auditor among peers that are honest, slow, absent, or lie."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from fedcoin.consensus.audit import wanted_leaves
from fedcoin.consensus.messages import (
    Audit,
    AuditFinished,
    AuditItem,
    Leaves,
    StartAudit,
    StartTrial,
    TrialFinished,
    Verdict,
)
from fedcoin.core.errors import EvaluatorFailed, FedCoinError, LeavesNotFound, UpdateNotFinite
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import FraudReport, LeafProof
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Aggregation, Baseline, Problem, RaceKind, Sampler, UpdateRef, Utility
from fedcoin.node.auditor import AuditLimits, Auditor, LeafSource
from fedcoin.node.evaluator_protocol import LoadedProblem
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.leaves import LeafLog
from fedcoin.shapley.permutations import permutation
from tests.support.table_game import TableGame, learning_table

CLIENTS, TIME = 3, 20
MODEL = ModelSpec(ModelFamily.LAYERS, "softmax", (2,), 2, (Layer(LayerKind.LINEAR, 2),))
UPDATES = tuple(UpdateRef(bytes([index]) * 32, 1) for index in range(CLIENTS))
PROBLEM = Problem(
    MODEL,
    Aggregation.UNWEIGHTED,
    Utility.ACCURACY,
    Baseline.ZERO,
    Sampler.PERMUTATION,
    b"b" * 32,
    b"e" * 32,
    UPDATES,
)
MINERS = [b"\x02" + bytes([index]) * 32 for index in range(3)]
BLANK = Estimate(RaceKind.TASK, b"t" * 32, b"p" * 32, MINERS[0], 0, (), b"", 0, b"")


def leaf(race: bytes, miner: bytes, index: int) -> list[int]:
    """The first client of an order finds half, the others nothing."""
    first = permutation(race, miner, index, CLIENTS)[0]
    return [UTILITY_SCALE // 2 if client == first else 0 for client in range(CLIENTS)]


class Game:
    """Evaluates by the rule above."""

    def __init__(self, error: FedCoinError | None = None) -> None:
        self.error = error
        self.recomputed = 0

    async def prepare(self, problem: Problem, blobs: Mapping[bytes, bytes]) -> LoadedProblem:
        if self.error:
            raise self.error
        return LoadedProblem(problem.clients, 1000)

    async def recompute(
        self, problem: Problem, blobs: Mapping[bytes, bytes], race: bytes, miner: bytes, indices: Sequence[int]
    ) -> Leaves:
        self.recomputed += len(indices)
        return np.array([leaf(race, miner, index) for index in indices], dtype=np.int64)


class Peer:
    """Hands out the leaves of the miners that it knows."""

    def __init__(self) -> None:
        self.logs: dict[bytes, LeafLog] = {}
        self.asked = 0

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        self.asked += 1
        if miner not in self.logs:
            raise LeavesNotFound
        log = self.logs[miner]
        return [LeafProof(index, log.encoded(index), tuple(log.proof(index, tree_size))) for index in indices]


class Stuck(Peer):
    """Never answers."""

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        await asyncio.Event().wait()
        return []


def work(peer: Peer, miner: bytes, forged: Sequence[int] = ()) -> AuditItem:
    """Has `peer` hold a miner's leaves, some of them forged; returns its estimate, audited in full at all indices."""
    log = LeafLog(CLIENTS)
    for index in range(TIME):
        log.append([9, 9, 9] if index in forged else leaf(BLANK.race, miner, index))
    peer.logs[miner] = log
    estimate = replace(BLANK, miner=miner, time=TIME, total=log.total, leaf_root=log.root())
    return AuditItem(estimate, tuple(range(TIME)))


async def no_blobs(problem: Problem) -> Mapping[bytes, bytes]:
    return {}


async def verdicts(
    items: Sequence[AuditItem], sources: Sequence[LeafSource], game: Game | None = None, **limits: float
) -> list[Verdict]:
    auditor = Auditor(game or Game(), lambda miner: sources, no_blobs, AuditLimits(**limits))  # type: ignore[arg-type]
    finished = await auditor.perform(StartAudit(Audit(BLANK.race, PROBLEM, tuple(items))))
    return [finished.verdicts[item.estimate.miner] for item in items]


async def test_honest_and_forging_miners_are_told_apart() -> None:
    peer = Peer()
    items = [work(peer, MINERS[0]), work(peer, MINERS[1], forged=[13]), work(Peer(), MINERS[2])]
    assert await verdicts(items, [peer]) == [Verdict.HONEST, Verdict.CONVICTED, Verdict.UNAVAILABLE]


async def test_lying_peer_does_not_convict_and_the_others_are_asked_too() -> None:
    liar, absent, honest = Peer(), Peer(), Peer()
    item = work(honest, MINERS[0])
    work(liar, MINERS[0], forged=range(TIME))
    assert await verdicts([item], [liar]) == [Verdict.UNAVAILABLE]
    assert await verdicts([item], [liar, absent, honest]) == [Verdict.HONEST]


async def test_many_that_claim_to_be_the_miner_hold_up_nothing() -> None:
    liars: list[Peer] = [Peer() for _ in range(20)]
    for liar in liars[:10]:
        work(liar, MINERS[0], forged=range(TIME))
    peer = Peer()
    item = work(peer, MINERS[0])
    sources = [*(Stuck() for _ in range(20)), *liars, peer]
    # Far below what even one of the stuck peers may take.
    async with asyncio.timeout(60):
        assert await verdicts([item], sources, source_seconds=1_000, deadline_seconds=1_000) == [Verdict.HONEST]


async def test_stuck_peer_costs_its_time_only() -> None:
    peer = Peer()
    item = work(peer, MINERS[0])
    assert await verdicts([item], [Stuck(), peer], source_seconds=1_000) == [Verdict.HONEST]
    assert await verdicts([item], [Stuck(), Stuck()], source_seconds=0.05) == [Verdict.UNAVAILABLE]


async def test_at_the_deadline_what_is_open_is_unavailable() -> None:
    peer, stuck = Peer(), Stuck()
    items = [work(peer, MINERS[0]), work(Peer(), MINERS[1])]
    auditor = Auditor(
        Game(),
        lambda miner: [peer] if miner == MINERS[0] else [stuck],
        no_blobs,
        AuditLimits(deadline_seconds=0.2, source_seconds=60),
    )
    finished = await auditor.perform(StartAudit(Audit(BLANK.race, PROBLEM, tuple(items))))
    assert finished.verdicts == {MINERS[0]: Verdict.HONEST, MINERS[1]: Verdict.UNAVAILABLE}


async def test_an_audit_of_the_longest_race_fetches_a_few_leaves_only() -> None:
    """Kilobytes, however many iterations there are."""
    time = 100_000
    log = LeafLog(1)
    log.append(np.ones((time, 1), dtype=np.int64))
    peer = Peer()
    peer.logs[MINERS[0]] = log
    estimate = replace(BLANK, miner=MINERS[0], time=time, total=log.total, leaf_root=log.root())
    problem = replace(PROBLEM, updates=UPDATES[:1])
    item = AuditItem(estimate, tuple(range(1, time, 12_500)))

    class Ones(Game):
        async def recompute(self, problem: Problem, *rest: object) -> Leaves:
            return np.ones((len(item.indices), 1), dtype=np.int64)

    handed = [await peer.leaves(BLANK.race, MINERS[0], time, wanted_leaves(item))]
    assert sum(len(proof.leaf) + 32 * len(proof.path) for proof in handed[0]) < 12_000
    auditor = Auditor(Ones(), lambda miner: [peer], no_blobs)  # type: ignore[arg-type]
    finished = await auditor.perform(StartAudit(Audit(BLANK.race, problem, (item,))))
    assert finished.verdicts == {MINERS[0]: Verdict.HONEST}


async def test_false_total_convicts_before_anything_is_recomputed() -> None:
    peer, game = Peer(), Game()
    item = work(peer, MINERS[0])
    item = replace(item, estimate=replace(item.estimate, total=(0, 0, 0)))
    assert await verdicts([item], [peer], game) == [Verdict.CONVICTED]
    assert game.recomputed == 0


@pytest.mark.parametrize("error", [EvaluatorFailed(), UpdateNotFinite()])
async def test_what_we_cannot_evaluate_convicts_nobody(error: FedCoinError) -> None:
    peer = Peer()
    assert await verdicts([work(peer, MINERS[0], forged=[1])], [peer], Game(error)) == [Verdict.UNAVAILABLE]


async def test_missing_blobs_convict_nobody() -> None:
    async def fail(problem: Problem) -> Mapping[bytes, bytes]:
        raise LeavesNotFound

    peer = Peer()
    item = work(peer, MINERS[0], forged=[1])
    auditor = Auditor(Game(), lambda miner: [peer], fail)
    finished = await auditor.perform(StartAudit(Audit(BLANK.race, PROBLEM, (item,))))
    assert finished.verdicts == {MINERS[0]: Verdict.UNAVAILABLE}


async def test_audit_of_nothing_ends() -> None:
    assert await verdicts([], []) == []


class SampledGame(Game):
    """Evaluates with the problem's sampler."""

    async def recompute(
        self, problem: Problem, blobs: Mapping[bytes, bytes], race: bytes, miner: bytes, indices: Sequence[int]
    ) -> Leaves:
        return sampled(problem, race, miner, indices)


def sampled(problem: Problem, race: bytes, miner: bytes, indices: Sequence[int]) -> Leaves:
    """A problem's leaves in a game of its clients."""
    return Iterations(problem.sampler, TableGame(learning_table(problem.clients))).leaves(race, miner, indices)


@pytest.mark.parametrize("sampler", Sampler)
async def test_miners_are_told_apart_whatever_the_sampler(sampler: Sampler) -> None:
    updates = tuple(UpdateRef(bytes([index]) * 32, 1) for index in range(6))  # HYBRID needs five
    problem = replace(PROBLEM, sampler=sampler, updates=updates)
    peer = Peer()
    items = []
    for miner, shift in zip(MINERS[:2], (0, UTILITY_SCALE // 2), strict=True):
        log = LeafLog(problem.clients)
        rows = sampled(problem, BLANK.race, miner, range(TIME))
        rows[13, 2] += shift
        log.append(rows)
        peer.logs[miner] = log
        estimate = replace(BLANK, miner=miner, time=TIME, total=log.total, leaf_root=log.root())
        items.append(AuditItem(estimate, (4, 13)))
    auditor = Auditor(SampledGame(), lambda miner: [peer], no_blobs)  # type: ignore[arg-type]
    finished = await auditor.perform(StartAudit(Audit(BLANK.race, problem, tuple(items))))
    assert finished.verdicts == {MINERS[0]: Verdict.HONEST, MINERS[1]: Verdict.CONVICTED}


# --- evidence and trials ---------------------------------------------------------------------------------------------


async def audited(peer: Peer, item: AuditItem) -> AuditFinished:
    auditor = Auditor(Game(), lambda miner: [peer], no_blobs)  # type: ignore[arg-type]
    return await auditor.perform(StartAudit(Audit(BLANK.race, PROBLEM, (item,))))


async def tried(report: FraudReport, game: Game | None = None, **limits: float) -> bool | None:
    auditor = Auditor(game or Game(), lambda miner: [], no_blobs, AuditLimits(**limits))  # type: ignore[arg-type]
    finished = await auditor.try_case(StartTrial(b"c" * 32, report, PROBLEM))
    assert finished == TrialFinished(b"c" * 32, finished.guilty)
    return finished.guilty


async def report_of(forged: Sequence[int], indices: tuple[int, ...]) -> FraudReport:
    """What an audit of a forger's estimate leads to."""
    peer = Peer()
    item = replace(work(peer, MINERS[0], forged), indices=indices)
    finished = await audited(peer, item)
    assert finished.verdicts == {MINERS[0]: Verdict.CONVICTED}
    return FraudReport(item.estimate, None, *finished.evidence[MINERS[0]])


@pytest.mark.parametrize("forged", [0, 13, TIME - 1])
async def test_evidence_of_an_audit_convicts_in_a_trial_that_recomputes(forged: int) -> None:
    report = await report_of([forged], (forged,))
    assert report.accused.index == forged
    assert (report.before is None) == (forged == 0)
    game = Game()
    assert await tried(report, game) is True
    assert game.recomputed == 1


async def test_an_honest_step_is_acquitted() -> None:
    peer = Peer()
    item = work(peer, MINERS[0], forged=[13])
    assert (await audited(Peer(), item)).evidence == {}
    before, accused = await peer.leaves(BLANK.race, MINERS[0], TIME, (4, 5))
    assert await tried(FraudReport(item.estimate, None, before, accused)) is False


async def test_a_false_total_is_tried_without_an_evaluator() -> None:
    peer, game = Peer(), Game(EvaluatorFailed())
    item = work(peer, MINERS[0])
    item = replace(item, estimate=replace(item.estimate, total=(0, 0, 0)))
    finished = await audited(peer, item)
    assert await tried(FraudReport(item.estimate, None, *finished.evidence[MINERS[0]]), game) is True


async def test_a_trial_that_cannot_be_held_ends_open() -> None:
    report = await report_of([13], (13,))
    assert await tried(report, Game(EvaluatorFailed())) is None

    class Slow(Game):
        async def prepare(self, problem: Problem, blobs: Mapping[bytes, bytes]) -> LoadedProblem:
            await asyncio.Event().wait()
            return LoadedProblem(CLIENTS, 1000)

    assert await tried(report, Slow(), trial_seconds=0.05) is None


async def test_an_estimate_of_another_problem_is_no_fraud() -> None:
    report = await report_of([13], (13,))
    auditor = Auditor(Game(), lambda miner: [], no_blobs)  # type: ignore[arg-type]
    other = replace(PROBLEM, updates=UPDATES[:2])
    assert (await auditor.try_case(StartTrial(b"c" * 32, report, other))).guilty is False


# --- the step that is most out of the ordinary ---


async def block_verdict(peer: LeafSource, item: AuditItem, game: Game | None = None) -> AuditFinished:
    """Of an audit of a fresh block."""
    auditor = Auditor(game or Game(), lambda miner: [peer], no_blobs)
    return await auditor.perform(StartAudit(Audit(BLANK.race, PROBLEM, (item,), b"b" * 32)))


async def test_one_large_step_is_found_although_it_was_not_drawn() -> None:
    peer, game = Peer(), Game()
    log = LeafLog(CLIENTS)
    for index in range(3_000):
        log.append([60 * UTILITY_SCALE, 0, 0] if index == 1_234 else leaf(BLANK.race, MINERS[0], index))
    peer.logs[MINERS[0]] = log
    item = AuditItem(replace(BLANK, miner=MINERS[0], time=3_000, total=log.total, leaf_root=log.root()), (7, 2_000))
    finished = await block_verdict(peer, item, game)
    assert finished.verdicts == {MINERS[0]: Verdict.CONVICTED}
    before, accused = finished.evidence[MINERS[0]]
    assert before is not None
    assert (before.index, accused.index) == (1_233, 1_234)
    assert (peer.asked, game.recomputed) == (4, 3)
    assert await verdicts([item], [peer]) == [Verdict.HONEST]  # a check while a race runs makes do with the drawn


async def test_nobody_is_convicted_for_being_out_of_the_ordinary() -> None:
    peer, game = Peer(), Game()
    finished = await block_verdict(peer, replace(work(peer, MINERS[0]), indices=(3,)), game)
    assert finished.verdicts == {MINERS[0]: Verdict.HONEST}
    assert game.recomputed in (1, 2)


async def test_who_hands_out_the_drawn_leaves_only_has_handed_out_nothing() -> None:
    class Sparing(Peer):
        async def leaves(
            self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]
        ) -> Sequence[LeafProof]:
            if self.asked:
                raise LeavesNotFound
            return await super().leaves(race, miner, tree_size, indices)

    peer = Sparing()
    finished = await block_verdict(peer, replace(work(peer, MINERS[0]), indices=(3,)))
    assert finished.verdicts == {MINERS[0]: Verdict.UNAVAILABLE}
