"""Makes blocks that keep every rule on any parent, and blocks that break one, without evaluating anything.

A certificate whose miners all state the same S has distance 0, so nobody needs to work for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fedcoin.consensus.certificate import averaged_of
from fedcoin.consensus.difficulty import eased_difficulty, expected_difficulty, race_interval
from fedcoin.consensus.transition import execute
from fedcoin.consensus.verified import Verified
from fedcoin.consensus.verify import Parent
from fedcoin.core.block import Block, body_root, certificate_root, sign_block
from fedcoin.core.estimate import Estimate, sign_estimate
from fedcoin.core.genesis import Genesis
from fedcoin.core.header import BlockHeader
from fedcoin.core.keys import PrivateKey
from fedcoin.core.params import PROTOCOL_VERSION
from fedcoin.core.task import RaceKind
from fedcoin.core.transaction import Body, Payment, PaymentKind, Transaction, Transfer, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.orders import open_orders
from fedcoin.ledger.problems import last_problem
from fedcoin.ledger.settlement import due_payments
from fedcoin.ledger.state import State
from tests.fuzz.ledger_material import KEYS, MINERS, a_task, an_order

FAULTS = (
    "state root", "payment", "difficulty", "height", "timestamp", "signature", "estimate", "nonce", "averaged",
    "winner", "quorum", "merkle root", "chain", "overspent",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A block and what is known of it."""

    block: Block
    state: State
    """After it, replayed from the genesis on by `execute`, never by undoing."""
    valid: bool
    """It and all below it."""


