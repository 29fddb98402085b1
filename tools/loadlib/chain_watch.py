"""Reads the chain as it grows: which transfers are mined, and how long that took them."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc

from fedcoin.rpc.channel import CHANNEL_OPTIONS
from fedcoin.v1 import block_service_pb2 as pb
from fedcoin.v1.block_service_pb2_grpc import BlockServiceStub
from loadlib.traffic import Ledger


@dataclass(frozen=True)
class BlockRow:
    """A block as it was seen."""

    at: float
    """Seconds on the monotonic clock."""
    height: int
    transactions: int
    bytes: int
    iterations: int
    """`time` of the winner."""


class ChainWatch:
    """Follows one miner's chain."""

    def __init__(self, address: str, ledger: Ledger) -> None:
        self.blocks: list[BlockRow] = []
        self.confirmed: list[tuple[float, float]] = []
        """(when, seconds from acceptance to the block) of every transfer."""
        self.mined = 0
        self._ledger = ledger
        self._address = address

    async def run(self) -> None:
        """Until it is cancelled. A reorganisation sends blocks of the new branch; a transfer counts once."""
        async with grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS) as channel:
            next_height = 1
            while True:
                with suppress(grpc.aio.AioRpcError):
                    request = pb.WatchBlocksRequest(from_height=next_height)
                    async for response in BlockServiceStub(channel).WatchBlocks(request):
                        next_height = response.block.header.height + 1
                        self._take(response.block)
                await asyncio.sleep(0.2)

    def _take(self, block: Any) -> None:
        now = time.monotonic()
        header = block.header
        row = BlockRow(now, header.height, len(block.transactions), block.ByteSize(), header.winner_time)
        self.blocks.append(row)
        ledger = self._ledger
        for transaction in block.transactions:
            found = ledger.waiting.pop(transaction.signature, None)
            if found is None:
                ledger.early.add(transaction.signature)
                continue
            accepted_at, transfer = found
            transfer.sender.waiting -= 1
            self.mined += 1
            self.confirmed.append((now, now - accepted_at))
