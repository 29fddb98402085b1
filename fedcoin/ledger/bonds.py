"""Bonds: what miners leave with the chain, when it comes back, and to whom it goes after a conviction.

A bond is an ordinary account without a key, `bond_address(public_key)`; only the payments derived here move it.
"""

from __future__ import annotations

from itertools import islice

from fedcoin.core.encoding import HASH_SIZE
from fedcoin.core.keys import address_of
from fedcoin.core.params import ChainParams
from fedcoin.core.transaction import Payment, PaymentKind, bond_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.fraud import FraudCase, drop_case, drop_cases_of, drop_lapsed, open_cases
from fedcoin.ledger.miners import MinerRecord, MinerStanding, active_miners, miners, remove_miner
from fedcoin.ledger.orders import get_order
from fedcoin.ledger.prices import divide
from fedcoin.ledger.state import State

MAX_BONDS = 64
"""Bonds that one block gives back at most; the others wait for the next block."""
MAX_CONVICTIONS = 4
"""Bonds of convicted miners that one block pays out at most: each may be divided among all miners."""
_NO_ORDER = bytes(HASH_SIZE)


def bond_payments(state: State, params: ChainParams, height: int) -> tuple[Payment, ...]:
    """BOND payments of the block at `height`, by public key: the whole bond of each miner whose time is up."""
    payments = []
    for miner in _gone(state, params, height):
        bond = bond_address(miner.public_key)
        amount = get_account(state, bond).balance
        payments.append(Payment(PaymentKind.BOND, _NO_ORDER, 0, bond, address_of(miner.public_key), amount))
    return tuple(item for item in payments if item.amount > 0)


def conviction_payments(state: State, params: ChainParams) -> tuple[Payment, ...]:
    """REWARD and DAMAGES of the next block, by case id; payments of 0 units are left out."""
    cases = _decided(state)
    if not cases:
        return ()
    active = [address_of(miner.public_key) for miner in active_miners(state, params)]
    payments = [payment for case in cases for payment in _shares(state, case, active)]
    return tuple(item for item in payments if item.amount > 0)


def close_due(state: State, params: ChainParams, height: int) -> None:
    """Book-keeping of the block at `height`, before its transactions: what its payments have settled, and what lapses.

    Also for bonds of 0 units, which need no payment.
    """
    for miner in _gone(state, params, height):
        remove_miner(state, miner.public_key)
        drop_cases_of(state, miner.public_key)
    for case in _decided(state):
        drop_case(state, case.id)
    drop_lapsed(state, params, height)


def _gone(state: State, params: ChainParams, height: int) -> list[MinerRecord]:
    """Miners that left `bond_blocks` blocks before the block at `height`, or earlier, by public key."""
    gone = (
        miner
        for miner in miners(state)
        if miner.standing is MinerStanding.LEAVING and miner.since + params.bond_blocks <= height
    )
    return list(islice(gone, MAX_BONDS))


def _decided(state: State) -> list[FraudCase]:
    """Cases to be paid out next, by id."""
    return list(islice((case for case in open_cases(state) if case.decided), MAX_CONVICTIONS))


def _shares(state: State, case: FraudCase, active: list[bytes]) -> list[Payment]:
    """Half of the bond, rounded down, to the reporter; the rest to the order's requester, or to the active miners."""
    bond = bond_address(case.accused)
    balance = get_account(state, bond).balance
    reward = balance // 2
    harmed = [get_order(state, case.order).requester] if case.order is not None else active or [case.reporter]
    damages = divide(balance - reward, (1,) * len(harmed))
    return [
        Payment(PaymentKind.REWARD, case.id, 0, bond, case.reporter, reward),
        *(
            Payment(PaymentKind.DAMAGES, case.id, 0, bond, payee, amount)
            for payee, amount in zip(harmed, damages, strict=True)
        ),
    ]
