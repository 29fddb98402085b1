"""Rules for signed transactions: what makes one valid by itself, what in a state, and what it then does.

One small function a rule. Nothing is changed before everything is verified.
"""

from __future__ import annotations

from fedcoin.core.errors import (
    AmountOutOfRange,
    FeeTooLow,
    MinerNameInvalid,
    NonceTooHigh,
    NonceUsed,
    OrderAmountTooSmall,
    OrderClientsOutOfRange,
    OrderExpired,
    OrderRatioInvalid,
    OrderRoundsOutOfRange,
    OrderSamplerDoesNotFit,
    OrderSharesZero,
)
from fedcoin.core.params import MAX_CLIENTS, MAX_SUPPLY, ChainParams
from fedcoin.core.transaction import (
    MAX_ROUNDS,
    MinerRegistration,
    Order,
    Schedule,
    Transaction,
    Transfer,
    escrow_address,
)
from fedcoin.ledger.accounts import credit, debit, get_account, require_funds, use_nonce
from fedcoin.ledger.miners import MAX_MINER_NAME, register_miner, require_registrable
from fedcoin.ledger.orders import open_order
from fedcoin.ledger.prices import round_prices
from fedcoin.ledger.state import State


def verify_transaction(
    state: State, transaction: Transaction, chain_id: bytes, params: ChainParams, timestamp: int
) -> None:
    """Raises unless the transaction may be the next one of its sender in a block with that timestamp (ms).

    Raises what `verify_alone` and `verify_in_state` raise.
    """
    verify_alone(transaction, chain_id, params)
    verify_in_state(state, transaction, timestamp)


def verify_alone(transaction: Transaction, chain_id: bytes, params: ChainParams) -> None:
    """The rules that need no state: fee, amounts, terms, signature; cheap ones first.

    Raises FeeTooLow, AmountOutOfRange, the errors of `verify_order_terms`, MinerNameInvalid, MalformedEncoding,
    InvalidSignature, InvalidPublicKey.
    """
    verify_fee(transaction.fee, params)
    body = transaction.body
    if isinstance(body, Transfer):
        verify_amount(body.amount)
    elif isinstance(body, Order):
        verify_order_ranges(body)
    else:
        verify_miner_name(body.name)
    transaction.verify(chain_id)
    if isinstance(body, Order):
        verify_rounds_paid(body)


def verify_in_state(state: State, transaction: Transaction, timestamp: int) -> None:
    """The rules that need the state: nonce, funds, order not expired, miner new.

    Raises NonceUsed, NonceTooHigh, InsufficientFunds, OrderExpired, MinerAlreadyRegistered, TooManyMiners.
    """
    verify_nonce(state, transaction)
    verify_funds(state, transaction)
    verify_body_in_state(state, transaction, timestamp)


def apply_transaction(
    state: State,
    transaction: Transaction,
    winner_address: bytes,
    chain_id: bytes,
    params: ChainParams,
    height: int,
    timestamp: int,
) -> None:
    """Verifies the transaction, then applies it as part of the block at `height` that `winner_address` has won.

    Raises what `verify_transaction` raises, and then has changed nothing.
    """
    verify_transaction(state, transaction, chain_id, params, timestamp)
    apply_verified(state, transaction, winner_address, chain_id, params, height)


def apply_verified(
    state: State, transaction: Transaction, winner_address: bytes, chain_id: bytes, params: ChainParams, height: int
) -> None:
    """Applies a transaction that `verify_transaction` has passed: fee to the winner, nonce counted, body done."""
    sender = transaction.sender_address
    debit(state, sender, cost(transaction))
    use_nonce(state, sender)
    credit(state, winner_address, transaction.fee)
    body = transaction.body
    if isinstance(body, Transfer):
        credit(state, body.recipient, body.amount)
    elif isinstance(body, Order):
        order_id = transaction.id(chain_id)
        credit(state, escrow_address(order_id), body.amount)
        open_order(state, order_id, body, sender, height)
    else:
        register_miner(state, transaction.sender, body.name, height, missed=params.inactive_after)


def cost(transaction: Transaction) -> int:
    """Units that leave the sender's account: the fee and what the body moves."""
    body = transaction.body
    return transaction.fee + (0 if isinstance(body, MinerRegistration) else body.amount)


# --- rules that need no state ----------------------------------------------------------------------------------------


def verify_fee(fee: int, params: ChainParams) -> None:
    """Raises FeeTooLow, or AmountOutOfRange for a fee above the largest supply."""
    if fee < params.min_fee:
        raise FeeTooLow(f"the fee is {fee} units; this chain asks for {params.min_fee} at least")
    if fee > MAX_SUPPLY:
        raise AmountOutOfRange(f"the fee of {fee} units exceeds the largest supply, {MAX_SUPPLY}")


