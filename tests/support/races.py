"""One race by itself, and estimates in it."""

from __future__ import annotations

from fedcoin.consensus.race import Race, RaceTerms
from fedcoin.consensus.verified import Verified
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import RaceKind
from tests.support.game import make_problem
from tests.support.network import MINERS, PARAMS, START

CHAIN = b"\x07" * 32
"""Chain id."""


def make_race(difficulty: int = UTILITY_SCALE // 10, norm: int = 2, clients: int = 2) -> Race:
    terms = RaceTerms(RaceKind.AUDIT, make_problem(clients).id(), make_problem(clients), b"\x01" * 32, difficulty, norm)
    return Race(terms, MINERS[0], CHAIN, Verified(CHAIN, PARAMS))


def estimate_in(race: Race, miner: int, time: int, total: tuple[int, ...]) -> Estimate:
    terms, key = race.terms, MINERS[miner]
    bare = Estimate(terms.kind, terms.task_hash, terms.parent, key.public_key, time, total, bytes(32), START, b"")
    return sign_estimate(key, CHAIN, bare)
