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
from fedcoin.core.fraud import DoubleSign, FraudReport, FraudVote
from fedcoin.core.params import MAX_CLIENTS, MAX_SUPPLY, ChainParams
from fedcoin.core.transaction import (
    MAX_ROUNDS,
    MinerLeave,
    MinerRegistration,
    Order,
    Schedule,
    Transaction,
    Transfer,
    bond_address,
    escrow_address,
)
from fedcoin.ledger import fraud
from fedcoin.ledger.accounts import credit, debit, get_account, require_funds, use_nonce
from fedcoin.ledger.miners import (
    MAX_MINER_NAME,
    MinerStanding,
    get_registered,
    register_miner,
    require_registrable,
    set_standing,
)
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
    verify_in_state(state, transaction, chain_id, params, timestamp)


def verify_alone(transaction: Transaction, chain_id: bytes, params: ChainParams) -> None:
    """The rules that need no state: fee, form of the body, signature, evidence; cheap ones first.

    Raises FeeTooLow, AmountOutOfRange, the errors of `verify_order_terms`, MinerNameInvalid, MalformedEncoding,
    InvalidSignature, InvalidPublicKey, and of `ledger.fraud` what needs no state.
    """
    verify_fee(transaction.fee, params)
    verify_body_form(transaction, chain_id)
    transaction.verify(chain_id)
    # What takes longer comes last, so that nobody who has not even signed makes us work.
    match transaction.body:
        case Order() as order:
            verify_rounds_paid(order)
        case FraudReport() as report:
            fraud.verify_report_evidence(report, chain_id)
        case DoubleSign() as evidence:
            evidence.verify_signatures()


def verify_in_state(
    state: State, transaction: Transaction, chain_id: bytes, params: ChainParams, timestamp: int
) -> None:
    """The rules that need the state: nonce, funds, and those of the body.

    Raises NonceUsed, NonceTooHigh, InsufficientFunds and what `verify_body_in_state` raises.
    """
    verify_nonce(state, transaction)
    verify_funds(state, transaction, params)
    verify_body_in_state(state, transaction, chain_id, params, timestamp)


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
    debit(state, sender, cost(transaction, params))
    use_nonce(state, sender)
    credit(state, winner_address, transaction.fee)
    signer = transaction.sender
    match transaction.body:
        case Transfer(recipient, amount):
            credit(state, recipient, amount)
        case Order() as order:
            order_id = transaction.id(chain_id)
            credit(state, escrow_address(order_id), order.amount)
            open_order(state, order_id, order, sender, height)
        case MinerRegistration(name):
            credit(state, bond_address(signer), params.miner_bond)
            register_miner(state, signer, name, height, missed=params.inactive_after)
        case MinerLeave():
            set_standing(state, signer, MinerStanding.LEAVING, height)
        case FraudReport() as report:
            fraud.open_case(state, report, signer, chain_id, params, height)
        case FraudVote() as vote:
            fraud.count_vote(state, vote, signer, params, height)
        case DoubleSign() as evidence:
            fraud.convict_double_signer(state, evidence, signer, chain_id, height)


def cost(transaction: Transaction, params: ChainParams) -> int:
    """Units that leave the sender's account: the fee and what the body moves, a new miner's bond for one."""
    match transaction.body:
        case Transfer(_, amount):
            moved = amount
        case Order() as order:
            moved = order.amount
        case MinerRegistration():
            moved = params.miner_bond
        case _:
            moved = 0
    return transaction.fee + moved


# --- rules that need no state ----------------------------------------------------------------------------------------


def verify_body_form(transaction: Transaction, chain_id: bytes) -> None:
    """The rules for what a body says, as far as they need neither state nor signature."""
    match transaction.body:
        case Transfer(_, amount):
            verify_amount(amount)
        case Order() as order:
            verify_order_ranges(order)
        case MinerRegistration(name):
            verify_miner_name(name)
        case FraudReport() as report:
            fraud.verify_report_form(report, transaction.sender)
        case DoubleSign() as evidence:
            fraud.verify_double_sign_form(evidence, chain_id)


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


def verify_funds(state: State, transaction: Transaction, params: ChainParams) -> None:
    """Raises InsufficientFunds if the sender cannot pay the fee and what the body moves."""
    sender = transaction.sender_address
    require_funds(get_account(state, sender), sender, cost(transaction, params))


def verify_body_in_state(
    state: State, transaction: Transaction, chain_id: bytes, params: ChainParams, timestamp: int
) -> None:
    """The rules for a body that need the state.

    Raises OrderExpired, the errors of `require_registrable` and `get_registered`, and of `ledger.fraud` what needs the
    state.
    """
    sender = transaction.sender
    match transaction.body:
        case Order(expiry=expiry) if expiry <= timestamp:
            raise OrderExpired(
                f"the order expires at {expiry}, which is not after {timestamp} (ms since 1970); choose a later expiry"
            )
        case MinerRegistration():
            require_registrable(state, sender)
        case MinerLeave():
            get_registered(state, sender)
        case FraudReport() as report:
            fraud.verify_report(state, report, sender, chain_id, params)
        case FraudVote() as vote:
            fraud.verify_vote(state, vote, sender, params)
        case DoubleSign() as evidence:
            fraud.verify_double_sign(state, evidence, chain_id)
