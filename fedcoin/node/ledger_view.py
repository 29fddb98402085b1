"""Orders, miners and fraud cases of a state, as a miner shows them."""

from __future__ import annotations

from collections.abc import Iterator

from fedcoin.core.params import ChainParams
from fedcoin.core.transaction import bond_address, escrow_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.fraud import open_cases
from fedcoin.ledger.miners import is_active, miners
from fedcoin.ledger.orders import OrderRecord
from fedcoin.ledger.state import State
from fedcoin.rpc.views import FraudCaseInfo, MinerInfo, OrderInfo, OrderState


def order_info(state: State, record: OrderRecord, height: int) -> OrderInfo:
    """An order with what is left in its escrow; `height`: of the tip."""
    return OrderInfo(
        order_id=record.order_id,
        order=record.order,
        requester=record.requester,
        state=OrderState(int(record.state)),
        rounds_settled=record.rounds_settled,
        escrow=get_account(state, escrow_address(record.order_id)).balance,
        confirmed_height=record.confirmed_height,
        confirmations=height - record.confirmed_height + 1,
    )


def miner_infos(state: State, params: ChainParams, after: bytes) -> Iterator[MinerInfo]:
    """Miners of whatever standing with a public key above `after`, in order of public key."""
    for miner in miners(state):
        if miner.public_key > after:
            yield MinerInfo(
                public_key=miner.public_key,
                name=miner.name,
                standing=miner.standing,
                since=miner.since,
                active=is_active(miner, params),
                registered_height=miner.registered_height,
                bond=get_account(state, bond_address(miner.public_key)).balance,
            )


def case_infos(state: State, params: ChainParams, after: bytes) -> Iterator[FraudCaseInfo]:
    """Fraud cases with an id above `after`, in order of id."""
    for case in open_cases(state):
        if case.id > after:
            yield FraudCaseInfo(
                case_id=case.id,
                accused=case.accused,
                reporter=case.reporter,
                order=case.order or b"",
                opened_height=case.opened_height,
                lapse_height=case.opened_height + params.bond_blocks,
                decided=case.decided,
                votes=case.votes,
            )
