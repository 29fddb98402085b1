"""proto/vectors: permutations, leaves, estimates, averages, distances."""

from fedcoin.core.estimate import ESTIMATE
from fedcoin.core.keys import PrivateKey
from fedcoin.core.merkle import verify_consistency, verify_inclusion
from fedcoin.core.task import Baseline, Utility
from fedcoin.shapley.distance import within_distance
from fedcoin.shapley.leaves import LeafLog, decode_leaf, encode_leaf, step_between
from fedcoin.shapley.mean import averaged
from fedcoin.shapley.permutations import permutation
from fedcoin.shapley.tolerance import check_leaf

unhex = bytes.fromhex


def ints(texts) -> tuple[int, ...]:
    return tuple(map(int, texts))


def test_permutations(load):
    vectors = load("permutations")
    for case in vectors["cases"]:
        found = permutation(unhex(vectors["race"]), unhex(case["miner"]), int(case["index"]), case["clients"])
        assert list(found) == case["permutation"]


def test_leaves(load, code_of):
    vectors = load("leaves_estimates")
    for case in vectors["leaves"]:
        sums = ints(case["sums"])
        assert encode_leaf(sums).hex() == case["encoding"]
        assert decode_leaf(unhex(case["encoding"]), len(sums)) == sums
    for case in vectors["malformed_leaves"]:
        found = code_of(decode_leaf, unhex(case["encoding"]), case["clients"])
        assert found == case["code"] == "MALFORMED_LEAF", case["name"]
    for case in vectors["steps"]:
        before = None if case["before"] is None else unhex(case["before"])
        if case["code"]:
            assert code_of(step_between, before, unhex(case["leaf"]), case["index"], 2) == case["code"], case["name"]
        else:
            assert step_between(before, unhex(case["leaf"]), case["index"], 2) == ints(case["step"]), case["name"]


def test_estimates_of_a_growing_log(load, from_json):
    vectors = load("leaves_estimates")
    chain_id, case = unhex(vectors["chain_id"]), vectors["log"]
    key = PrivateKey(unhex(case["private_key"]))
    log = LeafLog(3)
    roots = {}
    for marginals, leaf, expected in zip(case["marginals"], case["leaves"], case["estimates"], strict=True):
        log.append(ints(marginals))
        assert log.encoded(log.time - 1).hex() == leaf
        estimate = from_json(ESTIMATE, expected["fields"])
        assert (estimate.time, estimate.total, estimate.leaf_root) == (log.time, log.total, log.root())
        assert estimate.miner == key.public_key
        assert estimate.race.hex() == case["race"]
        assert estimate.id(chain_id).hex() == expected["id"]
        assert ESTIMATE.encode(estimate).hex() == expected["encoding"]
        estimate.verify(chain_id)
        roots[log.time] = estimate.leaf_root
    for proof in case["proofs"]:
        nodes = [unhex(node) for node in proof["proof"]]
        assert log.proof(proof["index"], proof["size"]) == nodes
        verify_inclusion(log.encoded(proof["index"]), proof["index"], proof["size"], nodes, roots[proof["size"]])
    for proof in case["consistency"]:
        nodes = [unhex(node) for node in proof["proof"]]
        verify_consistency(proof["old"], roots[proof["old"]], proof["new"], roots[proof["new"]], nodes)


def test_alg1_line16_averages(load):
    for case in load("leaves_estimates")["averages"]:
        estimates = [(ints(item["total"]), int(item["time"])) for item in case["estimates"]]
        assert averaged(estimates) == (ints(case["total"]), int(case["time"]))


def test_alg1_line17_distances(load):
    cases = load("leaves_estimates")["distances"]
    assert {case["within"] for case in cases} == {True, False}
    for case in cases:
        found = within_distance(
            ints(case["total_a"]),
            int(case["time_a"]),
            ints(case["total_b"]),
            int(case["time_b"]),
            case["norm"],
            int(case["difficulty"]),
        )
        assert found == case["within"], case


def test_leaves_that_match_and_that_do_not(load, code_of):
    cases = load("leaves_estimates")["matches"]
    assert {case["code"] for case in cases} == {None, "LEAF_MISMATCH"}
    for case in cases:
        found = code_of(
            check_leaf,
            ints(case["claimed"]),
            ints(case["recomputed"]),
            case["permutation"],
            Utility(case["utility"]),
            case["samples"],
            Baseline(case["baseline"]),
        )
        assert found == case["code"], case
