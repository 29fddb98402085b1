"""Genesis files: the same for the same arguments, and refused when a letter was changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedcoin.core.errors import ConfigInvalid, InvalidGenesis, MalformedGenesis, WrongGenesis
from fedcoin.core.genesis import Allocation
from fedcoin.core.params import UTILITY_SCALE
from fedcoin.learning.evaluator import open_problem
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.genesis import genesis_state
from fedcoin.node.genesis_file import GenesisFile, load_genesis, make_genesis, write_genesis
from fedcoin.shapley.exact import exact_values
from tests.support.network import PARAMS
from tests.support.tiny_chain import OTHER_MINER, REQUESTER, START, WINNER

ALLOCATIONS = (Allocation(REQUESTER.address, 1000),)
MINERS = (WINNER.public_key, OTHER_MINER.public_key)


@pytest.fixture(scope="module")
def made() -> GenesisFile:
    return make_genesis(PARAMS, ALLOCATIONS, MINERS, START)


@pytest.fixture
def path(tmp_path: Path, made: GenesisFile) -> Path:
    target = tmp_path / "net" / "genesis.json"
    write_genesis(target, made)
    return target


def test_round_trip(path: Path, made: GenesisFile) -> None:
    assert load_genesis(path) == made
    assert load_genesis(path, made.chain_id).chain_id == made.chain_id


def test_is_the_same_for_the_same_arguments(made: GenesisFile) -> None:
    assert make_genesis(PARAMS, ALLOCATIONS, MINERS, START) == made
    assert make_genesis(PARAMS, ALLOCATIONS, MINERS, START + 1).chain_id != made.chain_id


def test_each_first_miner_gets_its_bond_on_top_of_what_it_is_given() -> None:
    params = replace(PARAMS, miner_bond=700)
    genesis = make_genesis(params, (*ALLOCATIONS, Allocation(WINNER.address, 5)), MINERS, START).genesis
    assert genesis.allocations == (
        *ALLOCATIONS,
        Allocation(WINNER.address, 705),
        Allocation(OTHER_MINER.address, 700),
    )
    state = genesis_state(genesis)
    assert [get_account(state, key.address).balance for key in (REQUESTER, WINNER, OTHER_MINER)] == [1000, 5, 0]
    with pytest.raises(InvalidGenesis, match="twice"):
        make_genesis(params, ALLOCATIONS * 2, MINERS, START)
    with pytest.raises(InvalidGenesis, match="twice"):
        make_genesis(params, ALLOCATIONS, MINERS[:1] * 2, START)


def test_its_problem_can_be_evaluated_and_clients_are_worth_something(made: GenesisFile) -> None:
    problem, blobs = made.genesis.problem, made.blobs
    evaluator = open_problem(problem, blobs, "cpu")

    def utility(coalition: frozenset[int]) -> int:
        import numpy as np

        row = np.zeros((1, 4), dtype=np.bool_)
        row[0, list(coalition)] = True
        return int(evaluator.utilities(row)[0])

    assert problem.clients == 4
    values = [float(value) / UTILITY_SCALE for value in exact_values(utility, 4)]
    assert sum(values) > 0.4
    assert max(values) > 1.2 * min(values) > 0


def test_is_readable(path: Path) -> None:
    text = path.read_text()
    assert '"name": "test"' in text
    assert '"utility": "accuracy"' in text
    assert "fdc1" in text
    assert len(text) < 100_000


def test_is_not_overwritten(path: Path, made: GenesisFile) -> None:
    with pytest.raises(ConfigInvalid, match="exists"):
        write_genesis(path, made)


def _change(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


def _drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def drop(data: dict[str, Any]) -> None:
        place = data
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return drop


def _first_blob(change: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    def apply(data: dict[str, Any]) -> None:
        digest = next(iter(data["blobs"]))
        data["blobs"][digest] = change(data["blobs"][digest])

    return apply


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_change("format", to="other"), "format"),
        (_change("version", to=2), "version"),
        (_drop("chain_id"), "chain_id: missing"),
        (_change("chain_id", to="XY"), "chain_id: expected lower-case hexadecimal"),
        (_change("extra", to=1), "extra: unknown field"),
        (_drop("genesis", "params", "norm"), "genesis.params.norm: missing"),
        (_change("genesis", "params", "more", to=1), "genesis.params.more: unknown field"),
        (_change("genesis", "timestamp", to="1"), "genesis.timestamp: expected an integer"),
        (_change("genesis", "timestamp", to=True), "genesis.timestamp: expected an integer"),
        (_change("genesis", "timestamp", to=2**64), "genesis.timestamp"),
        (_change("genesis", "params", "norm", to=-1), "genesis.params.norm"),
        (_change("genesis", "allocations", 0, "address", to="fdc1qqqq"), r"genesis.allocations\[0\].address"),
        (_change("genesis", "miners", 0, to="02"), r"genesis.miners\[0\]"),
        (_change("genesis", "problem", "utility", to="beauty"), "genesis.problem.utility: expected one of accuracy"),
        (_change("genesis", "problem", "model", "layers", to={}), "genesis.problem.model.layers: expected a list"),
        (_change("genesis", "problem", to=[]), "genesis.problem: expected an object"),
        (_change("blobs", to=[]), "blobs: expected an object"),
        (_first_blob(lambda text: text + "!"), "expected base64"),
        (_first_blob(lambda text: "AAAA"), "do not have this digest"),
        (_change("blobs", to={}), "missing, the problem needs it"),
    ],
)
def test_a_malformed_file_is_refused_and_the_field_named(
    path: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(MalformedGenesis, match=named) as caught:
        load_genesis(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1, "format": 2}'])
def test_no_json_at_all(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(MalformedGenesis):
        load_genesis(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MalformedGenesis, match="cannot be read"):
        load_genesis(tmp_path / "none.json")


def test_another_networks_file_is_told_from_ours(path: Path, made: GenesisFile) -> None:
    with pytest.raises(WrongGenesis, match="is wanted"):
        load_genesis(path, bytes(32))
    data = json.loads(path.read_text())
    data["genesis"]["allocations"][0]["amount"] += 1
    path.write_text(json.dumps(data))
    with pytest.raises(WrongGenesis, match="has been changed"):
        load_genesis(path)


def test_the_ledgers_rules_hold(made: GenesisFile, tmp_path: Path) -> None:
    with pytest.raises(InvalidGenesis):
        make_genesis(PARAMS, ALLOCATIONS, MINERS[:1], START)
