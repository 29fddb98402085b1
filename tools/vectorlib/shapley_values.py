"""Permutations, leaves, estimates, averages and distances."""

from __future__ import annotations

from typing import Any

from fedcoin.core.estimate import ESTIMATE, Estimate, sign_estimate
from fedcoin.core.params import MAX_ITERATIONS, UTILITY_SCALE
from fedcoin.core.task import Baseline, RaceKind, Utility, race_id
from fedcoin.shapley.distance import within_distance
from fedcoin.shapley.leaves import MAX_MARGINAL, LeafLog, decode_leaf, encode_leaf, step_between
from fedcoin.shapley.mean import averaged
from fedcoin.shapley.permutations import permutation
from fedcoin.shapley.tolerance import check_leaf
from vectorlib.core_values import code_of
from vectorlib.json_values import big, bigs, to_json
from vectorlib.people import CHAIN, START, digest, key

Json = dict[str, Any]
RACE = race_id(RaceKind.TASK, digest("task"), digest("parent"))
SAMPLES = 1000
ORDER = (2, 0, 3, 1)


def permutations() -> Json:
    """Alg. 1 line 5 for several races, miners, iterations and K; 683 and 1024 clients throw words away or never do."""
    cases = [(name, index, clients) for name in ("miner 0", "miner 1") for index in (0, 1) for clients in (1, 2, 3, 10)]
    cases += [("miner 0", index, clients) for index in (2, 2**20 - 1, 2**32, 2**64 - 1) for clients in (5, 100)]
    cases += [("miner 0", 0, 683), ("miner 0", 0, 1024)]
    return {
        "race": RACE.hex(),
        "cases": [
            {
                "miner": key(name).public_key.hex(),
                "index": big(index),
                "clients": clients,
                "permutation": list(permutation(RACE, key(name).public_key, index, clients)),
            }
            for name, index, clients in cases
        ],
    }


def leaves_estimates() -> Json:
    """Leaves and their log, estimates, S̄, distances, and which leaves match their recomputation."""
    return {
        "chain_id": CHAIN.hex(),
        "leaves": _leaves(),
        "malformed_leaves": _malformed_leaves(),
        "steps": _steps(),
        "log": _log(),
        "averages": _averages(),
        "distances": _distances(),
        "matches": _matches(),
    }


def _leaves() -> list[Json]:
    largest = MAX_MARGINAL * MAX_ITERATIONS
    rows = [(0,), (1, -1), (UTILITY_SCALE, -UTILITY_SCALE, 123_456_789), (largest, -largest)]
    return [{"sums": bigs(row), "encoding": encode_leaf(row).hex()} for row in rows]


def _malformed_leaves() -> list[Json]:
    cases = {
        "a byte missing": (bytes(15), 2),
        "a byte left over": (bytes(17), 2),
        "another K": (bytes(24), 2),
        "no bytes": (b"", 1),
    }
    return [
        {
            "name": name,
            "encoding": data.hex(),
            "clients": clients,
            "code": code_of(lambda data=data, clients=clients: decode_leaf(data, clients)),
        }
        for name, (data, clients) in cases.items()
    ]


