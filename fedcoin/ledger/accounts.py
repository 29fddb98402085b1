"""Accounts: balances in units, and nonces that keep a transaction from being used twice."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fedcoin.core.encoding import Struct, u64
from fedcoin.core.errors import InsufficientFunds
from fedcoin.core.keys import format_address
from fedcoin.ledger.state import ACCOUNT_KEY, State


@dataclass(frozen=True)
class Account:
    """What an address holds."""

    balance: int = 0
    """Units."""
    nonce: int = 0
    """Transactions made so far, which is the nonce that the next one must carry."""


ACCOUNT = Struct(Account, "fedcoin/v1/account", balance=u64, nonce=u64)


_LAYOUT = struct.Struct(">QQ")
# ACCOUNT's, ten times as fast: every transaction of every block reads and writes several accounts.


def get_account(state: State, address: bytes) -> Account:
    """The account; an empty one if the address has never been used."""
    value = state.get(ACCOUNT_KEY + address)
    return Account(*_LAYOUT.unpack(value)) if value is not None else Account()


def put_account(state: State, address: bytes, account: Account) -> None:
    """Stores the account, or removes it if it is empty."""
    used = account.balance or account.nonce
    state.put(ACCOUNT_KEY + address, _LAYOUT.pack(account.balance, account.nonce) if used else None)


def credit(state: State, address: bytes, amount: int) -> None:
    """Adds `amount` units."""
    account = get_account(state, address)
    put_account(state, address, Account(account.balance + amount, account.nonce))


def debit(state: State, address: bytes, amount: int) -> None:
    """Takes `amount` units. Raises InsufficientFunds, and changes nothing, if there are fewer."""
    account = get_account(state, address)
    require_funds(account, address, amount)
    put_account(state, address, Account(account.balance - amount, account.nonce))


def require_funds(account: Account, address: bytes, amount: int) -> None:
    """Raises InsufficientFunds if the account holds fewer than `amount` units."""
    if account.balance < amount:
        raise InsufficientFunds(
            f"{format_address(address)} holds {account.balance} units and would have to pay {amount} with the fee; "
            "lower the amount or wait for a payment"
        )


def use_nonce(state: State, address: bytes) -> None:
    """Counts one more transaction of the account."""
    account = get_account(state, address)
    put_account(state, address, Account(account.balance, account.nonce + 1))


def all_accounts(state: State) -> Iterator[tuple[bytes, Account]]:
    """(address, account) of every account that is not empty, escrows included, by address."""
    for key in state.keys(ACCOUNT_KEY):
        address = key[len(ACCOUNT_KEY) :]
        yield address, get_account(state, address)
