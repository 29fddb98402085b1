"""Merkle trees after RFC 6962 (Certificate Transparency): roots, inclusion proofs, consistency proofs.

Leaves and nodes are hashed under different prefixes, so that neither passes for the other, and the tree is
append-only: a
later root provably extends an earlier one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from fedcoin.core.errors import InvalidMerkleProof

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of no leaves (RFC 6962 §2.1)."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf data, in order."""
    log = MerkleLog()
    log.extend(leaves)
    return log.root()


class MerkleLog:
    """An append-only tree that keeps the hashes of all complete subtrees: appending and proving take O(log n) hashes.

    `_levels[h][i]` is the root of leaves i·2^h up to (i+1)·2^h.
    """

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, data: bytes) -> None:
        """Adds one leaf."""
        node = leaf_hash(data)
        level = 0
        self._levels[0].append(node)
        while len(self._levels[level]) % 2 == 0:
            node = node_hash(self._levels[level][-2], node)
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Adds leaves in order: as `append` for each, in half the time."""
        sha256 = hashlib.sha256
        self._levels[0] += [sha256(b"\x00" + data).digest() for data in leaves]
        level = 0
        while len(below := self._levels[level]) > 1:
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            above = self._levels[level]
            pairs = range(2 * len(above), len(below) - 1, 2)
            above += [sha256(b"\x01" + below[at] + below[at + 1]).digest() for at in pairs]

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` leaves (all, if not given)."""
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise ValueError(f"{size} leaves wanted, {len(self)} there")
        return self._subroot(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """RFC 6962 §2.1.1: PATH(index, first `size` leaves), from the leaf upwards."""
        if not 0 <= index < size <= len(self):
            raise ValueError(f"leaf {index} of {size} wanted, {len(self)} there")
        proof: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._subroot(middle, end))
                end = middle
            else:
                proof.append(self._subroot(start, middle))
                start = middle
        return proof[::-1]

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """RFC 6962 §2.1.2: PROOF(old, first `new` leaves)."""
        if not 0 < old <= new <= len(self):
            raise ValueError(f"proof from {old} to {new} wanted, {len(self)} there")
        return self._subproof(old, 0, new, True)

    def _subproof(self, old: int, start: int, end: int, complete: bool) -> list[bytes]:
        if old == end - start:
            return [] if complete else [self._subroot(start, end)]
        k = _split(end - start)
        if old <= k:
            return [*self._subproof(old, start, start + k, complete), self._subroot(start + k, end)]
        return [*self._subproof(old - k, start + k, end, False), self._subroot(start, start + k)]

    def _subroot(self, start: int, end: int) -> bytes:
        count = end - start
        height = count.bit_length() - 1
        if count == 1 << height and start % count == 0:
            return self._levels[height][start >> height]
        k = _split(count)
        return node_hash(self._subroot(start, start + k), self._subroot(start + k, end))


def verify_inclusion(data: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raises InvalidMerkleProof unless `data` is leaf `index` of the tree of `size` leaves with that root (RFC 9162
    §2.1.3.2)."""
    if not 0 <= index < size:
        raise InvalidMerkleProof(f"there is no leaf {index} in a tree of {size}")
    fn, sn, node = index, size - 1, leaf_hash(data)
    for sibling in proof:
        if sn == 0:
            raise InvalidMerkleProof("the proof is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn or node != root:
        raise InvalidMerkleProof


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raises InvalidMerkleProof unless the tree of `new` leaves extends that of `old` leaves (RFC 9162 §2.1.4.2)."""
    if not 0 < old <= new:
        raise InvalidMerkleProof(f"no tree of {new} leaves extends one of {old}")
    if old == new:
        if proof or old_root != new_root:
            raise InvalidMerkleProof("two roots of the same size differ")
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise InvalidMerkleProof("the proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for node in path[1:]:
        if sn == 0:
            raise InvalidMerkleProof("the proof is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(node, first), node_hash(node, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, node)
        fn, sn = fn >> 1, sn >> 1
    if sn or first != old_root or second != new_root:
        raise InvalidMerkleProof


def _split(count: int) -> int:
    """Largest power of two below `count` (≥ 2)."""
    return 1 << (count - 1).bit_length() - 1
