"""The tree of all blocks that were seen, and which tip is best: the longest chain, first seen on ties (§4.1).

Ties go by arrival and not by hash, because a tie that the winner can steer rewards withholding blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fedcoin.core.errors import HeightMismatch, UnknownBlock, UnknownParent


@dataclass
class _Node:
    parent: bytes | None
    height: int
    arrival: int
    invalid: bool
    children: list[bytes] = field(default_factory=list)


class BlockTree:
    """Hashes and heights of blocks, side branches included. The root is the genesis, height 0."""

    def __init__(self, root_hash: bytes) -> None:
        self.root = root_hash
        self._nodes = {root_hash: _Node(None, 0, 0, False)}
        self._leaves = {root_hash}
        """Valid blocks without a valid child."""

    def __len__(self) -> int:
        return len(self._nodes)

    def contains(self, block: bytes) -> bool:
        """Whether the block was inserted."""
        return block in self._nodes

    def insert(self, block: bytes, parent: bytes, height: int) -> None:
        """Adds a block; a child of an invalid block is invalid. A block already there stays as it is.

        Raises UnknownParent if the parent is not here, HeightMismatch if the height is not the parent's plus 1.
        """
        if block in self._nodes:
            return
        above = self._nodes.get(parent)
        if above is None:
            raise UnknownParent(f"the parent {parent.hex()} of block {block.hex()} is not here; hand it over first")
        if height != above.height + 1:
            raise HeightMismatch(f"block {block.hex()} says height {height}, its parent has {above.height}; refuse it")
        self._nodes[block] = _Node(parent, height, len(self._nodes), above.invalid)
        above.children.append(block)
        if not above.invalid:
            self._leaves.discard(parent)
            self._leaves.add(block)

    def height(self, block: bytes) -> int:
        """Height of a block. Raises UnknownBlock."""
        return self._node(block).height

    def parent(self, block: bytes) -> bytes | None:
        """Parent of a block; None for the root. Raises UnknownBlock."""
        return self._node(block).parent

    def children(self, block: bytes) -> tuple[bytes, ...]:
        """Blocks that follow a block, first seen first. Raises UnknownBlock."""
        return tuple(self._node(block).children)

    def is_invalid(self, block: bytes) -> bool:
        """Whether the block or one below it was marked invalid. Raises UnknownBlock."""
        return self._node(block).invalid

    def mark_invalid(self, block: bytes) -> None:
        """Takes a block and all that follows it out of the running for good. Raises UnknownBlock."""
        node = self._node(block)
        if node.parent is None:
            raise ValueError("the genesis cannot be invalid")
        if node.invalid:
            return
        waiting = [block]
        while waiting:
            current = waiting.pop()
            self._nodes[current].invalid = True
            self._leaves.discard(current)
            waiting += [child for child in self._nodes[current].children if not self._nodes[child].invalid]
        above = self._nodes[node.parent]
        if all(self._nodes[child].invalid for child in above.children):
            self._leaves.add(node.parent)

    def candidates(self, above_height: int) -> list[bytes]:
        """Valid tips higher than `above_height`: highest first, of equals the first seen."""
        tips = [block for block in self._leaves if self._nodes[block].height > above_height]
        return sorted(tips, key=lambda block: (-self._nodes[block].height, self._nodes[block].arrival))

    def best(self) -> bytes:
        """The tip of the longest valid chain, first seen on ties."""
        return self.candidates(-1)[0]

    def ancestor(self, block: bytes, height: int) -> bytes:
        """The block at `height` on the way from the root to `block`. Raises UnknownBlock."""
        node = self._node(block)
        if not 0 <= height <= node.height:
            raise UnknownBlock(f"block {block.hex()} of height {node.height} has no ancestor at height {height}")
        while node.height > height and node.parent is not None:
            block = node.parent
            node = self._nodes[block]
        return block

    def is_ancestor(self, ancestor: bytes, block: bytes) -> bool:
        """Whether `ancestor` is `block` or lies below it. Raises UnknownBlock."""
        height = self._node(ancestor).height
        return height <= self._node(block).height and self.ancestor(block, height) == ancestor

    def common_ancestor(self, one: bytes, other: bytes) -> bytes:
        """The highest block below both (or one of them). Raises UnknownBlock."""
        height = min(self.height(one), self.height(other))
        one, other = self.ancestor(one, height), self.ancestor(other, height)
        while one != other:
            one, other = self._below(one), self._below(other)
        return one

    def path(self, old: bytes, new: bytes) -> tuple[list[bytes], list[bytes]]:
        """How to get from one tip to another: blocks to undo from `old` downwards, blocks to apply up to `new`.

        Raises UnknownBlock.
        """
        fork = self.common_ancestor(old, new)
        return self._down_to(old, fork), self._down_to(new, fork)[::-1]

    def fork_depth(self, tip: bytes, candidate: bytes) -> int:
        """How many blocks a move from `tip` to `candidate` would undo. Raises UnknownBlock."""
        return self.height(tip) - self.height(self.common_ancestor(tip, candidate))

    def _down_to(self, block: bytes, end: bytes) -> list[bytes]:
        blocks = []
        while block != end:
            blocks.append(block)
            block = self._below(block)
        return blocks

    def _below(self, block: bytes) -> bytes:
        parent = self._nodes[block].parent
        assert parent is not None, "only the root has no parent, and every walk ends there"
        return parent

    def _node(self, block: bytes) -> _Node:
        node = self._nodes.get(block)
        if node is None:
            raise UnknownBlock(f"block {block.hex()} is not here; check the hash, or wait until the node has caught up")
        return node
