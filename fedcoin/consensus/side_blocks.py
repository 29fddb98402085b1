"""A bound on blocks that are kept without being adopted.

On a side branch the state is not at hand, so a quorum cannot be asked for, and on the tip one winning certificate
yields as many valid blocks as there are timestamps. Either way one registered miner could fill every disk.
"""

from __future__ import annotations

from fedcoin.core.errors import TooManyBlocks
from fedcoin.ledger.fork_choice import BlockTree

MAX_PER_WINNER = 16
WINDOW_MS = 600_000


class SideBlocks:
    """Counts each winner's blocks of the last minutes that are not on the adopted chain."""

    def __init__(self, tree: BlockTree) -> None:
        self._tree = tree
        self._blocks: dict[bytes, list[tuple[bytes, int]]] = {}
        """Winner → (block hash, when it came)."""

    def verify_room(self, winner: bytes, tip: bytes, now: int) -> None:
        """Raises TooManyBlocks if the winner has handed out too many lately. One may be offered again later."""
        open_blocks = [
            (block_hash, came)
            for block_hash, came in self._blocks.pop(winner, [])
            if came + WINDOW_MS > now and not self._tree.is_ancestor(block_hash, tip)
        ]
        if open_blocks:
            self._blocks[winner] = open_blocks
        if len(open_blocks) >= MAX_PER_WINNER:
            raise TooManyBlocks

    def add(self, winner: bytes, block_hash: bytes, now: int) -> None:
        """A block of this winner has been kept."""
        self._blocks.setdefault(winner, []).append((block_hash, now))
