"""The auditor among peers that are honest, slow, absent, or lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from fedcoin.consensus.messages import Audit, AuditItem, Leaves, StartAudit, Verdict
from fedcoin.core.errors import EvaluatorFailed, FedCoinError, LeavesNotFound, UpdateNotFinite
from fedcoin.core.estimate import Estimate
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Aggregation, Baseline, Problem, RaceKind, Sampler, UpdateRef, Utility
from fedcoin.node.auditor import AuditLimits, Auditor, LeafSource
from fedcoin.node.evaluator_protocol import LoadedProblem
from fedcoin.rpc.views import LeafProof
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

    async def leaf_range(self, race: bytes, miner: bytes, start: int, count: int) -> AsyncIterator[bytes]:
        self.asked += 1
        if miner not in self.logs:
            raise LeavesNotFound
        for index in range(start, start + count):
            yield self.logs[miner].encoded(index)


class Stuck(Peer):
    """Never answers."""

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        await asyncio.Event().wait()
        return []

    async def leaf_range(self, race: bytes, miner: bytes, start: int, count: int) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""


def work(peer: Peer, miner: bytes, forged: Sequence[int] = ()) -> AuditItem:
    """Has `peer` hold a miner's leaves, some of them forged; returns its estimate, audited in full at all indices."""
    log = LeafLog(CLIENTS)
    for index in range(TIME):
        log.append([9, 9, 9] if index in forged else leaf(BLANK.race, miner, index))
    peer.logs[miner] = log
    estimate = replace(BLANK, miner=miner, time=TIME, total=log.total, leaf_root=log.root())
    return AuditItem(estimate, tuple(range(TIME)), whole=True)


async def no_blobs(problem: Problem) -> Mapping[bytes, bytes]:
    return {}


async def verdicts(
    items: Sequence[AuditItem], sources: Sequence[LeafSource], game: Game | None = None, **limits: float
) -> list[Verdict]:
    auditor = Auditor(game or Game(), lambda miner: sources, no_blobs, AuditLimits(**limits))  # type: ignore[arg-type]
    finished = await auditor.perform(StartAudit(Audit(BLANK.race, PROBLEM, tuple(items))))
    return [finished.verdicts[item.estimate.miner] for item in items]


@pytest.mark.parametrize("whole", [True, False])
async def test_honest_and_forging_miners_are_told_apart(whole: bool) -> None:
    peer = Peer()
    items = [work(peer, MINERS[0]), work(peer, MINERS[1], forged=[13]), work(Peer(), MINERS[2])]
    items = [replace(item, whole=whole) for item in items]
    assert await verdicts(items, [peer]) == [Verdict.HONEST, Verdict.CONVICTED, Verdict.UNAVAILABLE]


@pytest.mark.parametrize("whole", [True, False])
async def test_lying_peer_does_not_convict_and_the_next_one_is_asked(whole: bool) -> None:
    liar, absent, honest = Peer(), Peer(), Peer()
    item = replace(work(honest, MINERS[0]), whole=whole)
    work(liar, MINERS[0], forged=range(TIME))
    assert await verdicts([item], [liar]) == [Verdict.UNAVAILABLE]
    assert await verdicts([item], [liar, absent, honest]) == [Verdict.HONEST]


async def test_only_so_many_peers_are_asked() -> None:
    peers = [Peer() for _ in range(6)]
    item = work(peers[5], MINERS[0])
    assert await verdicts([item], peers, max_sources=4) == [Verdict.UNAVAILABLE]
    assert [peer.asked for peer in peers] == [1, 1, 1, 1, 0, 0]


async def test_stuck_peer_costs_its_time_only() -> None:
    peer = Peer()
    item = work(peer, MINERS[0])
    assert await verdicts([item], [Stuck(), peer], source_seconds=0.05) == [Verdict.HONEST]


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


async def test_more_bytes_than_allowed_are_not_fetched() -> None:
    peer = Peer()
    item = work(peer, MINERS[0])
    size = TIME * CLIENTS * 8
    assert await verdicts([item], [peer], max_bytes=size - 1) == [Verdict.UNAVAILABLE]
    assert peer.asked == 0
    assert await verdicts([item], [peer], max_bytes=size) == [Verdict.HONEST]


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


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("sampler", Sampler)
async def test_miners_are_told_apart_whatever_the_sampler(sampler: Sampler, whole: bool) -> None:
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
        items.append(AuditItem(estimate, (4, 13), whole))
    auditor = Auditor(SampledGame(), lambda miner: [peer], no_blobs)  # type: ignore[arg-type]
    finished = await auditor.perform(StartAudit(Audit(BLANK.race, problem, tuple(items))))
    assert finished.verdicts == {MINERS[0]: Verdict.HONEST, MINERS[1]: Verdict.CONVICTED}