def _steps() -> list[Json]:
    """Marginal contributions of an iteration from neighbouring leaves, or why there are none."""
    low, high = -(2**63), 2**63 - 1
    cases: dict[str, tuple[tuple[int, ...] | None, tuple[int, ...], int]] = {
        "the first leaf is its own step": (None, (5, -7), 0),
        "a later one": ((5, -7), (6, -9), 1),
        "the largest step": ((0, 0), (MAX_MARGINAL, -MAX_MARGINAL), 1),
        "a step too large": ((0, 0), (MAX_MARGINAL + 1, 0), 1),
        "a step too small": ((0, 0), (0, -MAX_MARGINAL - 1), 1),
        "a step that wraps": ((low, 0), (high, 0), 1),
        "a step that wraps to one": ((high, 0), (low, 0), 1),
        "sums that so few iterations cannot give": ((2 * MAX_MARGINAL, 0), (2 * MAX_MARGINAL + 1, 0), 1),
        "a leaf before it of another K": ((0, 0, 0), (0, 0), 1),
    }
    found: list[Json] = []
    for name, (before, sums, index) in cases.items():
        earlier, leaf = None if before is None else encode_leaf(before), encode_leaf(sums)
        code = code_of(lambda earlier=earlier, leaf=leaf, index=index: step_between(earlier, leaf, index, 2))
        step = None if code else bigs(step_between(earlier, leaf, index, 2))
        leaves = {"before": None if earlier is None else earlier.hex(), "leaf": leaf.hex()}
        found.append({"name": name, **leaves, "index": index, "step": step, "code": code})
    return found


def _log() -> Json:
    """Estimates of one miner as its leaves grow, and proofs for its leaves."""
    miner = key("miner 0")
    rows = [tuple(_marginal(f"leaf {index} of {client}") for client in range(3)) for index in range(6)]
    log = LeafLog(3)
    estimates: list[Json] = []
    for row in rows:
        log.append(row)
        unsigned = Estimate(
            RaceKind.TASK,
            digest("task"),
            digest("parent"),
            miner.public_key,
            log.time,
            log.total,
            log.root(),
            START,
            b"",
        )
        estimate = sign_estimate(miner, CHAIN, unsigned)
        estimates.append(
            {
                "fields": to_json(ESTIMATE, estimate),
                "id": estimate.id(CHAIN).hex(),
                "encoding": ESTIMATE.encode(estimate).hex(),
            }
        )
    return {
        "private_key": miner.secret.hex(),
        "race": RACE.hex(),
        "marginals": [bigs(row) for row in rows],
        "leaves": [log.encoded(index).hex() for index in range(log.time)],
        "estimates": estimates,
        "proofs": [
            {"index": index, "size": size, "proof": [node.hex() for node in log.proof(index, size)]}
            for index, size in ((0, 1), (0, 6), (3, 5), (5, 6))
        ],
        "consistency": [
            {"old": old, "new": new, "proof": [node.hex() for node in log.consistency(old, new)]}
            for old, new in ((1, 6), (3, 6), (4, 5))
        ],
    }


def _marginal(text: str) -> int:
    """Some number between −1 and 1 in fixed point."""
    return int.from_bytes(digest(text)[:8], "big") % (2 * UTILITY_SCALE + 1) - UTILITY_SCALE


def _averages() -> list[Json]:
    limit = MAX_MARGINAL * MAX_ITERATIONS
    cases: list[list[tuple[tuple[int, ...], int]]] = [
        [((10, -4), 2)],
        [((10, -4), 2), ((5, 5), 1), ((-1, 0), 7)],
        [((limit, -limit), MAX_ITERATIONS), ((limit, -limit), MAX_ITERATIONS)],
    ]
    result = []
    for estimates in cases:
        total, time = averaged(estimates)
        given = [{"total": bigs(their_total), "time": big(their_time)} for their_total, their_time in estimates]
        result.append({"estimates": given, "total": bigs(total), "time": big(time)})
    return result


