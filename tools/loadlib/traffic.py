"""Hands transfers in to one miner, at a rate or as fast as they are taken, and keeps count."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc

from fedcoin.core.errors import FedCoinError
from fedcoin.rpc.channel import CHANNEL_OPTIONS
from fedcoin.rpc.errors import from_call
from fedcoin.v1 import transaction_service_pb2 as pb
from loadlib.wallets import Purse, Signed

IN_FLIGHT = 32
"""Calls to one miner at the same time."""
AHEAD = 256
"""Transfers signed ahead for one miner."""
_TICK = 0.01
_PAUSE = 0.1
"""After a refusal, before the same transfer is handed in again."""
_SINGLE = "/fedcoin.v1.TransactionService/SubmitTransaction"
_BATCH = "/fedcoin.v1.TransactionService/PropagateTransactions"


@dataclass
class Ledger:
    """What was handed in, and when."""

    accepted: int = 0
    waiting: dict[bytes, tuple[float, Signed]] = field(default_factory=dict)
    """Signature → when it was accepted, transfer. Until it is confirmed."""
    early: set[bytes] = field(default_factory=set)
    """Signatures seen in a block before the answer to their submission came."""
    refusals: Counter[str] = field(default_factory=Counter)
    """By code."""

    def accept(self, transfer: Signed) -> None:
        """A miner has taken it in."""
        self.accepted += 1
        if transfer.signature in self.early:
            self.early.discard(transfer.signature)
        else:
            self.waiting[transfer.signature] = (time.monotonic(), transfer)


class Traffic:
    """The load on one miner."""

    def __init__(self, address: str, purse: Purse, ledger: Ledger, rate: float, most_waiting: int, batch: int) -> None:
        """`rate`: transfers a second to this miner, 0: no limit; `most_waiting`: over all miners."""
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._call: Any = self._channel.unary_unary(_BATCH if batch > 1 else _SINGLE)
        self._address = address
        self._purse = purse
        self._ledger = ledger
        self._rate = rate
        self._most_waiting = most_waiting
        self._batch = batch
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        credit, last = 0.0, time.monotonic()
        self._purse.sign_ahead(AHEAD)
        while True:
            now = time.monotonic()
            # What could not be handed in for two seconds is not made up for.
            credit = min(credit + self._rate * (now - last), 2 * self._rate + self._batch)
            last = now
            while len(self._running) < IN_FLIGHT and (not self._rate or credit >= self._batch):
                if len(self._ledger.waiting) >= self._most_waiting:
                    break
                transfers = [one for _ in range(self._batch) if (one := self._purse.take()) is not None]
                if not transfers:
                    break
                credit -= len(transfers)
                task = asyncio.create_task(self._submit(transfers))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            self._purse.sign_ahead(AHEAD)
            if self._rate or not self._running:
                await asyncio.sleep(_TICK)
            else:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED, timeout=_TICK)

    async def close(self) -> None:
        """Waits for calls in flight."""
        if self._running:
            await asyncio.wait(self._running, timeout=15.0)
        await self._channel.close()

    async def _submit(self, transfers: list[Signed]) -> None:
        request = b"".join(b"\x0a" + _varint(len(one.message)) + one.message for one in transfers)
        try:
            answer = await self._call(request, timeout=10.0)
        except grpc.aio.AioRpcError as failure:
            self._refuse(transfers, from_call(failure, self._address))
            await asyncio.sleep(_PAUSE)
            return
        if self._batch == 1:
            self._ledger.accept(transfers[0])
            return
        reasons = {
            refusal.index: refusal.reason for refusal in pb.PropagateTransactionsResponse.FromString(answer).refused
        }
        for index, transfer in enumerate(transfers):
            if index in reasons:
                self._ledger.refusals[reasons[index]] += 1
                transfer.sender.refused.append(transfer)
            else:
                self._ledger.accept(transfer)

    def _refuse(self, transfers: list[Signed], error: FedCoinError | Exception) -> None:
        code = error.code if isinstance(error, FedCoinError) else type(error).__name__
        self._ledger.refusals[code] += len(transfers)
        for transfer in transfers:
            transfer.sender.refused.append(transfer)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
