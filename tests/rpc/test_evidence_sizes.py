"""The largest evidence fits where transactions are handed in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fedcoin.core.fraud import MAX_LEAF_BYTES, DoubleSign, FraudReport, LeafProof
from fedcoin.core.params import MAX_CLIENTS, MAX_ITERATIONS, MAX_UTILITY
from fedcoin.core.transaction import Transaction
from fedcoin.rpc.convert import from_message, to_message
from fedcoin.rpc.limits import DEFAULT_RULE, RULES
from fedcoin.v1 import transaction_service_pb2 as pb
from tests.support.rpc_values import ESTIMATE, HEADER, h, key, signature

PATH = tuple(h(str(level)) for level in range(MAX_ITERATIONS.bit_length()))
LARGEST = (-2 * MAX_UTILITY * MAX_ITERATIONS,) * MAX_CLIENTS
_ESTIMATE = replace(ESTIMATE, time=MAX_ITERATIONS, total=LARGEST, opened_at=2**64 - 1)
_HEADER = replace(
    HEADER,
    averaged_total=(-(2**63),) * MAX_CLIENTS,
    winner_total=(-(2**63),) * MAX_CLIENTS,
    height=2**64 - 1,
    timestamp=2**64 - 1,
)
BODIES = {
    "report": FraudReport(
        _ESTIMATE,
        h("order"),
        LeafProof(MAX_ITERATIONS - 2, bytes(MAX_LEAF_BYTES), PATH),
        LeafProof(MAX_ITERATIONS - 1, bytes(MAX_LEAF_BYTES), PATH),
    ),
    "double sign": DoubleSign(_HEADER, signature("1"), _HEADER, signature("2")),
}


@pytest.mark.parametrize("name", BODIES)
def test_the_largest_evidence_fits_into_a_request(name: str) -> None:
    body: Any = BODIES[name]
    transaction = Transaction(key("a"), 2**64 - 1, 2**63 - 1, body, signature("t"))
    request = pb.SubmitTransactionRequest(transaction=to_message(transaction), request_id="x" * 64)
    limit = RULES.get("/fedcoin.v1.TransactionService/SubmitTransaction", DEFAULT_RULE).message_bytes
    assert len(request.SerializeToString()) <= limit
    assert from_message(Transaction, request.transaction) == transaction