class BlockForge:
    """All blocks that were made, by hash."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.chain_id = genesis.id()
        self.params = genesis.params
        self.made: dict[bytes, Made] = {}
        self._verified = Verified(self.chain_id, self.params)
        self._start = genesis_state(genesis)

    def state(self, block_hash: bytes) -> State:
        """After a block, or of the genesis."""
        return self.made[block_hash].state if block_hash in self.made else self._start

    def is_valid(self, block_hash: bytes) -> bool:
        """Whether a block, or the genesis, and all below it keep every rule."""
        return self.made[block_hash].valid if block_hash in self.made else True

    def parent(self, block_hash: bytes) -> Parent:
        """A block, or the genesis, as the next one's parent."""
        if block_hash not in self.made:
            return Parent(self.chain_id, 0, self.genesis.timestamp)
        header = self.made[block_hash].block.header
        return Parent(block_hash, header.height, header.timestamp)

    def make(self, below: bytes, number: int, later: int, settles: bool, fault: str = "") -> bytes:
        """A block on `below`, which differs by `number`, `later` ms after it; settles a round if it can. Its hash."""
        parent, state = self.parent(below), self.state(below)
        names = [*MINERS[number % len(MINERS) :], *MINERS[: number % len(MINERS)]]
        timestamp = parent.timestamp + later
        record = next(open_orders(state), None) if settles else None
        task = None
        if record is not None and record.order.expiry > timestamp:
            difficulty = expected_difficulty(state, RaceKind.TASK, self.params)
            task = a_task(self.chain_id, record, parent, parent.timestamp, difficulty)
        kind = RaceKind.TASK if task is not None else RaceKind.AUDIT
        problem = task.problem if task is not None else last_problem(state)
        task_hash = task.id(self.chain_id) if task is not None else problem.id()
        values = tuple(number % 7 - 2 + client for client in range(problem.clients))
        members = names[:2] if fault == "quorum" else names[:3]
        own, *others = (
            self._estimate(name, kind, task_hash, parent, values, 1 + number % 3 + place)
            for place, name in enumerate(members)
        )
        others.sort(key=lambda estimate: estimate.miner)
        certificate = (own, *others)
        averaged_total, averaged_time = averaged_of(others)
        payments = due_payments(state, self.params, parent.height + 1, timestamp, task, averaged_total, own.miner)
        transactions = self._transactions(state, number, timestamp)
        interval = race_interval(timestamp, parent.timestamp, [estimate.opened_at for estimate in certificate])
        difficulty = eased_difficulty(expected_difficulty(state, kind, self.params), kind, interval, self.params)
        header = BlockHeader(
            version=PROTOCOL_VERSION,
            chain_id=self.chain_id,
            kind=kind,
            height=parent.height + 1,
            winner=own.miner,
            averaged_total=averaged_total,
            averaged_time=averaged_time,
            previous=below,
            winner_total=own.total,
            winner_time=own.time,
            difficulty=difficulty,
            merkle_root=body_root(payments, transactions),
            timestamp=timestamp,
            task=task_hash,
            certificate_root=certificate_root(certificate),
            state_root=bytes(32),
        )
        block = Block(header, b"", task, certificate, payments, transactions)
        after = execute(state, block, parent, self.chain_id, self.params, self._verified)
        block = replace(block, header=replace(header, state_root=after.root()))
        block = self._spoilt(block, names[0], state, fault)
        made = Made(block, State(after.entries()), not fault and self.is_valid(below))
        return self._keep(made)

    def _keep(self, made: Made) -> bytes:
        block_hash = made.block.id()
        known = self.made.get(block_hash)
        if known is None or known.valid == made.valid:
            self.made[block_hash] = made
        return block_hash

    def _estimate(
        self, name: str, kind: RaceKind, task: bytes, parent: Parent, values: tuple[int, ...], time: int
    ) -> Estimate:
        key = KEYS[name]
        total = tuple(value * time for value in values)
        estimate = Estimate(kind, task, parent.hash, key.public_key, time, total, bytes(32), parent.timestamp, b"")
        return sign_estimate(key, self.chain_id, estimate)

    def _transactions(self, state: State, number: int, timestamp: int) -> tuple[Transaction, ...]:
        """One or none: a transfer, or an order."""
        key = KEYS[("alice", "bob", "x0")[number % 3]]
        account = get_account(state, key.address)
        if number % 5 == 0 or account.balance < 200:
            return ()
        body = Transfer(KEYS["x1"].address, 1 + number)
        if number % 5 == 1:
            return (self.signed(key, account.nonce, an_order(100, (7, 1, 2), 2, None, timestamp + 3000)),)
        return (self.signed(key, account.nonce, body),)

    def signed(self, key: PrivateKey, nonce: int, body: Body, fee: int = 9) -> Transaction:
        """A signed transaction."""
        return sign_transaction(key, self.chain_id, nonce, fee, body)

    def _spoilt(self, block: Block, winner: str, state: State, fault: str) -> Block:
        """The block with one rule broken (none if `fault` is empty), whatever can be made to fit made to fit."""
        key = KEYS["carol"] if fault == "winner" else KEYS[winner]
        block = self._spoilt_body(block, state, fault)
        header = self._spoilt_header(block.header, fault)
        merkle_root = bytes(32) if fault == "merkle root" else body_root(block.payments, block.transactions)
        header = replace(header, merkle_root=merkle_root, certificate_root=certificate_root(block.certificate))
        block = sign_block(key, replace(block, header=header))
        if fault == "signature":
            return replace(block, signature=block.signature[:-1] + bytes([block.signature[-1] ^ 1]))
        return block

    def _spoilt_body(self, block: Block, state: State, fault: str) -> Block:
        own, first, *rest = block.certificate
        match fault:
            case "payment":
                return replace(block, payments=block.payments[1:] if block.payments else _invented(block))
            case "estimate":
                return replace(block, certificate=(own, replace(first, opened_at=1), *rest))
            case "nonce" | "overspent":
                sender = KEYS["carol"]
                account = get_account(state, sender.address)
                amount, gap = (1, 1) if fault == "nonce" else (account.balance + 10**6, 0)
                wrong = self.signed(sender, account.nonce + gap, Transfer(KEYS["bob"].address, amount))
                return replace(block, transactions=(*block.transactions, wrong))
        return block

    def _spoilt_header(self, header: BlockHeader, fault: str) -> BlockHeader:
        changes: dict[str, dict[str, Any]] = {
            "state root": {"state_root": bytes(32)},
            "difficulty": {"difficulty": header.difficulty + 1},
            "height": {"height": header.height + 1},
            "timestamp": {"timestamp": self.parent(header.previous).timestamp},
            "averaged": {"averaged_time": header.averaged_time + 1},
            "winner": {"winner": KEYS["carol"].public_key},
            "chain": {"chain_id": bytes(32)},
        }
        return replace(header, **changes.get(fault, {}))


def _invented(block: Block) -> tuple[Payment, ...]:
    header = block.header
    payer, payee = KEYS["bob"].address, KEYS["carol"].address
    return (Payment(PaymentKind.WINNER, header.previous, 0, payer, payee, 1),)
