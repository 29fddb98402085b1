"""Accusations: reports with their evidence, votes, double signatures; whole ones, and ones that break a rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.fraud import DoubleSign, FraudReport, LeafProof
from fedcoin.core.header import BlockHeader
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import MAX_ITERATIONS
from fedcoin.core.task import RaceKind
from fedcoin.shapley.leaves import LeafLog
from vectorlib.people import CHAIN, OTHER_CHAIN, START, digest

TIME = 5
MARGINALS = [(300_000_000 + index, -7 * index) for index in range(TIME)]


def forged_estimate(miner: PrivateKey) -> tuple[Estimate, LeafLog]:
    """An estimate of five iterations of two clients, and its leaves."""
    log = LeafLog(2)
    for marginals in MARGINALS:
        log.append(marginals)
    unsigned = Estimate(
        RaceKind.TASK,
        digest("accused task"),
        digest("accused parent"),
        miner.public_key,
        *(log.time, log.total, log.root(), START + 5, b""),
    )
    return sign_estimate(miner, CHAIN, unsigned), log


def report(miner: PrivateKey, index: int, order: bytes | None) -> FraudReport:
    """A report of leaf `index` of that estimate."""
    estimate, log = forged_estimate(miner)
    return FraudReport(estimate, order, _proof(log, index - 1) if index else None, _proof(log, index))


def double_sign(winner: PrivateKey, height: int = 7) -> DoubleSign:
    """Two headers of one height that `winner` has signed."""
    headers = [_header(winner, height, START + later) for later in (1, 2)]
    first, second = sorted(headers, key=BlockHeader.id)
    return DoubleSign(first, winner.sign(first.id()), second, winner.sign(second.id()))


def broken_reports(accused: PrivateKey, other: PrivateKey) -> Iterator[tuple[str, FraudReport]]:
    """Reports of `accused`, each of which breaks a rule that needs no state."""
    good = report(accused, 2, None)
    assert good.before is not None
    for name, changed in {
        "report of an estimate of no iterations": replace(good.estimate, time=0),
        "report of an estimate of 2^20 + 1 iterations": replace(good.estimate, time=MAX_ITERATIONS + 1),
        "report of an estimate beyond what its iterations can reach": replace(good.estimate, total=(10**13, 0)),
        "report of an estimate of no clients": replace(good.estimate, total=()),
    }.items():
        yield name, replace(good, estimate=sign_estimate(accused, CHAIN, changed))
    yield "report of a leaf that the estimate has not", replace(good, accused=replace(good.accused, index=TIME))
    yield "report without the leaf before", replace(good, before=None)
    yield "report with the leaf before the one before", replace(good, before=_proof(forged_estimate(accused)[1], 0))
    yield "report with a leaf before the first", replace(report(accused, 0, None), before=good.before)
    foreign = replace(good.estimate, signature=other.sign(good.estimate.id(CHAIN)))
    yield "report of an estimate that somebody else has signed", replace(good, estimate=foreign)
    elsewhere = replace(good.estimate, signature=accused.sign(good.estimate.id(OTHER_CHAIN)))
    yield "report of an estimate of another chain", replace(good, estimate=elsewhere)
    invented = replace(good.accused, leaf=bytes(len(good.accused.leaf)))
    yield "report with a leaf that is not under the root", replace(good, accused=invented)
    yield "report with a path too short", replace(good, accused=replace(good.accused, path=good.accused.path[:-1]))
    yield "report with a path of another leaf", replace(good, before=replace(good.before, path=good.accused.path))


def broken_double_signs(winner: PrivateKey, other: PrivateKey) -> Iterator[tuple[str, DoubleSign]]:
    """Double signatures, each of which breaks a rule that needs no state."""
    good = double_sign(winner)
    second = good.second
    yield "double signature of one block", replace(good, second=good.first, second_signature=good.first_signature)
    swapped = DoubleSign(second, good.second_signature, good.first, good.first_signature)
    yield "double signature with the higher hash first", swapped
    for name, header in {
        "double signature of two heights": replace(second, height=8),
        "double signature of two winners": replace(second, winner=other.public_key),
        "double signature on two chains": replace(second, chain_id=OTHER_CHAIN),
    }.items():
        yield name, replace(good, second=header, second_signature=winner.sign(header.id()))
    yield "double signature of which one is somebody else's", replace(good, first_signature=other.sign(good.first.id()))


def _proof(log: LeafLog, index: int) -> LeafProof:
    return LeafProof(index, log.encoded(index), tuple(log.proof(index, log.time)))


def _header(winner: PrivateKey, height: int, timestamp: int) -> BlockHeader:
    return BlockHeader(
        version=1,
        chain_id=CHAIN,
        kind=RaceKind.AUDIT,
        height=height,
        winner=winner.public_key,
        averaged_total=(1, 2),
        averaged_time=3,
        previous=digest("previous"),
        winner_total=(3, 4),
        winner_time=5,
        difficulty=50_000_000,
        merkle_root=digest("merkle root"),
        timestamp=timestamp,
        task=digest("problem"),
        certificate_root=digest("certificate root"),
        state_root=digest("state root"),
    )
