"""Constants of the protocol and the parameters that a genesis file fixes for one chain."""

from __future__ import annotations

from dataclasses import dataclass

from fedcoin.core.encoding import Struct, text, u8, u16, u32, u64

UNITS_PER_FDC = 10**8
"""1 FDC in units. Money is counted in units only, as uint64."""

MAX_SUPPLY = 2**63 - 1
"""Units. Keeps every sum of money within a signed 64-bit integer."""

UTILITY_SCALE = 10**9
"""Fixed point of utilities, Shapley values and difficulties: 1.0 is 10^9."""

MAX_UTILITY = 100 * UTILITY_SCALE
"""Largest |utility|: accuracies are at most 1, cross-entropies are clipped at 100."""

MAX_CLIENTS = 1024
"""K at most: bounds the size of tasks, estimates and headers before memory is taken."""

MAX_EXACT_CLIENTS = 20
"""K at most where all 2^K coalitions are evaluated."""

MAX_MINERS = 1024
"""Estimates in a certificate at most."""

MAX_ITERATIONS = 2**20
"""`time` of an estimate at most, so that totals fit int64 (2 · 100 · 10^9 · 2^20 < 2^63)."""

PROTOCOL_VERSION = 1


@dataclass(frozen=True)
class ChainParams:
    """What all nodes of one chain agree on; part of the genesis, so part of the chain id."""

    name: str
    """Name of the network, for people."""
    target_interval_ms: int
    """τ of §4.2 for TASK blocks: milliseconds from the opening of a race to its block."""
    audit_interval_ms: int
    """τ for AUDIT blocks."""
    difficulty_window: int
    """W: how many blocks of a kind the difficulty rule looks back."""
    initial_difficulty: int
    """D of the first TASK block, times UTILITY_SCALE."""
    initial_audit_difficulty: int
    """D of the first AUDIT block, times UTILITY_SCALE."""
    min_difficulty: int
    """D_min, times UTILITY_SCALE: caps the work that one block can cost (§6.3)."""
    max_difficulty: int
    """D_max, times UTILITY_SCALE."""
    norm: int
    """p of the p-distance (Alg. 1 line 17); 0 stands for the maximum norm."""
    quorum_numerator: int
    """With the winner, at least numerator/denominator of the active miners stand in a certificate."""
    quorum_denominator: int
    inactive_after: int
    """A miner missing from this many certificates in a row no longer counts for the quorum until it is heard again."""
    finality_depth: int
    """A node never adopts a branch that forks deeper than this below its tip."""
    heartbeat_ms: int
    """An AUDIT block may be empty this long after its parent, so that confirmations grow; 0: never."""
    min_fee: int
    """Units that every signed transaction pays to the block winner at least."""
    miner_bond: int
    """Units that a registered miner leaves as a bond; a convicted one loses them."""
    bond_blocks: int
    """Blocks for which a bond stays after its miner has left, and for which a fraud case stays open."""
    max_block_bytes: int
    """Canonical encoding of a block at most."""
    max_blob_bytes: int
    """A model update or an evaluation set at most."""
    max_transactions: int
    """Signed transactions in a block at most."""


CHAIN_PARAMS = Struct(
    ChainParams,
    "fedcoin/v1/params",
    name=text(64),
    target_interval_ms=u64,
    audit_interval_ms=u64,
    difficulty_window=u16,
    initial_difficulty=u64,
    initial_audit_difficulty=u64,
    min_difficulty=u64,
    max_difficulty=u64,
    norm=u8,
    quorum_numerator=u8,
    quorum_denominator=u8,
    inactive_after=u16,
    finality_depth=u32,
    heartbeat_ms=u64,
    min_fee=u64,
    miner_bond=u64,
    bond_blocks=u32,
    max_block_bytes=u32,
    max_blob_bytes=u32,
    max_transactions=u32,
)
