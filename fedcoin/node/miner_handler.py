"""What a miner answers: `fedcoin.rpc.handlers.MinerHandler` on the state machine, the store and the peers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice

from fedcoin import __version__
from fedcoin.consensus.difficulty import expected_difficulty
from fedcoin.consensus.messages import ReceiveBlock, ReceiveEstimate, ReceiveTask, ReceiveTransaction
from fedcoin.core.block import Block
from fedcoin.core.errors import (
    BlockNotFound,
    FedCoinError,
    InvalidPublicKey,
    InvalidSignature,
    LeavesNotFound,
    TaskStale,
    TransactionNotFound,
    UnknownParent,
    UnknownRace,
)
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.genesis import Genesis
from fedcoin.core.task import RaceKind, Task
from fedcoin.core.transaction import Transaction
from fedcoin.ledger.accounts import all_accounts, get_account
from fedcoin.ledger.orders import get_order, orders
from fedcoin.ledger.state import State
from fedcoin.node.auth import Presence, sign_presence
from fedcoin.node.blobs import BlobExchange
from fedcoin.node.engine import Engine
from fedcoin.node.leaf_server import LeafServer
from fedcoin.node.ledger_view import case_infos, miner_infos, order_info
from fedcoin.node.mining import Mining
from fedcoin.node.peers import Peers
from fedcoin.rpc.views import (
    AccountInfo,
    FraudCaseInfo,
    HistoryEntry,
    MinerEstimate,
    MinerInfo,
    MiningProgress,
    NodeStatus,
    OrderInfo,
    PeerInfo,
    TaskTerms,
    TransactionInfo,
    TransactionState,
)
from fedcoin.store.chain_store import ChainStore

_BEHIND = (UnknownParent, UnknownRace, TaskStale)
"""What a message raises when its sender is ahead of us, or on another branch."""


class MinerService:
    """Implements MinerHandler. Decides nothing itself."""

    def __init__(
        self,
        engine: Engine,
        store: ChainStore,
        peers: Peers,
        mining: Mining,
        blobs: BlobExchange,
        leaves: LeafServer,
        device: Callable[[], str],
        on_publisher: Callable[[bytes, str], None],
        started_at: int,
    ) -> None:
        """`on_publisher(task hash, address)`: told where a task came from, since its blobs are there."""
        self._engine = engine
        self._store = store
        self._peers = peers
        self._mining = mining
        self._blobs = blobs
        self._leaves = leaves
        self._device = device
        self._on_publisher = on_publisher
        self._started_at = started_at

    @property
    def _state(self) -> State:
        return self._engine.posap.chain.state

    # --- node and peers ----------------------------------------------------------------------------------------------

    async def status(self) -> NodeStatus:
        """Who we are and where our chain stands."""
        posap = self._engine.posap
        return NodeStatus(
            role="miner",
            version=__version__,
            chain_id=posap.chain.chain_id,
            public_key=posap.key.public_key,
            tip=posap.chain.tip,
            height=posap.chain.height,
            state_root=self._state_root(),
            peers=len(self._peers.connected()),
            started_at=self._started_at,
            syncing=self._peers.syncing,
            network=posap.chain.params.name,
        )

    async def genesis(self) -> Genesis:
        """The genesis of our chain."""
        return self._engine.posap.chain.genesis

    async def peers(self) -> Sequence[PeerInfo]:
        """Whom we know."""
        return self._peers.infos()

    async def announce(self, address: str, public_key: bytes, caller: str = "") -> Sequence[PeerInfo]:
        """A peer says where it listens. The answer has those that we have met, so that junk does not spread."""
        self._peers.learn(address, source=caller)
        return [info for info in self._peers.infos() if info.last_seen]

    async def prove(self, nonce: bytes) -> tuple[str, bytes]:
        """Where we are reached, signed with our key."""
        presence = Presence(nonce, self._peers.own_address)
        return presence.address, sign_presence(self._engine.posap.key, self._engine.posap.chain.chain_id, presence)

    # --- blobs -------------------------------------------------------------------------------------------------------

    async def blob_size(self, digest: bytes) -> int | None:
        """Bytes of a blob that we hold."""
        return self._blobs.size(digest)

    async def get_blob(self, digest: bytes) -> bytes:
        """Raises BlobNotFound."""
        return self._blobs.get(digest)

    async def blob_part(self, digest: bytes, start: int) -> bytes:
        """Raises BlobNotFound."""
        return self._blobs.part(digest, start)

    async def expect_blob(self, digest: bytes, size: int) -> bool:
        """Raises BlobTooLarge, BlobNotWanted."""
        return self._blobs.expect(digest, size)

    async def put_blob(self, digest: bytes, data: bytes) -> None:
        """Raises BlobTooLarge, BlobNotWanted, BlobMismatch."""
        self._blobs.put(digest, data)

    async def max_blob_bytes(self) -> int:
        """Limit of the chain."""
        return self._blobs.limit

    # --- tasks, estimates, leaves ------------------------------------------------------------------------------------

    async def mining(self) -> MiningProgress:
        """Where our race stands."""
        view = self._engine.posap.view()
        estimates = tuple(
            MinerEstimate(miner, iterations, -1.0 if distance is None else distance)
            for miner, (iterations, distance) in sorted(view.estimates.items())
        )
        return MiningProgress(
            active=view.race is not None,
            race=view.race or b"",
            kind=int(view.kind) if view.kind else 0,
            task=view.task or b"",
            order=view.order or b"",
            round=view.round or 0,
            clients=view.clients,
            difficulty=view.difficulty,
            iterations=view.iterations,
            distance=-1.0 if view.distance is None else view.distance,
            heard_from=view.heard_from,
            quorum=view.quorum,
            iterations_per_second=self._mining.rate,
            device=self._device(),
            estimates=estimates,
        )

    async def task_terms(self) -> TaskTerms:
        """What a server needs to publish a task on our tip."""
        chain = self._engine.posap.chain
        tip = chain.parent_of_next()
        difficulty = expected_difficulty(chain.state, RaceKind.TASK, chain.params)
        return TaskTerms(tip.hash, tip.height, tip.timestamp, difficulty, chain.params.norm)

    async def publish_task(self, task: Task, source: str | None) -> bytes:
        """Alg. 3 line 5."""
        task_hash = task.id(self._engine.posap.chain.chain_id)
        if source is not None:
            # Before the race begins, which asks for the blobs at once.
            self._on_publisher(task_hash, source)
        await self._feed(ReceiveTask(task, source), source)
        return task_hash

    async def open_tasks(self) -> Sequence[Task]:
        """Tasks on our tip."""
        return self._engine.posap.open_tasks()

    async def receive_estimate(self, estimate: Estimate, source: str | None) -> None:
        """Alg. 1 line 15."""
        await self._feed(ReceiveEstimate(estimate, source), source)

    async def estimates(self, race: bytes) -> Sequence[Estimate]:
        """Latest estimate of each miner."""
        return self._engine.posap.estimates(race or None)

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        """Our own leaves with their paths. Raises LeavesNotFound."""
        self._require_own(miner)
        return await self._leaves.proofs(race, tree_size, indices)

    # --- blocks ------------------------------------------------------------------------------------------------------

    async def receive_block(self, block: Block, source: str | None) -> None:
        """Alg. 1 line 23."""
        await self._feed(ReceiveBlock(block, source), source)

    async def block(self, block_hash: bytes | None, height: int | None) -> Block:
        """Raises BlockNotFound."""
        chain = self._engine.posap.chain
        if block_hash is None:
            block_hash = chain.tip if height is None else self._store.block_hash_at(height)
        if block_hash == chain.chain_id:
            raise BlockNotFound("block 0 is the genesis; ask for the genesis")
        block = self._store.get_block(block_hash) if block_hash is not None else None
        if block is None:
            raise BlockNotFound(f"there is no such block; the tip has height {chain.height}")
        return block

    async def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        """Adopted blocks after the first hash of the locator that is on our chain."""
        height = next((at for at in map(self._adopted_height, locator) if at is not None), 0)
        previous = self._store.block_hash_at(height)
        for number in range(height + 1, height + limit + 1):
            block = self._block_at(number)
            if block is None or block.header.previous != previous:
                return  # The tip, or a reorganisation has moved it meanwhile; the peer will ask again.
            previous = block.id()
            yield block

    async def watch_blocks(self, from_height: int) -> AsyncIterator[Block]:
        """Adopted blocks from a height on. After a reorganisation the blocks of the new branch are sent too."""
        sent: dict[int, bytes] = {}
        """The last blocks that were sent, as many as a reorganisation can undo."""
        height = max(1, from_height)
        while not self._engine.closed:
            tip_changed = self._engine.tip_event()
            while True:
                while height - 1 in sent and self._store.block_hash_at(height - 1) != sent[height - 1]:
                    height -= 1
                    del sent[height]
                block = self._block_at(height)
                if block is None:
                    break
                sent[height] = block.id()
                sent.pop(height - self._engine.posap.chain.params.finality_depth - 1, None)
                height += 1
                yield block
            await tip_changed.wait()

    # --- ledger ------------------------------------------------------------------------------------------------------

    async def submit(self, transaction: Transaction, source: str | None) -> bytes:
        """Raises what is wrong with it. Submitting what is waiting or confirmed already is accepted."""
        transaction_id = transaction.id(self._engine.posap.chain.chain_id)
        if self._store.transaction_location(transaction_id) is None:
            try:
                await self._feed(ReceiveTransaction(transaction, source), source)
            except FedCoinError:
                # A block that was being written when we looked may hold it.
                if self._store.transaction_location(transaction_id) is None:
                    raise
        return transaction_id

    async def receive_transactions(self, transactions: Sequence[Transaction], source: str | None) -> Mapping[int, str]:
        """Codes of what is wrong with some, by index. What is waiting or confirmed already is accepted.

        All are looked at before it raises InvalidSignature or InvalidPublicKey, which nobody honest relays.
        """
        chain_id, mempool = self._engine.posap.chain.chain_id, self._engine.posap.mempool
        fresh: list[int] = []
        for index, transaction in enumerate(transactions):
            name = transaction.id(chain_id)
            if name not in mempool and self._store.transaction_location(name) is None:
                fresh.append(index)
        errors = await self._engine.feed_all([ReceiveTransaction(transactions[index], source) for index in fresh])
        for error in errors.values():
            if isinstance(error, (InvalidSignature, InvalidPublicKey)):
                raise error
        return {fresh[place]: error.code for place, error in errors.items()}

    async def transaction(self, transaction_id: bytes) -> TransactionInfo:
        """Raises TransactionNotFound."""
        pending = self._engine.posap.mempool.get(transaction_id)
        if pending is not None:
            return TransactionInfo(TransactionState.PENDING, pending, b"", 0, 0, 0)
        place = self._store.transaction_location(transaction_id)
        if place is None:
            await self._engine.settled()
            place = self._store.transaction_location(transaction_id)
        block = self._store.get_block(place.block) if place is not None else None
        if place is None or block is None:
            raise TransactionNotFound(f"no transaction {transaction_id.hex()} on this node's chain or waiting")
        confirmations = self._engine.posap.chain.height - place.height + 1
        return TransactionInfo(
            TransactionState.CONFIRMED,
            block.transactions[place.index],
            place.block,
            place.height,
            place.index,
            confirmations,
        )

    async def account(self, address: bytes) -> AccountInfo:
        """An account; one that has never been used has balance 0."""
        return self._account(address)

    async def accounts(self, after: bytes, limit: int) -> Sequence[AccountInfo]:
        """In order of address."""
        following = (address for address, _ in all_accounts(self._state) if address > after)
        return [self._account(address) for address in islice(following, limit)]

    async def history(self, address: bytes, before: tuple[int, int] | None, limit: int) -> Sequence[HistoryEntry]:
        """Newest first."""
        rows = self._store.history(address, before, limit)
        return [
            HistoryEntry(
                row.height,
                row.index,
                row.block,
                row.timestamp,
                row.transaction,
                row.payment,
                row.counterparty,
                row.amount,
                row.fee,
            )
            for row in rows
        ]

    async def order(self, order_id: bytes) -> OrderInfo:
        """Raises OrderNotFound."""
        return order_info(self._state, get_order(self._state, order_id), self._engine.posap.chain.height)

    async def orders(self, after: bytes, limit: int) -> Sequence[OrderInfo]:
        """In order of id."""
        following = (record for record in orders(self._state) if record.order_id > after)
        height = self._engine.posap.chain.height
        return [order_info(self._state, record, height) for record in islice(following, limit)]

    async def miners(self, after: bytes, limit: int) -> Sequence[MinerInfo]:
        """In order of public key."""
        return list(islice(miner_infos(self._state, self._engine.posap.chain.params, after), limit))

    async def fraud_cases(self, after: bytes, limit: int) -> Sequence[FraudCaseInfo]:
        """In order of id."""
        return list(islice(case_infos(self._state, self._engine.posap.chain.params, after), limit))

    async def mempool(self, limit: int) -> Sequence[Transaction]:
        """Transactions that wait for a block."""
        return self._engine.posap.mempool.transactions()[:limit]

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _feed(
        self, event: ReceiveTask | ReceiveEstimate | ReceiveBlock | ReceiveTransaction, source: str | None
    ) -> None:
        try:
            await self._engine.feed(event)
        except FedCoinError as error:
            if isinstance(error, _BEHIND):
                self._peers.poke(source)
            raise

    def _state_root(self) -> bytes:
        """Of the tip, as its header says, so that asking for the status costs nothing."""
        chain = self._engine.posap.chain
        return self._state.root() if chain.tip == chain.chain_id else chain.block(chain.tip).header.state_root

    def _block_at(self, height: int) -> Block | None:
        block_hash = self._store.block_hash_at(height)
        return self._store.get_block(block_hash) if height and block_hash is not None else None

    def _require_own(self, miner: bytes) -> None:
        if miner != self._engine.posap.key.public_key:
            raise LeavesNotFound("a miner hands out its own leaves only; ask the one whose they are")

    def _adopted_height(self, block_hash: bytes) -> int | None:
        tree = self._engine.posap.chain.tree
        if not tree.contains(block_hash):
            return None
        height = tree.height(block_hash)
        return height if self._store.block_hash_at(height) == block_hash else None

    def _account(self, address: bytes) -> AccountInfo:
        posap = self._engine.posap
        account = get_account(self._state, address)
        pending = posap.mempool.pending_nonce(address, self._state)
        return AccountInfo(address, account.balance, account.nonce, pending, posap.chain.height)
