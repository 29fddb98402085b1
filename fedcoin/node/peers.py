"""Peers: whom we know, whom we are connected to, and when to catch up with them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fedcoin.core.errors import FedCoinError, Unavailable, WrongGenesis
from fedcoin.node.gossip import Gossip
from fedcoin.node.sync import Sync
from fedcoin.rpc.address import is_address, split_address
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.views import NodeStatus, PeerInfo
from fedcoin.store.chain_store import ChainStore
from fedcoin.store.peers import PeerRecord

log = logging.getLogger("fedcoin.peers")

STATUS_SECONDS = 3.0
"""How often a connected peer is asked where it stands."""
POKE_SECONDS = 0.5
"""Between two visits to a peer at least, however often it gives a reason for one."""
FULL_SECONDS = 30.0
"""How often a peer is asked for everything, waiting transactions too: whatever gossip has lost comes back."""
FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 15.0
REFUSED_SECONDS = 60.0
"""Before a peer of another network is asked again."""
MAX_KNOWN = 1_000
"""Addresses in the address book at most, so that nobody can fill it without end."""
_NOWHERE = ("0.0.0.0", "::")


@dataclass
class Peer:
    """One address and what we know about it."""

    address: str
    client: MinerClient
    configured: bool
    """Given by the operator: never makes room for others."""
    public_key: bytes = b""
    height: int = 0
    connected: bool = False
    last_seen: int = 0
    failures: int = 0
    """Visits that have failed in a row."""
    behind: bool = False
    """It has sent something that shows us to be behind."""
    full_at: float = 0.0
    """When we last asked for everything."""
    told: str = ""
    """The last error that was logged as a warning, so that it is not logged without end."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Peers:
    """Keeps connections to up to `limit` miners: the configured ones, and those learned from them."""

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
        self._leaving: set[asyncio.Task[None]] = set()
        self._own_address = ""
        self._syncing = 0
        gossip.on_failure = self.poke

    @property
    def syncing(self) -> bool:
        """Whether we are catching up with somebody."""
        return self._syncing > 0

    def start(self, own_address: str, configured: Sequence[str]) -> None:
        """Begins with the configured peers and those known from before. `own_address`: empty if nobody can reach us."""
        self._own_address = own_address
        for address in configured:
            self.learn(address, configured=True)
        for record in sorted(self._store.peers(), key=lambda record: -record.last_seen):
            self.learn(record.address)

    def learn(self, address: str, configured: bool = False) -> None:
        """A peer's address has become known. One that we have lost is visited at once: it may be back."""
        known = self._peers.get(address)
        if known is not None and not known.connected:
            known.wake.set()
        if known is not None or not callable_address(address) or address == self._own_address:
            return
        if not configured and len(self._peers) >= self._limit and not self._make_room():
            return
        peer = Peer(address, self._make_client(address), configured)
        self._peers[address] = peer
        peer.task = asyncio.create_task(self._keep(peer), name=f"peer {address}")

    def poke(self, address: str | None) -> None:
        """A peer has sent something that shows us to be behind, or is lost: visit it now."""
        peer = self._peers.get(address or "")
        if peer is not None:
            peer.behind = True
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
        tasks = [*(peer.task for peer in self._peers.values() if peer.task is not None), *self._leaving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(peer.client.close() for peer in self._peers.values()), return_exceptions=True)

    # --- who stays ---------------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Forgets the learned peer that has been away longest, so that dead addresses keep nobody out."""
        away = [peer for peer in self._peers.values() if peer.failures and not (peer.configured or peer.connected)]
        if not away:
            return False
        self._forget(max(away, key=lambda peer: peer.failures))
        return True

    def _forget(self, peer: Peer) -> None:
        del self._peers[peer.address]
        if peer.task is not None:
            peer.task.cancel()
        leaving = asyncio.create_task(self._leave(peer), name=f"forget {peer.address}")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _leave(self, peer: Peer) -> None:
        await self._gossip.disconnect(peer.address)
        if peer.task is not None:
            await asyncio.gather(peer.task, return_exceptions=True)
        await peer.client.close()

    # --- one peer ----------------------------------------------------------------------------------------------------

    async def _keep(self, peer: Peer) -> None:
        """Connects, catches up, and stays in touch, with growing pauses while the peer is away or sends nonsense."""
        while True:
            least, most = POKE_SECONDS, STATUS_SECONDS
            try:
                await self._visit(peer)
                peer.failures = 0
                peer.told = ""
            except Exception as error:  # whatever a peer sends must not end our dealings with it
                peer.failures += 1
                most = min(FIRST_RETRY_SECONDS * 2 ** min(peer.failures - 1, 10), MAX_RETRY_SECONDS)
                self._explain(peer, error)
                if isinstance(error, Unavailable):
                    await self._disconnected(peer)
                elif isinstance(error, WrongGenesis):
                    await self._disconnected(peer)
                    if not peer.configured:
                        self._store.remove_peer(peer.address)
                        self._forget(peer)
                    least = most = REFUSED_SECONDS
                else:
                    # What it sent breaks a rule; it may yet be right about the rest, so it stays, but is asked less.
                    least = most
            await asyncio.sleep(min(least, most))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, most - least)):
                    await peer.wake.wait()
            peer.wake.clear()

    async def _visit(self, peer: Peer) -> None:
        status = await peer.client.status()
        if status.chain_id != self._chain_id:
            raise WrongGenesis(
                f"{peer.address} belongs to another network ({status.network}, chain {status.chain_id.hex()[:16]}…); "
                "remove it from the peers, or use the same genesis file"
            )
        if status.public_key == self._own_key:
            raise WrongGenesis(f"{peer.address} is this node itself; remove it from the peers")
        fresh = not peer.connected
        peer.public_key, peer.height, peer.last_seen = status.public_key, status.height, self._now_ms()
        if fresh:
            self._connected(peer, status)
        await self._exchange_addresses(peer)
        behind, peer.behind = peer.behind, False
        everything = fresh or time.monotonic() >= peer.full_at + FULL_SECONDS
        if everything or behind or not self._knows_block(status.tip):
            self._syncing += 1
            try:
                await self._sync.catch_up(peer.client, peer.address, transactions=everything)
            finally:
                self._syncing -= 1
            if everything:
                peer.full_at = time.monotonic()

    def _connected(self, peer: Peer, status: NodeStatus) -> None:
        peer.connected = True
        log.info("connected to %s at height %d", peer.address, status.height)
        self._gossip.connect(peer.address, peer.client)
        self._store.put_peer(PeerRecord(peer.address, peer.public_key, peer.last_seen))
        known = sorted(self._store.peers(), key=lambda record: -record.last_seen)
        for record in known[MAX_KNOWN:]:
            self._store.remove_peer(record.address)

    async def _exchange_addresses(self, peer: Peer) -> None:
        try:
            if self._own_address:
                known = await peer.client.announce(self._own_address, self._own_key)
            else:
                known = await peer.client.peers()
        except Unavailable:
            raise
        except FedCoinError as error:
            log.debug("%s does not take our address: [%s] %s", peer.address, error.code, error)
            return
        for info in known[:MAX_KNOWN]:
            self.learn(info.address)

    async def _disconnected(self, peer: Peer) -> None:
        peer.connected = False
        await self._gossip.disconnect(peer.address)

    def _explain(self, peer: Peer, error: Exception) -> None:
        """Tells the operator once what is wrong with a peer that matters."""
        if not isinstance(error, FedCoinError):
            log.error("peer %s", peer.address, exc_info=error)
            return
        news = error.code != peer.told and (peer.configured or peer.connected)
        peer.told = error.code if news else peer.told
        log.log(logging.WARNING if news else logging.DEBUG, "peer %s: [%s] %s", peer.address, error.code, error)


def callable_address(address: str) -> bool:
    """Whether it is HOST:PORT that another machine can call: not a port 0, not 0.0.0.0, which is everyone's own."""
    return is_address(address) and split_address(address)[0] not in _NOWHERE
