"""RFC 6962: known answers, and all proofs of small trees."""

from dataclasses import dataclass

import pytest

from fedcoin.core.errors import InvalidMerkleProof
from fedcoin.core.merkle import (
    EMPTY_ROOT,
    MerkleLog,
    leaf_hash,
    merkle_root,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The reference data of Certificate Transparency.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # (index, size) → path
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {  # (old, new) → proof
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
SIZE = 64


@dataclass(frozen=True)
class Tree:
    log: MerkleLog
    leaves: list[bytes]
    roots: list[bytes]


@pytest.fixture(scope="module")
def tree() -> Tree:
    leaves = [bytes([i]) * (i % 5) + bytes([i]) for i in range(SIZE)]
    log = MerkleLog()
    for leaf in leaves:
        log.append(leaf)
    return Tree(log, leaves, [log.root(size) for size in range(SIZE + 1)])


def reference_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1 as it is written."""
    if len(leaves) <= 1:
        return leaf_hash(leaves[0]) if leaves else EMPTY_ROOT
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node_hash(reference_root(leaves[:k]), reference_root(leaves[k:]))


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size):
    assert merkle_root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_known_inclusion_proofs(index, size):
    log = MerkleLog()
    for leaf in LEAVES:
        log.append(leaf)
    assert [node.hex() for node in log.inclusion_proof(index, size)] == INCLUSION[index, size]


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_known_consistency_proofs(old, new):
    log = MerkleLog()
    for leaf in LEAVES:
        log.append(leaf)
    assert [node.hex() for node in log.consistency_proof(old, new)] == CONSISTENCY[old, new]


def test_roots_of_all_sizes_follow_the_recursive_definition(tree):
    assert tree.roots == [reference_root(tree.leaves[:size]) for size in range(SIZE + 1)]


def test_every_leaf_of_every_tree_is_proved_and_no_other_leaf_is(tree):
    for size in range(1, SIZE + 1):
        for index in range(size):
            proof = tree.log.inclusion_proof(index, size)
            verify_inclusion(tree.leaves[index], index, size, proof, tree.roots[size])
            with pytest.raises(InvalidMerkleProof):
                verify_inclusion(b"forged", index, size, proof, tree.roots[size])


def test_a_leaf_is_proved_at_its_own_index_only(tree):
    size = 21
    for index in range(size):
        proof = tree.log.inclusion_proof(index, size)
        for other in range(size):
            if other != index:
                with pytest.raises(InvalidMerkleProof):
                    verify_inclusion(tree.leaves[index], other, size, proof, tree.roots[size])


def test_a_proof_that_is_cut_or_extended_is_refused(tree):
    for size in range(1, SIZE + 1, 5):
        for index in range(0, size, 3):
            proof = tree.log.inclusion_proof(index, size)
            for changed in (proof[:-1], [*proof, bytes(32)], proof[1:], [bytes(32), *proof]):
                if changed != proof:
                    with pytest.raises(InvalidMerkleProof):
                        verify_inclusion(tree.leaves[index], index, size, changed, tree.roots[size])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_outside_the_tree_is_refused(index, size):
    with pytest.raises(InvalidMerkleProof):
        verify_inclusion(b"", index, size, [], EMPTY_ROOT)


def test_every_tree_extends_every_smaller_one_and_only_that(tree):
    for new in range(1, SIZE + 1):
        for old in range(1, new + 1):
            proof = tree.log.consistency_proof(old, new)
            verify_consistency(old, tree.roots[old], new, tree.roots[new], proof)
            with pytest.raises(InvalidMerkleProof):
                verify_consistency(old, tree.roots[old - 1], new, tree.roots[new], proof)
            with pytest.raises(InvalidMerkleProof):
                verify_consistency(old, tree.roots[old], new, tree.roots[new - 1], proof)


def test_a_consistency_proof_that_is_cut_or_extended_is_refused(tree):
    for new in range(2, SIZE + 1, 7):
        for old in range(1, new, 4):
            proof = tree.log.consistency_proof(old, new)
            for changed in ([], proof[:-1], [*proof, bytes(32)]):
                with pytest.raises(InvalidMerkleProof):
                    verify_consistency(old, tree.roots[old], new, tree.roots[new], changed)


@pytest.mark.parametrize(("old", "new"), [(0, 3), (4, 3), (-1, 2)])
def test_sizes_that_extend_nothing_are_refused(old, new):
    with pytest.raises(InvalidMerkleProof):
        verify_consistency(old, EMPTY_ROOT, new, EMPTY_ROOT, [])


def test_an_inner_node_does_not_pass_for_a_leaf(tree):
    left, right = leaf_hash(tree.leaves[0]), leaf_hash(tree.leaves[1])
    assert merkle_root([left + right]) != merkle_root(tree.leaves[:2])


def test_a_log_refuses_proofs_of_what_it_does_not_hold(tree):
    for call in (
        lambda: tree.log.root(SIZE + 1),
        lambda: tree.log.inclusion_proof(SIZE, SIZE),
        lambda: tree.log.inclusion_proof(0, SIZE + 1),
        lambda: tree.log.consistency_proof(0, 1),
        lambda: tree.log.consistency_proof(2, 1),
    ):
        with pytest.raises(ValueError, match="wanted"):
            call()
