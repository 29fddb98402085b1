"""The certificate: the signed estimates that S̄ averages, so that anyone can decide Alg. 2 from the block alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedcoin.core.block import Block
from fedcoin.core.errors import (
    AveragedMismatch,
    DistanceTooLarge,
    EstimateOfAnotherRace,
    MalformedCertificate,
    MinerNotAllowed,
    QuorumMissing,
    WinnerMismatch,
)
from fedcoin.core.estimate import Estimate
from fedcoin.core.params import ChainParams
from fedcoin.ledger.miners import active_miners, may_mine
from fedcoin.ledger.state import State
from fedcoin.shapley.distance import within_distance
from fedcoin.shapley.mean import averaged


def verify_structure(block: Block) -> None:
    """Winner first, the others ascending, each once. Raises MalformedCertificate, WinnerMismatch."""
    if len(block.certificate) < 2:
        raise MalformedCertificate("a certificate needs the winner and at least one other miner")
    own, *others = block.certificate
    header = block.header
    if (own.miner, own.total, own.time) != (header.winner, header.winner_total, header.winner_time):
        raise WinnerMismatch
    miners = [estimate.miner for estimate in others]
    if miners != sorted(set(miners)) or own.miner in miners:
        raise MalformedCertificate


def verify_same_race(block: Block) -> None:
    """All estimates belong to the block's race. Raises EstimateOfAnotherRace, EstimateOutOfRange."""
    header = block.header
    for estimate in block.certificate:
        if (estimate.kind, estimate.task, estimate.parent) != (header.kind, header.task, header.previous):
            raise EstimateOfAnotherRace
        estimate.verify_range(len(header.averaged_total))


def verify_averaged(block: Block) -> None:
    """S̄ is the time-weighted mean of the others (Alg. 1 line 16). Raises AveragedMismatch."""
    header = block.header
    if averaged_of(block.certificate[1:]) != (header.averaged_total, header.averaged_time):
        raise AveragedMismatch


def verify_distance(block: Block, params: ChainParams) -> None:
    """Alg. 2 line 2: ‖S_t − S̄_t‖_p ≤ D. Raises DistanceTooLarge."""
    header = block.header
    if not within_distance(
        header.winner_total,
        header.winner_time,
        header.averaged_total,
        header.averaged_time,
        params.norm,
        header.difficulty,
    ):
        raise DistanceTooLarge


def verify_miners(certificate: Sequence[Estimate], state: State, parent_height: int) -> None:
    """Everyone in it was registered before the race's parent block. Raises MinerNotAllowed."""
    for estimate in certificate:
        if not may_mine(state, estimate.miner, parent_height):
            raise MinerNotAllowed


def verify_quorum(certificate: Sequence[Estimate], state: State, params: ChainParams) -> None:
    """With the winner, enough of the active miners stand in it. Raises QuorumMissing."""
    if not has_quorum((estimate.miner for estimate in certificate), state, params):
        raise QuorumMissing


def has_quorum(miners: Iterable[bytes], state: State, params: ChainParams) -> bool:
    """Whether these miners (winner included) are enough of the active ones."""
    active = {record.public_key for record in active_miners(state, params)}
    counted = len(active.intersection(miners))
    return counted * params.quorum_denominator >= params.quorum_numerator * len(active)


def others_needed(state: State, params: ChainParams) -> int:
    """How many others an active winner needs beside it."""
    active = len(active_miners(state, params))
    return max(1, -(-params.quorum_numerator * active // params.quorum_denominator) - 1)


def averaged_of(estimates: Iterable[Estimate]) -> tuple[tuple[int, ...], int]:
    """S̄ of estimates as (total, time)."""
    return averaged((estimate.total, estimate.time) for estimate in estimates)
