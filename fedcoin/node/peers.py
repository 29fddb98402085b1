"""Peers: whom we know, whom we are connected to, and when to catch up with them.

The operator's peers are always visited. Places for others go to those met longest ago first, then to whom we hear of,
only a few to one network; what finds no place waits in the address book, of which one is tried now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fedcoin.core.errors import FedCoinError, PeerBanned, Unavailable, WrongGenesis
from fedcoin.node.address_book import AddressBook, callable_address, network_of
from fedcoin.node.gossip import Gossip
from fedcoin.node.peer_identity import check_status, proves_key
from fedcoin.node.sync import Sync
from fedcoin.rpc.address import is_local
from fedcoin.rpc.limits import address_key
from fedcoin.rpc.miner_client import MinerClient
from fedcoin.rpc.score import Scores
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
VISIT_SECONDS = 900.0
"""Of one visit at most, so that a peer that trickles its answers is let go."""
RISING_SECONDS = 10.0
"""A visit that has not raised our chain for as long is no catching up."""
FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 15.0
REFUSED_SECONDS = 60.0
"""Before a peer of another network, or one that refuses us, is asked again."""
GIVE_UP = 5
"""Failed visits in a row after which a learned peer makes room for one from the address book."""
FEELER_SECONDS = 60.0
"""How often an address that was only heard of is tried while all places are taken."""
PEERS_A_NETWORK = 4
"""Learned peers of one network (IPv4 /24, IPv6 /48, last two labels of a host name) at most."""


@dataclass
class Peer:
    """One address and what we know about it."""

    address: str
    client: MinerClient
    configured: bool
    """Given by the operator: never makes room for others."""
    public_key: bytes = b""
    proven: bool = False
    """It has signed that it is the one at this address."""
    height: int = 0
    connected: bool = False
    last_seen: int = 0
    failures: int = 0
    behind: bool = False
    """It has sent something that shows us to be behind."""
    full_at: float = 0.0
    """When we last asked for everything."""
    told: str = ""
    """The last error that was logged as a warning."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Peers:
    """Keeps connections to the configured miners, and up to `limit` peers in all with those learned from them."""

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
        scores: Scores | None = None,
    ) -> None:
        """`scores`: where misbehaviour is booked; the server's, so that one ban holds for both directions."""
        self._make_client = make_client
        self._gossip = gossip
        self._sync = sync
        self._store = store
        self._chain_id = chain_id
        self._own_key = own_key
        self._limit = limit
        self._now_ms = now_ms
        self._knows_block = knows_block
        self._scores = Scores(None, time.monotonic) if scores is None else scores
        # SystemRandom: nobody may foresee whom we try next.
        self._book = AddressBook(random.SystemRandom())
        self._first_seen: dict[str, int] = {}
        self._peers: dict[str, Peer] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._feeler: asyncio.Task[None] | None = None
        self.own_address = ""
        """HOST:PORT at which others reach us; empty if nobody can."""
        self._visits: dict[str, float] = {}
        """When each running catch-up began."""
        gossip.on_failure = self.poke

    @property
    def syncing(self) -> bool:
        """Whether we are catching up with somebody; not where a peer only keeps us waiting."""
        latest = max([self._sync.raised_at, *self._visits.values()])
        return bool(self._visits) and time.monotonic() < latest + RISING_SECONDS

    def start(self, own_address: str, configured: Sequence[str]) -> None:
        """Begins with the configured peers and those known from before. `own_address`: empty if nobody can reach us."""
        self.own_address = own_address
        for address in configured:
            self.learn(address, configured=True)
        # Those met longest ago first: new ones, who may all be one attacker's, cannot push them out by a restart.
        for record in sorted(self._store.peers(), key=lambda record: record.first_seen):
            self._first_seen[record.address] = record.first_seen
            if callable_address(record.address) and (is_local(own_address) or not is_local(record.address)):
                self._remember(record.address)
                self._begin_learned(record.address)
        self._feeler = asyncio.create_task(self._feel(), name="feeler")

    def learn(self, address: str, configured: bool = False, source: str = "") -> None:
        """A peer's address has become known. One that we have lost is visited at once: it may be back.

        `source`: who has named it, for the address book.
        """
        known = self._peers.get(address)
        if known is not None and not known.connected:
            known.wake.set()
        if known is not None or not callable_address(address) or address == self.own_address:
            return
        if configured:
            self._begin(address, configured=True)
            return
        if is_local(address) and not is_local(self.own_address):
            return  # A stranger must not have us call the services of our own machine.
        self._book.hear(address, source)
        self._begin_learned(address)

    def poke(self, address: str | None) -> None:
        """A peer has sent something that shows us to be behind, or is lost: visit it now."""
        peer = self._peers.get(address or "")
        if peer is not None:
            peer.behind = True
            peer.wake.set()

    def infos(self) -> list[PeerInfo]:
        """Everyone whom we keep up with."""
        return [
            PeerInfo(peer.address, peer.public_key, peer.connected, peer.height, peer.last_seen)
            for peer in self._peers.values()
        ]

    def connected(self) -> list[MinerClient]:
        """Clients of the peers that answer."""
        return [peer.client for peer in self._peers.values() if peer.connected]

    def of_miner(self, public_key: bytes) -> list[MinerClient]:
        """Where a miner can be asked: first who has proved to be it, then who says so."""
        said = [peer for peer in self._peers.values() if peer.connected and peer.public_key == public_key]
        return [peer.client for peer in sorted(said, key=lambda peer: not peer.proven)]

    def blame(self, address: str, error: FedCoinError) -> None:
        """Books what a peer has sent us when we asked it."""
        if not error.reported and self._scores.charge(address_key(address), error.code):
            log.warning("%s is left alone for a while: too much invalid, at last [%s] %s", address, error.code, error)

    async def close(self) -> None:
        """Ends all connections."""
        tasks = [*(peer.task for peer in self._peers.values() if peer.task is not None), *self._leaving]
        tasks += [self._feeler] if self._feeler is not None else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(peer.client.close() for peer in self._peers.values()), return_exceptions=True)

    # --- who stays ---------------------------------------------------------------------------------------------------

    def _begin(self, address: str, configured: bool) -> None:
        peer = Peer(address, self._make_client(address), configured)
        self._peers[address] = peer
        peer.task = asyncio.create_task(self._keep(peer), name=f"peer {address}")

    def _begin_learned(self, address: str) -> bool:
        """Gives an address a place, if there is one for it."""
        if address == self.own_address or not self._welcome(address):
            return False
        neighbours = self._neighbours(address)
        if len(neighbours) >= PEERS_A_NETWORK:
            if not self._make_room(neighbours):
                return False
        elif len(self._peers) >= self._limit and not self._make_room(list(self._peers.values())):
            return False
        self._begin(address, configured=False)
        return True

    def _welcome(self, address: str) -> bool:
        return address not in self._peers and not self._scores.banned_for(address_key(address))

    def _neighbours(self, address: str) -> list[Peer]:
        near = network_of(address)
        return [peer for peer in self._peers.values() if not peer.configured and network_of(peer.address) == near]

    def _make_room(self, among: list[Peer]) -> bool:
        """Forgets the learned peer that has been away longest, so that dead addresses keep nobody out."""
        away = [peer for peer in among if peer.failures and not (peer.configured or peer.connected)]
        if not away:
            return False
        self._forget(max(away, key=lambda peer: peer.failures))
        return True

    def _fill(self) -> None:
        """Gives free places to addresses from the book."""
        while len(self._peers) < self._limit:
            address = self._book.pick(
                lambda known: self._welcome(known) and len(self._neighbours(known)) < PEERS_A_NETWORK
            )
            if address is None or not self._begin_learned(address):
                return

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

    def _strike(self, address: str) -> None:
        self._book.forget(address)
        self._first_seen.pop(address, None)
        self._store.remove_peer(address)

    def _remember(self, address: str) -> None:
        for forgotten in self._book.meet(address):
            self._first_seen.pop(forgotten, None)
            self._store.remove_peer(forgotten)

    def _met(self, address: str, public_key: bytes) -> None:
        """A miner of our network has answered."""
        self._remember(address)
        now = self._now_ms()
        self._store.put_peer(PeerRecord(address, public_key, now, self._first_seen.setdefault(address, now)))

    def _failed(self, address: str) -> None:
        if self._book.fail(address):
            self._strike(address)

    # --- one peer ----------------------------------------------------------------------------------------------------

    async def _keep(self, peer: Peer) -> None:
        """Connects, catches up, and stays in touch, with growing pauses while the peer is away or sends nonsense."""
        while True:
            least, most = POKE_SECONDS, STATUS_SECONDS
            try:
                pause = self._scores.banned_for(address_key(peer.address))
                if pause:
                    raise PeerBanned(f"it is left alone for {pause:.0f} s more")
                async with asyncio.timeout(VISIT_SECONDS):
                    await self._visit(peer)
                peer.failures = 0
                peer.told = ""
            except Exception as error:  # whatever a peer sends must not end our dealings with it
                peer.failures += 1
                most = min(FIRST_RETRY_SECONDS * 2 ** min(peer.failures - 1, 10), MAX_RETRY_SECONDS)
                self._explain(peer, error)
                if isinstance(error, FedCoinError):
                    self.blame(peer.address, error)
                if isinstance(error, (WrongGenesis, PeerBanned)):
                    await self._disconnected(peer)
                    if not peer.configured and not (isinstance(error, PeerBanned) and error.reported):
                        self._strike(peer.address)
                        self._forget(peer)
                        self._fill()
                    least = most = REFUSED_SECONDS
                elif isinstance(error, Unavailable):
                    await self._disconnected(peer)
                    self._failed(peer.address)
                    if not peer.configured and peer.failures >= GIVE_UP and self._book.pick(self._welcome):
                        self._forget(peer)
                        self._fill()
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
        check_status(peer.address, status, self._chain_id, self._own_key)
        fresh = not peer.connected
        if fresh or peer.public_key != status.public_key:
            peer.proven = await self._proves(peer, status.public_key)
        peer.public_key, peer.height, peer.last_seen = status.public_key, status.height, self._now_ms()
        if fresh:
            self._connected(peer, status)
        await self._exchange_addresses(peer)
        behind, peer.behind = peer.behind, False
        everything = fresh or time.monotonic() >= peer.full_at + FULL_SECONDS
        if everything or behind or not self._knows_block(status.tip):
            self._visits[peer.address] = time.monotonic()
            try:
                await self._sync.catch_up(peer.client, peer.address, transactions=everything)
            finally:
                del self._visits[peer.address]
            if everything:
                peer.full_at = time.monotonic()

    async def _proves(self, peer: Peer, public_key: bytes) -> bool:
        try:
            return await proves_key(peer.client, peer.address, public_key, self._chain_id)
        except Unavailable:
            raise
        except FedCoinError as error:
            log.debug("%s does not prove its key: [%s] %s", peer.address, error.code, error)
            self.blame(peer.address, error)
            return False

    def _connected(self, peer: Peer, status: NodeStatus) -> None:
        peer.connected = True
        log.info("connected to %s at height %d", peer.address, status.height)
        self._gossip.connect(peer.address, peer.client)
        self._met(peer.address, peer.public_key)

    async def _exchange_addresses(self, peer: Peer) -> None:
        try:
            if self.own_address:
                known = await peer.client.announce(self.own_address, self._own_key)
            else:
                known = await peer.client.peers()
        except Unavailable:
            raise
        except FedCoinError as error:
            log.debug("%s does not take our address: [%s] %s", peer.address, error.code, error)
            return
        for info in known[: self._limit]:
            self.learn(info.address, source=network_of(peer.address))

    async def _disconnected(self, peer: Peer) -> None:
        peer.connected = peer.proven = False
        await self._gossip.disconnect(peer.address)

    async def _feel(self) -> None:
        """Tries addresses that were only heard of, so that the book fills with some that are known to answer."""
        while True:
            await asyncio.sleep(FEELER_SECONDS)
            self._fill()
            address = self._book.pick(self._welcome, heard_only=True)
            if address is None:
                continue
            client = self._make_client(address)
            try:
                status = await client.status()
                check_status(address, status, self._chain_id, self._own_key)
                self._met(address, status.public_key)
            except WrongGenesis:
                self._strike(address)
            except Exception as error:  # as in _keep
                log.debug("feeler to %s: %r", address, error)
                self._failed(address)
            finally:
                await client.close()

    def _explain(self, peer: Peer, error: Exception) -> None:
        """Tells the operator once what is wrong with a peer that matters."""
        if not isinstance(error, (FedCoinError, TimeoutError)):
            log.error("peer %s", peer.address, exc_info=error)
            return
        code = error.code if isinstance(error, FedCoinError) else "VISIT_TOO_LONG"
        news = code != peer.told and (peer.configured or peer.connected)
        peer.told = code if news else peer.told
        log.log(logging.WARNING if news else logging.DEBUG, "peer %s: [%s] %s", peer.address, code, error)
