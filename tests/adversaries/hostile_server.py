"""A server that has been paid for, and publishes tasks that nobody can work on."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from fedcoin.core.keys import PrivateKey
from fedcoin.core.task import Contributor, Problem, Task, UpdateCommitment, UpdateRef, sign_task
from fedcoin.core.transaction import Order, Transaction, sign_transaction
from fedcoin.ledger.prices import round_prices
from fedcoin.rpc.miner_client import MinerClient
from tests.support.tiny_federation import CLIENT_KEYS, make_order


class HostileServer:
    """Its orders are its own, its clients are its own keys, and its blobs are what it says, or nowhere."""

    def __init__(self, key: PrivateKey, chain_id: bytes) -> None:
        self.key = key
        self._chain_id = chain_id

    def order(self, requester: PrivateKey, nonce: int, fee: int, expiry: int, **changes: object) -> Transaction:
        """A deposit of a thousandth part of nothing much, for itself."""
        terms = make_order(server=self.key.address, expiry=expiry, **changes)
        return sign_transaction(requester, self._chain_id, nonce, fee, terms)

    async def task(self, miner: MinerClient, order_id: bytes, order: Order, blobs: tuple[bytes, ...]) -> Task:
        """A task on the miner's tip that keeps all rules. `blobs`: starting model, then one update a client."""
        terms = await miner.task_terms()
        base, *updates = [hashlib.sha256(blob).digest() for blob in blobs]
        prices = round_prices(order)[0]
        problem = Problem(
            model=order.model,
            aggregation=order.aggregation,
            utility=order.utility,
            baseline=order.baseline,
            sampler=order.sampler,
            base_model=base,
            evaluation_set=order.evaluation_set,
            updates=tuple(UpdateRef(update, 1) for update in updates),
        )
        contributors = []
        for key, update in zip(CLIENT_KEYS, updates, strict=False):
            commitment = UpdateCommitment(order_id, 0, base, update, 1)
            contributors.append(Contributor(key.public_key, key.sign(commitment.id(self._chain_id))))
        unsigned = Task(
            server=self.key.public_key,
            order=order_id,
            round=0,
            parent=terms.tip,
            train_price=prices.train,
            com_price=prices.com,
            sap_price=prices.sap,
            problem=problem,
            contributors=tuple(contributors),
            norm=terms.norm,
            difficulty=terms.difficulty,
            opened_at=terms.timestamp,
            expiry=order.expiry,
            signature=b"",
        )
        return self.sign(unsigned)

    def sign(self, task: Task, **changes: object) -> Task:
        """The task with changes, properly signed."""
        return sign_task(self.key, self._chain_id, replace(task, **changes))  # type: ignore[arg-type]
