"""The state transition: what a block does to the state."""

from __future__ import annotations

from fedcoin.consensus.difficulty import race_interval, record_interval
from fedcoin.consensus.verified import Verified
from fedcoin.consensus.verify import Parent, verify_in_state
from fedcoin.core.block import Block
from fedcoin.core.errors import StateRootMismatch
from fedcoin.core.keys import address_of
from fedcoin.core.params import ChainParams
from fedcoin.ledger.miners import record_certificate
from fedcoin.ledger.orders import settle_round
from fedcoin.ledger.problems import set_last_problem
from fedcoin.ledger.settlement import apply_payments
from fedcoin.ledger.state import State
from fedcoin.ledger.transactions import apply_verified
from fedcoin.ledger.transactions import verify_in_state as verify_transaction_in_state


def apply_block(
    state: State, block: Block, parent: Parent, chain_id: bytes, params: ChainParams, verified: Verified | None = None
) -> State:
    """The state after `block`, as a fork of `state`, which stays as it was.

    Raises the error of the rule that is broken. `verified`: signatures that need no second look.
    """
    verify_in_state(block, parent, state, chain_id, params)
    after = execute(state, block, parent, chain_id, params, verified)
    if after.root() != block.header.state_root:
        raise StateRootMismatch
    return after


def execute(
    state: State, block: Block, parent: Parent, chain_id: bytes, params: ChainParams, verified: Verified | None = None
) -> State:
    """Payments and what they close, then transactions, then bookkeeping, on a fork of `state`.

    The header's state root is not looked at.
    """
    header = block.header
    after = state.fork()
    # Payments first: a client may spend what this very block pays it.
    apply_payments(after, block.payments, params, header.height)
    winner = address_of(header.winner)
    signatures = verified if verified is not None else Verified(chain_id, params)
    for transaction in block.transactions:
        signatures.transaction(transaction)
        verify_transaction_in_state(after, transaction, chain_id, params, header.timestamp)
        apply_verified(after, transaction, winner, chain_id, params, header.height)
    if block.task is not None:
        settle_round(after, block.task.order)
        set_last_problem(after, block.task.problem)
    record_certificate(after, {estimate.miner for estimate in block.certificate}, params)
    openings = [estimate.opened_at for estimate in block.certificate]
    interval = race_interval(header.timestamp, parent.timestamp, openings)
    record_interval(after, header.kind, header.difficulty, interval, params)
    return after
