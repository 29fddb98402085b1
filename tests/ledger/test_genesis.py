from dataclasses import replace

import pytest

from fedcoin.core.errors import InvalidGenesis
from fedcoin.core.genesis import Allocation
from fedcoin.core.keys import address_of
from fedcoin.core.params import MAX_SUPPLY
from fedcoin.core.task import Sampler
from fedcoin.core.transaction import bond_address
from fedcoin.ledger.accounts import Account, all_accounts
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.miners import active_miners
from fedcoin.ledger.problems import last_problem
from fedcoin.ledger.state import supply


def test_genesis_state_holds_allocations_miners_and_problem(world):
    state = genesis_state(world.genesis)
    bond = world.params.miner_bond
    held = {item.address: item.amount for item in world.genesis.allocations}
    for key in world.genesis.miners:
        held[address_of(key)] -= bond
        held[bond_address(key)] = bond
    assert dict(all_accounts(state)) == {address: Account(amount, 0) for address, amount in held.items()}
    assert {miner.public_key for miner in active_miners(state, world.params)} == set(world.genesis.miners)
    assert last_problem(state) == world.genesis.problem
    assert supply(state) == world.supply


def test_same_genesis_same_root(world):
    assert genesis_state(world.genesis).root() == world.state.root()


def test_supply_may_be_the_largest_and_not_more(world):
    address, other = world.address("alice"), world.address("bob")
    unbonded = replace(world.genesis, params=replace(world.params, miner_bond=0))
    largest = replace(unbonded, allocations=(Allocation(address, MAX_SUPPLY - 1), Allocation(other, 1)))
    assert supply(genesis_state(largest)) == MAX_SUPPLY
    over = replace(world.genesis, allocations=(Allocation(address, MAX_SUPPLY), Allocation(other, 1)))
    with pytest.raises(InvalidGenesis, match="largest supply"):
        genesis_state(over)


def test_genesis_with_broken_lists_is_refused(world):
    genesis, alice = world.genesis, world.address("alice")
    updates = genesis.problem.updates
    exact = replace(genesis.problem, sampler=Sampler.EXACT, updates=updates[:1] * 21)
    for broken, match in [
        (replace(genesis, allocations=(Allocation(alice, 1), Allocation(alice, 2))), "twice"),
        (replace(genesis, allocations=(Allocation(alice, 0),)), "0 units"),
        (replace(genesis, allocations=(Allocation(alice, -1),)), "out of range"),
        (replace(genesis, allocations=(Allocation(b"short", 1),)), "out of range"),
        (replace(genesis, allocations=genesis.allocations[:-1]), f"{genesis.miners[-1].hex()} has 0 units"),
        (replace(genesis, miners=genesis.miners[:1]), "fewer than 2"),
        (replace(genesis, miners=genesis.miners[:1] * 2), "twice"),
        (replace(genesis, miners=(*genesis.miners, bytes(33))), "compressed point"),
        (replace(genesis, problem=replace(genesis.problem, updates=())), "model updates"),
        (replace(genesis, problem=exact), "EXACT serves"),
        (replace(genesis, problem=replace(genesis.problem, updates=(replace(updates[0], samples=0),))), "no samples"),
    ]:
        with pytest.raises(InvalidGenesis, match=match):
            genesis_state(broken)


@pytest.mark.parametrize(
    "changes",
    [
        {"target_interval_ms": 0},
        {"audit_interval_ms": 0},
        {"difficulty_window": 0},
        {"min_difficulty": 0},
        {"min_difficulty": 10**9 + 1},
        {"max_difficulty": 2**63},
        {"initial_difficulty": 10**9 + 1},
        {"initial_audit_difficulty": 1},
        {"norm": 9},
        {"quorum_numerator": 0},
        {"quorum_numerator": 4},
        {"quorum_denominator": 0},
        {"inactive_after": 0},
        {"finality_depth": 0},
        {"min_fee": 2**63},
        {"miner_bond": 2**63},
        {"bond_blocks": 9},
        {"max_block_bytes": 1000},
        {"max_blob_bytes": 0},
        {"max_transactions": 0},
        {"max_transactions": 65_537},
        {"name": "x" * 65},
    ],
)
def test_parameters_that_no_chain_can_run_on_are_refused(world, changes):
    with pytest.raises(InvalidGenesis):
        genesis_state(replace(world.genesis, params=replace(world.params, **changes)))
