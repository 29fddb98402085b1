import pytest

from fedcoin.core.errors import InvalidGenesis, MinerNotFound
from fedcoin.core.transaction import MinerRegistration
from fedcoin.ledger.miners import active_miners, get_miner, is_miner, may_mine, miners, record_certificate
from fedcoin.ledger.problems import last_problem, set_last_problem
from fedcoin.ledger.state import State


def key(world, name):
    return world.key(name).public_key


def test_genesis_miners_may_mine_the_first_block(world):
    assert may_mine(world.state, key(world, "miner0"), 0)
    assert not may_mine(world.state, key(world, "alice"), 10**6)


def test_a_registered_miner_may_mine_from_the_second_block_after_it(world):
    world.block(world.sign("alice", MinerRegistration("a")))
    assert [may_mine(world.state, key(world, "alice"), height) for height in (0, 1, 2, 3)] == [
        False,
        False,
        True,
        True,
    ]


def test_miner_that_is_missing_stops_counting_and_counts_again_when_heard(world):
    heard = [key(world, "miner0"), key(world, "miner1")]
    for missed in (1, 2):
        record_certificate(world.state, heard, world.params)
        assert get_miner(world.state, key(world, "miner2")).missed == missed
        assert len(active_miners(world.state, world.params)) == 3
    record_certificate(world.state, heard, world.params)
    assert {miner.public_key for miner in active_miners(world.state, world.params)} == set(heard)
    assert may_mine(world.state, key(world, "miner2"), 5)
    record_certificate(world.state, [*heard, key(world, "miner2")], world.params)
    assert len(active_miners(world.state, world.params)) == 3


def test_missed_stops_at_the_limit_so_that_the_state_comes_to_rest(world):
    for _ in range(world.params.inactive_after):
        record_certificate(world.state, [], world.params)
    fork = world.state.fork()
    record_certificate(fork, [], world.params)
    assert fork.changes() == {}


def test_registrations_without_machines_cannot_raise_the_quorum(world):
    world.block(*(world.sign(name, MinerRegistration(name)) for name in ("alice", "bob", "carol", "server")))
    assert len(list(miners(world.state))) == 7
    assert len(active_miners(world.state, world.params)) == 3
    record_certificate(world.state, [key(world, "alice")], world.params)
    assert is_miner(world.state, key(world, "alice"))
    assert len(active_miners(world.state, world.params)) == 4


def test_members_that_are_no_miners_change_nothing(world):
    fork = world.state.fork()
    record_certificate(fork, [*world.genesis.miners, key(world, "mallory")], world.params)
    assert fork.changes() == {}
    with pytest.raises(MinerNotFound, match="registration"):
        get_miner(fork, key(world, "mallory"))


def test_last_problem_is_kept(world):
    assert last_problem(world.state) == world.genesis.problem
    set_last_problem(world.state, world.problem(9, 5))
    assert last_problem(world.state) == world.problem(9, 5)


def test_state_without_a_problem_is_said_to_be_no_chain():
    with pytest.raises(InvalidGenesis):
        last_problem(State())
