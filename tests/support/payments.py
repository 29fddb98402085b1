"""Transfers handed to real miners one after another, with a record of what the miners have acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Sequence

from fedcoin.core.errors import FedCoinError
from fedcoin.core.transaction import Transaction, Transfer, sign_transaction
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.views import TransactionState
from tests.support.town import FEE, KEYS, MINERS, Town


class Payments:
    """Pays from the account of `payer`, which nobody else uses, in a thread of its own between `with` and its end."""

    def __init__(self, town: Town, names: Sequence[str] = MINERS, pause_seconds: float = 0.05) -> None:
        """`names`: the miners that they are handed to."""
        self._town = town
        self._names = names
        self._pause = pause_seconds
        self._nonce = town.miner("m0", lambda client: client.account(KEYS["payer"].address)).pending_nonce
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.acknowledged: list[Transaction] = []

    def __enter__(self) -> Payments:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def missing(self, name: str) -> list[bytes]:
        """Ids of acknowledged transactions that a miner's chain does not hold."""

        async def ask(client: MinerClient) -> list[bytes]:
            lost = []
            for transaction in self.acknowledged:
                name = transaction.id(self._town.chain_id)
                try:
                    found = (await client.transaction(name)).state is TransactionState.CONFIRMED
                except FedCoinError:
                    found = False
                if not found:
                    lost.append(name)
            return lost

        return self._town.miner(name, ask)

    async def _run(self) -> None:
        """Hands each transfer to one miner after another until one acknowledges it."""
        clients = {name: MinerClient(self._town.reached.get(name, self._town.addresses[name])) for name in self._names}
        try:
            for name in itertools.cycle(self._names):
                if self._stopping.is_set():
                    return
                # Of one number always the same: what a miner did not acknowledge it may have taken all the same.
                body = Transfer(KEYS["poor"].address, 1 + self._nonce % 7)
                transaction = sign_transaction(KEYS["payer"], self._town.chain_id, self._nonce, FEE, body)
                if await self._acknowledged(clients[name], transaction):
                    self.acknowledged.append(transaction)
                    self._nonce += 1
                time.sleep(self._pause)  # noqa: ASYNC251 - nothing else runs in this loop
        finally:
            for client in clients.values():
                await client.close()

    async def _acknowledged(self, client: MinerClient, transaction: Transaction) -> bool:
        try:
            await asyncio.wait_for(client.submit(transaction), 5)
        except (FedCoinError, TimeoutError):
            return await self._taken(client, transaction)
        return True

    async def _taken(self, client: MinerClient, transaction: Transaction) -> bool:
        """Whether this very transfer was taken although its acknowledgement got lost."""
        try:
            await asyncio.wait_for(client.transaction(transaction.id(self._town.chain_id)), 5)
        except (FedCoinError, TimeoutError):
            return False
        return True