def _distances() -> list[Json]:
    limit = MAX_MARGINAL * MAX_ITERATIONS
    cases = [
        ((3, 0), 1, (0, 4), 1, 2, 5),
        ((3, 0), 1, (0, 4), 1, 2, 4),
        ((30_001, 0), 10_000, (0, 4), 1, 2, 5),
        ((3, 0), 1, (0, 4), 1, 1, 7),
        ((3, 0), 1, (0, 4), 1, 1, 6),
        ((3, 0), 1, (0, 4), 1, 0, 4),
        ((3, 0), 1, (0, 4), 1, 0, 3),
        ((3, 0), 1, (0, 4), 1, 3, 5),
        ((3, 0), 1, (0, 4), 1, 3, 4),
        ((1, 1), 3, (2, 2), 6, 2, 0),
        ((1, 1), 3, (2, 3), 6, 2, 0),
        ((limit,), MAX_ITERATIONS, (-limit,), MAX_ITERATIONS, 2, 2 * MAX_MARGINAL),
        ((limit,), MAX_ITERATIONS, (1 - limit,), MAX_ITERATIONS, 2, 2 * MAX_MARGINAL - 1),
        ((limit,) * 5, MAX_ITERATIONS, (-limit,) * 5, MAX_ITERATIONS, 8, 2**41),
    ]
    return [
        {
            "total_a": bigs(total_a),
            "time_a": big(time_a),
            "total_b": bigs(total_b),
            "time_b": big(time_b),
            "norm": norm,
            "difficulty": big(difficulty),
            "within": within_distance(total_a, time_a, total_b, time_b, norm, difficulty),
        }
        for total_a, time_a, total_b, time_b, norm, difficulty in cases
    ]


def _matches() -> list[Json]:
    """Pairs of leaves on both sides of every tolerance."""
    sample, small = UTILITY_SCALE // SAMPLES, UTILITY_SCALE // 10_000
    right = [40 * sample, 10 * sample, 700 * sample, -30 * sample]
    loss = [-2 * UTILITY_SCALE, UTILITY_SCALE // 2, UTILITY_SCALE, UTILITY_SCALE // 4]
    accuracy = [
        ([0, 0, 0, 0], Baseline.ZERO),
        ([sample, -sample, 0, 2 * sample], Baseline.ZERO),
        ([sample, -sample, sample, 2 * sample], Baseline.ZERO),
        ([4 * sample + 1, -1, 1, -1], Baseline.ZERO),
        ([4 * sample + 1, -1, 1, -2], Baseline.ZERO),
        ([2 * sample] * 4, Baseline.ZERO),
        ([2 * sample] * 4, Baseline.STARTING_MODEL),
        ([6 * sample, *[2 * sample] * 3], Baseline.STARTING_MODEL),
        ([7 * sample, *[2 * sample] * 3], Baseline.STARTING_MODEL),
        ([-4 * sample] * 4, Baseline.STARTING_MODEL),
    ]
    cases = [_match(right, d, ORDER, Utility.ACCURACY, SAMPLES, baseline) for d, baseline in accuracy]
    fine = UTILITY_SCALE // 100_000
    cases += [_match(right, [n * fine, 0, 0, 0], ORDER, Utility.ACCURACY, 100_000, Baseline.ZERO) for n in (8, 9)]
    for differences, baseline in (
        ([4 * small // 2, 3 * small // 2, small, -small], Baseline.ZERO),
        ([2 * small + 1, 0, 0, 0], Baseline.ZERO),
        ([0, 0, small + 1, 0], Baseline.ZERO),
        ([0, 0, 2 * small, 0], Baseline.STARTING_MODEL),
        ([0, 0, 2 * small + 1, 0], Baseline.STARTING_MODEL),
    ):
        cases.append(_match(loss, differences, (0, 1, 2, 3), Utility.NEGATIVE_LOSS, SAMPLES, baseline))
    return cases


def _match(
    recomputed: list[int],
    differences: list[int],
    order: tuple[int, ...],
    utility: Utility,
    samples: int,
    baseline: Baseline,
) -> Json:
    claimed = list(recomputed)
    for place, client in enumerate(order):
        claimed[client] += differences[place] - (differences[place - 1] if place else 0)
    return {
        "claimed": bigs(claimed),
        "recomputed": bigs(recomputed),
        "permutation": list(order),
        "utility": int(utility),
        "samples": samples,
        "baseline": int(baseline),
        "code": code_of(lambda: check_leaf(claimed, recomputed, order, utility, samples, baseline)),
    }
