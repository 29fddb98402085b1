"""Values through protobuf and back."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf import descriptor_pool

from fedcoin.core.errors import MalformedEncoding
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.genesis import Genesis
from fedcoin.core.task import Task
from fedcoin.core.transaction import Transaction
from fedcoin.rpc.convert import CORE, VIEWS, from_message, shape_of, to_message
from fedcoin.rpc.views import MinerEstimate, OrderProgress, PeerInfo


def through_the_wire(value: Any) -> Any:
    message = to_message(value)
    return from_message(type(value), type(message).FromString(message.SerializeToString()))


def test_every_core_value_survives_the_wire(samples: SimpleNamespace) -> None:
    assert {type(value) for value in samples.CORE_VALUES} == set(CORE)
    for value in samples.CORE_VALUES:
        assert through_the_wire(value) == value


def test_every_view_survives_the_wire(samples: SimpleNamespace) -> None:
    assert {type(value) for value in samples.VIEW_VALUES} == set(VIEWS)
    for value in samples.VIEW_VALUES:
        assert through_the_wire(value) == value


@pytest.mark.parametrize("kind", [*CORE, *VIEWS], ids=lambda kind: kind.__name__)
def test_messages_have_the_fields_of_their_values_in_the_same_order(kind: type) -> None:
    descriptor = shape_of(kind).message.DESCRIPTOR
    names: list[str] = []
    for field in descriptor.fields:
        # protoc puts a field that may be absent into a oneof of its own, with "_" before its name.
        name = field.containing_oneof.name.removeprefix("_") if field.containing_oneof else field.name
        if name not in names:
            names.append(name)
    assert names == [field.name for field in dataclasses.fields(kind)]
    assert [field.number for field in descriptor.fields] == list(range(1, len(descriptor.fields) + 1))


def test_enum_numbers_are_those_of_the_python_enums() -> None:
    from fedcoin.core import model, task, transaction
    from fedcoin.rpc import views

    kinds = [
        model.LayerKind,
        model.ModelFamily,
        task.Aggregation,
        task.Utility,
        task.Baseline,
        task.Sampler,
        task.RaceKind,
        transaction.Schedule,
        transaction.PaymentKind,
        views.TransactionState,
        views.OrderState,
        views.MinerStanding,
        views.OrderPhase,
    ]
    for kind in kinds:
        values = descriptor_pool.Default().FindEnumTypeByName(f"fedcoin.v1.{kind.__name__}").values
        prefix = values[0].name.removesuffix("UNSPECIFIED")
        assert values[0].number == 0
        assert {value.name.removeprefix(prefix): value.number for value in values if value.number} == {
            member.name: member.value for member in kind if member.value
        }


@pytest.mark.parametrize("size", [0, 31, 33, 5000])
def test_a_hash_of_another_length_is_malformed(samples: SimpleNamespace, size: int) -> None:
    message = to_message(samples.TASK)
    message.parent = b"\x01" * size
    with pytest.raises(MalformedEncoding, match=r"Task\.parent has \d+ bytes, 32 are wanted"):
        from_message(Task, message)


def test_wrong_lengths_deep_inside_are_malformed(samples: SimpleNamespace) -> None:
    message = to_message(samples.GENESIS)
    message.problem.updates[1].digest = b"short"
    with pytest.raises(MalformedEncoding, match=r"UpdateRef\.digest"):
        from_message(Genesis, message)
    message = to_message(samples.GENESIS)
    message.miners.append(b"\x02" * 32)
    with pytest.raises(MalformedEncoding, match=r"Genesis\.miners"):
        from_message(Genesis, message)


def test_numbers_beyond_the_layout_are_malformed(samples: SimpleNamespace) -> None:
    message = to_message(samples.TASK)
    message.round = 2**16
    with pytest.raises(MalformedEncoding, match=r"Task\.round.*u16"):
        from_message(Task, message)


@pytest.mark.parametrize("number", [0, 3, -1, 2**31 - 1])
def test_unknown_enum_values_are_malformed(samples: SimpleNamespace, number: int) -> None:
    message = to_message(samples.ESTIMATE)
    message.kind = number
    with pytest.raises(MalformedEncoding, match="RaceKind"):
        from_message(Estimate, message)


def test_lists_above_their_limit_are_malformed(samples: SimpleNamespace) -> None:
    message = to_message(samples.ESTIMATE)
    message.total.extend([0] * 1022)
    with pytest.raises(MalformedEncoding, match="at most 1024"):
        from_message(Estimate, message)


def test_texts_above_their_limit_in_bytes_are_malformed(samples: SimpleNamespace) -> None:
    message = to_message(samples.REGISTRATION)
    message.registration.name = "é" * 33
    with pytest.raises(MalformedEncoding, match=r"MinerRegistration\.name"):
        from_message(Transaction, message)


def test_missing_parts_are_malformed(samples: SimpleNamespace) -> None:
    message = to_message(samples.TASK)
    message.ClearField("problem")
    with pytest.raises(MalformedEncoding, match=r"Task\.problem is missing"):
        from_message(Task, message)
    message = to_message(samples.TRANSFER)
    message.ClearField("transfer")
    with pytest.raises(MalformedEncoding, match="one of transfer, order, registration"):
        from_message(Transaction, message)


def test_values_that_do_not_fit_a_message_are_malformed(samples: SimpleNamespace) -> None:
    with pytest.raises(MalformedEncoding):
        to_message(dataclasses.replace(samples.PAYMENT, amount=2**64))
    with pytest.raises(MalformedEncoding):
        to_message(dataclasses.replace(samples.TRANSFER, body=samples.PAYMENT))


def test_views_from_a_peer_are_checked(samples: SimpleNamespace) -> None:
    message = to_message(samples.PEERS[1])
    message.public_key = b"\x02" * 5
    with pytest.raises(MalformedEncoding, match=r"PeerInfo\.public_key"):
        from_message(PeerInfo, message)
    estimate = to_message(samples.PROGRESS.estimates[0])
    estimate.distance = float("nan")
    with pytest.raises(MalformedEncoding, match="finite"):
        from_message(MinerEstimate, estimate)


def test_leaf_proofs_from_a_peer_are_bounded() -> None:
    proof = to_message(LeafProof(0, bytes(8), (bytes(32),)))
    proof.leaf = bytes(8 * 1024 + 1)
    with pytest.raises(MalformedEncoding, match=r"LeafProof\.leaf"):
        from_message(LeafProof, proof)
    proof = to_message(LeafProof(0, bytes(8), ()))
    proof.path.extend([bytes(32)] * 33)
    with pytest.raises(MalformedEncoding, match=r"LeafProof\.path"):
        from_message(LeafProof, proof)


def test_texts_of_views_cannot_drive_a_terminal(samples: SimpleNamespace) -> None:
    message = to_message(samples.ORDER_PROGRESS)
    message.message = "\x1b[2Jdone\u202e\n"
    assert from_message(OrderProgress, message).message == "�[2Jdone��"
