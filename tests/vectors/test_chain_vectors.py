"""proto/vectors: prices, payouts, difficulty, whole blocks."""

import pytest

from fedcoin.consensus.difficulty import eased_difficulty, expected_difficulty, race_interval, record_interval
from fedcoin.consensus.transition import apply_block
from fedcoin.consensus.verify import Parent, verify_alone
from fedcoin.core.block import BLOCK
from fedcoin.core.genesis import GENESIS
from fedcoin.core.params import CHAIN_PARAMS
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import ORDER, PaymentKind
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.prices import divide, round_prices
from fedcoin.ledger.settlement import client_payouts
from fedcoin.ledger.state import State, supply

unhex = bytes.fromhex


def ints(texts) -> tuple[int, ...]:
    return tuple(map(int, texts))


def test_divisions_by_largest_remainder(load):
    for case in load("prices_settlement")["divisions"]:
        parts = divide(int(case["amount"]), ints(case["weights"]))
        assert parts == ints(case["parts"])
        assert sum(parts) == int(case["amount"])


def test_prices_of_rounds_sum_to_v(load, from_json):
    for case in load("prices_settlement")["orders"]:
        order = from_json(ORDER, case["order"])
        expected = [(int(item["train"]), int(item["com"]), int(item["sap"])) for item in case["rounds"]]
        assert [(item.train, item.com, item.sap) for item in round_prices(order)] == expected, case["name"]
        assert sum(map(sum, expected)) == order.amount


def test_alg3_line11_payouts(load):
    for case in load("prices_settlement")["payouts"]:
        payouts = client_payouts(int(case["train_price"]), ints(case["averaged_total"]))
        assert payouts == ints(case["payouts"])


def test_difficulty_runs(load, from_json):
    for run in load("difficulty")["runs"]:
        params, state = from_json(CHAIN_PARAMS, run["params"]), State()
        for step in run["steps"]:
            difficulty = expected_difficulty(state, RaceKind.TASK, params)
            assert difficulty == int(step["difficulty"]), run["name"]
            record_interval(state, RaceKind.TASK, difficulty, int(step["interval"]), params)
            assert expected_difficulty(state, RaceKind.TASK, params) == int(step["next"]), run["name"]


def test_difficulty_eases_while_a_race_lasts(load, from_json):
    for case in load("difficulty")["eased"]:
        params = from_json(CHAIN_PARAMS, case["params"])
        eased = eased_difficulty(int(case["difficulty"]), RaceKind.TASK, int(case["interval"]), params)
        assert eased == int(case["eased"])


def test_intervals(load):
    for case in load("difficulty")["intervals"]:
        found = race_interval(int(case["timestamp"]), int(case["parent_timestamp"]), ints(case["opened_at"]))
        assert found == int(case["interval"])


@pytest.fixture(scope="module")
def vectors(load):
    return load("blocks")


def test_the_genesis_hashes_to_the_chain_id_and_gives_the_state(vectors, from_json):
    genesis = from_json(GENESIS, vectors["genesis"])
    assert GENESIS.encode(genesis).hex() == vectors["genesis_encoding"]
    assert genesis.id().hex() == vectors["chain_id"]
    state = genesis_state(genesis)
    assert state.root().hex() == vectors["genesis_state_root"]
    assert {name.hex(): value.hex() for name, value in state.entries().items()} == {
        entry["key"]: entry["value"] for entry in vectors["genesis_state"]
    }


def test_blocks_in_order(vectors, from_json, code_of):
    """Invalid ones are refused with their code and change nothing; valid ones lead to the final state."""
    genesis = from_json(GENESIS, vectors["genesis"])
    state, parent = genesis_state(genesis), Parent(genesis.id(), 0, genesis.timestamp)
    money = supply(state)

    def receive(block):
        verify_alone(block, genesis.id(), genesis.params)
        return apply_block(state, block, parent, genesis.id(), genesis.params)

    for step in vectors["steps"]:
        block = BLOCK.decode(unhex(step["block"]))
        assert block.id().hex() == step["hash"]
        root = state.root()
        assert code_of(receive, block) == step["code"], step["name"]
        assert state.root() == root, "a block that is only looked at changes nothing"
        if step["code"] is None:
            assert block == from_json(BLOCK, step["fields"])
            state, parent = receive(block), Parent(block.id(), block.header.height, block.header.timestamp)
            assert supply(state) == money == int(step["supply"])
    assert parent.height == 12
    assert {name.hex(): value.hex() for name, value in state.entries().items()} == {
        entry["key"]: entry["value"] for entry in vectors["final_state"]
    }


def test_blocks_cover_the_rules_of_algorithm_2(vectors):
    codes = {step["code"] for step in vectors["steps"]}
    assert codes >= {
        *("UNSUPPORTED_VERSION", "WRONG_CHAIN_ID", "TOO_MANY_TRANSACTIONS", "MERKLE_ROOT_MISMATCH"),
        *("CERTIFICATE_ROOT_MISMATCH", "TASK_MISSING", "ESTIMATE_OUT_OF_RANGE", "MALFORMED_CERTIFICATE"),
        *("WINNER_MISMATCH", "ESTIMATE_OF_ANOTHER_RACE", "AVERAGED_MISMATCH", "DISTANCE_TOO_LARGE"),
        *("INVALID_SIGNATURE", "HEIGHT_MISMATCH", "TIMESTAMP_NOT_LATER", "WRONG_DIFFICULTY", "MINER_NOT_ALLOWED"),
        *("QUORUM_MISSING", "TASK_STALE", "WRONG_PROBLEM", "AUDIT_BLOCK_EMPTY", "SETTLEMENT_MISMATCH"),
        "STATE_ROOT_MISMATCH",
    }


def test_blocks_cover_the_rules_of_bonds_and_convictions(vectors):
    codes = {step["code"] for step in vectors["steps"]}
    assert codes >= {
        *("FRAUD_CASE_KNOWN", "FRAUD_CASE_NOT_FOUND", "FRAUD_CASE_DECIDED", "FRAUD_VOTE_REPEATED", "FRAUD_OWN_CASE"),
        *("MINER_LEAVING", "MINER_BARRED", "MINER_NOT_FOUND", "ORDER_NOT_FOUND"),
    }
    paid = {
        payment["kind"] for step in vectors["steps"] if step["code"] is None for payment in step["fields"]["payments"]
    }
    assert paid == {int(kind) for kind in PaymentKind}
