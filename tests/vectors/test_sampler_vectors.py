"""proto/vectors/samplers.json, by the code and by SPEC section 13.6 written out naively."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import combinations, pairwise
from math import comb, floor, gcd

import numpy as np
import pytest

from fedcoin.core.task import Baseline, Sampler, Utility
from fedcoin.shapley.draws import Draws
from fedcoin.shapley.iterations import Iterations
from fedcoin.shapley.samplers import open_sampler

unhex = bytes.fromhex
UNIT = 1 << 16


def ints(texts):
    return [int(text) for text in texts]


class NumberGame:
    """The game that the file describes."""

    def __init__(self, clients, empty_value):
        self.clients, self.empty_value = clients, empty_value

    def worth(self, members):
        members = sorted(members)
        name = "fedcoin vectors: game " + b"".join(member.to_bytes(2, "big") for member in members).hex()
        chance = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 100_000_000
        return sum((member + 1) * 3_000_001 for member in members) // len(members) + chance

    def values(self, walks):
        parts = [walks.part(number, number + 1).coalitions() for number in range(len(walks))]
        return np.array([self.worth(np.flatnonzero(row).tolist()) for part in parts for row in part], dtype=np.int64)


def test_leaves_and_coalitions(load):
    vectors = load("samplers")
    race = unhex(vectors["race"])
    for case in vectors["cases"]:
        sampler, clients, miner = Sampler(case["sampler"]), case["clients"], unhex(case["miner"])
        game = NumberGame(clients, int(vectors["empty_value"]))
        for iteration in case["iterations"]:
            index = int(iteration["index"])
            leaf = Iterations(sampler, game).leaves(race, miner, [index])[0]
            assert leaf.tolist() == ints(iteration["leaf"])
            if "coalitions" in iteration:
                rows = open_sampler(sampler, clients).walks(race, miner, [index]).coalitions()
                assert [np.flatnonzero(row).tolist() for row in rows] == iteration["coalitions"]


def test_matches(load, code_of):
    vectors = load("samplers")
    for case in vectors["matches"]:
        claimed, recomputed = ints(case["claimed"]), ints(case["recomputed"])
        found = code_of(
            open_sampler(Sampler(case["sampler"]), len(claimed)).check,
            *(claimed, recomputed, unhex(vectors["race"]), unhex(case["miner"]), int(case["index"])),
            *(Utility(case["utility"]), case["samples"], Baseline(case["baseline"])),
        )
        assert found == case["code"]


@pytest.mark.parametrize("sampler", [Sampler.EXACT, Sampler.HYBRID])
def test_leaves_as_the_specification_words_them(load, sampler):
    vectors = load("samplers")
    follow = {Sampler.EXACT: exact_leaf, Sampler.HYBRID: hybrid_leaf}[sampler]
    followed = 0
    for case in vectors["cases"]:
        clients = case["clients"]
        if case["sampler"] != sampler or (sampler is Sampler.HYBRID and clients < 5):
            continue
        game = NumberGame(clients, int(vectors["empty_value"]))
        for iteration in case["iterations"]:
            leaf = follow(game, unhex(vectors["race"]), unhex(case["miner"]), int(iteration["index"]))
            assert leaf == ints(iteration["leaf"])
            followed += 1
    assert followed >= 5


def test_bounds_as_the_specification_words_them(load):
    """Of EXACT, whose bounds depend on the leaf's coalitions."""
    vectors = load("samplers")
    cases = [case for case in vectors["matches"] if case["sampler"] == Sampler.EXACT]
    for case in cases:
        claimed, recomputed, n = ints(case["claimed"]), ints(case["recomputed"]), case["samples"]
        differences = [abs(one - other) for one, other in zip(claimed, recomputed, strict=True)]
        parts = exact_parts(len(claimed), unhex(vectors["race"]), unhex(case["miner"]), int(case["index"]))
        if case["utility"] == Utility.ACCURACY:
            allowed = sum(gain * (min(free, -(-n // 100)) + n * e // 100_000) for gain, _, e, free in parts)
            fits = (sum(differences) - 2 * len(claimed)) * n <= allowed * 10**9
        else:
            scale = max(10**9, sum(abs(value) for value in recomputed))
            fits = all((d - 2) * 10_000 <= scale * sum(g for _, g, _, _ in parts) for d in differences)
        assert fits is (case["code"] is None)
    assert len(cases) >= 10


# --- section 13.6 ----------------------------------------------------------------------------------------------------


def exact_coalitions(clients, race, miner, index):
    """Members and weight of each."""
    iterations = 1 if clients == 1 else max(2, -(-(2**clients - 2) // clients))
    draws = Draws(b"fedcoin/v1/exact", race, miner, index // iterations)

    def rearrangement(size):
        factor = draws.below(size)
        while gcd(factor, size) != 1:
            factor = draws.below(size)
        offset = draws.below(size)
        return lambda place: (factor * place + offset) % size

    for size in range(1, clients):
        count = comb(clients, size)
        slot, moved = rearrangement(iterations)(index % iterations), rearrangement(count)
        if count >= iterations:
            weight = Fraction(iterations, count)
            ranks = [moved(y) for y in range(slot * count // iterations, (slot + 1) * count // iterations)]
        else:
            y = slot * count // iterations
            uses = sum(other * count // iterations == y for other in range(iterations))
            weight, ranks = Fraction(iterations, count * uses), [moved(y)]
        for rank in ranks:
            members = next(
                chosen
                for chosen in combinations(range(clients), size)
                if sum(comb(member, place) for place, member in enumerate(chosen, start=1)) == rank
            )
            yield members, weight


def exact_leaf(game, race, miner, index):
    clients = game.clients
    everyone = game.worth(range(clients))
    leaf = [UNIT * (everyone - game.empty_value) // clients] * clients
    for members, weight in exact_coalitions(clients, race, miner, index):
        size, w = len(members), UNIT * weight * (game.worth(members) - everyone)
        for i in range(clients):
            leaf[i] += floor(w / size) if i in members else -floor(w / (clients - size))
    return [value // UNIT for value in leaf]


def exact_parts(clients, race, miner, index):
    """Gain, gain for one client, evaluations and free answers of the coalitions and of N."""
    coalitions = list(exact_coalitions(clients, race, miner, index))
    h = [Fraction(1, clients)] * clients
    for members, weight in coalitions:
        for i in range(clients):
            h[i] += -weight / len(members) if i in members else weight / (clients - len(members))
    heaviest, sizes = 2 * max(weight for _, weight in coalitions), [abs(value) for value in h]
    return [(heaviest, heaviest, len(coalitions), 4), (sum(sizes), max(sizes), 1, 2)]


def hybrid_leaf(game, race, miner, index):
    clients = game.clients
    cuts = [cut for cut in (10, 30, 90, 270) if 2 * cut < clients]
    bounds = [2, *cuts, clients - 1]
    tiers = []
    for low, high in pairwise(bounds):
        number, z = len(bounds) - 1, high - low
        q = (2 * clients + number * z) // (2 * number * z)
        p = (2 * number * z + clients) // (2 * clients) if q == 0 else 1
        edges = [low + 1 + j * z // p for j in range(p + 1)]
        strips = [(edges[j], edges[j + 1] - 1) for j in range(p)]
        tiers.append((strips, max(q, 1), (p, max(q, 1)), range(low + 1, high + 1)))

    def walks(tag, race, miner, index):
        draws, left = Draws(tag, race, miner, index), []
        for tier, (strips, count, _, _) in enumerate(tiers):
            strip = strips[draws.below(len(strips))] if len(strips) > 1 else strips[0]
            for _ in range(count):
                if len(left) < strip[1]:
                    left = draws.permutation(clients)
                yield tier, strip, left[: strip[1]]
                left = left[strip[1] :]

    pair = {frozenset(two): game.worth(two) for two in combinations(range(clients), 2)}

    def pair_mean(members):
        inside = [pair[frozenset(two)] for two in combinations(members, 2)]
        return sum(inside) // len(inside)

    slopes = []
    pilots = [walk for pilot in range(8) for walk in walks(b"fedcoin/v1/pilot", bytes(32), bytes(33), pilot)]
    for tier in range(len(tiers)):
        seen = [
            (pair_mean(order[:s]), game.worth(order[:s]))
            for its, (a, b), order in pilots
            if its == tier
            for s in range(a, b + 1)
        ]
        n, sx, sy = len(seen), sum(x for x, _ in seen), sum(y for _, y in seen)
        d = n * sum(x * x for x, _ in seen) - sx * sx + (n * 10**6) ** 2
        beta = (n * sum(x * y for x, y in seen) - sx * sy) * UNIT // d
        beta = max(-(2**19), min(2**19, beta))
        slopes.append((beta, (UNIT * sy - beta * sx) // n))

    alone = [game.worth([i]) for i in range(clients)]
    of_client = [sum(value for two, value in pair.items() if i in two) for i in range(clients)]
    h = 2**48 + sum(slopes[tier][0] * sum(2**33 // s for s in tiers[tier][3]) for tier in range(len(tiers)))
    k = clients
    leaf = [
        UNIT * (game.worth(range(k)) - game.empty_value) // k
        + UNIT * (k * alone[i] - sum(alone)) // (k * (k - 1))
        + (k * of_client[i] - sum(of_client)) * h // (2**32 * k * (k - 1) * (k - 2))
        for i in range(k)
    ]
    for tier, (a, b), order in walks(b"fedcoin/v1/hybrid", race, miner, index):
        beta, alpha = slopes[tier]
        n, d = tiers[tier][2]
        for s in range(a, b + 1):
            r = (UNIT * game.worth(order[:s]) - beta * pair_mean(order[:s]) - alpha) * n // d
            h = 2 * r // s
            for i in range(k):
                if i in order[:s]:
                    leaf[i] += r // s if s == a else h // s
                else:
                    leaf[i] -= r // (k - s) if s == b else h // (k - s)
            if s > a:
                leaf[order[s - 1]] += r - h
            if s < b:
                leaf[order[s]] -= r - h
    return [value // UNIT for value in leaf]
