"""Peers: whom we know, whom we are connected to, and when to catch up with them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedcoin.core.errors import FedCoinError, StoreUnavailable, WrongGenesis
from fedcoin.node.gossip import Gossip
from fedcoin.node.sync import Sync
from fedcoin.rpc.address import is_address
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.views import NodeStatus, PeerInfo
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.peers import PeerRecord

log = logging.getLogger("fedcoin.peers")

STATUS_SECONDS = 3.0
"""How often a connected peer is asked where it stands."""
FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 15.0
MAX_KNOWN = 1_000
"""Addresses in the address book at most, so that nobody can fill it without end."""


@dataclass
class Peer:
    """One address and what we know about it."""

    address: str
    client: MinerClient
    public_key: bytes = b""
    height: int = 0
    connected: bool = False
    last_seen: int = 0
    wake: asyncio.Event | None = None
    task: asyncio.Task[None] | None = None


class Peers:
    """Keeps connections to up to `limit` miners, configured ones first, then those learned from them."""

    def __init__(
        self,
        make_client: Callable[[str], MinerClient],
        gossip: Gossip,
        sync: Sync,
        store: ChainStore,
        chain_id: bytes,
        own_key: bytes,
        limit: int,
        now_ms: Callable[[], int],
        knows_block: Callable[[bytes], bool],
    ) -> None:
        self._make_client = make_client
        self._gossip = gossip
        self._sync = sync
        self._store = store
        self._chain_id = chain_id
        self._own_key = own_key
        self._limit = limit
        self._now_ms = now_ms
        self._knows_block = knows_block
        self._peers: dict[str, Peer] = {}
        self._own_address = ""
        self.syncing = False
        gossip.on_failure = self._lost

    def start(self, own_address: str, configured: Sequence[str]) -> None:
        """Begins with the configured peers and those known from before."""
        self._own_address = own_address
        for address in (*configured, *(record.address for record in self._store.peers())):
            self.learn(address)

    def learn(self, address: str) -> None:
        """A peer's address has become known."""
        if address == self._own_address or address in self._peers or not is_address(address):
            return
        if len(self._peers) >= self._limit:
            return
        peer = Peer(address, self._make_client(address))
        peer.wake = asyncio.Event()
        self._peers[address] = peer
        peer.task = asyncio.create_task(self._keep(peer), name=f"peer {address}")

    def poke(self, address: str | None) -> None:
        """A peer has sent something that shows us to be behind: catch up with it now."""
        peer = self._peers.get(address or "")
        if peer is not None and peer.wake is not None:
            peer.wake.set()

    def infos(self) -> list[PeerInfo]:
        """Everyone we know."""
        return [
            PeerInfo(peer.address, peer.public_key, peer.connected, peer.height, peer.last_seen)
            for peer in self._peers.values()
        ]

    def connected(self) -> list[MinerClient]:
        """Clients of the peers that answer."""
        return [peer.client for peer in self._peers.values() if peer.connected]

    def of_miner(self, public_key: bytes) -> list[MinerClient]:
        """Where a miner can be asked."""
        return [peer.client for peer in self._peers.values() if peer.connected and peer.public_key == public_key]

    async def close(self) -> None:
        """Ends all connections."""
        tasks = [peer.task for peer in self._peers.values() if peer.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(peer.client.close() for peer in self._peers.values()), return_exceptions=True)

    async def _keep(self, peer: Peer) -> None:
        """Connects, catches up, and stays in touch, with growing pauses while the peer is away."""
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._visit(peer)
                pause = STATUS_SECONDS
            except StoreUnavailable:
                return  # The engine has seen it and the node stops.
            except FedCoinError as error:
                if peer.connected:
                    log.warning("peer %s: [%s] %s", peer.address, error.code, error)
                await self._disconnected(peer)
                pause = min(max(pause, FIRST_RETRY_SECONDS) * 2, MAX_RETRY_SECONDS)
            assert peer.wake is not None, "set when the peer was learned"
            try:
                await asyncio.wait_for(peer.wake.wait(), pause)
            except TimeoutError:
                continue
            peer.wake.clear()

    async def _visit(self, peer: Peer) -> None:
        status = await peer.client.status()
        if status.chain_id != self._chain_id:
            raise WrongGenesis(f"{peer.address} belongs to another network ({status.network}); remove it from the peers")
        if status.public_key == self._own_key:
            raise WrongGenesis(f"{peer.address} is this node itself")
        fresh = not peer.connected
        peer.public_key, peer.height, peer.last_seen = status.public_key, status.height, self._now_ms()
        if fresh:
            await self._connected(peer, status)
        if fresh or not self._knows_block(status.tip) or (peer.wake is not None and peer.wake.is_set()):
            self.syncing = True
            try:
                await self._sync.catch_up(peer.client, peer.address)
            finally:
                self.syncing = False

    async def _connected(self, peer: Peer, status: NodeStatus) -> None:
        peer.connected = True
        log.info("connected to %s at height %d", peer.address, status.height)
        self._store.put_peer(PeerRecord(peer.address, peer.public_key, peer.last_seen))
        self._gossip.connect(peer.address, peer.client)
        for known in (await peer.client.announce(self._own_address, self._own_key))[:MAX_KNOWN]:
            self.learn(known.address)

    async def _disconnected(self, peer: Peer) -> None:
        peer.connected = False
        await self._gossip.disconnect(peer.address)

    def _lost(self, address: str) -> None:
        self.poke(address)

