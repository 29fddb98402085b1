"""What every sampler evaluates and how leaves follow from it (SPEC section 13.6), on a game that needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedcoin.core.encoding import u16
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.core.task import Baseline, RaceKind, Sampler, Utility, race_id
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.samplers import open_sampler
from fedcoin.shapley.walks import Values, Walks
from vectorlib.core_values import code_of
from vectorlib.json_values import big, bigs
from vectorlib.people import digest, key

Json = dict[str, Any]
RACE = race_id(RaceKind.TASK, digest("task"), digest("parent"))
EMPTY_VALUE = 100_000_000
SAMPLES = 1000
_CASES = [
    (Sampler.PERMUTATION, 3, (0, 5)),
    (Sampler.ANTITHETIC, 4, (0, 1, 2**20 - 1)),
    (Sampler.EXACT, 1, (0,)),
    (Sampler.EXACT, 2, (0, 1, 2)),
    (Sampler.EXACT, 7, (0, 1, 18, 19, 2**20 - 1)),
    (Sampler.HYBRID, 4, (0,)),
    (Sampler.HYBRID, 5, (0, 1)),
    (Sampler.HYBRID, 25, (0, 7)),
    (Sampler.HYBRID, 63, (2**20 - 1,)),
    (Sampler.HYBRID, 100, (0,)),
]


class NumberGame:
    """v(C): a mean of qualities, and chance. See `samplers`."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.empty_value = EMPTY_VALUE

    def values(self, walks: Walks) -> Values:
        """Of the marked coalitions."""
        found = []
        for number in range(len(walks)):
            found += [self.worth(np.flatnonzero(row).tolist()) for row in walks.part(number, number + 1).coalitions()]
        return np.array(found, dtype=np.int64)

    def worth(self, members: Sequence[int]) -> int:
        """v(C)."""
        chance = digest("game " + b"".join(u16.write(member) for member in members).hex())
        mean = sum((member + 1) * 3_000_001 for member in members) // len(members)
        return mean + int.from_bytes(chance[:8], "big") % 100_000_000


def samplers() -> Json:
    """Leaves of several samplers, the coalitions of small ones, and leaves on both sides of the tolerance."""
    return {
        "race": RACE.hex(),
        "empty_value": big(EMPTY_VALUE),
        "game": (
            "v(C) = floor(mean of (i + 1) * 3000001 over the members) + (the first 8 bytes, as u64, of SHA-256('fedcoin"
            " vectors: game ' and, as hexadecimal text, the members as u16 each, ascending) mod 100000000)"
        ),
        "cases": [_case(sampler, clients, indices) for sampler, clients, indices in _CASES],
        "matches": _matches(),
    }


def _case(sampler: Sampler, clients: int, indices: Sequence[int]) -> Json:
    miner = key("miner 0").public_key
    prescribed = open_sampler(sampler, clients)
    leaves = Iterations(sampler, NumberGame(clients)).leaves(RACE, miner, indices)
    iterations = []
    for index, leaf in zip(indices, leaves, strict=True):
        row: Json = {"index": big(index), "leaf": bigs(leaf)}
        if clients <= 7:
            coalitions = prescribed.walks(RACE, miner, [index]).coalitions()
            row["coalitions"] = [np.flatnonzero(members).tolist() for members in coalitions]
        iterations.append(row)
    return {"sampler": int(sampler), "clients": clients, "miner": miner.hex(), "iterations": iterations}


def _matches() -> list[Json]:
    """Leaves on both sides of each bound.

    HYBRID of 100 clients, whose parts have the gains 1/2, 1 and 4; of 6 clients on 100 samples; EXACT of 7 clients.
    """
    result = []
    answer, fine = UTILITY_SCALE // SAMPLES, UTILITY_SCALE // 10_000
    # (4 + ⌊32/100⌋)/2 + 4 + 4·4 = 22 right answers; losses: 11/2 of 1/10,000.
    for utility, limit in (
        (Utility.ACCURACY, 22 * answer + 200),
        (Utility.NEGATIVE_LOSS, 11 * fine // 2 + 2),
    ):
        for baseline, difference in (
            (Baseline.ZERO, limit),
            (Baseline.ZERO, limit + 1),
            (Baseline.STARTING_MODEL, limit + 1),
            (Baseline.ZERO, -limit - 1),
        ):
            result.append(_match(Sampler.HYBRID, 100, 0, utility, SAMPLES, baseline, difference))
    for sampler, clients, samples in ((Sampler.HYBRID, 6, 100), (Sampler.EXACT, 7, 100), (Sampler.EXACT, 7, SAMPLES)):
        for index in range(2, 5):
            limit = _furthest(sampler, clients, index, Utility.ACCURACY, samples)
            for difference in (limit, limit + 1):
                result.append(_match(sampler, clients, index, Utility.ACCURACY, samples, Baseline.ZERO, difference))
    limit = _furthest(Sampler.EXACT, 7, 2, Utility.NEGATIVE_LOSS, SAMPLES)
    for difference in (-limit, -limit - 1):
        result.append(_match(Sampler.EXACT, 7, 2, Utility.NEGATIVE_LOSS, SAMPLES, Baseline.ZERO, difference))
    return result


def _furthest(sampler: Sampler, clients: int, index: int, utility: Utility, samples: int) -> int:
    """The largest difference in one value that passes."""
    low, high = 0, UTILITY_SCALE
    while high - low > 1:
        middle = (low + high) // 2
        passes = _match(sampler, clients, index, utility, samples, Baseline.ZERO, middle)["code"] is None
        low, high = (middle, high) if passes else (low, middle)
    return low


def _match(
    sampler: Sampler,
    clients: int,
    index: int,
    utility: Utility,
    samples: int,
    baseline: Baseline,
    difference: int,
) -> Json:
    recomputed = [1_000_000] * clients
    claimed = list(recomputed)
    claimed[2] += difference
    miner = key("miner 0").public_key
    prescribed = open_sampler(sampler, clients)
    code = code_of(lambda: prescribed.check(claimed, recomputed, RACE, miner, index, utility, samples, baseline))
    return {
        "sampler": int(sampler),
        "miner": miner.hex(),
        "index": big(index),
        "claimed": bigs(claimed),
        "recomputed": bigs(recomputed),
        "utility": int(utility),
        "samples": samples,
        "baseline": int(baseline),
        "code": code,
    }
