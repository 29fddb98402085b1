"""Takes what others have signed, and offers it where it was not signed for, or changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError
from fedcoin.core.estimate import Estimate
from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import Task
from fedcoin.core.transaction import Transaction, Transfer
from fedcoin.rpc.miner_client import MinerClient

Attack = tuple[str, Any]
"""What was done, and the message."""


class Replayer:
    """An attacker that hears everything and owns no key but its own."""

    def __init__(self, victim: MinerClient, key: PrivateKey, foreign_chain: bytes) -> None:
        """`foreign_chain`: id of another network, on which the same keys are used."""
        self._victim = victim
        self._key = key
        self._foreign = foreign_chain

    def transactions(self, signed: Transaction) -> Iterator[Attack]:
        """Somebody's transfer, a little different, or for another chain."""
        assert isinstance(signed.body, Transfer)
        yield "the recipient changed", replace(signed, body=replace(signed.body, recipient=self._key.address))
        yield "the amount changed", replace(signed, body=replace(signed.body, amount=signed.body.amount + 1))
        yield "the fee changed", replace(signed, fee=signed.fee + 1)
        yield "the nonce changed", replace(signed, nonce=signed.nonce + 1)
        yield "the sender changed", replace(signed, sender=self._key.public_key)

    def estimates(self, signed: Estimate, other_miner: bytes, tip: bytes) -> Iterator[Attack]:
        """Somebody's estimate on another parent, task or kind, or under another name."""
        yield "under another miner's key", replace(signed, miner=other_miner)
        yield "on another parent", replace(signed, parent=tip)
        yield "of another task", replace(signed, task=bytes(32))
        yield "with more iterations", replace(signed, time=signed.time + 1)
        yield "signed by the attacker", replace(signed, signature=self._key.sign(signed.id(self._foreign)))

    def tasks(self, signed: Task, tip: bytes, other_order: bytes) -> Iterator[Attack]:
        """A server's task once more, on another tip, for another order, or under another name."""
        yield "a second time", signed
        yield "on another parent", replace(signed, parent=tip)
        yield "for another order", replace(signed, parent=tip, order=other_order)
        yield "of another round", replace(signed, parent=tip, round=signed.round + 1)
        yield "by the attacker", replace(signed, parent=tip, server=self._key.public_key)

    def blocks(self, block: Block, other: Block) -> Iterator[Attack]:
        """A block with parts of its body exchanged: its hash stays."""
        yield "other transactions", replace(block, transactions=other.transactions)
        yield "no transactions", replace(block, transactions=())
        yield "other payments", replace(block, payments=other.payments or ())
        yield "payments turned round", replace(block, payments=(*block.payments[1:], *block.payments[:1]))
        yield "another certificate", replace(block, certificate=other.certificate)
        yield "a certificate with one fewer", replace(block, certificate=block.certificate[:-1])
        yield "another task", replace(block, task=other.task)
        yield "another signature", replace(block, signature=other.signature)
        yield "of another chain", replace(block, header=replace(block.header, chain_id=self._foreign))

    async def offer(self, message: Any) -> str:
        """Hands a message in; the code of the refusal, empty if it is taken."""
        send = {
            Transaction: self._victim.submit,
            Estimate: self._victim.receive_estimate,
            Task: self._victim.publish_task,
            Block: self._victim.receive_block,
        }[type(message)]
        try:
            await send(message)  # type: ignore[operator]
        except FedCoinError as error:
            return error.code
        return ""
