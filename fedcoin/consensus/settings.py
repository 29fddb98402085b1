"""What a node may choose for itself; none of it is a rule of the chain."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PoSapSettings:
    """A miner's own choices."""

    mine: bool = True
    """False: follow the chain only."""
    patience_ms: int = 60_000
    """How long a fresh block waits for the leaves of its winner."""
    close_patience_ms: int = 3_000
    """How long an audited block waits whose averaged S is not close to ours (Alg. 2 line 3)."""
    audit_retry_ms: int = 3_000
    """Pause before leaves that nobody handed out are asked for again."""
    audit_leaves: int = 8
    """Leaves recomputed per estimate of a fresh block at most."""
    audit_share: float = 0.05
    """Share of our own work that goes into checks while a race runs."""
    max_future_ms: int = 15_000
    """A block may be this far ahead of our clock."""
    mempool_capacity: int = 10_000
    hold_ms: int = 30_000
    """How long a fresh block's first audit keeps us from making a block of our own."""
    tie_window_ms: int = 5_000
    """Two blocks of one height that arrive within this time of each other are a true tie."""
    tie_patience_ms: int = 2_000
    """How long first seen decides a true tie; if nothing extends either by then, the lower rank does."""
    stall_ms: int = 20_000
    """After so long without a quorum on our tip, a tip of the same height that more miners work on is better."""
    conviction_blocks: int = 100
    """A convicted miner's estimates are not taken for so many blocks."""
