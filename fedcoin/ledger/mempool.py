"""Transactions that wait for a block.

Bounded in every direction: in all, per sender, in gaps between nonces, and by what senders can pay. When it is full,
those behind a gap of nonces make room first, whatever they would pay, because they cost nothing as long as nobody fills
the gap; then the transaction with the lowest fee, together with those of the same sender that come after it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from fedcoin.core.errors import (
    FedCoinError,
    MempoolFull,
    NonceTooHigh,
    NonceUsed,
    ReplacementFeeTooLow,
    SenderLimitExceeded,
    TransactionKnown,
)
from fedcoin.core.fraud import DoubleSign, FraudReport
from fedcoin.core.params import ChainParams
from fedcoin.core.transaction import TRANSACTION, Transaction, Transfer
from fedcoin.ledger.accounts import get_account, require_funds
from fedcoin.ledger.state import State
from fedcoin.ledger.transactions import apply_verified, cost, verify_alone, verify_body_in_state, verify_in_state

MAX_PER_SENDER = 64
"""Transactions of one sender that wait, at most."""
MAX_EVIDENCE = 512
"""Reports and double signatures that wait, at most: each may take 33 kB where others take a few hundred bytes."""
MAX_NONCE_GAP = 16
"""How far a nonce may lie above the next one that is missing."""


@dataclass(frozen=True, order=True)
class _Entry:
    fee: int
    age: int
    """Negative arrival number, so that of equal fees the latest is the lowest."""
    id: bytes = field(compare=False)
    sender: bytes = field(compare=False)
    """Address."""
    transaction: Transaction = field(compare=False)

    @property
    def nonce(self) -> int:
        return self.transaction.nonce


class Mempool:
    """Waiting transactions, each valid by itself when it came in."""

    def __init__(self, chain_id: bytes, params: ChainParams, capacity: int = 10_000) -> None:
        """`capacity`: transactions at most, 1 or more."""
        if capacity < 1:
            raise ValueError("a mempool holds at least 1 transaction")
        self._chain_id = chain_id
        self._params = params
        self._capacity = capacity
        self._by_id: dict[bytes, _Entry] = {}
        self._evidence: dict[bytes, _Entry] = {}
        """By id: reports and double signatures."""
        self._by_sender: dict[bytes, dict[int, _Entry]] = {}
        """Address → nonce → entry."""
        self._cheapest: list[_Entry] = []
        """Heap; may hold entries that have left."""
        self._behind_gaps: list[_Entry] | None = None
        """Those behind a gap of nonces, the highest fee first; may hold entries that have left, or whose gap is filled.
        None: not known since the tip has moved."""
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._by_id

    def get(self, txid: bytes) -> Transaction | None:
        """The transaction, if it waits here."""
        entry = self._by_id.get(txid)
        return entry.transaction if entry else None

    def transactions(self) -> tuple[Transaction, ...]:
        """All that wait, in order of arrival."""
        return tuple(entry.transaction for entry in sorted(self._by_id.values(), key=lambda entry: -entry.age))

    def pending_nonce(self, address: bytes, state: State) -> int:
        """Nonce that the account's next transaction should carry, those that wait here included."""
        nonce = get_account(state, address).nonce
        waiting = self._by_sender.get(address, {})
        while nonce in waiting:
            nonce += 1
        return nonce

    def add(self, transaction: Transaction, state: State, timestamp: int) -> bytes:
        """Takes a transaction in and returns its id. `state`: of the tip; `timestamp`: now, in ms.

        Raises TransactionKnown, NonceUsed, NonceTooHigh, ReplacementFeeTooLow, SenderLimitExceeded, InsufficientFunds
        (for all of the sender's together), MempoolFull, and what `verify_body_in_state` and `verify_alone` raise.
        Nothing is taken in or dropped then.
        """
        txid = transaction.id(self._chain_id)
        if txid in self._by_id:
            raise TransactionKnown
        sender = transaction.sender_address
        self._verify_place(transaction, sender, state)
        self._verify_funds(transaction, sender, state)
        verify_body_in_state(state, transaction, self._chain_id, self._params, timestamp)
        verify_alone(transaction, self._chain_id, self._params)
        behind_gap = transaction.nonce > self.pending_nonce(sender, state)
        self._make_room_for_evidence(transaction, sender, state, behind_gap)
        self._make_room(transaction, sender, state, behind_gap)
        entry = self._insert(txid, sender, transaction)
        if behind_gap and self._behind_gaps is not None:
            self._behind_gaps.append(entry)
        return txid

    def select(
        self,
        state: State,
        timestamp: int,
        winner_address: bytes,
        height: int,
        limit: int,
        max_bytes: int | None = None,
    ) -> tuple[Transaction, ...]:
        """Up to `limit` transactions for the block at `height`, highest fees first, each sender's nonces in order.

        All are valid one after the other on `state`, the parent's after the block's own payments; it is not changed.
        `max_bytes`: their canonical encodings together at most.
        """
        scratch = state.fork()
        chosen: list[Transaction] = []
        size = 0
        heads = [
            entry
            for sender, waiting in self._by_sender.items()
            if (entry := waiting.get(get_account(state, sender).nonce)) is not None
        ]
        heap = [(-entry.fee, -entry.age, entry) for entry in heads]
        heapq.heapify(heap)
        while heap and len(chosen) < limit:
            entry = heapq.heappop(heap)[2]
            length = len(TRANSACTION.encode(entry.transaction))
            if max_bytes is not None and size + length > max_bytes:
                continue
            try:
                verify_in_state(scratch, entry.transaction, self._chain_id, self._params, timestamp)
            except FedCoinError:
                continue  # it may become valid later; `revalidate` drops it if not
            apply_verified(scratch, entry.transaction, winner_address, self._chain_id, self._params, height)
            chosen.append(entry.transaction)
            size += length
            following = self._by_sender[entry.sender].get(entry.nonce + 1)
            if following is not None:
                heapq.heappush(heap, (-following.fee, -following.age, following))
        return tuple(chosen)

    def fits(self, state: State, timestamp: int) -> bool:
        """Whether a block on `state` could take any transaction: whether `select` would find one."""
        for sender, waiting in self._by_sender.items():
            entry = waiting.get(get_account(state, sender).nonce)
            if entry is None:
                continue
            try:
                verify_in_state(state, entry.transaction, self._chain_id, self._params, timestamp)
            except FedCoinError:
                continue
            return True
        return False

    def revalidate(self, state: State, timestamp: int, touched: Collection[bytes] | None = None) -> tuple[bytes, ...]:
        """Drops what the chain has made invalid (or included) and returns the dropped ids. Call after each new tip.

        `touched`: addresses of the accounts that have changed since it was last called; None: any may have. A transfer
        of another account is as valid as before.
        """
        self._behind_gaps = None
        dropped: list[bytes] = []
        for sender, waiting in list(self._by_sender.items()):
            elsewhere = touched is not None and sender not in touched
            if elsewhere and all(isinstance(entry.transaction.body, Transfer) for entry in waiting.values()):
                continue
            account = get_account(state, sender)
            left = account.balance
            for nonce, entry in sorted(self._by_sender[sender].items()):
                price = cost(entry.transaction, self._params)
                if nonce < account.nonce or price > left or not self._fits(state, entry, timestamp):
                    self._remove(entry)
                    dropped.append(entry.id)
                else:
                    left -= price
        return tuple(dropped)

    def restore(self, transactions: Iterable[Transaction]) -> None:
        """Takes back transactions of undone blocks, in place of others with the same nonce. Then call `revalidate`."""
        for transaction in transactions:
            txid, sender = transaction.id(self._chain_id), transaction.sender_address
            if txid not in self._by_id:
                present = self._by_sender.get(sender, {}).get(transaction.nonce)
                if present is not None:
                    self._remove(present)
                self._insert(txid, sender, transaction)
        while len(self._by_id) > self._capacity:
            self._remove_with_following(self._lowest())

    # --- rules ---

    def _verify_place(self, transaction: Transaction, sender: bytes, state: State) -> None:
        waiting = self._by_sender.get(sender, {})
        nonce, used = transaction.nonce, get_account(state, sender).nonce
        present = waiting.get(nonce)
        if nonce < used:
            raise NonceUsed(f"the nonce is {nonce}, the account's next one is {used}; sign again with that")
        if present is not None:
            needed = present.fee + max(1, present.fee // 10)
            if transaction.fee < needed:
                raise ReplacementFeeTooLow(
                    f"another transaction with nonce {nonce} waits; to replace it, pay a fee of {needed} units at least"
                )
            return
        pending = self.pending_nonce(sender, state)
        if nonce > pending + MAX_NONCE_GAP:
            raise NonceTooHigh(f"the nonce is {nonce}, the account's next one is {pending}; send that one first")
        if len(waiting) >= MAX_PER_SENDER:
            raise SenderLimitExceeded(
                f"{len(waiting)} transactions of this sender wait; send more when some are confirmed"
            )

    def _verify_funds(self, transaction: Transaction, sender: bytes, state: State) -> None:
        """The sender can pay for all its waiting transactions together, so none of them spends twice."""
        waiting = self._by_sender.get(sender, {})
        together = {nonce: entry.transaction for nonce, entry in waiting.items()} | {transaction.nonce: transaction}
        price = sum(cost(each, self._params) for each in together.values())
        require_funds(get_account(state, sender), sender, price)

    def _fits(self, state: State, entry: _Entry, timestamp: int) -> bool:
        try:
            verify_body_in_state(state, entry.transaction, self._chain_id, self._params, timestamp)
        except FedCoinError:
            return False
        return True

    def _make_room(self, transaction: Transaction, sender: bytes, state: State, behind_gap: bool) -> None:
        replaces = transaction.nonce in self._by_sender.get(sender, {})
        if replaces or len(self._by_id) < self._capacity:
            return
        if behind_gap:
            raise MempoolFull(
                f"{len(self._by_id)} transactions wait; send the sender's transactions before this one first"
            )
        idle = self._pop_behind_gap(state, sender)
        if idle is not None:
            self._remove(idle)
            return
        lowest = self._lowest()
        if lowest.fee >= transaction.fee or lowest.sender == sender:
            raise MempoolFull(
                f"{len(self._by_id)} transactions wait, each with a fee of {lowest.fee} units or more; pay more or try "
                "again later"
            )
        self._remove_with_following(lowest)

    def _make_room_for_evidence(self, transaction: Transaction, sender: bytes, state: State, behind_gap: bool) -> None:
        """As `_make_room`, among reports and double signatures."""
        present = self._by_sender.get(sender, {}).get(transaction.nonce)
        if (
            len(self._evidence) < MAX_EVIDENCE
            or not _is_evidence(transaction)
            or (present and present.id in self._evidence)
        ):
            return

        def worth(entry: _Entry) -> tuple[bool, _Entry]:
            return entry.nonce <= self.pending_nonce(entry.sender, state), entry

        lowest = min(self._evidence.values(), key=worth)
        pays_less = worth(lowest)[0] and lowest.fee >= transaction.fee
        if behind_gap or pays_less or lowest.sender == sender:
            raise MempoolFull(f"{len(self._evidence)} reports and double signatures wait; try again later")
        self._remove_with_following(lowest)

    # --- book-keeping ---

    def _pop_behind_gap(self, state: State, spared: bytes) -> _Entry | None:
        """One of those behind a gap of nonces, of lower fees first; None if there is none.

        `spared`: address whose next transaction has come, so that it may be filling its gap.
        """
        if self._behind_gaps is None:
            nonces = {sender: self.pending_nonce(sender, state) for sender in self._by_sender}
            self._behind_gaps = [entry for entry in self._by_id.values() if entry.nonce > nonces[entry.sender]]
            self._behind_gaps.sort(reverse=True)
        while self._behind_gaps:
            entry = self._behind_gaps.pop()
            if entry.sender == spared or self._by_id.get(entry.id) is not entry:
                continue
            if entry.nonce > self.pending_nonce(entry.sender, state):
                return entry
        return None

    def _insert(self, txid: bytes, sender: bytes, transaction: Transaction) -> _Entry:
        waiting = self._by_sender.setdefault(sender, {})
        if transaction.nonce in waiting:
            self._evidence.pop(waiting[transaction.nonce].id, None)
            del self._by_id[waiting[transaction.nonce].id]
        self._arrivals += 1
        entry = _Entry(transaction.fee, -self._arrivals, txid, sender, transaction)
        waiting[transaction.nonce] = self._by_id[txid] = entry
        if _is_evidence(transaction):
            self._evidence[txid] = entry
        heapq.heappush(self._cheapest, entry)
        if len(self._cheapest) > 2 * len(self._by_id) + 64:
            self._cheapest = list(self._by_id.values())
            heapq.heapify(self._cheapest)
        return entry

    def _remove(self, entry: _Entry) -> None:
        del self._by_id[entry.id]
        self._evidence.pop(entry.id, None)
        waiting = self._by_sender[entry.sender]
        del waiting[entry.nonce]
        if not waiting:
            del self._by_sender[entry.sender]

    def _remove_with_following(self, entry: _Entry) -> None:
        for nonce, other in sorted(self._by_sender[entry.sender].items()):
            if nonce >= entry.nonce:
                self._remove(other)

    def _lowest(self) -> _Entry:
        while self._by_id.get(self._cheapest[0].id) is not self._cheapest[0]:
            heapq.heappop(self._cheapest)
        return self._cheapest[0]


def _is_evidence(transaction: Transaction) -> bool:
    return isinstance(transaction.body, FraudReport | DoubleSign)
