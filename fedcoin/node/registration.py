"""A miner that is not in the genesis registers itself, once it can pay fee and bond."""

from __future__ import annotations

import logging

from fedcoin.consensus.messages import ReceiveTransaction
from fedcoin.core.keys import PrivateKey, format_address
from fedcoin.core.transaction import MinerRegistration, sign_transaction
from fedcoin.ledger.accounts import get_account
from fedcoin.ledger.miners import MinerStanding, find_miner
from fedcoin.node.engine import Engine

log = logging.getLogger("fedcoin.miner")


class Registration:
    """Looks now and then whether there is something to do."""

    def __init__(self, engine: Engine, key: PrivateKey, name: str) -> None:
        """`name`: under which to register; empty: never."""
        self._engine = engine
        self._key = key
        self._name = name
        self._waits_for_money = False
        """It was said that the bond cannot be paid yet."""
        self._has_left = False
        """Its owner has taken it out of the chain while we ran. Nobody wants it back in when the bond has come back."""

    async def look(self) -> None:
        """Registers the key if the chain does not know it, it can pay, nothing else of its account waits, and it has
        not left."""
        posap = self._engine.posap
        chain, address = posap.chain, self._key.address
        miner = find_miner(chain.state, self._key.public_key)
        self._has_left = self._has_left or (miner is not None and miner.standing is MinerStanding.LEAVING)
        if not self._name or miner is not None or self._has_left:
            return
        fee = chain.params.min_fee
        needed = fee + chain.params.miner_bond
        account = get_account(chain.state, address)
        if account.balance < needed:
            self._say_once(account.balance, needed)
            return
        nonce = posap.mempool.pending_nonce(address, chain.state)
        if nonce != account.nonce:
            return
        body = MinerRegistration(self._name)
        await self._engine.feed(ReceiveTransaction(sign_transaction(self._key, chain.chain_id, nonce, fee, body)))
        log.info("registering as miner %s", self._name)

    def _say_once(self, balance: int, needed: int) -> None:
        if not self._waits_for_money:
            self._waits_for_money = True
            log.warning(
                "%s holds %d units, and registering as a miner takes %d (fee and bond): waiting for a payment to it",
                format_address(self._key.address),
                balance,
                needed,
            )
