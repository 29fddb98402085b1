"""Every signed thing binds the chain, the signer and every one of its fields."""

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

import pytest

from fedcoin.core.block import body_root, certificate_root
from fedcoin.core.errors import InvalidSignature
from fedcoin.core.keys import PrivateKey, verify_signature
from fedcoin.core.task import Problem, RaceKind, race_id
from fedcoin.core.transaction import MinerRegistration, Order, Transfer, escrow_address

OTHER_CHAIN = b"\xff" * 32
KINDS = ["transaction", "commitment", "task", "estimate", "block"]
kinds = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True)
class Signed:
    """A signed value in one shape, whatever its kind."""

    value: Any
    chain_id: bytes
    signer: bytes
    signature: bytes

    def id(self, value: Any = None, chain_id: bytes | None = None) -> bytes:
        value = self.value if value is None else value
        if hasattr(value, "state_root"):  # a header carries its chain id
            return (value if chain_id is None else replace(value, chain_id=chain_id)).id()
        return value.id(self.chain_id if chain_id is None else chain_id)


@pytest.fixture
def signed(kind, samples) -> Signed:
    value = getattr(samples, kind)
    if kind == "block":
        return Signed(value.header, samples.chain_id, value.header.winner, value.signature)
    if kind == "commitment":
        author = samples.task.contributors[0]
        return Signed(value, samples.chain_id, author.public_key, author.signature)
    signer = getattr(value, {"transaction": "sender", "task": "server", "estimate": "miner"}[kind])
    return Signed(value, samples.chain_id, signer, value.signature)


@kinds
def test_the_signature_is_the_signers_over_the_id(signed):
    verify_signature(signed.signer, signed.id(), signed.signature)


@kinds
def test_what_was_signed_for_one_chain_is_refused_on_another(signed):
    assert signed.id(chain_id=OTHER_CHAIN) != signed.id()
    with pytest.raises(InvalidSignature):
        verify_signature(signed.signer, signed.id(chain_id=OTHER_CHAIN), signed.signature)


@kinds
def test_another_key_did_not_sign_it(signed):
    with pytest.raises(InvalidSignature):
        verify_signature(PrivateKey(b"\x77" * 32).public_key, signed.id(), signed.signature)


def changed(value: Any) -> Any:
    """Another value that fits the same field."""
    if isinstance(value, IntEnum):
        return next(member for member in type(value) if member != value)
    if isinstance(value, int):
        return value + 1
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, tuple):
        return (changed(value[0]), *value[1:]) if value else value
    if isinstance(value, str):
        return value + "x"
    name = fields(value)[-1].name
    return replace(value, **{name: changed(getattr(value, name))})


@kinds
def test_changing_any_field_changes_the_id(signed):
    for field in fields(signed.value):
        if field.name == "signature":
            continue
        other = replace(signed.value, **{field.name: changed(getattr(signed.value, field.name))})
        assert signed.id(other) != signed.id(), field.name


def test_changing_any_field_of_the_problem_changes_the_task(samples):
    for field in fields(Problem):
        problem = replace(samples.task.problem, **{field.name: changed(getattr(samples.task.problem, field.name))})
        assert replace(samples.task, problem=problem).id(samples.chain_id) != samples.task.id(samples.chain_id)
        assert problem.id() != samples.task.problem.id()


def test_an_id_does_not_cover_the_signature(samples):
    """So that nobody can give a transaction, task, estimate or block a second id."""
    for value in (samples.transaction, samples.task, samples.estimate):
        assert replace(value, signature=b"\x01" * 64).id(samples.chain_id) == value.id(samples.chain_id)
    assert replace(samples.block, signature=b"\x01" * 64).id() == samples.block.id()


def test_verify_methods_refuse_another_chain(samples):
    samples.transaction.verify(samples.chain_id)
    samples.task.verify_server(samples.chain_id)
    samples.estimate.verify(samples.chain_id)
    samples.block.verify_winner()
    for refused in (
        lambda: samples.transaction.verify(OTHER_CHAIN),
        lambda: samples.task.verify_server(OTHER_CHAIN),
        lambda: samples.estimate.verify(OTHER_CHAIN),
        lambda: replace(samples.block, header=replace(samples.block.header, chain_id=OTHER_CHAIN)).verify_winner(),
    ):
        with pytest.raises(InvalidSignature):
            refused()


def test_nothing_signed_as_one_kind_passes_as_another(samples):
    """A signature over an id of one kind never verifies over an id of another kind of the same bytes."""
    ids = [getattr(samples, kind).id(samples.chain_id) for kind in KINDS if kind != "block"] + [samples.block.id()]
    assert len(set(ids)) == len(ids)


def test_a_race_binds_kind_task_and_parent():
    ids = {
        race_id(RaceKind.TASK, b"\x01" * 32, b"\x02" * 32),
        race_id(RaceKind.AUDIT, b"\x01" * 32, b"\x02" * 32),
        race_id(RaceKind.TASK, b"\x02" * 32, b"\x01" * 32),
        race_id(RaceKind.TASK, b"\x01" * 32, b"\x03" * 32),
    }
    assert len(ids) == 4


def test_an_estimate_and_a_block_of_one_race_name_the_same_race(samples):
    assert samples.estimate.race == samples.block.header.race


def test_the_body_root_tells_payments_from_transactions_and_keeps_their_order(samples):
    payments, transactions = samples.block.payments, samples.block.transactions
    assert body_root(payments, ()) != body_root((), transactions)
    assert body_root(payments * 2, transactions) != body_root(payments, transactions)
    other = replace(payments[0], amount=99)
    assert body_root((payments[0], other), ()) != body_root((other, payments[0]), ())


def test_the_certificate_root_covers_signatures(samples):
    unsigned = replace(samples.estimate, signature=b"\x01" * 64)
    assert certificate_root((unsigned,)) != certificate_root((samples.estimate,))


def test_every_body_has_its_own_transaction_id(samples):
    model = samples.task.problem.model
    bodies = [
        Transfer(b"\x01" * 20, 1),
        MinerRegistration("x"),
        Order(b"\x01" * 20, 1, 7, 1, 2, 1, 1, 1, 1, model, 1, 1, 1, 1, b"\x02" * 32, 1, 1),
    ]
    assert len({replace(samples.transaction, body=body).id(samples.chain_id) for body in bodies}) == 3


def test_an_escrow_is_an_address_of_its_order_only():
    assert len(escrow_address(b"\x01" * 32)) == 20
    assert escrow_address(b"\x01" * 32) != escrow_address(b"\x02" * 32)
