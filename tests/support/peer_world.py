"""The peers of one node, and remotes of which a test says what they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from fedcoin.core.block import Block
from fedcoin.core.errors import FedCoinError
from fedcoin.core.genesis import Genesis
from fedcoin.node.auth import Presence, sign_presence
from fedcoin.node.peers import Peers
from fedcoin.rpc.views import NodeStatus, PeerInfo
from tests.support.miner_parts import FOLLOWER, NOW, Parts
from tests.support.network import MINERS

LIMIT = 5
"""Peers that the node keeps up with."""


class Remote:
    """Another miner; tests say what it answers."""

    def __init__(self, address: str, chain_id: bytes) -> None:
        self.address = address
        self.chain_id = chain_id
        self.tip = chain_id
        self.key = MINERS[0]
        self.public_key = self.key.public_key
        self.said_address = address
        self.error: FedCoinError | Exception | None = None
        self.sync_error: FedCoinError | None = None
        self.known: list[str] = []
        self.visits = 0
        self.syncs = 0
        self.closed = False

    async def status(self) -> NodeStatus:
        self.visits += 1
        if self.error is not None:
            raise self.error
        return NodeStatus("miner", "0", self.chain_id, self.public_key, self.tip, 0, bytes(32), 0, NOW, False, "test")

    async def prove(self, nonce: bytes) -> tuple[str, bytes]:
        presence = Presence(nonce, self.said_address)
        return presence.address, sign_presence(self.key, self.chain_id, presence)

    async def announce(self, address: str, public_key: bytes, caller: str = "") -> Sequence[PeerInfo]:
        return [PeerInfo(known, b"", True, 0, NOW) for known in self.known]

    async def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        self.syncs += 1
        if self.sync_error is not None:
            raise self.sync_error
        for block in ():
            yield block

    async def open_tasks(self) -> Sequence[Any]:
        return ()

    async def estimates(self, race: bytes) -> Sequence[Any]:
        return ()

    async def mempool(self, limit: int) -> Sequence[Any]:
        return ()

    async def close(self) -> None:
        self.closed = True


class World:
    """Peers of one node, and the remotes behind the addresses."""

    def __init__(self, folder: Path, genesis: Genesis) -> None:
        self.parts = Parts(folder, genesis)
        self.chain_id = genesis.id()
        self.remotes: dict[str, Remote] = {}
        self.peers = Peers(
            self._connect,  # type: ignore[arg-type]
            self.parts.gossip,
            self.parts.sync,
            self.parts.store,
            self.chain_id,
            FOLLOWER.public_key,
            LIMIT,
            lambda: NOW,
            self.parts.knows,
        )

    def remote(self, address: str) -> Remote:
        return self.remotes.setdefault(address, Remote(address, self.chain_id))

    def _connect(self, address: str) -> Remote:
        return self.remote(address)

    def connected(self, address: str) -> bool:
        return any(info.address == address and info.connected for info in self.peers.infos())

    async def close(self) -> None:
        await self.peers.close()
        await self.parts.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it asks has no event
            await asyncio.sleep(0.002)
