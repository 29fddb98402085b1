"""A miner's answers over the real ledger, without PoSap: blocks are made when a test says so, with the S̄ that it wants.

For tests of those who use a chain: FL servers, clients, requesters.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from fedcoin.core.block import Block, BlockHeader, body_root, certificate_root, sign_block
from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.errors import (
    BlobMismatch,
    BlobNotFound,
    BlobNotWanted,
    BlockNotFound,
    PeerUnreachable,
    TaskStale,
    TransactionNotFound,
)
from fedcoin.core.genesis import Allocation, Genesis
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import UNITS_PER_FDC, UTILITY_SCALE, ChainParams
from fedcoin.core.task import RaceKind, Task
from fedcoin.core.transaction import Transaction, escrow_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.orders import OrderRecord, get_order, orders, settle_round
from fedcoin.ledger.problems import set_last_problem
from fedcoin.ledger.settlement import apply_payments, due_payments
from fedcoin.ledger.state import State
from fedcoin.ledger.tasks import verify_task
from fedcoin.ledger.transactions import apply_transaction, verify_alone
from fedcoin.rpc.views import (
    AccountInfo,
    HistoryEntry,
    NodeStatus,
    OrderInfo,
    OrderState,
    TaskTerms,
    TransactionInfo,
    TransactionState,
)
from tests.support.game import make_problem
from tests.support.network import PARAMS

START = 1_800_000_000_000
WINNER = PrivateKey(b"\x11" * 32)
OTHER_MINER = PrivateKey(b"\x12" * 32)
REQUESTER = PrivateKey(b"\x51" * 32)
OTHER_REQUESTER = PrivateKey(b"\x53" * 32)


class Clock:
    """Time that tests move."""

    def __init__(self, now: int = START + 1000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def forward(self, milliseconds: int) -> None:
        self.now += milliseconds


def tiny_genesis(params: ChainParams = PARAMS) -> Genesis:
    """Two requesters with 1000 FDC each, two miners."""
    return Genesis(
        params,
        START,
        tuple(Allocation(key.address, 1000 * UNITS_PER_FDC) for key in (REQUESTER, OTHER_REQUESTER)),
        (WINNER.public_key, OTHER_MINER.public_key),
        make_problem(4, "genesis"),
    )


class TinyChain:
    """Implements what FL servers, clients and requesters use of MinerHandler."""

    def __init__(self, clock: Clock, genesis: Genesis | None = None) -> None:
        self.clock = clock
        self.genesis_value = genesis or tiny_genesis()
        self.chain_id = self.genesis_value.id()
        self.params = self.genesis_value.params
        self.blocks: list[Block] = []
        self.states = [genesis_state(self.genesis_value)]
        self.pending: list[Transaction] = []
        self.blobs: dict[bytes, bytes] = {}
        self.tasks: dict[bytes, Task] = {}
        """Every task that was accepted, by hash, in order."""
        self.difficulty = UTILITY_SCALE // 10
        self.down = False
        self.calls: list[str] = []

    # --- what tests do -----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.states[-1]

    @property
    def tip(self) -> bytes:
        return self.blocks[-1].id() if self.blocks else self.chain_id

    def open_task(self) -> Task | None:
        """The last task that fits the tip."""
        fitting = [task for task in self.tasks.values() if task.parent == self.tip]
        return fitting[-1] if fitting else None

    def mine(self, task: Task | None = None, averaged: tuple[int, ...] = (), time: int = 1) -> Block:
        """Adopt a block: of `task` with averaged S = averaged / time, or an AUDIT block."""
        state = State(self.state.entries())
        timestamp = max(self.clock(), self.blocks[-1].header.timestamp + 1 if self.blocks else START + 1)
        height = len(self.blocks) + 1
        if task is not None:
            verify_task(state, task, self.chain_id, self.params, timestamp)
        payments = due_payments(state, self.params, height, timestamp, task, averaged, WINNER.public_key)
        apply_payments(state, payments, self.params, height)
        transactions = tuple(self.pending)
        for transaction in transactions:
            apply_transaction(state, transaction, WINNER.address, self.chain_id, self.params, height, timestamp)
        if task is not None:
            settle_round(state, task.order)
            set_last_problem(state, task.problem)
        header = BlockHeader(
            version=1,
            chain_id=self.chain_id,
            kind=RaceKind.AUDIT if task is None else RaceKind.TASK,
            height=height,
            winner=WINNER.public_key,
            averaged_total=averaged,
            averaged_time=time,
            previous=self.tip,
            winner_total=averaged,
            winner_time=time,
            difficulty=self.difficulty,
            merkle_root=body_root(payments, transactions),
            timestamp=timestamp,
            task=bytes(HASH_SIZE) if task is None else task.id(self.chain_id),
            certificate_root=certificate_root(()),
            state_root=state.root(),
        )
        block = sign_block(WINNER, Block(header, b"", task, (), payments, transactions))
        self.blocks.append(block)
        self.states.append(state)
        self.pending = []
        return block

    def settle(self, values: Sequence[float]) -> Block:
        """Adopt the block that settles the open task, with these Shapley values."""
        task = self.open_task()
        assert task is not None, "no task fits the tip"
        return self.mine(task, tuple(round(value * 10 * UTILITY_SCALE) for value in values), 10)

    def undo(self, count: int = 1) -> None:
        """A reorganisation takes the last blocks back; their transactions wait again."""
        for _ in range(count):
            block = self.blocks.pop()
            self.states.pop()
            self.pending = [*block.transactions, *self.pending]

    def _heard(self, name: str) -> None:
        if self.down:
            raise PeerUnreachable("the miner is down")
        self.calls.append(name)

    # --- MinerHandler ------------------------------------------------------------------------------------------------

    async def status(self) -> NodeStatus:
        self._heard("status")
        height, root = len(self.blocks), self.state.root()
        return NodeStatus(
            "miner", "0", self.chain_id, WINNER.public_key, self.tip, height, root, 0, START, False, self.params.name
        )

    async def genesis(self) -> Genesis:
        return self.genesis_value

    async def blob_size(self, digest: bytes) -> int | None:
        self._heard("blob_size")
        return len(self.blobs[digest]) if digest in self.blobs else None

    async def get_blob(self, digest: bytes) -> bytes:
        if digest not in self.blobs:
            raise BlobNotFound
        return self.blobs[digest]

    async def put_blob(self, digest: bytes, data: bytes) -> None:
        self._heard("put_blob")
        if not any(digest in task.problem.blobs for task in self.tasks.values()):
            raise BlobNotWanted
        if hashlib.sha256(data).digest() != digest:
            raise BlobMismatch
        self.blobs[digest] = data

    async def task_terms(self) -> TaskTerms:
        self._heard("task_terms")
        timestamp = self.blocks[-1].header.timestamp if self.blocks else START
        return TaskTerms(self.tip, len(self.blocks), timestamp, self.difficulty, self.params.norm)

    async def publish_task(self, task: Task, source: str | None) -> bytes:
        self._heard("publish_task")
        if task.parent != self.tip or task.difficulty != self.difficulty:
            raise TaskStale
        verify_task(self.state, task, self.chain_id, self.params, max(self.clock(), task.opened_at))
        self.tasks[task.id(self.chain_id)] = task
        return task.id(self.chain_id)

    async def block(self, block_hash: bytes | None, height: int | None) -> Block:
        self._heard("block")
        if block_hash is None and height is None:
            height = len(self.blocks)
        for block in self.blocks:
            if block.id() == block_hash or block.header.height == height:
                return block
        raise BlockNotFound

    async def watch_blocks(self, from_height: int) -> AsyncIterator[Block]:
        self._heard("watch_blocks")
        for block in self.blocks[max(0, from_height - 1) :]:
            yield block

    async def submit(self, transaction: Transaction, source: str | None) -> bytes:
        self._heard("submit")
        verify_alone(transaction, self.chain_id, self.params)
        self.pending.append(transaction)
        return transaction.id(self.chain_id)

    async def transaction(self, transaction_id: bytes) -> TransactionInfo:
        self._heard("transaction")
        for transaction in self.pending:
            if transaction.id(self.chain_id) == transaction_id:
                return TransactionInfo(TransactionState.PENDING, transaction, b"", 0, 0, 0)
        for block in self.blocks:
            for index, transaction in enumerate(block.transactions):
                if transaction.id(self.chain_id) == transaction_id:
                    height = block.header.height
                    confirmations = len(self.blocks) - height + 1
                    return TransactionInfo(
                        TransactionState.CONFIRMED, transaction, block.id(), height, index, confirmations
                    )
        raise TransactionNotFound

    async def account(self, address: bytes) -> AccountInfo:
        self._heard("account")
        account = get_account(self.state, address)
        waiting = sum(transaction.sender_address == address for transaction in self.pending)
        return AccountInfo(address, account.balance, account.nonce, account.nonce + waiting, len(self.blocks))

    async def history(self, address: bytes, before: tuple[int, int] | None, limit: int) -> Sequence[HistoryEntry]:
        self._heard("history")
        entries: list[HistoryEntry] = []
        for block in self.blocks:
            header = block.header
            for index, payment in enumerate(block.payments):
                if address in (payment.payer, payment.payee):
                    gain = payment.amount if payment.payee == address else -payment.amount
                    other = payment.payer if payment.payee == address else payment.payee
                    entries.append(
                        HistoryEntry(header.height, index, block.id(), header.timestamp, b"", payment, other, gain, 0)
                    )
        entries = [entry for entry in reversed(entries) if before is None or (entry.height, entry.index) < before]
        return entries[:limit]

    async def order(self, order_id: bytes) -> OrderInfo:
        self._heard("order")
        return self._info(get_order(self.state, order_id))

    async def orders(self, after: bytes, limit: int) -> Sequence[OrderInfo]:
        self._heard("orders")
        found = sorted((self._info(record) for record in orders(self.state)), key=lambda info: info.order_id)
        return [info for info in found if info.order_id > after][:limit]

    def _info(self, record: OrderRecord) -> OrderInfo:
        return OrderInfo(
            record.order_id,
            record.order,
            record.requester,
            OrderState(record.state),
            record.rounds_settled,
            get_account(self.state, escrow_address(record.order_id)).balance,
            record.confirmed_height,
            len(self.blocks) - record.confirmed_height + 1,
        )


def with_params(**changes: object) -> Genesis:
    """The tiny genesis with other parameters."""
    return tiny_genesis(replace(PARAMS, **changes))  # type: ignore[arg-type]
