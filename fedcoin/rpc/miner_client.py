"""A miner as seen over the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from fedcoin.core.block import Block
from fedcoin.core.errors import MalformedEncoding
from fedcoin.core.estimate import Estimate
from fedcoin.core.fraud import LeafProof
from fedcoin.core.genesis import Genesis
from fedcoin.core.keys import SIGNATURE_SIZE
from fedcoin.core.params import MAX_MINERS
from fedcoin.core.task import Task
from fedcoin.core.transaction import Transaction
from fedcoin.rpc.address import MAX_ADDRESS
from fedcoin.rpc.client import BlobClient
from fedcoin.rpc.convert import exactly, from_field, from_message, to_message
from fedcoin.rpc.errors import printable
from fedcoin.rpc.views import (
    AccountInfo,
    FraudCaseInfo,
    HistoryEntry,
    MinerInfo,
    MiningProgress,
    OrderInfo,
    PeerInfo,
    TaskTerms,
    TransactionInfo,
)
from fedcoin.v1 import block_service_pb2 as block_pb
from fedcoin.v1 import peer_service_pb2 as peer_pb
from fedcoin.v1 import registry_service_pb2 as registry_pb
from fedcoin.v1 import shapley_service_pb2 as shapley_pb
from fedcoin.v1 import task_service_pb2 as task_pb
from fedcoin.v1 import transaction_service_pb2 as transaction_pb
from fedcoin.v1.block_service_pb2_grpc import BlockServiceStub
from fedcoin.v1.peer_service_pb2_grpc import PeerServiceStub
from fedcoin.v1.registry_service_pb2_grpc import RegistryServiceStub
from fedcoin.v1.shapley_service_pb2_grpc import ShapleyServiceStub
from fedcoin.v1.task_service_pb2_grpc import TaskServiceStub
from fedcoin.v1.transaction_service_pb2_grpc import TransactionServiceStub

MAX_PEERS = 10_000
MAX_TASKS = 256
MAX_TASK_BYTES = 32 * 2**20
"""Of all open tasks: one of 1,024 clients has some 200 KiB."""
MAX_ESTIMATE_BYTES = 32 * 2**20
"""Of all estimates in a race."""
LEAVES_A_CALL = 256
"""Leaves with paths asked for at once: at K = 1024 they make 2 MiB."""


class MinerClient(BlobClient):
    """Implements MinerHandler over the wire; raises what the miner raises, and PeerUnreachable if it does not answer.

    A call is safe to repeat, and is repeated with backoff while the peer is UNAVAILABLE; streams are not. `source`
    arguments are there for the protocol's sake: the peer learns `own_address` instead.
    """

    # --- peers -------------------------------------------------------------------------------------------------------

    async def genesis(self) -> Genesis:
        """The genesis of the peer's chain; the caller checks that it is the right one."""
        response = await self.unary(self.stub(PeerServiceStub).GetGenesis, peer_pb.GetGenesisRequest())
        return from_field(Genesis, response, "genesis")

    async def peers(self) -> Sequence[PeerInfo]:
        """The miners that the peer knows."""
        call = self.stub(PeerServiceStub).ListPeers
        return await self.listed(PeerInfo, call, peer_pb.ListPeersRequest(), "peers", MAX_PEERS)

    async def announce(self, address: str, public_key: bytes, caller: str = "") -> Sequence[PeerInfo]:
        """Says where we listen; the answer is whom the peer knows."""
        request = peer_pb.AnnounceRequest(address=address, public_key=public_key)
        response = await self.unary(self.stub(PeerServiceStub).Announce, request)
        return [from_message(PeerInfo, peer) for peer in response.peers[:MAX_PEERS]]

    async def prove(self, nonce: bytes) -> tuple[str, bytes]:
        """Where the peer says that it is reached, and its signature over that and the nonce; the caller checks it."""
        response = await self.unary(self.stub(PeerServiceStub).Prove, peer_pb.ProveRequest(nonce=nonce))
        return printable(response.address, MAX_ADDRESS), exactly(response.signature, SIGNATURE_SIZE, "signature")

    # --- tasks and estimates -----------------------------------------------------------------------------------------

    async def mining(self) -> MiningProgress:
        """Where the peer's own race stands."""
        response = await self.unary(self.stub(ShapleyServiceStub).GetMining, shapley_pb.GetMiningRequest())
        return from_field(MiningProgress, response, "progress")

    async def task_terms(self) -> TaskTerms:
        """What a server needs of the chain to publish a task on its tip."""
        response = await self.unary(self.stub(TaskServiceStub).GetTaskTerms, task_pb.GetTaskTermsRequest())
        return from_field(TaskTerms, response, "terms")

    async def publish_task(self, task: Task, source: str | None = None) -> bytes:
        """Returns the task's hash."""
        request = task_pb.PublishTaskRequest(task=to_message(task))
        response = await self.unary(self.stub(TaskServiceStub).PublishTask, request)
        return exactly(response.task_hash, 32, "task hash")

    async def open_tasks(self) -> Sequence[Task]:
        """Tasks that wait for a block on the peer's tip."""
        call = self.stub(TaskServiceStub).ListOpenTasks
        return await self.listed(Task, call, task_pb.ListOpenTasksRequest(), "tasks", MAX_TASKS, MAX_TASK_BYTES)

    async def receive_estimate(self, estimate: Estimate, source: str | None = None) -> None:
        """Sends an estimate (Alg. 1 line 13)."""
        request = shapley_pb.SendEstimateRequest(estimate=to_message(estimate))
        await self.unary(self.stub(ShapleyServiceStub).SendEstimate, request)

    async def estimates(self, race: bytes) -> Sequence[Estimate]:
        """Latest estimate of each miner in the race (empty: in the peer's current race)."""
        call = self.stub(ShapleyServiceStub).ListEstimates
        request = shapley_pb.ListEstimatesRequest(race=race)
        return await self.listed(Estimate, call, request, "estimates", MAX_MINERS, MAX_ESTIMATE_BYTES)

    async def leaves(self, race: bytes, miner: bytes, tree_size: int, indices: Sequence[int]) -> Sequence[LeafProof]:
        """Leaves with Merkle paths, one for each index in order; the caller checks the paths. Raises LeavesNotFound."""
        found: list[LeafProof] = []
        for start in range(0, len(indices), LEAVES_A_CALL):
            wanted = list(indices[start : start + LEAVES_A_CALL])
            request = shapley_pb.GetLeavesRequest(race=race, miner=miner, tree_size=tree_size, indices=wanted)
            response = await self.unary(self.stub(ShapleyServiceStub).GetLeaves, request)
            if [leaf.index for leaf in response.leaves] != wanted:
                raise MalformedEncoding(f"{self.address} answers with other leaves than those asked for")
            found += [from_message(LeafProof, leaf) for leaf in response.leaves]
        return found

    # --- blocks ------------------------------------------------------------------------------------------------------

    async def receive_block(self, block: Block, source: str | None = None) -> None:
        """Sends a block (Alg. 1 line 19)."""
        request = block_pb.PropagateBlockRequest(block=to_message(block))
        await self.unary(self.stub(BlockServiceStub).PropagateBlock, request, self.deadlines.idle)

    async def block(self, block_hash: bytes | None = None, height: int | None = None) -> Block:
        """By hash, or by height on the peer's adopted chain; neither: its tip. Raises BlockNotFound."""
        request = block_pb.GetBlockRequest()
        if block_hash is not None:
            request.hash = block_hash
        elif height is not None:
            request.height = height
        response = await self.unary(self.stub(BlockServiceStub).GetBlock, request, self.deadlines.idle)
        return from_field(Block, response, "block")

    async def blocks_after(self, locator: Sequence[bytes], limit: int) -> AsyncIterator[Block]:
        """Adopted blocks that follow the first hash of the locator that is on the peer's chain; at most `limit`."""
        request = block_pb.SyncBlocksRequest(locator=locator, limit=limit)
        left = limit
        async for response in self.transfer(self.stub(BlockServiceStub).SyncBlocks, request):
            left -= 1
            if left < 0:
                raise MalformedEncoding(f"{self.address} answers with more than the {limit} blocks asked for")
            yield from_field(Block, response, "block")

    async def watch_blocks(self, from_height: int) -> AsyncIterator[Block]:
        """Adopted blocks from a height on, and each new tip as it is adopted, without end."""
        request = block_pb.WatchBlocksRequest(from_height=from_height)
        call = self.stub(BlockServiceStub).WatchBlocks
        async for response in self.stream(call, request, seconds=None, idle=None):
            yield from_field(Block, response, "block")

    # --- ledger ------------------------------------------------------------------------------------------------------

    async def submit(self, transaction: Transaction, source: str | None = None) -> bytes:
        """Returns the transaction's id."""
        request = transaction_pb.SubmitTransactionRequest(transaction=to_message(transaction))
        response = await self.unary(self.stub(TransactionServiceStub).SubmitTransaction, request)
        return exactly(response.transaction_id, 32, "transaction id")

    async def receive_transactions(
        self, transactions: Sequence[Transaction], source: str | None = None
    ) -> Mapping[int, str]:
        """Relays transactions, at most MAX_RELAYED. Returns the error codes of those that are refused, by index."""
        request = transaction_pb.PropagateTransactionsRequest(transactions=map(to_message, transactions))
        response = await self.unary(self.stub(TransactionServiceStub).PropagateTransactions, request)
        return {item.index: printable(item.reason, 63) for item in response.refused[: len(transactions)]}

    async def transaction(self, transaction_id: bytes) -> TransactionInfo:
        """A transaction and where it stands."""
        request = transaction_pb.GetTransactionRequest(transaction_id=transaction_id)
        response = await self.unary(self.stub(TransactionServiceStub).GetTransaction, request)
        return from_field(TransactionInfo, response, "info")

    async def account(self, address: bytes) -> AccountInfo:
        """An account at the peer's tip."""
        request = transaction_pb.GetAccountRequest(address=address)
        response = await self.unary(self.stub(TransactionServiceStub).GetAccount, request)
        return from_field(AccountInfo, response, "account")

    async def accounts(self, after: bytes = b"", limit: int = 1000) -> Sequence[AccountInfo]:
        """In order of address, those above `after`."""
        request = transaction_pb.ListAccountsRequest(after=after)
        call = self.stub(TransactionServiceStub).ListAccounts
        return await self.listed(AccountInfo, call, request, "accounts", limit)

    async def history(
        self, address: bytes, before: tuple[int, int] | None = None, limit: int = 1000
    ) -> Sequence[HistoryEntry]:
        """Newest first, those before (height, index)."""
        request = transaction_pb.ListHistoryRequest(address=address)
        if before is not None:
            request.before.CopyFrom(transaction_pb.HistoryPosition(height=before[0], index=before[1]))
        call = self.stub(TransactionServiceStub).ListHistory
        return await self.listed(HistoryEntry, call, request, "entries", limit)

    async def order(self, order_id: bytes) -> OrderInfo:
        """An order at the peer's tip. Raises OrderNotFound."""
        request = transaction_pb.GetOrderRequest(order_id=order_id)
        response = await self.unary(self.stub(TransactionServiceStub).GetOrder, request)
        return from_field(OrderInfo, response, "order")

    async def orders(self, after: bytes = b"", limit: int = 1000) -> Sequence[OrderInfo]:
        """In order of id, those above `after`."""
        request = transaction_pb.ListOrdersRequest(after=after)
        call = self.stub(TransactionServiceStub).ListOrders
        return await self.listed(OrderInfo, call, request, "orders", limit)

    async def miners(self, after: bytes = b"", limit: int = 1000) -> Sequence[MinerInfo]:
        """Miners at the peer's tip, in order of public key, those above `after`."""
        request = registry_pb.ListMinersRequest(after=after)
        return await self.listed(MinerInfo, self.stub(RegistryServiceStub).ListMiners, request, "miners", limit)

    async def fraud_cases(self, after: bytes = b"", limit: int = 1000) -> Sequence[FraudCaseInfo]:
        """Fraud cases at the peer's tip, in order of id, those above `after`."""
        request = registry_pb.ListFraudCasesRequest(after=after)
        return await self.listed(FraudCaseInfo, self.stub(RegistryServiceStub).ListFraudCases, request, "cases", limit)

    async def mempool(self, limit: int = 1000) -> Sequence[Transaction]:
        """Transactions that wait for a block."""
        call = self.stub(TransactionServiceStub).ListMempool
        return await self.listed(Transaction, call, transaction_pb.ListMempoolRequest(), "transactions", limit)
