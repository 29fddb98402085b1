"""What must hold for bonds, standings and votes in every run. Each function raises InvariantBroken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fedcoin.consensus.messages import Effect, SendTransaction
from fedcoin.core.block import Block
from fedcoin.core.fraud import FraudVote
from fedcoin.core.params import ChainParams
from fedcoin.core.transaction import MinerRegistration, PaymentKind, bond_address
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.fraud import open_cases
from fedcoin.ledger.miners import MinerStanding, find_miner, miners
from fedcoin.ledger.state import State
from tests.sim.broken import InvariantBroken

if TYPE_CHECKING:
    from tests.sim.node import SimNode

OUT_OF_BONDS = (PaymentKind.BOND, PaymentKind.REWARD, PaymentKind.DAMAGES)


def bonds_hold_what_they_should(state: State, keys: Iterable[bytes], params: ChainParams) -> None:
    """The bond of whoever may come to lose or get it back; nothing for everybody else.

    `keys`: of all that are or may have been miners.
    """
    unpaid = {case.accused for case in open_cases(state) if case.decided}
    for key in keys:
        record = find_miner(state, key)
        held = record is not None and (record.standing is not MinerStanding.CONVICTED or key in unpaid)
        balance = get_account(state, bond_address(key)).balance
        if balance != (params.miner_bond if held else 0):
            raise InvariantBroken(f"the bond of {key.hex()[:6]} holds {balance} units, held: {held}")


def bonds_come_back_once(blocks: Sequence[Block], genesis: Iterable[bytes], state: State, params: ChainParams) -> None:
    """Along a chain, from the first block on: what is paid out of a bond has been paid in before, all of it at once.

    `genesis`: keys of its miners. `state`: after the last block.
    """
    if params.miner_bond == 0:
        return
    held = {bond_address(key): key for key in genesis}
    for block in blocks:
        paid: dict[bytes, int] = {}
        for payment in block.payments:
            if payment.kind in OUT_OF_BONDS:
                paid[payment.payer] = paid.get(payment.payer, 0) + payment.amount
        for bond, amount in paid.items():
            if held.pop(bond, None) is None or amount != params.miner_bond:
                raise InvariantBroken(f"block {block.header.height} pays {amount} out of a bond")
        for transaction in block.transactions:
            if isinstance(transaction.body, MinerRegistration):
                bond = bond_address(transaction.sender)
                if bond in held:
                    raise InvariantBroken(f"{transaction.sender.hex()[:6]} has paid two bonds")
                held[bond] = transaction.sender
    bonds_hold_what_they_should(state, held.values(), params)


def who_is_out_stays_out(blocks: Iterable[Block], state: State) -> None:
    """No certificate above the block in which a miner was convicted, or has left, holds its estimate."""
    since = {record.public_key: record.since for record in miners(state) if record.standing != MinerStanding.REGISTERED}
    for block in blocks if since else ():
        for estimate in block.certificate:
            if block.header.height > since.get(estimate.miner, block.header.height):
                raise InvariantBroken(f"block {block.header.height} holds an estimate of {estimate.miner.hex()[:6]}")


def votes_once(node: SimNode, effects: Iterable[Effect]) -> None:
    """An honest miner does not vote again in a case while its vote waits or stands on its chain, unless behind a
    gap of nonces, which the new one fills."""
    posap, key = node.running, node.key.public_key
    for effect in effects:
        if not isinstance(effect, SendTransaction) or effect.transaction.sender != key or effect.skip is not None:
            continue
        transaction = effect.transaction
        if not isinstance(transaction.body, FraudVote):
            continue
        waiting = [each for each in posap.mempool.transactions() if each.sender == key]
        if any(each.body == transaction.body and each.nonce < transaction.nonce for each in waiting):
            raise InvariantBroken(f"{node.name} votes twice in one case")
        case = next((each for each in open_cases(posap.chain.state) if each.id == transaction.body.case), None)
        if case is not None and key in case.votes:
            raise InvariantBroken(f"{node.name} has voted in this case before")
