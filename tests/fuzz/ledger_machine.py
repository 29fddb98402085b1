"""A state machine of the ledger: transactions of every kind, blocks, forks and undo, in any order.

What holds after every step: nothing is minted or lost, no balance is negative, escrows and bonds hold what they owe,
the mempool keeps its bounds. What holds for every block: what the mempool has chosen is valid, a refused block changes
nothing, undoing what was applied gives the state from before, root included. At the end the state is that of a replay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fedcoin.consensus.transition import execute
from fedcoin.consensus.verified import Verified
from fedcoin.consensus.verify import Parent
from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError
from fedcoin.core.fraud import FraudVote
from fedcoin.core.transaction import (
    MinerLeave,
    MinerRegistration,
    PaymentKind,
    Transaction,
    Transfer,
    bond_address,
    escrow_address,
    sign_transaction,
)
from fedcoin.ledger.accounts import all_accounts, get_account
from fedcoin.ledger.fraud import MAX_OPEN_CASES, open_cases
from fedcoin.ledger.genesis import genesis_state
from fedcoin.ledger.mempool import MAX_PER_SENDER, Mempool
from fedcoin.ledger.miners import MinerStanding, get_miner, miners
from fedcoin.ledger.orders import OrderStatus, open_orders, orders
from fedcoin.ledger.prices import round_prices
from fedcoin.ledger.settlement import apply_payments, due_payments
from fedcoin.ledger.state import State, supply
from fedcoin.ledger.tasks import verify_task
from fedcoin.ledger.transactions import apply_transaction, cost
from tests.fuzz.ledger_material import (
    KEYS,
    MINERS,
    PARAMS,
    START,
    SUPPLY,
    a_double_sign,
    a_report,
    a_task,
    an_order,
    bare_block,
    genesis,
)

CAPACITY = 12
PEOPLE = st.sampled_from(sorted(KEYS))
MINER = st.sampled_from(MINERS)
RIGHT = st.just(0) | st.just(0)
"""Mostly: nothing is spoilt."""
FEES = st.integers(PARAMS.min_fee - 1, 60)
AMOUNTS = st.integers(0, 3000) | st.integers(0, SUPPLY)


@dataclass(frozen=True)
class _Applied:
    block: Block
    undo: dict[bytes, bytes | None]
    root_before: bytes


class LedgerMachine(RuleBasedStateMachine):
    """See the head of this file."""

    steps_done: ClassVar[int] = 0
    """Rules that have run, of all examples."""

    @initialize()
    def begin(self) -> None:
        self.genesis = genesis()
        self.chain_id = self.genesis.id()
        self.state = genesis_state(self.genesis)
        self.blocks: list[_Applied] = []
        self.pool = Mempool(self.chain_id, PARAMS, CAPACITY)
        self.verified = Verified(self.chain_id, PARAMS)
        self.refused: list[Transaction] = []
        """Transactions that the mempool did not take; a hostile miner may put them into a block."""

    # --- transactions ------------------------------------------------------------------------------------------------

    def submit(self, sender: str, body: Any, fee: int, gap: int = 0) -> None:
        """A signed transaction to the mempool, which takes it or stays as it was."""
        key = KEYS[sender]
        nonce = max(0, self.pool.pending_nonce(key.address, self.state) + gap)
        self.offer(sign_transaction(key, self.chain_id, nonce, fee, body))

    def offer(self, transaction: Transaction) -> None:
        before = self.pool.transactions()
        try:
            self.pool.add(transaction, self.state, self.timestamp + 1)
        except FedCoinError:
            assert self.pool.transactions() == before
            self.refused = [*self.refused[-5:], transaction]

    @rule(sender=PEOPLE, recipient=PEOPLE, amount=AMOUNTS, fee=FEES, gap=st.integers(-2, 3), where=st.integers(0, 9))
    def transfer(self, sender: str, recipient: str, amount: int, fee: int, gap: int, where: int) -> None:
        address = KEYS[recipient].address
        if where == 0:
            address = bond_address(KEYS[recipient].public_key)
        if where == 1 and (found := next(orders(self.state), None)) is not None:
            address = escrow_address(found.order_id)
        self.submit(sender, Transfer(address, amount), fee, gap)

    @rule(sender=PEOPLE, recipient=PEOPLE, fee=st.integers(PARAMS.min_fee, 60))
    def spend_all(self, sender: str, recipient: str, fee: int) -> None:
        """Also what came in with a block that may be taken back."""
        balance = get_account(self.state, KEYS[sender].address).balance
        self.submit(sender, Transfer(KEYS[recipient].address, max(0, balance - fee)), fee)

    @rule(accused=st.integers(0, 3), number=st.integers(0, 3), voters=st.integers(1, 3))
    def accuse_twice(self, accused: int, number: int, voters: int) -> None:
        """Two cases against one miner; some of the others report or vote, enough of them or not."""
        others = [name for index, name in enumerate(MINERS) if index != accused]
        reports = [a_report(self.chain_id, KEYS[MINERS[accused]], number + more, None, 0) for more in (0, 1)]
        for sender, report in zip(others, reports, strict=False):
            self.submit(sender, report, 50)
        self.mine(others[0], set(MINERS), 8, 1)
        for sender in others[1 : 1 + voters]:
            self.submit(sender, FraudVote(reports[0].id(self.chain_id)), 50)

    @rule(
        sender=PEOPLE,
        amount=st.integers(50, 2000) | st.integers(0, 5000),
        shares=st.just((7, 1, 2)) | st.tuples(*[st.integers(0, 9)] * 3),
        rounds=st.integers(1, 3) | st.integers(0, 4),
        ratio=st.none() | st.tuples(st.integers(1, 4), st.integers(3, 5)),
        life=st.integers(5000, 50_000) | st.integers(-500, 20_000),
        fee=FEES,
    )
    def order(self, sender: str, amount: int, shares: Any, rounds: int, ratio: Any, life: int, fee: int) -> None:
        self.submit(sender, an_order(amount, shares, rounds, ratio, self.timestamp + life), fee)

    @rule(sender=PEOPLE, name=st.sampled_from(["", "m", "\x07", "é" * 32]), fee=FEES)
    def register(self, sender: str, name: str, fee: int) -> None:
        self.submit(sender, MinerRegistration(name), fee)

    @rule(sender=PEOPLE | MINER, fee=FEES)
    def leave(self, sender: str, fee: int) -> None:
        self.submit(sender, MinerLeave(), fee)

    @rule(
        sender=MINER | PEOPLE,
        accused=MINER,
        number=st.integers(0, 3),
        spoilt=RIGHT | st.integers(0, 6),
        about=st.booleans(),
    )
    def report(self, sender: str, accused: str, number: int, spoilt: int, about: bool) -> None:
        found = next(orders(self.state), None) if about else None
        order = found.order_id if found is not None else (bytes(32) if about else None)
        self.submit(sender, a_report(self.chain_id, KEYS[accused], number, order, spoilt), 20)

    @rule(sender=MINER, number=st.integers(0, 5), fee=FEES)
    def vote(self, sender: str, number: int, fee: int) -> None:
        cases = list(open_cases(self.state))
        self.submit(sender, FraudVote(cases[number % len(cases)].id if cases else bytes(32)), fee)

    @precondition(lambda self: any(True for _ in open_cases(self.state)))
    @rule(voters=st.sets(MINER, min_size=1), number=st.integers(0, 5))
    def votes(self, voters: set[str], number: int) -> None:
        cases = list(open_cases(self.state))
        for sender in sorted(voters):
            self.submit(sender, FraudVote(cases[number % len(cases)].id), 30)

    @rule(sender=PEOPLE, accused=MINER, height=st.integers(0, 2), spoilt=st.integers(0, 9))
    def double_sign(self, sender: str, accused: str, height: int, spoilt: int) -> None:
        self.submit(sender, a_double_sign(self.chain_id, KEYS[accused], height, spoilt), 20)

    @rule(number=st.integers(0, 20), bit=st.integers(0, 511))
    def forged_signature(self, number: int, bit: int) -> None:
        waiting = self.pool.transactions()
        if not waiting:
            return
        honest = waiting[number % len(waiting)]
        signature = bytearray(honest.signature)
        signature[bit // 8] ^= 1 << bit % 8
        forged = Transaction(honest.sender, honest.nonce, honest.fee + 50, honest.body, bytes(signature))
        before = self.pool.transactions()
        self.offer(forged)
        assert self.pool.transactions() == before, "nothing unsigned waits"

    # --- blocks ------------------------------------------------------------------------------------------------------

    @rule(
        winner=MINER,
        members=st.sets(MINER, min_size=2) | st.sets(MINER),
        limit=st.integers(0, 8),
        later=st.integers(1, 5000),
    )
    def mine(self, winner: str, members: set[str], limit: int, later: int) -> None:
        self.apply(self.block(winner, members, limit, later))

    @precondition(lambda self: any(True for _ in open_orders(self.state)))
    @rule(
        winner=MINER,
        values=st.tuples(*[st.integers(-(10**15), 10**15)] * 3),
        number=st.integers(0, 5),
        limit=st.integers(0, 4),
    )
    def settle(self, winner: str, values: tuple[int, int, int], number: int, limit: int) -> None:
        found = list(open_orders(self.state))
        task = a_task(self.chain_id, found[number % len(found)], self.parent, self.timestamp)
        later = 1
        try:
            verify_task(self.state, task, self.chain_id, PARAMS, self.timestamp + later)
        except FedCoinError:
            return
        self.apply(self.block(winner, {winner}, limit, later, task, values))

    @rule(winner=MINER, number=st.integers(0, 20), reverse=st.booleans())
    def hostile_block(self, winner: str, number: int, reverse: bool) -> None:
        """A block with transactions that nobody has checked, in any order: taken as a whole or not at all."""
        some = [*self.pool.transactions(), *self.refused][number % 7 :]
        transactions = tuple(some[::-1] if reverse else some)
        before, root = self.state.entries(), self.state.root()
        block = self.block(winner, {winner}, 0, 1, transactions=transactions)
        try:
            execute(self.state, block, self.parent, self.chain_id, PARAMS, self.verified)
        except FedCoinError:
            assert (self.state.entries(), self.state.root()) == (before, root)
            return
        self.apply(block)

    @rule(count=st.integers(1, 4))
    def fork(self, count: int) -> None:
        """The last blocks are taken back; their transactions wait again."""
        for _ in range(min(count, len(self.blocks))):
            gone = self.blocks.pop()
            self.state.apply(gone.undo)
            assert self.state.root() == gone.root_before == State(self.state.entries()).root()
            self.pool.restore(gone.block.transactions)
        self.pool.revalidate(self.state, self.timestamp + 1)

    @property
    def parent(self) -> Parent:
        if not self.blocks:
            return Parent(self.chain_id, 0, START)
        header = self.blocks[-1].block.header
        return Parent(header.id(), header.height, header.timestamp)

    @property
    def timestamp(self) -> int:
        return self.parent.timestamp

    def block(
        self,
        winner: str,
        members: set[str],
        limit: int,
        later: int,
        task: Any = None,
        averaged: tuple[int, ...] = (),
        transactions: tuple[Transaction, ...] | None = None,
    ) -> Block:
        """A block on the tip with the payments due, and what the mempool gives unless told otherwise."""
        parent, key = self.parent, KEYS[winner]
        height, timestamp = parent.height + 1, parent.timestamp + later
        payments = due_payments(self.state, PARAMS, height, timestamp, task, averaged, key.public_key)
        if transactions is None:
            paid = self.state.fork()
            apply_payments(paid, payments, PARAMS, height)
            transactions = self.pool.select(paid, timestamp, key.address, height, limit)
            assert len(transactions) <= limit
            for transaction in transactions:  # raises if one is not valid after the others
                apply_transaction(paid, transaction, key.address, self.chain_id, PARAMS, height, timestamp)
        certificate = [KEYS[name] for name in sorted({winner, *members})]
        return bare_block(self.chain_id, parent, timestamp, key, certificate, task, averaged, payments, transactions)

    def apply(self, block: Block) -> None:
        before, root = self.state.entries(), self.state.root()
        self.check_bonds(block)
        after = execute(self.state, block, self.parent, self.chain_id, PARAMS, self.verified)
        changes, undo, root_after = after.changes(), after.undo(), after.root()
        self.state.apply(changes)
        assert self.state.root() == root_after == State(self.state.entries()).root()
        self.state.apply(undo)
        assert (self.state.entries(), self.state.root()) == (before, root), "undo takes back what was applied"
        self.state.apply(changes)
        self.blocks.append(_Applied(block, undo, root))
        self.pool.revalidate(self.state, self.timestamp + 1)
        included = {transaction.id(self.chain_id) for transaction in block.transactions}
        assert not any(txid in self.pool for txid in included)

    def check_bonds(self, block: Block) -> None:
        """A bond comes back when its time is up, neither before nor later."""
        height = block.header.height
        back = {payment.payer for payment in block.payments if payment.kind is PaymentKind.BOND}
        for miner in miners(self.state):
            due = miner.standing is MinerStanding.LEAVING and miner.since + PARAMS.bond_blocks == height
            assert (bond_address(miner.public_key) in back) == due

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def count(self) -> None:
        LedgerMachine.steps_done += 1

    @invariant()
    def money_is_constant(self) -> None:
        assert supply(self.state) == SUPPLY
        assert all(0 <= account.balance <= SUPPLY for _, account in all_accounts(self.state))

    @invariant()
    def escrows_hold_what_they_owe(self) -> None:
        for record in orders(self.state):
            if record.state is OrderStatus.OPEN:
                unsettled = round_prices(record.order)[record.rounds_settled :]
                held = get_account(self.state, escrow_address(record.order_id)).balance
                assert held >= sum(prices.total for prices in unsettled)

    @invariant()
    def bonds_and_cases_fit_the_standing_of_miners(self) -> None:
        cases = list(open_cases(self.state))
        decided = {case.accused for case in cases if case.decided}
        for miner in miners(self.state):
            bond = get_account(self.state, bond_address(miner.public_key)).balance
            if miner.standing is not MinerStanding.CONVICTED or miner.public_key in decided:
                assert bond >= PARAMS.miner_bond
        height = self.parent.height
        for case in cases:
            standing = get_miner(self.state, case.accused).standing
            assert (standing is MinerStanding.CONVICTED) == case.decided
            assert case.decided or case.opened_height + PARAMS.bond_blocks > height
            assert case.accused not in case.votes
            assert len(set(case.votes)) == len(case.votes)
            mine = [other for other in cases if other.reporter == case.reporter and not other.decided]
            assert len(mine) <= MAX_OPEN_CASES

    @invariant()
    def the_mempool_keeps_its_bounds(self) -> None:
        waiting: dict[bytes, list[Transaction]] = {}
        for transaction in self.pool.transactions():
            waiting.setdefault(transaction.sender_address, []).append(transaction)
        assert sum(map(len, waiting.values())) == len(self.pool) <= CAPACITY
        for sender, some in waiting.items():
            account = get_account(self.state, sender)
            assert len(some) <= MAX_PER_SENDER
            assert len({transaction.nonce for transaction in some}) == len(some)
            assert all(transaction.nonce >= account.nonce for transaction in some)
            assert sum(cost(transaction, PARAMS) for transaction in some) <= account.balance

    def teardown(self) -> None:
        if not hasattr(self, "blocks"):
            return
        state, parent = genesis_state(self.genesis), Parent(self.chain_id, 0, START)
        for applied in self.blocks:
            block = applied.block
            state.apply(execute(state, block, parent, self.chain_id, PARAMS).changes())
            parent = Parent(block.header.id(), block.header.height, block.header.timestamp)
        assert (state.entries(), state.root()) == (self.state.entries(), self.state.root())
