"""The state that a chain begins with, and what a genesis must fulfil."""

from __future__ import annotations

from collections.abc import Collection

from fedcoin.core.block import MAX_BLOCK_TRANSACTIONS
from fedcoin.core.encoding import u64
from fedcoin.core.errors import InvalidGenesis, MalformedEncoding
from fedcoin.core.genesis import GENESIS, Genesis
from fedcoin.core.keys import address_of
from fedcoin.core.params import MAX_CLIENTS, MAX_SUPPLY, UTILITY_SCALE, ChainParams
from fedcoin.core.transaction import bond_address
from fedcoin.ledger.accounts import credit, debit
from fedcoin.ledger.miners import register_miner
from fedcoin.ledger.problems import set_last_problem
from fedcoin.ledger.state import NEXT_SEQUENCE_KEY, State

MIN_GENESIS_MINERS = 2
"""S̄ is the mean over the others, so a race needs another miner."""
MAX_NORM = 8
"""p of the p-distance at most, so that its exact integers stay small."""
MAX_DIFFICULTY = UTILITY_SCALE << 16
"""D at most, so that the hardness 10^18 · 2^32 // D² is at least 1."""
MIN_BLOCK_BYTES = 1 << 19
"""Room for all refunds and bonds that one block may have to pay: some 425,000 bytes."""


def genesis_state(genesis: Genesis) -> State:
    """Accounts, miners with their bonds, and problem of block 0. Raises InvalidGenesis, saying what to correct."""
    verify_genesis(genesis)
    state = State()
    for allocation in genesis.allocations:
        credit(state, allocation.address, allocation.amount)
    for public_key in genesis.miners:
        debit(state, address_of(public_key), genesis.params.miner_bond)
        credit(state, bond_address(public_key), genesis.params.miner_bond)
        register_miner(state, public_key, "", 0)
    set_last_problem(state, genesis.problem)
    state.put(NEXT_SEQUENCE_KEY, u64.write(0))
    return state


def verify_genesis(genesis: Genesis) -> None:
    """All rules for a genesis. Raises InvalidGenesis."""
    try:
        GENESIS.encode(genesis)
    except MalformedEncoding as error:
        raise InvalidGenesis(f"a field of the genesis is out of range: {error}") from error
    verify_params(genesis.params)
    _verify_allocations(genesis)
    _require(len(genesis.miners) >= MIN_GENESIS_MINERS, "it names fewer than 2 miners; add one")
    _require_distinct(genesis.miners, "a miner stands in it twice; remove one")
    _require(all(key[0] in (2, 3) for key in genesis.miners), "a miner's public key is not a compressed point")
    _verify_bonds(genesis)
    _require(
        1 <= genesis.problem.clients <= MAX_CLIENTS, f"its problem needs between 1 and {MAX_CLIENTS} model updates"
    )
    _require(
        genesis.problem.clients <= genesis.problem.sampler.most_clients,
        f"its problem has more clients than the sampler {genesis.problem.sampler.name} serves",
    )
    _require(
        all(update.samples >= 1 for update in genesis.problem.updates), "an update of its problem rests on no samples"
    )


def verify_params(params: ChainParams) -> None:
    """Raises InvalidGenesis for a parameter that no chain can run on."""
    _require(params.target_interval_ms >= 1, "target_interval_ms must be positive")
    _require(params.audit_interval_ms >= 1, "audit_interval_ms must be positive")
    _require(params.difficulty_window >= 1, "difficulty_window must be positive")
    _require(
        1 <= params.min_difficulty <= params.max_difficulty <= MAX_DIFFICULTY,
        f"difficulties must fulfil 1 ≤ min_difficulty ≤ max_difficulty ≤ {MAX_DIFFICULTY}",
    )
    for name in ("initial_difficulty", "initial_audit_difficulty"):
        inside = params.min_difficulty <= getattr(params, name) <= params.max_difficulty
        _require(inside, f"{name} must lie between min_difficulty and max_difficulty")
    _require(params.norm <= MAX_NORM, f"norm must be at most {MAX_NORM} (0 stands for the maximum norm)")
    _require(
        1 <= params.quorum_numerator <= params.quorum_denominator,
        "the quorum must be above 0 and at most 1 of the miners",
    )
    _require(params.inactive_after >= 1, "inactive_after must be positive")
    _require(params.finality_depth >= 1, "finality_depth must be positive")
    _require(params.min_fee <= MAX_SUPPLY, "min_fee exceeds the largest supply")
    _require(params.miner_bond <= MAX_SUPPLY, "miner_bond exceeds the largest supply")
    _require(
        params.bond_blocks >= params.finality_depth,
        "bond_blocks must be at least finality_depth, so that a bond outlasts every reorganisation",
    )
    _require(params.max_block_bytes >= MIN_BLOCK_BYTES, f"max_block_bytes must be at least {MIN_BLOCK_BYTES}")
    _require(params.max_blob_bytes >= 1, "max_blob_bytes must be positive")
    _require(
        1 <= params.max_transactions <= MAX_BLOCK_TRANSACTIONS,
        f"max_transactions must lie between 1 and {MAX_BLOCK_TRANSACTIONS}",
    )


def _verify_allocations(genesis: Genesis) -> None:
    _require_distinct(
        [item.address for item in genesis.allocations], "an address stands in it twice; add the amounts up"
    )
    _require(all(item.amount >= 1 for item in genesis.allocations), "an allocation is of 0 units; leave it out")
    total = sum(item.amount for item in genesis.allocations)
    _require(total <= MAX_SUPPLY, f"its allocations sum to {total} units; the largest supply is {MAX_SUPPLY}")


def _verify_bonds(genesis: Genesis) -> None:
    held = {item.address: item.amount for item in genesis.allocations}
    for key in genesis.miners:
        amount = held.get(address_of(key), 0)
        _require(
            amount >= genesis.params.miner_bond,
            f"miner {key.hex()} has {amount} units and leaves a bond of {genesis.params.miner_bond}; allocate it more",
        )


def _require_distinct(items: Collection[bytes], message: str) -> None:
    _require(len(set(items)) == len(items), message)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InvalidGenesis(f"the genesis cannot start a chain: {message}")
