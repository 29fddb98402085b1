"""A small chain for the ledger's tests: people with keys, an order, signed tasks, and steps that act like blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedcoin.core.genesis import Allocation, Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.core.model import Layer, LayerKind, ModelFamily, ModelSpec
from fedcoin.core.params import ChainParams
from fedcoin.core.task import (
    Aggregation,
    Baseline,
    Contributor,
    Problem,
    Sampler,
    Task,
    UpdateRef,
    Utility,
    sign_task,
)
from fedcoin.core.transaction import Order, Payment, Schedule, Transaction, Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.miners import record_certificate
from fedcoin.ledger.orders import get_order, settle_round
from fedcoin.ledger.prices import round_prices
from fedcoin.ledger.problems import set_last_problem
from fedcoin.ledger.settlement import apply_payments, due_payments, verify_payments
from fedcoin.ledger.state import State, supply
from fedcoin.ledger.tasks import verify_task
from fedcoin.ledger.transactions import apply_transaction

MODEL = ModelSpec(ModelFamily.LAYERS, "softmax", (4,), 2, (Layer(LayerKind.LINEAR, 2),))
PARAMS = ChainParams(
    name="test",
    target_interval_ms=1000,
    audit_interval_ms=1000,
    difficulty_window=4,
    initial_difficulty=10**8,
    initial_audit_difficulty=10**8,
    min_difficulty=10**5,
    max_difficulty=10**9,
    norm=2,
    quorum_numerator=2,
    quorum_denominator=3,
    inactive_after=3,
    finality_depth=10,
    heartbeat_ms=0,
    min_fee=5,
    miner_bond=1000,
    bond_blocks=10,
    max_block_bytes=1_000_000,
    max_blob_bytes=1_000_000,
    max_transactions=1000,
)
START = 1_000_000
FUNDS = 1_000_000


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


class World:
    """Genesis, state and keys; names are people."""

    people = ("requester", "server", "alice", "bob", "carol", "miner0", "miner1", "miner2")

    def __init__(self) -> None:
        self.params = PARAMS
        self.keys = {name: PrivateKey(digest("key", name)) for name in self.people}
        self.genesis = Genesis(
            PARAMS,
            START,
            tuple(Allocation(self.address(name), FUNDS + self.bond_of(name)) for name in self.people),
            tuple(self.keys[f"miner{i}"].public_key for i in range(3)),
            self.problem(0, clients=2),
        )
        self.chain_id = self.genesis.id()
        self.state: State = genesis_state(self.genesis)
        self.supply = FUNDS * len(self.people) + 3 * PARAMS.miner_bond
        self.height = 0
        self.timestamp = START
        self.payments: tuple[Payment, ...] = ()
        """Of the last block."""

    def key(self, name: str) -> PrivateKey:
        return self.keys.setdefault(name, PrivateKey(digest("key", name)))

    def address(self, name: str) -> bytes:
        return self.key(name).address

    def bond_of(self, name: str) -> int:
        """What the genesis moves from the account of a first miner."""
        return PARAMS.miner_bond if name.startswith("miner") else 0

    def balance(self, name: str) -> int:
        return get_account(self.state, self.address(name)).balance

    def problem(self, number: int, clients: int) -> Problem:
        updates = tuple(UpdateRef(digest("update", number, i), 10 + i) for i in range(clients))
        return Problem(
            MODEL,
            Aggregation.UNWEIGHTED,
            Utility.ACCURACY,
            Baseline.STARTING_MODEL,
            Sampler.PERMUTATION,
            digest("base", number),
            digest("evaluation"),
            updates,
        )

    def order(self, **changes: Any) -> Order:
        order = Order(
            server=self.address("server"),
            amount=1000,
            train_share=7,
            com_share=1,
            sap_share=2,
            rounds=2,
            schedule=Schedule.EQUAL,
            ratio_numerator=1,
            ratio_denominator=1,
            model=MODEL,
            aggregation=Aggregation.UNWEIGHTED,
            utility=Utility.ACCURACY,
            baseline=Baseline.STARTING_MODEL,
            sampler=Sampler.PERMUTATION,
            evaluation_set=digest("evaluation"),
            min_clients=1,
            expiry=START + 100_000,
        )
        return replace(order, **changes)

    def sign(self, name: str, body: Any, fee: int = 10, nonce: int | None = None) -> Transaction:
        key = self.key(name)
        nonce = get_account(self.state, key.address).nonce if nonce is None else nonce
        return sign_transaction(key, self.chain_id, nonce, fee, body)

    def transfer(
        self, sender: str, recipient: str, amount: int, fee: int = 10, nonce: int | None = None
    ) -> Transaction:
        return self.sign(sender, Transfer(self.address(recipient), amount), fee, nonce)

    def task(self, order_id: bytes, clients: tuple[str, ...] = ("alice", "bob", "carol"), **changes: Any) -> Task:
        """The order's next round, with everything signed after `changes`."""
        record = get_order(self.state, order_id)
        prices = round_prices(record.order)[min(record.rounds_settled, record.order.rounds - 1)]
        task = Task(
            server=self.key("server").public_key,
            order=order_id,
            round=record.rounds_settled,
            parent=digest("parent", self.height),
            train_price=prices.train,
            com_price=prices.com,
            sap_price=prices.sap,
            problem=self.problem(record.rounds_settled + 1, len(clients)),
            contributors=tuple(Contributor(self.key(name).public_key, bytes(64)) for name in clients),
            norm=self.params.norm,
            difficulty=10**8,
            opened_at=self.timestamp,
            expiry=record.order.expiry,
            signature=bytes(64),
        )
        task = replace(task, **changes)
        if len(task.problem.updates) >= len(clients):
            signed = (
                Contributor(self.key(name).public_key, self.key(name).sign(task.commitment(i).id(self.chain_id)))
                for i, name in enumerate(clients)
            )
            task = replace(task, contributors=changes.get("contributors", tuple(signed)))
        return sign_task(self.key("server"), self.chain_id, task)

    def block(
        self,
        *transactions: Transaction,
        task: Task | None = None,
        averaged: tuple[int, ...] = (),
        winner: str = "miner0",
        timestamp: int | None = None,
    ) -> State:
        """Acts like a block: payments, transactions, book-keeping, all or nothing. Returns the fork, committed."""
        timestamp = self.timestamp + 1000 if timestamp is None else timestamp
        fork = self.state.fork()
        key = self.key(winner)
        if task is not None:
            verify_task(fork, task, self.chain_id, self.params, timestamp)
        height = self.height + 1
        payments = self.due(timestamp, task, averaged, winner)
        verify_payments(payments, self.due(timestamp, task, averaged, winner))
        apply_payments(fork, payments, self.params, height)
        for transaction in transactions:
            apply_transaction(fork, transaction, key.address, self.chain_id, self.params, height, timestamp)
        if task is not None:
            settle_round(fork, task.order)
            set_last_problem(fork, task.problem)
        record_certificate(fork, self.genesis.miners, self.params)
        assert supply(fork) == self.supply
        self.state.apply(fork.changes())
        self.height, self.timestamp, self.payments = height, timestamp, payments
        assert supply(self.state) == self.supply
        return fork

    def due(
        self, timestamp: int, task: Task | None = None, averaged: tuple[int, ...] = (), winner: str = "miner0"
    ) -> tuple[Payment, ...]:
        """What the next block has to pay."""
        public_key = self.key(winner).public_key
        return due_payments(self.state, self.params, self.height + 1, timestamp, task, averaged, public_key)

    def place(self, **changes: Any) -> bytes:
        """Confirms an order of the requester and returns its id."""
        transaction = self.sign("requester", self.order(**changes))
        self.block(transaction)
        return transaction.id(self.chain_id)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def new_world() -> Callable[[], World]:
    """For property tests, which need a fresh one for each example."""
    return World
