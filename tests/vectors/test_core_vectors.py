"""proto/vectors: keys, signatures, encodings, Merkle trees."""

import pytest

from fedcoin.core import block, estimate, genesis, task, transaction
from fedcoin.core.keys import PrivateKey, format_address, parse_address, verify_signature
from fedcoin.core.merkle import MerkleLog, verify_consistency, verify_inclusion
from fedcoin.core.params import ChainParams
from fedcoin.core.transaction import TRANSACTION, bond_address, escrow_address
from fedcoin.ledger.transactions import verify_alone
from fedcoin.node import auth

unhex = bytes.fromhex


def test_keys_and_addresses(load):
    for case in load("keys_addresses")["keys"]:
        key = PrivateKey(unhex(case["private_key"]))
        assert key.public_key.hex() == case["public_key"]
        assert key.address.hex() == case["address"]
        assert format_address(key.address) == case["text"]


def test_texts_of_addresses(load, code_of):
    vectors = load("keys_addresses")
    for case in vectors["accepted_texts"]:
        assert parse_address(case["text"]).hex() == case["address"]
    for case in vectors["refused_texts"]:
        assert code_of(parse_address, case["text"]) == case["code"] == "INVALID_ADDRESS", case["name"]


def test_refused_private_keys_escrows_and_bonds(load, code_of):
    vectors = load("keys_addresses")
    for case in vectors["refused_private_keys"]:
        assert code_of(PrivateKey, unhex(case["private_key"])) == case["code"] == "INVALID_PRIVATE_KEY", case["name"]
    for case in vectors["escrows"]:
        assert escrow_address(unhex(case["order_id"])).hex() == case["address"]
    for case in vectors["bonds"]:
        assert bond_address(unhex(case["public_key"])).hex() == case["address"]


def test_signatures(load, code_of):
    vectors = load("signatures")
    for case in vectors["cases"]:
        arguments = (unhex(case["public_key"]), unhex(case["digest"]), unhex(case["signature"]))
        assert code_of(verify_signature, *arguments) == case["code"], case["name"]
    for case in vectors["signed"]:
        assert PrivateKey(unhex(case["private_key"])).sign(unhex(case["digest"])).hex() == case["signature"]


def test_signature_cases_cover_what_must_be_refused(load):
    codes = {case["name"]: case["code"] for case in load("signatures")["cases"]}
    assert codes["valid"] is None
    for name in ("high s", "wrong key", "wrong chain"):
        assert codes[name] == "INVALID_SIGNATURE"


def test_transactions(load, from_json):
    vectors = load("transactions")
    chain_id = unhex(vectors["chain_id"])
    for case in vectors["cases"]:
        value = from_json(TRANSACTION, case["fields"])
        assert TRANSACTION.encode(value).hex() == case["encoding"] == case["unsigned"] + case["signature"]
        assert TRANSACTION.decode(unhex(case["encoding"])) == value
        assert value.id(chain_id).hex() == case["id"]
        assert PrivateKey(unhex(case["private_key"])).sign(unhex(case["id"])).hex() == case["signature"]
        value.verify(chain_id)


def test_transactions_have_every_body(load):
    kinds = {next(iter(case["fields"]["body"])) for case in load("transactions")["cases"]}
    assert kinds == set(transaction.TRANSACTION.fields["body"].inner)


def test_malformed_and_refused_transactions(load, from_json, code_of):
    vectors = load("transactions")
    chain_id = unhex(vectors["chain_id"])
    params = from_json(genesis.GENESIS, load("blocks")["genesis"]).params
    assert isinstance(params, ChainParams)
    for case in vectors["malformed"]:
        assert code_of(TRANSACTION.decode, unhex(case["encoding"])) == case["code"] == "MALFORMED_ENCODING", case[
            "name"
        ]
    for case in vectors["refused"]:
        value = TRANSACTION.decode(unhex(case["encoding"]))
        assert code_of(verify_alone, value, chain_id, params) == case["code"] is not None, case["name"]


LAYOUTS = {
    "genesis": genesis.GENESIS,
    "problem": task.PROBLEM,
    "update commitment": task.UPDATE_COMMITMENT,
    "task": task._UNSIGNED,
    "estimate": estimate._UNSIGNED,
    "block header": block.HEADER,
    "join request": auth.JOIN_REQUEST,
    "model request": auth.MODEL_REQUEST,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_encodings(load, from_json, name):
    case = next(case for case in load("encodings")["cases"] if case["name"] == name)
    struct = LAYOUTS[name]
    unsigned = {"signature": b""} if name in ("task", "estimate") else {}
    value = from_json(struct, case["fields"], **unsigned)
    assert struct.tag == case["tag"]
    assert struct.encode(value).hex() == case["encoding"]
    assert struct.digest(value, unhex(case["context"])).hex() == case["digest"]
    if case["private_key"]:
        key = PrivateKey(unhex(case["private_key"]))
        assert key.sign(unhex(case["digest"])).hex() == case["signature"]


def test_every_encoding_case_is_tested(load):
    assert {case["name"] for case in load("encodings")["cases"]} == set(LAYOUTS)


def test_signed_forms_and_races(load):
    vectors = load("encodings")
    chain_id = unhex(vectors["chain_id"])
    signed = {case["name"]: unhex(case["encoding"]) for case in vectors["signed"]}
    found = task.TASK.decode(signed["task"])
    found.verify_server(chain_id)
    for index, contributor in enumerate(found.contributors):
        verify_signature(contributor.public_key, found.commitment(index).id(chain_id), contributor.signature)
    estimate.ESTIMATE.decode(signed["estimate"]).verify(chain_id)
    for case in vectors["races"]:
        race = task.race_id(task.RaceKind(case["kind"]), unhex(case["task"]), unhex(case["parent"]))
        assert race.hex() == case["race"]


def test_merkle_trees(load):
    vectors = load("merkle")
    leaves = [unhex(leaf) for leaf in vectors["leaves"]]
    roots = [unhex(root) for root in vectors["roots"]]
    log = MerkleLog()
    for size, leaf in enumerate(leaves):
        assert log.root() == roots[size]
        log.append(leaf)
    for case in vectors["inclusion"]:
        index, size, proof = case["index"], case["size"], [unhex(node) for node in case["proof"]]
        assert log.inclusion_proof(index, size) == proof
        verify_inclusion(leaves[index], index, size, proof, roots[size])
    for case in vectors["consistency"]:
        old, new, proof = case["old"], case["new"], [unhex(node) for node in case["proof"]]
        assert log.consistency_proof(old, new) == proof
        verify_consistency(old, roots[old], new, roots[new], proof)


def test_the_transaction_layout_is_the_signed_one():
    assert list(transaction.TRANSACTION.fields) == [*transaction._UNSIGNED.fields, "signature"]
