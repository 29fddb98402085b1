"""What a new network and its orders get unless their maker says otherwise."""

from __future__ import annotations

from fedcoin.core.params import UNITS_PER_FDC, UTILITY_SCALE, ChainParams
from fedcoin.core.task import Sampler

DEFAULT_SAMPLER = Sampler.HYBRID
"""Of orders, and of the genesis problem (docs/adr/0008-hybrid-sampler.md)."""

DEFAULT_PARAMS = ChainParams(
    name="fedcoin",
    target_interval_ms=60_000,
    audit_interval_ms=5_000,
    difficulty_window=10,
    # Some thousand iterations of the hybrid sampler for 100 clients.
    initial_difficulty=UTILITY_SCALE // 500,
    initial_audit_difficulty=UTILITY_SCALE // 20,
    # At D = 0.0001 a race takes some hundred thousand iterations: the most that a block may cost (§6.3).
    min_difficulty=UTILITY_SCALE // 10_000,
    max_difficulty=10 * UTILITY_SCALE,
    norm=2,
    quorum_numerator=2,
    quorum_denominator=3,
    inactive_after=10,
    finality_depth=100,
    heartbeat_ms=0,
    min_fee=1_000,
    miner_bond=10 * UNITS_PER_FDC,
    bond_blocks=1_000,
    max_block_bytes=8 << 20,
    max_blob_bytes=256 << 20,
    max_transactions=5_000,
)
