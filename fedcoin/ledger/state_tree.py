"""The Merkle tree behind a state's root, moved from one set of changes to the next.

The same root as that of an RFC 6962 tree over all entries; only what the changes touch is hashed again. A new value
costs one path. A key that comes or goes shifts all leaves after it, so whatever stands right of it is hashed again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from fedcoin.core.encoding import u32
from fedcoin.core.merkle import EMPTY_ROOT, leaf_hash, node_hash


class StateTree:
    """The tree over one set of entries. It never changes; `after` gives the one that follows."""

    def __init__(self) -> None:
        """Of no entries."""
        self._keys: list[bytes] = []
        self._levels: list[list[bytes]] = [[]]
        # Hashes from the leaves up. Pairs make the next level; a last one without a partner rises as it is.

    def root(self) -> bytes:
        """Merkle root."""
        return self._levels[-1][0] if self._keys else EMPTY_ROOT

    def after(self, changes: Mapping[bytes, bytes | None]) -> StateTree:
        """The tree after changes: key → new value (None: removed)."""
        leaves = self._levels[0][:]
        fresh: set[int] = set()
        moves: list[tuple[int, bytes, bytes | None]] = []
        # (place in the old order, key, leaf hash or None): comes in front of that place, or goes from it.
        for key, value in changes.items():
            at = bisect_left(self._keys, key)
            known = at < len(self._keys) and self._keys[at] == key
            leaf = None if value is None else leaf_hash(u32.write(len(key)) + key + value)
            if known and leaf is not None:
                leaves[at] = leaf
                fresh.add(at)
            elif known or leaf is not None:
                moves.append((at, key, leaf))
        tree = StateTree()
        if moves:
            moves.sort(key=lambda move: move[:2])
            tree._keys, leaves = _moved(self._keys, leaves, moves)
        else:
            tree._keys = self._keys
        tree._levels = self._rebuilt(leaves, fresh, moves[0][0] if moves else len(leaves))
        return tree

    def _rebuilt(self, leaves: list[bytes], fresh: set[int], same: int) -> list[list[bytes]]:
        """All levels over `leaves`, of which the first `same` are as they were but for those at `fresh`."""
        levels = [leaves]
        while len(below := levels[-1]) > 1:
            same //= 2
            above = self._levels[len(levels)][:same] if same else []
            fresh = {place // 2 for place in fresh if place // 2 < same}
            for place in fresh:
                above[place] = node_hash(below[2 * place], below[2 * place + 1])
            above += [node_hash(below[at], below[at + 1]) for at in range(2 * same, len(below) - 1, 2)]
            if len(below) % 2:
                above.append(below[-1])
            levels.append(above)
        return levels


def _moved(
    keys: list[bytes], leaves: list[bytes], moves: list[tuple[int, bytes, bytes | None]]
) -> tuple[list[bytes], list[bytes]]:
    """Keys and leaves with those that come and without those that go; `moves` in order of place and key."""
    new_keys: list[bytes] = []
    new_leaves: list[bytes] = []
    start = 0
    for at, key, leaf in moves:
        new_keys += keys[start:at]
        new_leaves += leaves[start:at]
        start = at
        if leaf is None:
            start += 1
        else:
            new_keys.append(key)
            new_leaves.append(leaf)
    return new_keys + keys[start:], new_leaves + leaves[start:]
