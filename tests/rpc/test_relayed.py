"""PropagateTransactions over the wire, its limits, and transactions that come more than once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fedcoin.core.errors import MalformedEncoding, RateLimited
from fedcoin.core.transaction import Transaction
from fedcoin.rpc import convert
from fedcoin.rpc.convert import from_message, to_message
from fedcoin.rpc.limits import MAX_RELAYED, RULES, Allowances, Limits
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.server import serve
from fedcoin.v1 import transaction_pb2

METHOD = "/fedcoin.v1.TransactionService/PropagateTransactions"


async def test_a_message_of_transactions_arrives_whole_and_refusals_come_back(
    samples: SimpleNamespace, miner: Any, miner_client: MinerClient
) -> None:
    sent = [samples.TRANSFER, samples.DEPOSIT, samples.REGISTRATION]
    refused = await miner_client.receive_transactions(sent)
    assert [list(transactions) for transactions, _ in miner.received] == [sent]
    assert refused == {index: "NONCE_USED" for index, one in enumerate(sent) if one.nonce == 0}
    assert await miner_client.receive_transactions([]) == {}


async def test_more_than_a_message_may_hold_is_refused(
    samples: SimpleNamespace, miner: Any, miner_client: MinerClient
) -> None:
    with pytest.raises(MalformedEncoding, match="257 transactions"):
        await miner_client.receive_transactions([samples.TRANSFER] * (MAX_RELAYED + 1))
    assert miner.received == []


async def test_each_transaction_of_a_message_counts_against_the_peer(samples: SimpleNamespace, miner: Any) -> None:
    limits = Limits(transactions_per_second=1.0, transaction_burst=10.0)
    server = await serve(miner, "127.0.0.1:0", limits=limits, clock=lambda: 0.0)
    try:
        async with MinerClient(server.address) as client:
            await client.receive_transactions([samples.TRANSFER] * 9)
            with pytest.raises(RateLimited):
                await client.receive_transactions([samples.TRANSFER] * 2)
            await client.receive_transactions([samples.TRANSFER])
    finally:
        await server.stop(0)
    assert [len(transactions) for transactions, _ in miner.received] == [9, 1]


def test_one_peer_cannot_have_more_judged_than_the_limits_say() -> None:
    rule, limits = RULES[METHOD], Limits()
    assert rule.transactions == "transactions"
    allowance = Allowances(limits, lambda: 0.0).of("ipv4:10.0.0.1:1")
    assert allowance.transactions.take(limits.transaction_burst, 0.0)
    assert not allowance.transactions.take(limits.transactions_per_second + 1, 1.0)


def test_a_transaction_that_comes_again_is_the_same_object(samples: SimpleNamespace) -> None:
    message = to_message(samples.TRANSFER)
    first = from_message(Transaction, message)
    again = from_message(Transaction, transaction_pb2.Transaction.FromString(message.SerializeToString()))
    assert first == samples.TRANSFER
    assert again is first
    changed = transaction_pb2.Transaction.FromString(message.SerializeToString())
    changed.nonce += 1
    assert from_message(Transaction, changed).nonce == first.nonce + 1


def test_what_a_peer_adds_to_a_message_is_neither_kept_nor_passed_on(samples: SimpleNamespace) -> None:
    plain = to_message(samples.TRANSFER).SerializeToString()
    unknown = b"\xfa\x7f\x03abc"  # field 2047, which there is not
    taken = from_message(Transaction, transaction_pb2.Transaction.FromString(plain + unknown))
    assert taken == samples.TRANSFER
    assert to_message(taken).SerializeToString() == plain


def test_memory_for_remembered_transactions_is_bounded(
    samples: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "_REMEMBERED", 4)
    shape = convert.shape_of(Transaction)
    known = shape._known  # type: ignore[attr-defined]
    known.clear()
    for nonce in range(20):
        message = to_message(samples.TRANSFER)
        message.nonce = nonce
        from_message(Transaction, message)
    assert len(known) == 4
    large = transaction_pb2.Transaction.FromString(
        to_message(samples.TRANSFER).SerializeToString() + b"\xfa\x7f\xe8\x07" + bytes(1000)
    )
    from_message(Transaction, large)
    assert len(known) == 4
    assert all(len(data) <= 512 for data in known)