def verify_amount(amount: int) -> None:
    """Raises AmountOutOfRange unless 1 ≤ amount ≤ MAX_SUPPLY."""
    if not 0 < amount <= MAX_SUPPLY:
        raise AmountOutOfRange(f"the amount is {amount} units; state one between 1 and {MAX_SUPPLY}")


def verify_miner_name(name: str) -> None:
    """Raises MinerNameInvalid for an empty or too long name, or one with control characters.

    The rule is stated in code points and not by Unicode classes, because those change with the Unicode version.
    """
    controls = any(ord(letter) < 0x20 or 0x7F <= ord(letter) <= 0x9F for letter in name)
    if not name.strip(" ") or controls or len(name.encode(errors="replace")) > MAX_MINER_NAME:
        raise MinerNameInvalid


def verify_order_terms(order: Order) -> None:
    """All rules for an order's terms.

    Raises AmountOutOfRange, OrderRoundsOutOfRange, OrderSharesZero, OrderRatioInvalid, OrderClientsOutOfRange,
    OrderSamplerDoesNotFit, OrderAmountTooSmall.
    """
    verify_order_ranges(order)
    verify_rounds_paid(order)


def verify_order_ranges(order: Order) -> None:
    """The rules for single fields of an order."""
    verify_amount(order.amount)
    if not 1 <= order.rounds <= MAX_ROUNDS:
        raise OrderRoundsOutOfRange(f"the order has {order.rounds} rounds; choose between 1 and {MAX_ROUNDS}")
    if order.train_share + order.com_share + order.sap_share <= 0:
        raise OrderSharesZero
    _verify_ratio(order)
    if not 1 <= order.min_clients <= MAX_CLIENTS:
        raise OrderClientsOutOfRange(
            f"the order wants {order.min_clients} clients at least; choose between 1 and {MAX_CLIENTS}"
        )
    verify_order_sampler(order)


def verify_order_sampler(order: Order) -> None:
    """Raises OrderSamplerDoesNotFit if no round could have both clients enough and few enough."""
    most = order.sampler.most_clients
    if order.min_clients > most:
        raise OrderSamplerDoesNotFit(
            f"the order wants {order.min_clients} clients at least, the sampler {order.sampler.name} serves {most} at "
            "most; choose fewer clients or another sampler"
        )


def _verify_ratio(order: Order) -> None:
    numerator, denominator = order.ratio_numerator, order.ratio_denominator
    if order.schedule is Schedule.EQUAL and (numerator, denominator) != (1, 1):
        raise OrderRatioInvalid(f"an equal schedule has the ratio 1/1, this one {numerator}/{denominator}")
    if not 1 <= numerator <= denominator:
        raise OrderRatioInvalid(f"the ratio is {numerator}/{denominator}; choose one above 0 and at most 1")


def verify_rounds_paid(order: Order) -> None:
    """Raises OrderAmountTooSmall if a round would pay nobody anything.

    So an open order always has something in escrow, and a refund is never of 0 units.
    """
    for number, prices in enumerate(round_prices(order)):
        if prices.total == 0:
            raise OrderAmountTooSmall(
                f"the deposit of {order.amount} units leaves round {number} of {order.rounds} without a single unit; "
                "deposit more, order fewer rounds, or choose a ratio closer to 1"
            )


# --- rules that need the state ---------------------------------------------------------------------------------------


def verify_nonce(state: State, transaction: Transaction) -> None:
    """Raises NonceUsed or NonceTooHigh unless the nonce is the number of transactions made before."""
    expected = get_account(state, transaction.sender_address).nonce
    hint = f"the nonce is {transaction.nonce}, the account's next one is {expected}; sign again with that"
    if transaction.nonce < expected:
        raise NonceUsed(hint)
    if transaction.nonce > expected:
        raise NonceTooHigh(hint)


def verify_funds(state: State, transaction: Transaction) -> None:
    """Raises InsufficientFunds if the sender cannot pay amount and fee."""
    sender = transaction.sender_address
    require_funds(get_account(state, sender), sender, cost(transaction))


def verify_body_in_state(state: State, transaction: Transaction, timestamp: int) -> None:
    """Raises OrderExpired, MinerAlreadyRegistered or TooManyMiners."""
    body = transaction.body
    if isinstance(body, Order) and body.expiry <= timestamp:
        raise OrderExpired(
            f"the order expires at {body.expiry}, which is not after {timestamp} (ms since 1970); choose a later expiry"
        )
    if isinstance(body, MinerRegistration):
        require_registrable(state, transaction.sender)
